package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Deliveries implements [store.Spool]. It reads the rows of one tenant, or all
// rows, in the order of their keys until the page is full.
func (s *Store) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	var list []store.Leased
	for after := page.After; ; {
		some, err := s.deliveries(ctx, f, after, rowsAtOnce(f, page))
		if err != nil {
			return nil, failed("list deliveries", err)
		}
		for i := range some {
			if f.Match(&some[i]) {
				list = append(list, some[i])
			}
		}
		if len(some) < rowsAtOnce(f, page) || len(list) >= page.Size() {
			return list[:min(len(list), page.Size())], nil
		}
		after = some[len(some)-1].Delivery.Key()
	}
}

// rowsAtOnce is how many rows are read before the filter is applied to them.
func rowsAtOnce(f store.Filter, page store.Page) int {
	if f == (store.Filter{Tenant: f.Tenant}) {
		return page.Size()
	}
	return max(page.Size(), 1000)
}

func (s *Store) deliveries(ctx context.Context, f store.Filter, after string, limit int) (list []store.Leased, err error) {
	const from = `SELECT ` + leasedColumns + ` FROM {deliveries} AS d LEFT JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0`
	const where = ` d.list IS NOT NULL AND d.mail < '` + recordPrefix + `' AND (d.mail > ? OR d.mail = ? AND d.n >= ?) AND d.mail >= ? ORDER BY `
	mail, n := firstAfter(after)
	query := from + ` WHERE` + where + `d.mail, d.n LIMIT ?`
	args := []any{mail, mail, n, mail, limit}
	switch {
	case f.Mail != "":
		query = from + ` WHERE d.mail = ? AND` + where + `d.mail, d.n LIMIT ?`
		args = slices.Insert(args, 0, any(f.Mail))
	case f.Node != "":
		query = from + ` WHERE d.list = ? AND` + where + `d.mail, d.n LIMIT ?`
		args = slices.Insert(args, 0, any(leasedPrefix+f.Node))
	case f.Tenant != "":
		query = from + ` WHERE d.tenant = ? AND` + where + `d.tenant, d.mail, d.n LIMIT ?`
		args = slices.Insert(args, 0, any(string(f.Tenant)))
	}
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(rows *sql.Rows) error {
		l, err := scanLeased(rows)
		list = append(list, l)
		return err
	})
	return list, err
}

// firstAfter returns the least mail and number that a delivery can have whose
// key is after the given one.
func firstAfter(key string) (mail string, n int) {
	mail, _, _ = strings.Cut(key, ".")
	return mail, sort.Search(store.MaxDeliveries, func(n int) bool {
		return store.Delivery{Mail: mail, N: n}.Key() > key
	})
}

// Depth implements [store.Spool]. It takes as long as counting the entries of an
// index does.
func (s *Store) Depth(ctx context.Context) (store.Depth, error) {
	depth, err := s.depth(ctx)
	return depth, failed("depth", err)
}

func (s *Store) depth(ctx context.Context) (store.Depth, error) {
	st, err := s.prepared(ctx, `SELECT (SELECT COUNT(*) FROM {deliveries} WHERE list IS NOT NULL), (SELECT COUNT(*) FROM {deliveries} WHERE list = '`+heldList+`'),
		(SELECT received FROM {deliveries} WHERE n = 0 ORDER BY mail LIMIT 1)`)
	if err != nil {
		return store.Depth{}, err
	}
	var depth store.Depth
	var oldest sql.NullInt64
	err = st.QueryRowContext(ctx).Scan(&depth.Deliveries, &depth.Held, &oldest)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if oldest.Valid {
		depth.Oldest = time.UnixMicro(oldest.Int64).UTC()
	}
	return depth, err
}

// Backlogs implements [store.Spool]. It reads the whole table, without the
// contents.
func (s *Store) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	list, err := s.backlogs(ctx)
	return list, failed("list backlogs", err)
}

func (s *Store) backlogs(ctx context.Context) (list []store.Backlog, err error) {
	st, err := s.prepared(ctx, `SELECT d.lane, COUNT(*), SUM(CASE WHEN d.list > '`+leasedPrefix+`' AND d.list < '+' THEN 1 ELSE 0 END),
		SUM(CASE WHEN d.list = '`+heldList+`' THEN 1 ELSE 0 END), MIN(m.received)
		FROM {deliveries} AS d LEFT JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0 WHERE d.list IS NOT NULL GROUP BY d.lane`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(rows *sql.Rows) error {
		var b store.Backlog
		var lane string
		var oldest sql.NullInt64
		err := rows.Scan(&lane, &b.Deliveries, &b.Leased, &b.Held, &oldest)
		b.Lane = laneOf(lane)
		if oldest.Valid {
			b.Oldest = time.UnixMicro(oldest.Int64).UTC()
		}
		list = append(list, b)
		return err
	})
	slices.SortFunc(list, func(a, b store.Backlog) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Tenant, b.Tenant))
	})
	return list, err
}
