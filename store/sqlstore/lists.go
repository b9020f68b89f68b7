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

// Deliveries implements [store.Spool]. It reads the rows of one mail, node, tenant or
// destination, those that are held, or all rows, in the order of their keys until the
// page is full.
func (s *Store) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	if !isText(f.Mail, f.Node, string(f.Tenant), f.Destination, page.After) {
		return nil, failed("list deliveries", ctx.Err())
	}
	var list []store.Leased
	for after := page.After; ; {
		some, next, err := s.deliveries(ctx, f, after, rowsAtOnce(f, page))
		if err != nil {
			return nil, failed("list deliveries", err)
		}
		for i := range some {
			if f.Match(&some[i]) {
				list = append(list, some[i])
			}
		}
		if next == "" || len(list) >= page.Size() {
			return list[:min(len(list), page.Size())], nil
		}
		after = next
	}
}

// rowsAtOnce is how many rows are read before the filter is applied to them.
func rowsAtOnce(f store.Filter, page store.Page) int {
	read := store.Filter{Tenant: f.Tenant}
	if byLists(f) {
		read.Destination, read.ToDestination, read.State = f.Destination, f.ToDestination, f.State
	}
	if f == read {
		return page.Size()
	}
	return max(page.Size(), 1000)
}

// deliveries returns the next deliveries after a key that may match the filter, and the
// key to go on with; empty if there are no more.
func (s *Store) deliveries(ctx context.Context, f store.Filter, after string, limit int) (list []store.Leased, next string, err error) {
	if byLists(f) {
		return s.inLists(ctx, f, after, limit)
	}
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
	list, err = selectAll(ctx, s, scanLeased, query, args...)
	if len(list) == limit {
		next = list[limit-1].Delivery.Key()
	}
	return list, next, err
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

// Backlogs implements [store.Spool]. It reads an index, and the rows of what is leased.
func (s *Store) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	list, err := s.backlogs(ctx)
	return list, failed("list backlogs", err)
}

// selectBacklogs counts each kind of lists for itself, since each is a part of an index.
// The oldest mail is the one with the least ID.
const selectBacklogs = `SELECT b.state, b.lane, b.deliveries, b.mail, m.received FROM (
		SELECT 1 AS state, list AS lane, COUNT(*) AS deliveries, MIN(mail) AS mail FROM {deliveries}
			WHERE list >= '` + lanePrefix + `' AND list < '` + laneEnd + `' GROUP BY list
		UNION ALL SELECT 1, lane, COUNT(*), MIN(mail) FROM {deliveries} WHERE list >= '` + deathsPrefix + `' GROUP BY lane
		UNION ALL SELECT 2, lane, COUNT(*), MIN(mail) FROM {deliveries} WHERE list > '` + leasedPrefix + `' AND list < '` + leasedEnd + `' GROUP BY lane
		UNION ALL SELECT 3, lane, COUNT(*), MIN(mail) FROM {deliveries} WHERE list = '` + heldList + `' GROUP BY lane
	) AS b LEFT JOIN {deliveries} AS m ON m.mail = b.mail AND m.n = 0`

func (s *Store) backlogs(ctx context.Context) ([]store.Backlog, error) {
	parts, err := selectAll(ctx, s, scanBacklog, selectBacklogs)
	if err != nil {
		return nil, err
	}
	lanes := make(map[store.Lane]backlog, len(parts))
	for _, p := range parts {
		b, ok := lanes[p.Lane]
		if !ok || p.least < b.least {
			b.Lane, b.least, b.Oldest = p.Lane, p.least, p.Oldest
		}
		b.Deliveries, b.Leased, b.Held = b.Deliveries+p.Deliveries, b.Leased+p.Leased, b.Held+p.Held
		lanes[p.Lane] = b
	}
	list := make([]store.Backlog, 0, len(lanes))
	for _, b := range lanes {
		list = append(list, b.Backlog)
	}
	slices.SortFunc(list, func(a, b store.Backlog) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Tenant, b.Tenant))
	})
	return list, nil
}

// A backlog has the ID of its oldest mail.
type backlog struct {
	store.Backlog
	least string
}

// scanBacklog reads the part of a backlog that is in one state.
func scanBacklog(rows *sql.Rows) (b backlog, err error) {
	var state store.State
	var lane string
	var oldest sql.NullInt64
	err = rows.Scan(&state, &lane, &b.Deliveries, &b.least, &oldest)
	b.Lane = laneOf(lane)
	if oldest.Valid {
		b.Oldest = time.UnixMicro(oldest.Int64).UTC()
	}
	switch state {
	case store.StateLeased:
		b.Leased = b.Deliveries
	case store.StateHeld:
		b.Held = b.Deliveries
	}
	return b, err
}
