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
	leasedEnd    = "+" // is greater than the lists of all nodes
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

// laneEnd is greater than the lists of all lanes.
const laneEnd = ">"

// listsPage is how many lists one query finds.
const listsPage = 500

// A list is one with deliveries.
type list struct {
	name string
	next time.Time // when the first of them is due
}

// selectLists jumps from one list to the next in the index, so that its cost grows with
// the number of lists only. MySQL does that for a GROUP BY, and other databases don't.
const (
	selectLists = `WITH RECURSIVE t (list, i) AS (
			SELECT (SELECT list FROM {deliveries} WHERE list > ? AND list < ? ORDER BY list LIMIT 1), 1
			UNION ALL
			SELECT (SELECT d.list FROM {deliveries} AS d WHERE d.list > t.list AND d.list < ? ORDER BY d.list LIMIT 1), i + 1
				FROM t WHERE t.list IS NOT NULL AND i < 500
		) SELECT t.list, (SELECT d.next FROM {deliveries} AS d WHERE d.list = t.list ORDER BY d.next LIMIT 1) FROM t WHERE t.list IS NOT NULL`
	selectListsPostgres = `WITH RECURSIVE t (list, next, i) AS (
			(SELECT list, next, 1 FROM {deliveries} WHERE list > ? AND list < ? ORDER BY list, next LIMIT 1)
			UNION ALL
			SELECT s.list, s.next, i + 1 FROM t CROSS JOIN LATERAL (
				SELECT d.list, d.next FROM {deliveries} AS d WHERE d.list > t.list AND d.list < ? ORDER BY d.list, d.next LIMIT 1) AS s WHERE i < 500
		) SELECT list, next FROM t`
	selectListsMySQL = `SELECT list, MIN(next) FROM {deliveries} WHERE list > ? AND list < ? GROUP BY list ORDER BY list LIMIT 500`
)

// listPage returns the first lists between after and end, at most listsPage.
func (s *Store) listPage(ctx context.Context, after, end string) (page []list, err error) {
	query, args := s.listQuery(after, end)
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	err = s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
		page = nil // it may be a second try
		rows, err := on(st).QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		return scanAll(rows, func(rows *sql.Rows) error {
			l, err := scanList(rows)
			page = append(page, l)
			return err
		})
	})
	return page, err
}

// listQuery returns the query of listPage.
func (s *Store) listQuery(after, end string) (query string, args []any) {
	switch s.dialect {
	case Postgres:
		return selectListsPostgres, []any{after, end, end}
	case MySQL:
		return selectListsMySQL, []any{after, end}
	}
	return selectLists, []any{after, end, end}
}

func scanList(rows *sql.Rows) (l list, err error) {
	var micro int64
	err = rows.Scan(&l.name, &micro)
	l.next = time.UnixMicro(micro)
	return l, err
}

// A key names a delivery.
type key struct {
	mail string
	n    int
}

// A first is one of the deliveries of a list that are due longest.
type first struct {
	key
	next time.Time
}

func keysOf(list []first) []key {
	keys := make([]key, len(list))
	for i, f := range list {
		keys[i] = f.key
	}
	return keys
}

// A look is what a Lease has seen of lanes of the catalog.
type look struct {
	noted int64                    // Lanes.noted before
	lanes map[key]store.Lane       // of the deliveries that were found
	next  map[store.Lane]time.Time // when lanes are due without these; zero if they are empty
}

// candidates returns the keys of deliveries that the request asks for, which may change
// before they are locked. The caller calls learn with what it has leased of them.
func (s *Store) candidates(ctx context.Context, r store.LeaseRequest) (keys []key, seen look, err error) {
	if r.Deaths > 0 {
		got, err := s.firstOf(ctx, r, []string{deathsList(r.Deaths)}, []int{r.Limit}, []int{0})
		if err == nil {
			keys = keysOf(got[0])
		}
		return keys, seen, err
	}
	suspensions, err := s.suspensions(ctx)
	if err != nil {
		return nil, seen, err
	}
	skipped := spools.NewSkipped(r, suspensions)
	if r.Probe || r.Undelayed || !r.Received.IsZero() {
		keys, err = s.searchLanes(ctx, r, skipped)
		return keys, seen, err
	}
	if err := s.readLanes(ctx); err != nil {
		return nil, seen, err
	}
	return s.inTurn(ctx, r, skipped)
}

// inTurn returns what the lanes of the catalog have, in turn.
func (s *Store) inTurn(ctx context.Context, r store.LeaseRequest, skipped *spools.Skipped) (keys []key, seen look, err error) {
	c := &s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	seen = look{c.lanes.Noted(), make(map[key]store.Lane), make(map[store.Lane]time.Time)}
	round := c.lanes.Begin(r.Now, r.Limit, skipped)
	offsets := make(map[store.Lane]int)
	for wants := round.Wants(); len(wants) > 0; wants = round.Wants() {
		c.mu.Unlock()
		got, err := s.headsOf(ctx, r, wants, offsets)
		c.mu.Lock()
		if err != nil {
			return nil, look{}, err
		}
		for i, w := range wants {
			n := 0
			for n < min(len(got[i]), w.Limit) && !got[i][n].next.After(r.Now) {
				seen.lanes[got[i][n].key] = w.Lane
				n++
			}
			keys = append(keys, keysOf(got[i][:n])...)
			offsets[w.Lane] += n
			seen.next[w.Lane] = time.Time{}
			if n < len(got[i]) {
				seen.next[w.Lane] = got[i][n].next
			}
			more := n < len(got[i]) && !got[i][n].next.After(r.Now)
			round.Got(w, n, more)
		}
	}
	return keys, seen, nil
}

