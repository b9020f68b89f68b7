package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// One setting chooses the database: a PostgreSQL URL, or the name of a file for
// SQLite. The program imports both drivers besides, such as
// github.com/jackc/pgx/v5/stdlib and modernc.org/sqlite.
func Example_oneSetting() {
	for _, setting := range []string{"postgres://localhost/product", "gatepost.db"} {
		driver, dsn, _ := databaseFor(setting)
		fmt.Println(driver, dsn)
	}
	// Output:
	// pgx postgres://localhost/product
	// sqlite file:gatepost.db?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)
}

// databaseFor returns what a setting means.
func databaseFor(setting string) (driver, dsn string, dialect sqlstore.Dialect) {
	if strings.HasPrefix(setting, "postgres://") {
		return "pgx", setting, sqlstore.Postgres
	}
	return "sqlite", "file:" + setting + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)", sqlstore.SQLite
}

// openStore opens the database of a setting. The caller closes db.
func openStore(ctx context.Context, setting string) (st *sqlstore.Store, db *sql.DB, err error) {
	driver, dsn, dialect := databaseFor(setting)
	if db, err = sql.Open(driver, dsn); err != nil {
		return nil, nil, err
	}
	st = sqlstore.New(db, dialect)
	if err := st.Migrate(ctx); err != nil {
		db.Close()
		return nil, nil, err
	}
	return st, db, nil
}

var _ = openStore // called by main
