package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// poolerTime is how long a pooler may take to run a statement.
const poolerTime = 5 * time.Second

// checkPooler makes sure that a prepared statement works for as long as its
// connection. A pooler in transaction mode, such as PgBouncer, gives each
// transaction another connection to the server, and not every version of PgBouncer
// prepares the statement there too.
//
// A pooler gives away the connection that became free last. So if there is a
// pooler, a second client connection gets the server connection of the first.
func (s *Store) checkPooler(ctx context.Context, conn *sql.Conn) error {
	if s.db.Stats().MaxOpenConnections == 1 {
		return nil // there is no second connection
	}
	st, err := conn.PrepareContext(ctx, `SELECT pg_backend_pid()`)
	if err != nil {
		return err
	}
	defer st.Close()
	var first, second int
	if err := st.QueryRowContext(ctx).Scan(&first); err != nil {
		return err
	}
	other, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer other.Close()
	return inTxOf(ctx, other, nil, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&second); err != nil || first != second {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, poolerTime)
		defer cancel()
		if err := st.QueryRowContext(ctx).Scan(&first); err != nil {
			return fmt.Errorf("%w: %w", errPooler, err)
		}
		return nil
	})
}

// errPooler says what to change.
var errPooler = errors.New("a pooler in transaction mode loses prepared statements: set max_prepared_statements in PgBouncer 1.21 or later, use its session mode, or connect to PostgreSQL itself")

// explainPooler adds errPooler to err if err is one that such a pooler causes for
// prepared statements.
func explainPooler(err error) error {
	if hasState(err, "26000", "42P05") { // invalid_sql_statement_name, duplicate_prepared_statement
		return fmt.Errorf("%w: %w", errPooler, err)
	}
	return err
}
