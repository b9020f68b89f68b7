package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// This file reads some lists in the order of keys, so that the deliveries of a
// destination, or those that are held, are found without a look at all others. On
// SQLite and PostgreSQL the index of keys has what waits and what is held in this
// order, and what is leased is never much.

// byLists reports whether a filter is read by lists.
func byLists(f store.Filter) bool {
	return f.Mail == "" && f.Node == "" && (toDestination(f) || f.State == store.StateHeld)
}

func toDestination(f store.Filter) bool { return f.Destination != "" || f.ToDestination }

// laneRange returns the least and the greatest lane of a filter.
func laneRange(f store.Filter) (least, greatest string) {
	switch {
	case !toDestination(f):
		return lanePrefix, laneEnd
	case f.Tenant != "":
		lane := laneText(store.Lane{Destination: f.Destination, Tenant: f.Tenant})
		return lane, lane
	}
	least = lanePrefix + f.Destination
	return least + laneSeparator, least + string(laneSeparator[0]+1)
}

// A part is a query for the keys of some deliveries. Where inOrder is not set, the
// index has no order of keys: all of them are read, and databases must not find them by
// their keys.
type part struct {
	where   string
	args    []any
	inOrder bool
}

const (
	afterKey  = ` AND (mail > ? OR mail = ? AND n >= ?) AND mail >= ?`
	notBefore = ` AND NOT (mail < ? OR mail = ? AND n < ?)`
)

// union returns a query for the first keys of all parts.
func union(parts []part, mail string, n, limit int) (query string, args []any) {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString(` UNION ALL `)
		}
		if args = append(append(args, p.args...), mail, mail, n); !p.inOrder {
			b.WriteString(`SELECT mail, n FROM {deliveries} WHERE ` + p.where + notBefore)
			continue
		}
		b.WriteString(`SELECT * FROM (SELECT mail, n FROM {deliveries} WHERE ` + p.where + afterKey + ` ORDER BY mail, n LIMIT ?) AS s` + suffix(i))
		args = append(args, mail, limit)
	}
	return b.String(), args
}

// suffix tells subqueries apart.
func suffix(i int) string { return string(rune('a'+i/26)) + string(rune('a'+i%26)) }

// inLists returns the first deliveries after a key that are in the lists of a filter. If
// there may be more, next is the key to go on with. It reads in one snapshot, so that
// no delivery is missed that moves to another list.
func (s *Store) inLists(ctx context.Context, f store.Filter, after string, limit int) (found []store.Leased, next string, err error) {
	err = s.inSnapshot(ctx, func(tx tx) error {
		found, next, err = tx.inLists(ctx, f, after, limit)
		return err
	})
	return found, next, err
}

func (t tx) inLists(ctx context.Context, f store.Filter, after string, limit int) (found []store.Leased, next string, err error) {
	mail, n := firstAfter(after)
	parts, bound, err := t.partsOf(ctx, f, mail, n)
	if err != nil || len(parts) == 0 {
		return nil, "", err
	}
	query, args := union(parts, mail, n, limit)
	where := ``
	if bound != "" {
		where = ` WHERE mail < ?`
		args = append(args, bound)
	}
	query = `SELECT ` + leasedColumns + ` FROM (SELECT mail, n FROM (` + query + `) AS u` + where + ` ORDER BY mail, n LIMIT ?) AS k
		JOIN {deliveries} AS d ON d.mail = k.mail AND d.n = k.n LEFT JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0 ORDER BY d.mail, d.n`
	found, err = selectIn(ctx, t, scanLeased, query, append(args, limit)...)
	if len(found) == limit {
		return found, found[limit-1].Delivery.Key(), err
	}
	return found, bound, err
}

// partsOf returns what is to be read for a filter. If bound is not empty, the parts have
// all deliveries of the filter only for mails before it.
func (t tx) partsOf(ctx context.Context, f store.Filter, mail string, n int) (parts []part, bound string, err error) {
	least, greatest := laneRange(f)
	const inLanes = ` AND lane >= ? AND lane <= ?`
	if f.State == 0 || f.State == store.StateWaiting {
		lanes, until, err := t.firstLanes(ctx, f, mail, n)
		if err != nil {
			return nil, "", err
		}
		bound = until
		for _, lane := range lanes {
			parts = append(parts, part{`list = ? AND list >= '` + lanePrefix + `'`, []any{lane}, true})
		}
		parts = append(parts, part{`list >= '` + deathsPrefix + `'` + inLanes, []any{least, greatest}, false})
	}
	if f.State == 0 || f.State == store.StateLeased {
		parts = append(parts, part{`list > '` + leasedPrefix + `' AND list < '` + leasedEnd + `'` + inLanes, []any{least, greatest}, false})
	}
	if f.State == 0 || f.State == store.StateHeld {
		held := part{`list = '` + heldList + `'` + inLanes, []any{least, greatest}, true}
		if f.Tenant != "" {
			held = part{held.where + ` AND tenant = ?`, append(held.args, string(f.Tenant)), true}
		}
		parts = append(parts, held)
	}
	return parts, bound, nil
}

// firstLanes returns up to listsAtOnce lanes of a destination: those whose first
// delivery after a key comes first. If there are others, theirs do not come before
// bound.
func (t tx) firstLanes(ctx context.Context, f store.Filter, mail string, n int) (lanes []string, bound string, err error) {
	least, greatest := laneRange(f)
	if least == greatest {
		return []string{least}, "", nil
	}
	for after := least; ; {
		query, args := t.s.listQuery(after, greatest)
		page, err := selectIn(ctx, t, scanList, query, args...)
		if err != nil {
			return nil, "", err
		}
		for _, l := range page {
			lanes = append(lanes, l.name)
		}
		if len(page) < listsPage {
			break
		}
		after = page[len(page)-1].name
	}
	if len(lanes) <= listsAtOnce {
		return lanes, "", nil
	}
	heads, err := t.headsAfter(ctx, lanes, mail, n)
	if err != nil || len(heads) <= listsAtOnce {
		return namesOf(heads), "", err
	}
	return namesOf(heads[:listsAtOnce]), heads[listsAtOnce].mail, nil
}

// A head is the first mail of a lane after a key.
type head struct{ lane, mail string }

func namesOf(heads []head) (lanes []string) {
	for _, h := range heads {
		lanes = append(lanes, h.lane)
	}
	return lanes
}

// headsAfter returns the heads of lanes, the first mail first. A lane without one is
// left out.
func (t tx) headsAfter(ctx context.Context, lanes []string, mail string, n int) (heads []head, err error) {
	for chunk := range slices.Chunk(lanes, listsAtOnce) {
		var queries []string
		var args []any
		for i, lane := range chunk {
			queries = append(queries, `SELECT * FROM (SELECT list, mail FROM {deliveries} WHERE list = ? AND list >= '`+lanePrefix+`'`+afterKey+` ORDER BY mail, n LIMIT 1) AS s`+suffix(i))
			args = append(args, lane, mail, mail, n, mail)
		}
		some, err := selectIn(ctx, t, func(rows *sql.Rows) (h head, err error) { return h, rows.Scan(&h.lane, &h.mail) }, strings.Join(queries, ` UNION ALL `), args...)
		if err != nil {
			return nil, err
		}
		heads = append(heads, some...)
	}
	slices.SortFunc(heads, func(a, b head) int { return cmp.Or(cmp.Compare(a.mail, b.mail), cmp.Compare(a.lane, b.lane)) })
	return heads, nil
}
