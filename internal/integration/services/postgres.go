package services

import (
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

var postgres server

// Postgres returns the URL of a new database on PostgreSQL. Its encoding is
// UTF8, and its collation is a language's if the server knows any.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	postgres.start(t, launchPostgres)
	name := postgres.database()
	if err := onPostgres(t.Context(), &postgres, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	dropLater(t, func(ctx context.Context) error {
		return onPostgres(ctx, &postgres, "DROP DATABASE "+name+" WITH (FORCE)")
	})
	return postgresURL(&postgres, name)
}

// NewPostgresServer starts a server of the test's own. Wrap changes how its
// programs are started; it may be nil.
func NewPostgresServer(t testing.TB, wrap func(*exec.Cmd)) *Server {
	t.Helper()
	s := newServer(t, wrap, launchPostgres)
	s.DSN = postgresURL(&s.server, "postgres")
	return s
}

func launchPostgres(s *server) error {
	const installed = "/usr/lib/postgresql/*/bin"
	initdb, err := find("initdb", installed)
	if err != nil {
		return err
	}
	program, err := find("postgres", installed)
	if err != nil {
		return err
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	args := []string{"--pgdata=" + data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"}
	if err := s.prepare(initdb, append(args, "--locale-provider=icu", "--icu-locale=en-US")...); err != nil {
		if err := s.prepare(initdb, args...); err != nil { // before version 15, or built without ICU
			return err
		}
	}
	s.crash = syscall.SIGQUIT // which it hands on to its other processes
	s.launched = func() error { return s.runPostgres(program, data) }
	return s.launched()
}

func (s *server) runPostgres(program, data string) error {
	return s.run(program, func(port string) []string {
		return []string{"-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	}, func(ctx context.Context) error {
		return onPostgres(ctx, s, "SELECT 1")
	})
}

func onPostgres(ctx context.Context, s *server, statement string) error {
	return onServer(ctx, "pgx", postgresURL(s, "postgres"), statement)
}

func postgresURL(s *server, database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", s.addr, database)
}

// onServer runs one statement on a connection of its own.
func onServer(ctx context.Context, driver, dsn, statement string) error {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, statement)
	return err
}
