package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

// The first character of the column list. The lists of one kind follow each other
// in the index.
const (
	heldList     = "!" // held deliveries
	leasedPrefix = "*" // and the ID of the node
	lanePrefix   = "=" // and the destination, a separator and the tenant
	deathsPrefix = "@" // and the number of deaths
)

// laneSeparator is a character that no destination has.
const laneSeparator = "\x01"

func laneText(l store.Lane) string {
	return lanePrefix + l.Destination + laneSeparator + string(l.Tenant)
}

func laneOf(text string) store.Lane {
	destination, tenant, _ := strings.Cut(strings.TrimPrefix(text, lanePrefix), laneSeparator)
	return store.Lane{Destination: destination, Tenant: store.TenantID(tenant)}
}

func deathsList(deaths int) string { return fmt.Sprint(deathsPrefix, deaths) }

// listOf returns the list that a delivery is in.
func listOf(d *store.Delivery, lane string) string {
	switch {
	case d.Node != "":
		return leasedPrefix + d.Node
	case d.Held:
		return heldList
	case d.Deaths > 0:
		return deathsList(d.Deaths)
	}
	return lane
}

// setList sets what a column list tells.
func setList(d *store.Delivery, list string) {
	d.Held = list == heldList
	if node, ok := strings.CutPrefix(list, leasedPrefix); ok {
		d.Node = node
	}
}

// listsPage is how many lists one query finds: MySQL ends a recursion after 1,000
// steps.
const listsPage = 500

// lists returns the lists that begin with a prefix, and have a delivery that is due
// at now. The query jumps from one list to the next in the index, so that its cost
// grows with the number of lists only.
func (s *Store) lists(ctx context.Context, prefix string, now time.Time) (lists []string, err error) {
	const query = `WITH RECURSIVE t (list, i) AS (
			SELECT (SELECT list FROM {deliveries} WHERE list > ? AND list < ? ORDER BY list LIMIT 1), 1
			UNION ALL
			SELECT (SELECT d.list FROM {deliveries} AS d WHERE d.list > t.list AND d.list < ? ORDER BY d.list LIMIT 1), i + 1
				FROM t WHERE t.list IS NOT NULL AND i < 500
		) SELECT t.list, EXISTS (SELECT 1 FROM {deliveries} AS d WHERE d.list = t.list AND d.next <= ?) FROM t WHERE t.list IS NOT NULL`
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	end := string(prefix[0] + 1)
	for after := prefix; ; {
		found := 0
		err := s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
			rows, err := on(st).QueryContext(ctx, after, end, end, now.UnixMicro())
			if err != nil {
				return err
			}
			return scanAll(rows, func(rows *sql.Rows) error {
				var due bool
				err := rows.Scan(&after, &due)
				if found++; due {
					lists = append(lists, after)
				}
				return err
			})
		})
		if err != nil || found < listsPage {
			return lists, err
		}
	}
}

// A key names a delivery.
type key struct {
	mail string
	n    int
}

// candidates returns the keys of deliveries that the request asks for. They may
// change before they are locked.
func (s *Store) candidates(ctx context.Context, r store.LeaseRequest) ([]key, error) {
	if r.Deaths > 0 {
		got, err := s.firstOf(ctx, r, []string{deathsList(r.Deaths)}, []int{r.Limit}, []int{0})
		if err != nil {
			return nil, err
		}
		return got[0], nil
	}
	suspensions, err := s.suspensions(ctx)
	if err != nil {
		return nil, err
	}
	lists, err := s.lists(ctx, lanePrefix, dueBy(r))
	if err != nil {
		return nil, err
	}
	skipped := spools.NewSkipped(r, suspensions)
	var lanes []store.Lane
	for _, list := range lists {
		if lane := laneOf(list); !skipped.Has(lane) {
			lanes = append(lanes, lane)
		}
	}
	taken := make(map[store.Lane]int)
	return spools.Take(lanes, r.Limit, func(wants []spools.Want) ([][]key, error) {
		var lists []string
		var limits, offsets []int
		for _, w := range wants {
			lists, limits, offsets = append(lists, laneText(w.Lane)), append(limits, w.Limit), append(offsets, taken[w.Lane])
			taken[w.Lane] += w.Limit
		}
		return s.firstOf(ctx, r, lists, limits, offsets)
	})
}

// dueBy is the latest Next that the request asks for.
func dueBy(r store.LeaseRequest) time.Time {
	if !r.Received.IsZero() || r.Deaths > 0 {
		return time.UnixMicro(1 << 62)
	}
	return r.Now
}

// listsAtOnce is how many lists one statement reads.
const listsAtOnce = 50

// firstOf returns, for each list, the keys of the deliveries that are due longest.
func (s *Store) firstOf(ctx context.Context, r store.LeaseRequest, lists []string, limits, offsets []int) ([][]key, error) {
	got := make([][]key, len(lists))
	for at := 0; at < len(lists); at += listsAtOnce {
		query, args := firstQuery(r, lists[at:], limits[at:], offsets[at:])
		st, err := s.prepared(ctx, query)
		if err != nil {
			return nil, err
		}
		err = s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
			rows, err := on(st).QueryContext(ctx, args...)
			if err != nil {
				return err
			}
			clear(got[at:min(len(lists), at+listsAtOnce)]) // it may be a second try
			return scanAll(rows, func(rows *sql.Rows) error {
				var i int
				var k key
				err := rows.Scan(&i, &k.mail, &k.n)
				got[at+i] = append(got[at+i], k)
				return err
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

// firstQuery is the query for up to listsAtOnce lists. A list that is limited by
// age is joined with the rows that have the mails.
func firstQuery(r store.LeaseRequest, lists []string, limits, offsets []int) (query string, args []any) {
	var parts []string
	for i := range min(len(lists), listsAtOnce) {
		from := `{deliveries} AS d`
		if !r.Received.IsZero() {
			from += ` JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0`
		}
		where := ` WHERE d.list = ? AND d.next <= ?`
		args = append(args, lists[i], dueBy(r).UnixMicro())
		if !r.Received.IsZero() {
			where += ` AND m.received + (d.warned - d.warned % 2) / 2 <= ?`
			args = append(args, r.Received.UnixMicro())
		}
		if r.Undelayed {
			where += ` AND d.warned % 2 = 0`
		}
		parts = append(parts, fmt.Sprintf(`SELECT i, mail, n FROM (SELECT %d AS i, d.mail, d.n FROM %s%s ORDER BY d.next LIMIT ? OFFSET ?) AS s%d`, i, from, where, i))
		args = append(args, limits[i], offsets[i])
	}
	return strings.Join(parts, ` UNION ALL `), args
}
