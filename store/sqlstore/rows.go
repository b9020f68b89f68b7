package sqlstore

import (
	"context"
	"database/sql"
	"math/bits"
	"slices"
	"strings"
)

// maxRows is how many rows one statement takes at most.
const maxRows = 512

// A rowsQuery is a query for any number of rows, since what a statement costs
// hardly depends on how many it has. Where text has "..." go the rows: as many
// times tuple, with sep between them.
type rowsQuery struct {
	text, tuple, sep string
	keys             bool // the rows are keys of several columns
}

// of returns the query for n rows.
func (q rowsQuery) of(n int) string {
	rows := strings.Repeat(q.tuple+q.sep, n)
	return strings.Replace(q.text, "...", strings.TrimSuffix(rows, q.sep), 1)
}

// keysQuery is a query with a list of keys of so many columns.
func keysQuery(text string, columns int) rowsQuery {
	if columns == 1 {
		return rowsQuery{text, "?", ", ", false}
	}
	return rowsQuery{text, tuple(columns), ", ", true}
}

// tuple returns (?, ?) and so on.
func tuple(columns int) string {
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
}

// A statement is a prepared query for some rows with its arguments.
type statement struct {
	prepared *sql.Stmt
	args     []any
	fill     func() []any // makes the arguments when the statement runs, if not nil
	rows     int64
}

// plan appends the prepared statements that run a query for all rows, each of
// which has the arguments of a tuple. It must not be called in a transaction,
// as it may need a connection.
func (s *Store) plan(ctx context.Context, to *[]statement, q rowsQuery, rows [][]any, first ...any) error {
	for len(rows) > 0 {
		n := sizeOf(len(rows))
		chunk := s.atLeastTwo(q, rows[:n])
		st, err := s.preparedRows(ctx, q, len(chunk))
		if err != nil {
			return err
		}
		*to = append(*to, statement{prepared: st, args: flat(first, chunk), rows: int64(n)})
		rows = rows[n:]
	}
	return nil
}

// planEach is plan for n rows of a query that is not for keys. add appends the arguments
// of row i, so that rows need no slices of their own, and those of one statement are
// there at a time.
func (s *Store) planEach(ctx context.Context, to *[]statement, q rowsQuery, n int, add func(args []any, i int) []any) error {
	for done := 0; done < n; {
		rows := sizeOf(n - done)
		st, err := s.preparedRows(ctx, q, rows)
		if err != nil {
			return err
		}
		first := done
		fill := func() []any {
			args := make([]any, 0, rows*strings.Count(q.tuple, "?"))
			for i := range rows {
				args = add(args, first+i)
			}
			return args
		}
		*to = append(*to, statement{prepared: st, fill: fill, rows: int64(rows)})
		done += rows
	}
	return nil
}

// atLeastTwo repeats a key that is the only one: MariaDB reads the whole table
// for a list of one key of several columns, and an index for a list of two.
func (s *Store) atLeastTwo(q rowsQuery, rows [][]any) [][]any {
	if s.dialect == MySQL && q.keys && len(rows) == 1 {
		return [][]any{rows[0], rows[0]}
	}
	return rows
}

// sizeOf is how many of n rows go into the first statement. There are few such
// numbers, so that there aren't many statements to prepare.
func sizeOf(n int) int {
	if n <= 16 {
		return n
	}
	return min(1<<(bits.Len(uint(n))-1), maxRows)
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

// flat is all arguments in a row.
func flat(first []any, rows [][]any) []any {
	args := make([]any, 0, len(first)+len(rows)*len(rows[0]))
	args = append(args, first...)
	for _, row := range rows {
		args = append(args, row...)
	}
	return args
}

// run runs statements that write and returns how many rows they changed.
func (t tx) run(ctx context.Context, statements []statement) (changed int64, err error) {
	for _, st := range statements {
		args := st.args
		if st.fill != nil {
			args = st.fill()
		}
		n, err := rowsAffected(t.StmtContext(ctx, st.prepared).ExecContext(ctx, args...))
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, nil
}

// rowsOf is how many rows statements are for.
func rowsOf(statements []statement) (n int64) {
	for _, st := range statements {
		n += st.rows
	}
	return n
}

// write runs a query that writes for rows that the transaction has learned of
// after it has begun: nothing is prepared.
func (t tx) write(ctx context.Context, q rowsQuery, rows [][]any, first ...any) error {
	return t.inChunks(q, rows, first, func(text string, args []any) error {
		_, err := t.ExecContext(ctx, text, args...)
		return err
	})
}

// read is like write for a query that reads, and calls scan for each row of the
// result.
func (t tx) read(ctx context.Context, q rowsQuery, rows [][]any, scan func(*sql.Rows) error) error {
	return t.inChunks(q, rows, nil, func(text string, args []any) error {
		result, err := t.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		return scanAll(result, scan)
	})
}

func (t tx) inChunks(q rowsQuery, rows [][]any, first []any, f func(text string, args []any) error) error {
	for chunk := range slices.Chunk(rows, maxRows) {
		chunk = t.s.atLeastTwo(q, chunk)
		text, err := t.s.sql(q.of(len(chunk)))
		if err != nil {
			return err
		}
		if err := f(text, flat(first, chunk)); err != nil {
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

// selectAll runs a query and returns what scan reads of each row.
func selectAll[T any](ctx context.Context, s *Store, scan func(*sql.Rows) (T, error), query string, args ...any) (all []T, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, scan)
}

// selectIn is selectAll in a transaction.
func selectIn[T any](ctx context.Context, t tx, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	text, err := t.s.sql(query)
	if err != nil {
		return nil, err
	}
	rows, err := t.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, scan)
}

// collect returns what scan reads of each row.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) (all []T, err error) {
	err = scanAll(rows, func(rows *sql.Rows) error {
		one, err := scan(rows)
		all = append(all, one)
		return err
	})
	return all, err
}
