package services

import (
	"context"
	"fmt"
	"path/filepath"
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
	if err := onMariaDB(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return mariadbDSN(name)
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
	return s.run(program, func(port string) []string {
		// The socket can't be switched off; this one is in the data directory.
		return []string{"--no-defaults", "--datadir=" + data, "--socket=socket", "--bind-address=127.0.0.1", "--port=" + port}
	}, func(ctx context.Context) error {
		return onMariaDB(ctx, "SELECT 1")
	})
}

func onMariaDB(ctx context.Context, statement string) error {
	return onServer(ctx, "mysql", mariadbDSN(""), statement)
}

func mariadbDSN(database string) string {
	return fmt.Sprintf("root@tcp(%s)/%s", mariadb.addr, database)
}
