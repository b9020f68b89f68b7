package services

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// PgBouncer starts a PgBouncer of the test's own in front of a database on a
// PostgreSQL server, and returns the URL of the database through it. Settings are
// lines of its configuration.
func PgBouncer(t testing.TB, database string, settings ...string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, nil, func(s *server) error { return launchPgBouncer(s, u, settings) })
	u.Host = s.addr
	return u.String()
}

func launchPgBouncer(s *server, database *url.URL, settings []string) error {
	program, err := find("pgbouncer", "/usr/sbin")
	if err != nil {
		return err
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "pgbouncer.ini")
	return s.run(program, func(port string) []string {
		lines := append([]string{
			"[databases]",
			fmt.Sprintf("* = host=%s port=%s user=postgres", database.Hostname(), database.Port()),
			"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = " + port, "unix_socket_dir =",
			"auth_type = any", "ignore_startup_parameters = extra_float_digits",
		}, settings...)
		os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o644) // if that fails, so does PgBouncer
		return []string{file}
	}, func(ctx context.Context) error {
		direct := *database
		direct.Host = s.addr
		q := direct.Query()
		q.Set("default_query_exec_mode", "simple_protocol")
		direct.RawQuery = q.Encode()
		return onServer(ctx, "pgx", direct.String(), "SELECT 1")
	})
}
