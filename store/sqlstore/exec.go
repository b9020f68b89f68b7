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

// maxTries is the maximum number of attempts at a write that the database rolls
// back in favor of another one.
const maxTries = 10

// prepared returns the prepared statement for a query. The Store prepares each
// query once and keeps the statement until the database is closed.
func (s *Store) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := s.stmts.Load(query); ok {
		return st.(*sql.Stmt), nil
	}
	return s.prepare(ctx, query, query)
}

// prepare prepares a query and keeps the statement under key.
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
		st.Close() // another goroutine has prepared it in between
		return first.(*sql.Stmt), nil
	}
	return st, nil
}

// unwatched returns the context for a statement on SQLite that reads few rows. Readers
// do not wait there, so the statement is done before ctx could end it. Without an end,
// database/sql and the driver start no goroutines, which take as long as the statement.
// If the caller has to wait for a connection, the end of ctx counts.
func (s *Store) unwatched(ctx context.Context) context.Context {
	if stats := s.db.Stats(); ctx.Err() == nil && (stats.MaxOpenConnections == 0 || stats.InUse < stats.MaxOpenConnections) {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// exec runs a writing statement outside of a transaction and returns the number of
// rows that it changed.
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

// inTx runs f in a transaction and commits it if f returns nil. f may run more than
// once. Its first statement must write: SQLite then waits for the write lock. If
// the first statement reads, SQLite cannot wait, because another commit would
// outdate what was read.
func (s *Store) inTx(ctx context.Context, f func(tx) error) error {
	return s.write(ctx, func() error {
		// In PostgreSQL and MySQL each statement sees the latest commits. Rows
		// that must not change before the end of the transaction are locked.
		opts := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
		if s.dialect == SQLite {
			opts = nil // drivers refuse any level but SQLite's own, which is serializable
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

// A tx is a transaction that takes queries as they are in the source. It does not
// prepare statements for the Store, because that needs a second connection.
type tx struct {
	*sql.Tx
	s *Store
}

// planAnew makes PostgreSQL plan the statements of the transaction again. A plan
// that was made while the queue was empty reads the whole table once the queue has
// filled, until PostgreSQL analyzes the table a minute or two later. An INSERT has
// only one possible plan and does not need this.
func (t tx) planAnew(ctx context.Context) error {
	if t.s.dialect != Postgres {
		return nil
	}
	_, err := t.ExecContext(ctx, `SET LOCAL plan_cache_mode = force_custom_plan`)
	return err
}

// planOnce ends what planAnew began, for an INSERT of many rows: to plan it takes
// PostgreSQL a fifth of the time that the INSERT takes.
func (t tx) planOnce(ctx context.Context) error {
	if t.s.dialect != Postgres {
		return nil
	}
	_, err := t.ExecContext(ctx, `SET LOCAL plan_cache_mode = force_generic_plan`)
	return err
}

// reading calls f, which passes its prepared statements through on. On PostgreSQL
// they run in a transaction with planAnew.
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

// inSnapshot runs f in a transaction that only reads, and whose statements all see the
// commits that its first one sees.
func (s *Store) inSnapshot(ctx context.Context, f func(tx) error) error {
	opts := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	if s.dialect == SQLite {
		opts.Isolation = sql.LevelDefault // as for inTx
	}
	t, err := s.db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	defer t.Rollback() // does nothing after Commit
	if err := (tx{t, s}).planAnew(ctx); err != nil {
		return err
	}
	if err := f(tx{t, s}); err != nil {
		return err
	}
	return t.Commit()
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

// write calls f, which writes one transaction. On SQLite it waits until no other
// writer of this Store is in f. If the database has rolled the transaction back in
// favor of another one, write calls f again.
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

// rolledBack reports whether the database rolled the transaction back because of a
// deadlock or another conflict.
func (s *Store) rolledBack(err error) bool {
	switch s.dialect {
	case Postgres:
		return hasState(err, "40001", "40P01") // serialization_failure, deadlock_detected
	case MySQL:
		return hasNumber(err, "1213", "1205", "1020") // deadlock, lock wait timeout, record has changed
	}
	return false
}

// isBusy reports whether another process has held SQLite's write lock for longer
// than busy_timeout.
func (s *Store) isBusy(err error) bool {
	return s.dialect == SQLite && err != nil && strings.Contains(err.Error(), "database is locked")
}

// isDuplicate reports whether a row has a key that another row has.
func (s *Store) isDuplicate(err error) bool {
	switch s.dialect {
	case SQLite: // as for isFull
		return err != nil && strings.Contains(err.Error(), "UNIQUE constraint failed")
	case Postgres:
		return hasState(err, "23505") // unique_violation
	case MySQL:
		return hasCode(err, "1062") // duplicate entry
	}
	return false
}

// isFull reports whether the disk or the table is full.
func (s *Store) isFull(err error) bool {
	switch s.dialect {
	case SQLite: // drivers have no common method; all return SQLite's text for SQLITE_FULL
		return err != nil && strings.Contains(err.Error(), "database or disk is full")
	case Postgres:
		return hasState(err, "53100") // disk_full
	case MySQL:
		return hasNumber(err, "1021", "1114") // disk full, table is full
	}
	return false
}

// hasState reports whether err is a PostgreSQL error with one of the states.
func hasState(err error, states ...string) bool {
	var e interface{ SQLState() string } // both pgx and lib/pq
	return errors.As(err, &e) && slices.Contains(states, e.SQLState())
}

// hasNumber reports whether err is a MySQL error with one of the numbers.
// go-sql-driver/mysql has no method for the number; the text begins with it.
func hasNumber(err error, numbers ...string) bool {
	return err != nil && slices.ContainsFunc(numbers, func(number string) bool {
		return strings.Contains(err.Error(), "Error "+number+" (HY000)") || strings.Contains(err.Error(), "Error "+number+" (40001)")
	})
}

// hasCode reports whether err is one of MySQL's with one of the numbers, whatever
// its state.
func hasCode(err error, numbers ...string) bool {
	return err != nil && slices.ContainsFunc(numbers, func(number string) bool {
		return strings.Contains(err.Error(), "Error "+number+" (")
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

// failed adds the operation to err, or returns nil if err is nil.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	if notMigrated(err) {
		return fmt.Errorf("sqlstore: %s: a table is missing, call Store.Migrate first: %w", op, err)
	}
	return fmt.Errorf("sqlstore: %s: %w", op, err)
}

// notMigrated reports whether err is about a table that does not exist.
func notMigrated(err error) bool {
	return hasState(err, "42P01") || hasCode(err, "1146") || strings.Contains(err.Error(), "no such table")
}