// headsOf returns the first deliveries of lanes after those that were returned before,
// whether or not they are due, and one more than are wanted.
func (s *Store) headsOf(ctx context.Context, r store.LeaseRequest, wants []spools.Want, offsets map[store.Lane]int) ([][]first, error) {
	var lists []string
	var limits, starts []int
	for _, w := range wants {
		lists, limits, starts = append(lists, laneText(w.Lane)), append(limits, w.Limit+1), append(starts, offsets[w.Lane])
	}
	r.Now = time.UnixMicro(1 << 62)
	return s.firstOf(ctx, r, lists, limits, starts)
}

// A searched says where a search has ended.
type searched struct {
	begin string // before the lists that were searched
	after string // before those that are next
}

// searchLanes returns what a request asks for that names deliveries more closely. It reads
// only the lanes of the destination if the request names one, and goes on where the last
// call ended.
func (s *Store) searchLanes(ctx context.Context, r store.LeaseRequest, skipped *spools.Skipped) (keys []key, err error) {
	begin, end := lanePrefix, laneEnd
	if r.Probe {
		begin += r.Destination
		end = begin + string(laneSeparator[0]+1)
	}
	start := begin
	if last := s.searched.Load(); last != nil && last.begin == begin {
		start = last.after
	}
	for _, part := range [][2]string{{start, end}, {begin, start + laneSeparator}} {
		for after := part[0]; len(keys) < r.Limit && after < part[1]; {
			page, err := s.listPage(ctx, after, part[1])
			if err != nil {
				return nil, err
			}
			some, err := s.searchPage(ctx, r, skipped, page, r.Limit-len(keys))
			if err != nil {
				return nil, err
			}
			keys = append(keys, some...)
			if len(keys) >= r.Limit || len(page) < listsPage {
				s.searched.Store(&searched{begin, after})
				break
			}
			after = page[len(page)-1].name
		}
	}
	return keys, nil
}

// searchPage returns up to limit of the deliveries in some lanes that the request asks
// for.
func (s *Store) searchPage(ctx context.Context, r store.LeaseRequest, skipped *spools.Skipped, page []list, limit int) ([]key, error) {
	var lanes []store.Lane
	for _, l := range page {
		if lane := laneOf(l.name); !skipped.Has(lane) && !l.next.After(dueBy(r)) {
			lanes = append(lanes, lane)
		}
	}
	taken := make(map[store.Lane]int)
	return spools.Take(lanes, limit, func(wants []spools.Want) (keys [][]key, err error) {
		var lists []string
		var limits, offsets []int
		for _, w := range wants {
			lists, limits, offsets = append(lists, laneText(w.Lane)), append(limits, w.Limit), append(offsets, taken[w.Lane])
			taken[w.Lane] += w.Limit
		}
		got, err := s.firstOf(ctx, r, lists, limits, offsets)
		for _, some := range got {
			keys = append(keys, keysOf(some))
		}
		return keys, err
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

// firstOf returns, for each list, the deliveries that are due longest.
func (s *Store) firstOf(ctx context.Context, r store.LeaseRequest, lists []string, limits, offsets []int) ([][]first, error) {
	got := make([][]first, len(lists))
	for at := 0; at < len(lists); at += listsAtOnce {
		query, args := s.firstQuery(r, lists[at:], limits[at:], offsets[at:])
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
				var f first
				var micro int64
				err := rows.Scan(&i, &f.mail, &f.n, &micro)
				f.next = time.UnixMicro(micro)
				got[at+i] = append(got[at+i], f)
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
func (s *Store) firstQuery(r store.LeaseRequest, lists []string, limits, offsets []int) (query string, args []any) {
	from, where, conditions := `{deliveries} AS d`, ` AND d.next <= ?`, []any{dueBy(r).UnixMicro()}
	if !r.Received.IsZero() {
		from += ` JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0`
		where += ` AND m.received + (d.warned - d.warned % 2) / 2 <= ?`
		conditions = append(conditions, r.Received.UnixMicro())
	}
	if r.Undelayed {
		where += ` AND d.warned % 2 = 0`
	}
	n := min(len(lists), listsAtOnce)
	if s.dialect == Postgres { // which plans a UNION of many queries slowly
		for i := range n {
			args = append(args, i, lists[i], limits[i], offsets[i])
		}
		return `SELECT v.i, s.mail, s.n, s.next FROM (VALUES (?::bigint, ?::text, ?::bigint, ?::bigint)` +
			strings.Repeat(`, (?::bigint, ?::text, ?::bigint, ?::bigint)`, n-1) + `) AS v (i, list, lim, off) CROSS JOIN LATERAL (
			SELECT d.mail, d.n, d.next FROM ` + from + ` WHERE d.list = v.list` + where + ` ORDER BY d.next LIMIT v.lim OFFSET v.off) AS s`, append(args, conditions...)
	}
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`SELECT i, mail, n, next FROM (SELECT %d AS i, d.mail, d.n, d.next FROM %s WHERE d.list = ?%s ORDER BY d.next LIMIT ? OFFSET ?) AS s%d`, i, from, where, i))
		args = append(append(append(args, lists[i]), conditions...), limits[i], offsets[i])
	}
	return strings.Join(parts, ` UNION ALL `), args
}
