package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Join implements [store.Spool].
func (s *Store) Join(ctx context.Context, n store.Node) error {
	return failed("join", s.join(ctx, n))
}

func (s *Store) join(ctx context.Context, n store.Node) error {
	if err := fits(n.ID, n.Name); err != nil {
		return err
	}
	added, err := s.exec(ctx, `INSERT INTO {nodes} (id, name, beat) VALUES (?, ?, 1) ON CONFLICT DO NOTHING`, n.ID, n.Name)
	if err != nil {
		return err
	}
	if added == 0 {
		return store.ErrTaken
	}
	list, err := s.nodes(ctx)
	if err != nil {
		return err
	}
	for _, other := range list {
		if other.Name != n.Name || other.ID == n.ID || other.Beat == 0 {
			continue
		}
		if _, err := s.exec(ctx, `DELETE FROM {nodes} WHERE id = ?`, other.ID); err != nil {
			return err
		}
		if err := s.free(ctx, other.ID); err != nil {
			return err
		}
	}
	return nil
}

// Renew implements [store.Spool].
func (s *Store) Renew(ctx context.Context, node string) (now time.Time, err error) {
	now, err = s.renew(ctx, node)
	return now, failed("renew", err)
}

func (s *Store) renew(ctx context.Context, node string) (now time.Time, err error) {
	renewed, err := s.exec(ctx, `UPDATE {nodes} SET beat = beat + 1 WHERE id = ?`, node)
	if err != nil {
		return now, err
	}
	if renewed == 0 {
		return now, store.ErrNotFound
	}
	query := `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`
	switch s.dialect {
	case SQLite: // all processes are on one machine and share its clock
		return time.Now().UTC().Truncate(time.Microsecond), nil
	case MySQL:
		query = `SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)`
	}
	st, err := s.prepared(ctx, query)
	if err != nil {
		return now, err
	}
	var micro int64
	err = st.QueryRowContext(ctx).Scan(&micro)
	return time.UnixMicro(micro).UTC(), err
}

// Nodes implements [store.Spool].
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	list, err := s.nodes(ctx)
	return list, failed("list nodes", err)
}

func (s *Store) nodes(ctx context.Context) ([]store.Node, error) {
	// The lists of leased deliveries are read first. So a node that is removed in
	// between is listed once more, and one that joins is not taken for a removed one.
	var lists []list
	for after := leasedPrefix; ; after = lists[len(lists)-1].name {
		page, err := s.listPage(ctx, after, string(leasedPrefix[0]+1))
		if err != nil {
			return nil, err
		}
		lists = append(lists, page...)
		if len(page) < listsPage {
			break
		}
	}
	st, err := s.prepared(ctx, `SELECT id, name, beat FROM {nodes}`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]store.Node)
	var found []store.Node
	if err := scanAll(rows, func(rows *sql.Rows) error {
		var n store.Node
		err := rows.Scan(&n.ID, &n.Name, &n.Beat)
		nodes[n.ID] = n
		found = append(found, n)
		return err
	}); err != nil {
		return nil, err
	}
	for _, l := range lists {
		id := strings.TrimPrefix(l.name, leasedPrefix)
		if _, ok := nodes[id]; !ok {
			found = append(found, store.Node{ID: id})
		}
	}
	slices.SortFunc(found, func(a, b store.Node) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// Remove implements [store.Spool].
func (s *Store) Remove(ctx context.Context, n store.Node) error {
	return failed("remove node", s.remove(ctx, n))
}

func (s *Store) remove(ctx context.Context, n store.Node) error {
	if n.Beat != 0 {
		removed, err := s.exec(ctx, `DELETE FROM {nodes} WHERE id = ? AND beat = ?`, n.ID, n.Beat)
		if err != nil {
			return err
		}
		if removed == 0 {
			return store.ErrConflict
		}
		return s.free(ctx, n.ID)
	}
	st, err := s.prepared(ctx, `SELECT 1 FROM {nodes} WHERE id = ?`)
	if err != nil {
		return err
	}
	if there, err := exists(st.QueryRowContext(ctx, n.ID)); err != nil || there {
		if err == nil {
			err = store.ErrConflict
		}
		return err
	}
	return s.free(ctx, n.ID)
}

// freeAtOnce is how many deliveries are freed in one transaction, so that others
// can write in between.
const freeAtOnce = 1000

// free takes everything from a node that was removed.
func (s *Store) free(ctx context.Context, id string) error {
	for {
		var n int
		if err := s.inTx(ctx, func(tx tx) (err error) {
			if err := tx.writeFirst(ctx); err != nil {
				return err
			}
			n, err = tx.free(ctx, id)
			return err
		}); err != nil || n < freeAtOnce {
			return err
		}
	}
}

var updateFreed = keysQuery(`UPDATE {deliveries} SET lease = `+nextLease+`, deaths = ?, list = ? WHERE (mail, n) IN (...)`, 2)

func (t tx) free(ctx context.Context, id string) (n int, err error) {
	text, err := t.s.sql(`SELECT mail, n, deaths FROM {deliveries} WHERE list = ? ORDER BY mail, n LIMIT ? FOR UPDATE`)
	if err != nil {
		return 0, err
	}
	rows, err := t.QueryContext(ctx, text, leasedPrefix+id, freeAtOnce)
	if err != nil {
		return 0, err
	}
	died := make(map[int][][]any)
	if err := scanAll(rows, func(rows *sql.Rows) error {
		var k key
		var deaths int
		err := rows.Scan(&k.mail, &k.n, &deaths)
		died[deaths+1] = append(died[deaths+1], []any{k.mail, k.n})
		n++
		return err
	}); err != nil {
		return 0, err
	}
	for deaths, keys := range died {
		if err := t.write(ctx, updateFreed, keys, deaths, deathsList(deaths)); err != nil {
			return 0, err
		}
	}
	return n, nil
}
