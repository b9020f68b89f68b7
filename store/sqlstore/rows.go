package sqlstore

import (
	"context"
	"database/sql"
	"math/bits"
	"strings"
)

// maxRows is how many rows one statement takes at most.
const maxRows = 512

// A rowsQuery is a query for any number of rows, since what a statement costs
// hardly depends on how many it has. Where text has "..." go the rows: as many
// times tuple, with sep between them.
type rowsQuery struct {
	text, tuple, sep string
}

// of returns the query for n rows.
func (q rowsQuery) of(n int) string {
	rows := strings.Repeat(q.tuple+q.sep, n)
	return strings.Replace(q.text, "...", strings.TrimSuffix(rows, q.sep), 1)
}

// keysQuery is a query with a list of keys of so many columns.
func keysQuery(text string, columns int) rowsQuery {
	if columns == 1 {
		return rowsQuery{text, "?", ", "}
	}
	return rowsQuery{text, tuple(columns), ", "}
}

// tuple returns (?, ?) and so on.
func tuple(columns int) string {
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
}

// A statement is a query for some rows with its arguments. It is prepared, if
// there was time for that before the transaction.
type statement struct {
	prepared *sql.Stmt
	text     string // if it isn't prepared
	args     []any
	rows     int64
}

// plan returns the prepared statements that run a query for all rows, each of
// which has the arguments of a tuple. It must not be called in a transaction,
// as it may need a connection. The number of rows of each is a power of two,
// so that there aren't many to prepare.
func (s *Store) plan(ctx context.Context, q rowsQuery, rows [][]any, first ...any) ([]statement, error) {
	var all []statement
	for len(rows) > 0 {
		n := min(1<<(bits.Len(uint(len(rows)))-1), maxRows)
		st, err := s.preparedRows(ctx, q, n)
		if err != nil {
			return nil, err
		}
		all = append(all, statement{prepared: st, args: flat(first, rows[:n]), rows: int64(n)})
		rows = rows[n:]
	}
	return all, nil
}

// preparedRows is prepared, for a query with n rows.
func (s *Store) preparedRows(ctx context.Context, q rowsQuery, n int) (*sql.Stmt, error) {
	type key struct {
		rowsQuery
		n int
	}
	if st, ok := s.stmts.Load(key{q, n}); ok {
		return st.(*sql.Stmt), nil
	}
	return s.prepare(ctx, key{q, n}, q.of(n))
}

// plan is like that of a Store, for what a transaction learns of only after it
// has begun: nothing is prepared.
func (t tx) plan(q rowsQuery, rows [][]any, first ...any) ([]statement, error) {
	var all []statement
	for len(rows) > 0 {
		n := min(len(rows), maxRows)
		text, err := t.s.sql(q.of(n))
		if err != nil {
			return nil, err
		}
		all = append(all, statement{text: text, args: flat(first, rows[:n]), rows: int64(n)})
		rows = rows[n:]
	}
	return all, nil
}

// flat is all arguments in a row.
func flat(first []any, rows [][]any) []any {
	args := make([]any, 0, len(first)+len(rows)*len(rows[0]))
	args = append(args, first...)
	for _, row := range rows {
		args = append(args, row...)
	}
	return args
}

// run runs statements that write. If they are strict, each must change a row
// for each of its rows; run returns false after the first that doesn't.
func (t tx) run(ctx context.Context, statements []statement, strict bool) (all bool, err error) {
	all = true
	for _, st := range statements {
		var n int64
		if st.prepared != nil {
			n, err = rowsAffected(t.StmtContext(ctx, st.prepared).ExecContext(ctx, st.args...))
		} else {
			n, err = rowsAffected(t.ExecContext(ctx, st.text, st.args...))
		}
		if err != nil {
			return false, err
		}
		if all = all && n == st.rows; strict && !all {
			return false, nil
		}
	}
	return all, nil
}

// each runs statements that read and calls scan for each row of their results.
func (t tx) each(ctx context.Context, statements []statement, scan func(*sql.Rows) error) error {
	for _, st := range statements {
		var rows *sql.Rows
		var err error
		if st.prepared != nil {
			rows, err = t.StmtContext(ctx, st.prepared).QueryContext(ctx, st.args...)
		} else {
			rows, err = t.QueryContext(ctx, st.text, st.args...)
		}
		if err != nil {
			return err
		}
		if err := scanAll(rows, scan); err != nil {
			return err
		}
	}
	return nil
}

// scanAll calls scan for each row and closes rows.
func scanAll(rows *sql.Rows, scan func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
