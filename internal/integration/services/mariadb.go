package services

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
)

var mariadb server

// MariaDB returns the data source name, for github.com/go-sql-driver/mysql, of
// a new database on MariaDB.
func MariaDB(t testing.TB) (dsn string) {
	t.Helper()
	mariadb.start(t, launchMariaDB)
	name := mariadb.database()
	if err := onMariaDB(t.Context(), &mariadb, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	dropLater(t, func(ctx context.Context) error { return onMariaDB(ctx, &mariadb, "DROP DATABASE "+name) })
	return mariadbDSN(&mariadb, name)
}

// NewMariaDBServer starts a server of the test's own. Wrap changes how its
// programs are started; it may be nil.
func NewMariaDBServer(t testing.TB, wrap func(*exec.Cmd)) *Server {
	t.Helper()
	s := newServer(t, wrap, launchMariaDB)
	name := s.database()
	if err := onMariaDB(t.Context(), &s.server, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	s.DSN = mariadbDSN(&s.server, name)
	return s
}

func launchMariaDB(s *server) error {
	const sbin = "/usr/sbin"
	install, err := find("mariadb-install-db", sbin)
	if err != nil {
		return err
	}
	program, err := find("mariadbd", sbin)
	if err != nil {
		return err
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	if err := s.prepare(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return err
	}
	s.crash = syscall.SIGKILL
	s.launched = func() error { return s.runMariaDB(program, data) }
	return s.launched()
}

func (s *server) runMariaDB(program, data string) error {
	return s.run(program, func(port string) []string {
		// The socket can't be switched off; this one is in the data directory.
		return []string{"--no-defaults", "--datadir=" + data, "--socket=socket", "--bind-address=127.0.0.1", "--port=" + port}
	}, func(ctx context.Context) error {
		return onMariaDB(ctx, s, "SELECT 1")
	})
}

func onMariaDB(ctx context.Context, s *server, statement string) error {
	return onServer(ctx, "mysql", mariadbDSN(s, ""), statement)
}

func mariadbDSN(s *server, database string) string {
	return fmt.Sprintf("root@tcp(%s)/%s", s.addr, database)
}
