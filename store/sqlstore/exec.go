package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// maxTries is how often a write is tried that the database gave up in favour
// of another.
const maxTries = 10

// prepared returns the prepared statement for a query. A statement is prepared
// once for the Store (database/sql takes care of each connection) and goes
// with the database.
func (s *Store) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := s.stmts.Load(query); ok {
		return st.(*sql.Stmt), nil
	}
	return s.prepare(ctx, query, query)
}

// prepare prepares a query and keeps it under a key.
func (s *Store) prepare(ctx context.Context, key any, query string) (*sql.Stmt, error) {
	text, err := s.sql(query)
	if err != nil {
		return nil, err
	}
	st, err := s.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if first, ok := s.stmts.LoadOrStore(key, st); ok {
		st.Close() // another goroutine was faster
		return first.(*sql.Stmt), nil
	}
	return st, nil
}

// exec runs a writing statement by itself and returns the number of rows it
// changed.
func (s *Store) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	err = s.write(ctx, func() error {
		st, err := s.prepared(ctx, query)
		if err != nil {
			return err
		}
		changed, err = rowsAffected(st.ExecContext(ctx, args...))
		return err
	})
	return changed, err
}

// inTx runs f in a transaction, which is committed if f returns nil. f may run
// more than once. Its first statement must write: SQLite then takes the write
// lock at once, waiting if need be. A transaction that begins by reading can't
// wait, because what it read may be old by then.
func (s *Store) inTx(ctx context.Context, f func(tx) error) error {
	return s.write(ctx, func() error {
		// In PostgreSQL and MySQL statements see what others committed
		// before; what must not change meanwhile is locked.
		opts := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
		if s.dialect == SQLite {
			opts = nil // it has one level, which is enough, and drivers refuse to hear of others
		}
		t, err := s.db.BeginTx(ctx, opts)
		if err != nil {
			return err
		}
		defer t.Rollback() // does nothing after Commit
		if err := f(tx{t, s}); err != nil {
			return err
		}
		return t.Commit()
	})
}

// A tx is a transaction that takes queries as they are in the source. It does
// not prepare statements for the Store, which would need a second connection.
type tx struct {
	*sql.Tx
	s *Store
}

// planAnew has PostgreSQL make the plans of the transaction's statements anew. Those
// it has made while the queue was empty read all of it once it has filled, until
// the database analyzes the table, a minute or two later. For an INSERT, whose plan
// is always the same, that would be a waste.
func (t tx) planAnew(ctx context.Context) error {
	if t.s.dialect != Postgres {
		return nil
	}
	_, err := t.ExecContext(ctx, `SET LOCAL plan_cache_mode = force_custom_plan`)
	return err
}

// reading calls f, which reads with prepared statements as on returns them. On
// PostgreSQL that is in a transaction that plans anew.
func (s *Store) reading(ctx context.Context, f func(on func(*sql.Stmt) *sql.Stmt) error) error {
	if s.dialect != Postgres {
		return f(func(st *sql.Stmt) *sql.Stmt { return st })
	}
	return s.inTx(ctx, func(tx tx) error {
		if err := tx.planAnew(ctx); err != nil {
			return err
		}
		return f(func(st *sql.Stmt) *sql.Stmt { return tx.StmtContext(ctx, st) })
	})
}

func (t tx) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	text, err := t.s.sql(query)
	if err != nil {
		return 0, err
	}
	return rowsAffected(t.ExecContext(ctx, text, args...))
}

func (t tx) exists(ctx context.Context, query string, args ...any) (bool, error) {
	text, err := t.s.sql(query)
	if err != nil {
		return false, err
	}
	return exists(t.QueryRowContext(ctx, text, args...))
}

// write calls f, which writes one transaction, alone among the writers of this
// Store if the database is SQLite. It calls f again as long as the database
// rolled the transaction back to let another one pass.
func (s *Store) write(ctx context.Context, f func() error) error {
	if s.dialect == SQLite {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == maxTries || !s.rolledBack(err) {
			return err
		}
		if err := sleep(ctx, rand.N(time.Duration(try)*10*time.Millisecond)); err != nil {
			return err
		}
	}
}

// rolledBack reports whether err says that the database chose the transaction
// to be the victim of a deadlock or the like.
func (s *Store) rolledBack(err error) bool {
	switch s.dialect {
	case Postgres:
		return hasState(err, "40001", "40P01") // serialization_failure, deadlock_detected
	case MySQL:
		return hasNumber(err, "1213", "1205", "1020") // deadlock, lock wait timeout, record has changed
	}
	return false
}

// isBusy reports whether err says that another process writes for longer than
// SQLite waits.
func (s *Store) isBusy(err error) bool {
	return s.dialect == SQLite && err != nil && strings.Contains(err.Error(), "database is locked")
}

// isFull reports whether err says that there is no room for what was written.
func (s *Store) isFull(err error) bool {
	switch s.dialect {
	case SQLite: // drivers have no method in common, but all have SQLite's own text for SQLITE_FULL
		return err != nil && strings.Contains(err.Error(), "database or disk is full")
	case Postgres:
		return hasState(err, "53100") // disk_full
	case MySQL:
		return hasNumber(err, "1021", "1114") // disk full, table is full
	}
	return false
}

// hasState reports whether err is one of PostgreSQL's with one of the states.
func hasState(err error, states ...string) bool {
	var e interface{ SQLState() string } // both pgx and lib/pq
	return errors.As(err, &e) && slices.Contains(states, e.SQLState())
}

// hasNumber reports whether err is one of MySQL's with one of the numbers.
// go-sql-driver/mysql has no method that tells it, and begins the text with it.
func hasNumber(err error, numbers ...string) bool {
	return err != nil && slices.ContainsFunc(numbers, func(number string) bool {
		return strings.Contains(err.Error(), "Error "+number+" (HY000)") || strings.Contains(err.Error(), "Error "+number+" (40001)")
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func rowsAffected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func exists(row *sql.Row) (bool, error) {
	var one int
	err := row.Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// failed says which operation err is from. Nil stays nil.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s: %w", op, err)
}
