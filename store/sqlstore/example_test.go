package sqlstore_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// On SQLite the data source name holds what every connection must be told. The
// program imports a driver besides: here one that registers as "sqlite", such
// as modernc.org/sqlite.
func Example_sqlite() {
	db, err := sql.Open("sqlite", "file:gatepost.db?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	st := sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// In the product's own database, with names for the tables that fit there.
func Example_prefix() {
	db, err := sql.Open("pgx", "postgres://localhost/product")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	st := sqlstore.New(db, sqlstore.Postgres)
	st.TablePrefix = "relay_"
	if err := st.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
}
