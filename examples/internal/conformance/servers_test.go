package conformance_test

import (
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"

	"github.com/gatepost-mail/gatepost/examples/internal/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestMain(m *testing.M) { services.Main(m) }

func TestPostgres(t *testing.T) {
	for name, driver := range map[string]string{"pgx": "pgx", "pq": "postgres"} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				url := services.Postgres(t)
				return func() store.Store { return open(t, driver, url, sqlstore.Postgres) }
			})
		})
	}
}

func TestMariaDB(t *testing.T) {
	// Parameters that change how the server compares, counts and cuts must
	// not change what the store does.
	for name, params := range map[string]string{
		"plain":      "",
		"found-rows": "?clientFoundRows=true&interpolateParams=true&parseTime=true",
		"lax":        "?sql_mode=%27%27&charset=latin1",
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) func() store.Store {
				dsn := services.MariaDB(t) + params
				return func() store.Store { return open(t, "mysql", dsn, sqlstore.MySQL) }
			})
		})
	}
}
