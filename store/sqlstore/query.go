package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/cursor"
)

// A listing is a list of domains or users as SQL: rows l with a tenant, a key and the
// columns sort_name, last_connection and suspended.
type listing[E any] struct {
	s     *Store
	q     store.Query
	rows  rowsOfList
	plain rowsOfList // rows, if need be without last_connection, which is quicker
	key   string     // the column of the key
	read  string     // SELECT ... FROM %s ...; %s are the rows k of the page: owner and entry
	scan  func(*sql.Rows) (E, error)
	place func(E) cursor.Cursor
}

// rowsOfList is FROM ... AS l WHERE ..., with its arguments.
type rowsOfList struct {
	text string
	args []any
}

// list reads one page and counts the entries. The page is chosen from an index that has
// all that the list is sorted by, and only its entries are read from their table.
func (l *listing[E]) list(ctx context.Context) ([]E, store.Found, error) {
	where, args := l.selection()
	if !isText(l.q.Search) {
		where, args = ` AND 1 = 0`, nil
	}
	list, found, err := l.page(ctx, where, args)
	if err == nil {
		err = l.count(ctx, &found, where, args)
	}
	return list, found, err
}

// page reads the page, and one more entry to see whether there are more.
func (l *listing[E]) page(ctx context.Context, where string, args []any) (list []E, found store.Found, err error) {
	from, isAfter := cursor.Parse(l.q.After, l.q.Order == store.ByConnection)
	before, isBefore := cursor.Parse(l.q.Before, l.q.Order == store.ByConnection)
	desc := l.q.Descending
	if isBefore = isBefore && !isAfter; isBefore { // then read away from the cursor, and reverse what was read
		from, desc = before, !desc
	}
	query, queryArgs := where, slices.Concat(l.rows.args, args)
	if isAfter || isBefore {
		query, queryArgs = where+l.beyond(desc), append(queryArgs, at(from)...)
	}
	keys := `(SELECT l.tenant AS owner, l.` + l.key + ` AS entry` + l.rows.text + query + l.order(desc) + ` LIMIT ?) AS k`
	list, err = selectAll(ctx, l.s, l.scan, fmt.Sprintf(l.read, keys), append(queryArgs, l.q.Size()+1)...)
	if err != nil || len(list) == 0 {
		return nil, found, err
	}
	slices.SortFunc(list, func(a, b E) int { return compare(l.place(a), l.place(b), desc) })
	ahead, behind := len(list) > l.q.Size(), false
	list = list[:min(len(list), l.q.Size())]
	if isAfter || isBefore {
		st, err := l.s.prepared(ctx, `SELECT 1`+l.rows.text+where+l.beyond(!desc)+` LIMIT 1`)
		if err != nil {
			return nil, found, err
		}
		if behind, err = exists(st.QueryRowContext(ctx, slices.Concat(l.rows.args, args, at(l.place(list[0])))...)); err != nil {
			return nil, found, err
		}
	}
	if isBefore {
		slices.Reverse(list)
		ahead, behind = behind, ahead
	}
	if ahead {
		found.Next = l.place(list[len(list)-1]).String()
	}
	if behind {
		found.Previous = l.place(list[0]).String()
	}
	return list, found, nil
}

// count sets the counts of found.
func (l *listing[E]) count(ctx context.Context, found *store.Found, where string, args []any) error {
	count := func(to *int, rows rowsOfList, where string, args ...any) error {
		st, err := l.s.prepared(ctx, `SELECT COUNT(*)`+rows.text+where)
		if err != nil {
			return err
		}
		return st.QueryRowContext(ctx, slices.Concat(rows.args, args)...).Scan(to)
	}
	if err := count(&found.All, l.plain, ""); err != nil {
		return err
	}
	if found.Matching = found.All; where == "" {
		return nil
	}
	rows := l.plain
	if l.q.Never || !l.q.ConnectedBefore.IsZero() {
		rows = l.rows
	}
	return count(&found.Matching, rows, where, args...)
}

// selection returns the conditions of the query.
func (l *listing[E]) selection() (where string, args []any) {
	if l.q.Search != "" {
		contains := `instr(%s, ?) > 0`
		switch l.s.dialect {
		case Postgres:
			contains = `strpos(%s, CAST(? AS TEXT)) > 0`
		case MySQL: // the cast ignores the character set of the connection
			contains = `LOCATE(CAST(? AS BINARY), %s) > 0`
		}
		where += fmt.Sprintf(` AND (`+contains+` OR `+contains+`)`, "l.sort_name", "l."+l.key)
		args = append(args, l.q.Search, l.q.Search)
	}
	if l.q.Never {
		where += ` AND l.last_connection = ` + never
	}
	if !l.q.ConnectedBefore.IsZero() {
		where += ` AND l.last_connection < ?`
		args = append(args, l.q.ConnectedBefore.UnixMicro())
	}
	if l.q.Suspended {
		where += ` AND l.suspended <> ''`
	}
	return where, args
}

// sorted returns the column by which the list is sorted before the key.
func (l *listing[E]) sorted() string {
	if l.q.Order == store.ByConnection {
		return "l.last_connection"
	}
	return "l.sort_name"
}

func (l *listing[E]) order(desc bool) string {
	if desc {
		return ` ORDER BY ` + l.sorted() + ` DESC, l.` + l.key + ` DESC`
	}
	return ` ORDER BY ` + l.sorted() + `, l.` + l.key
}

// beyond returns the condition of the entries after a cursor, whose arguments are those
// of at. MySQL uses no index for a comparison of rows.
func (l *listing[E]) beyond(desc bool) string {
	than := `>`
	if desc {
		than = `<`
	}
	return fmt.Sprintf(` AND %[1]s %[2]s= ? AND (%[1]s %[2]s ? OR l.%[3]s %[2]s ?)`, l.sorted(), than, l.key)
}

// placeOf returns the cursor of an entry.
func placeOf(q store.Query, sortName string, lastConnection time.Time, key string) cursor.Cursor {
	if q.Order == store.ByConnection {
		return cursor.Cursor{ByTime: true, At: lastConnection.UnixMicro(), Key: key}
	}
	return cursor.Cursor{Text: sortName, Key: key}
}

// at returns the arguments of beyond.
func at(c cursor.Cursor) []any {
	if c.ByTime {
		return []any{c.At, c.At, c.Key}
	}
	return []any{c.Text, c.Text, c.Key}
}

func compare(a, b cursor.Cursor, desc bool) int {
	if desc {
		a, b = b, a
	}
	return cursor.Compare(a, b)
}
