package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/gatepost-mail/gatepost/store"
)

// Settle implements [store.Spool].
func (s *Store) Settle(ctx context.Context, outcomes []store.Outcome) (lost []store.Outcome, err error) {
	for _, o := range outcomes {
		if err := fitsReason(o.Reason); err != nil {
			return nil, failed("settle", err)
		}
	}
	op := &operation{outcomes: slices.Clone(outcomes), stale: make([]bool, len(outcomes)), isLost: make([]bool, len(outcomes))}
	if op.events, err = encode(eventsOf(outcomes)); err != nil {
		return nil, failed("settle", err)
	}
	g := &s.settles
	if s.dialect == SQLite {
		g = &s.puts
	}
	err = g.do(ctx, op, s.commit)
	s.checkpoint(ctx)
	if err != nil {
		return nil, failed("settle", err)
	}
	return op.lost, nil
}

// eventsOf returns what outcomes record.
func eventsOf(outcomes []store.Outcome) []*store.Event {
	list := make([]*store.Event, 0, len(outcomes))
	for i := range outcomes {
		if e := &outcomes[i].Event; *e != (store.Event{}) {
			list = append(list, e)
		}
	}
	return list
}

// planSettles adds the statements of Settle to a batch.
func (s *Store) planSettles(ctx context.Context, b *batch, ops []*operation) error {
	var done, firsts, later [][]any
	mails := make(map[string]bool) // of the first rows that are done, true if of others, too
	type lease struct {
		mail  string
		n     int
		lease int64
	}
	seen := make(map[lease]bool)
	for _, op := range ops {
		op.lost = nil
		for i, o := range op.outcomes {
			key := lease{o.Mail, o.N, o.Lease}
			op.isLost[i] = op.stale[i] || seen[key]
			switch {
			case op.isLost[i]:
				op.lost = append(op.lost, o)
			case !o.Done:
				later = append(later, laterRow(o))
			default:
				row := []any{o.Mail, o.N, o.Lease}
				done = append(done, row)
				if o.N == 0 {
					firsts = append(firsts, row)
				}
				mails[o.Mail] = mails[o.Mail] || o.N > 0
			}
			seen[key] = true
		}
	}
	for _, rows := range [][][]any{done, firsts, later} {
		inOrder(rows)
	}
	b.strict = b.strict || len(later) > 0
	b.settles = len(later)+len(done) > 0
	if err := s.plan(ctx, &b.writes, s.updateLater(), later); err != nil || len(done) == 0 {
		return err
	}
	r := &removal{s: s, mails: mails}
	b.rest = r
	return errors.Join(
		s.plan(ctx, &r.done, deleteDone, done),
		s.plan(ctx, &r.firsts, settleFirst, firsts))
}

// A removal removes deliveries that are done, and mails that have none left.
type removal struct {
	s            *Store
	done, firsts []statement
	mails        map[string]bool // those of done; true if more than the first row of it is
	outside      []string        // names of contents to drop after the commit
}

var (
	deleteDone  = keysQuery(`DELETE FROM {deliveries} WHERE (mail, n, lease) IN (...) AND (n > 0 OR recipients = 1 AND upload = '')`, 3)
	settleFirst = keysQuery(`UPDATE {deliveries} SET lease = `+nextLease+`, list = NULL WHERE (mail, n, lease) IN (...) AND list IS NOT NULL`, 3)
	lockMails   = keysQuery(`SELECT mail FROM {deliveries} WHERE mail IN (...) AND n = 0 ORDER BY mail FOR UPDATE`, 1)
	goneMails   = keysQuery(`SELECT mail, upload FROM {deliveries} AS m WHERE mail IN (...) AND n = 0 AND list IS NULL
		AND NOT EXISTS (SELECT 1 FROM {deliveries} AS d WHERE d.mail = m.mail AND d.n > 0)`, 1)
	deleteMails = keysQuery(`DELETE FROM {deliveries} WHERE mail IN (...) AND n = 0`, 1)
)

// run does most of the work with one statement, and all of it if each mail has
// one recipient. A first row that can't go yet stays for its mail.
func (r *removal) run(ctx context.Context, tx tx) error {
	r.outside = nil
	n, err := tx.run(ctx, r.done)
	if err != nil {
		return err
	}
	all := n == rowsOf(r.done)
	if !all {
		marked, err := tx.run(ctx, r.firsts)
		if err != nil {
			return err
		}
		if n+marked != rowsOf(r.done) {
			return errStale
		}
	}
	var touched [][]any
	for _, mail := range slices.Sorted(maps.Keys(r.mails)) {
		if r.mails[mail] || !all {
			touched = append(touched, []any{mail})
		}
	}
	return r.empty(ctx, tx, touched)
}

// empty removes mails that have no recipients left.
//
// Two transactions may settle the last deliveries of one mail at once, and
// neither sees what the other does. So both lock the mail, when they have
// removed their deliveries and before they ask whether any is left: the second
// to get the lock sees that there is none.
func (r *removal) empty(ctx context.Context, tx tx, mails [][]any) error {
	if r.s.dialect != SQLite { // which has one writer
		if err := tx.read(ctx, lockMails, mails, func(*sql.Rows) error { return nil }); err != nil {
			return err
		}
	}
	var gone [][]any
	var uploads []string
	if err := tx.read(ctx, goneMails, mails, func(rows *sql.Rows) error {
		var mail, upload string
		err := rows.Scan(&mail, &upload)
		gone = append(gone, []any{mail})
		if upload != "" {
			uploads = append(uploads, upload)
		}
		return err
	}); err != nil {
		return err
	}
	for _, name := range uploads {
		if err := r.removeContent(ctx, tx, name); err != nil {
			return err
		}
	}
	return tx.write(ctx, deleteMails, gone)
}

// removeContent removes a content whose mail goes. One outside is dropped after
// the commit; until then sweep knows of it.
func (r *removal) removeContent(ctx context.Context, tx tx, name string) error {
	if !isOutside(name) {
		_, err := tx.exec(ctx, deleteContent, name)
		return err
	}
	r.outside = append(r.outside, name)
	_, err := tx.exec(ctx, `INSERT INTO {uploads} (upload, started) VALUES (?, 0)`, name)
	return err
}

// inOrder sorts rows that begin with a mail and a number, so that transactions
// lock them in the same order. PostgreSQL goes through a list as it likes; where two
// meet there, it ends one, which is tried again.
func inOrder(rows [][]any) {
	slices.SortFunc(rows, func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[0].(string), b[0].(string)), cmp.Compare(a[1].(int), b[1].(int)))
	})
}

// updateLater records outcomes that aren't done. The values come as a table,
// whose columns SQLite and PostgreSQL call column1 and so on by themselves.
func (s *Store) updateLater() rowsQuery {
	const set = ` SET lease = ` + nextLease + `, deaths = 0, next = column4, list = CASE column5 WHEN 1 THEN '` + heldList + `' ELSE lane END,
		attempts = column6, warned = column7, reason = column8`
	const on = ` d.mail = column1 AND d.n = column2 AND d.lease = column3 AND d.list IS NOT NULL`
	switch s.dialect {
	case Postgres:
		return rowsQuery{`UPDATE {deliveries} AS d` + set + ` FROM (VALUES ...) AS v WHERE` + on,
			`(?::text, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::bytea)`, ", ", false}
	case MySQL:
		return rowsQuery{`UPDATE {deliveries} AS d JOIN (...) AS v ON` + on + set,
			`SELECT ? AS column1, ? AS column2, ? AS column3, ? AS column4, ? AS column5, ? AS column6, ? AS column7, CAST(? AS BINARY) AS column8`, " UNION ALL ", false}
	default:
		return rowsQuery{`UPDATE {deliveries} AS d` + set + ` FROM (VALUES ...) AS v WHERE` + on, tuple(8), ", ", false}
	}
}

func laterRow(o store.Outcome) []any {
	return []any{
		o.Mail, o.N, o.Lease, o.Next.UnixMicro(), number(o.Held),
		o.Attempts, warnedOf(o.Delayed, o.Idle), []byte(o.Reason),
	}
}

var (
	selectMails   = keysQuery(`SELECT mail, notice, digest FROM {deliveries} WHERE mail IN (...) AND n = 0`, 1)
	selectUploads = keysQuery(`SELECT upload FROM {uploads} WHERE upload IN (...) AND started > 0`, 1)
	selectLeases  = keysQuery(`SELECT mail, n, lease FROM {deliveries} WHERE (mail, n) IN (...) AND list IS NOT NULL`, 2)
)

// look finds out which mails exist and which leases are held.
func (s *Store) look(ctx context.Context, ops []*operation) error {
	if err := s.lookForKeys(ctx, ops); err != nil {
		return err
	}
	have, err := s.present(ctx, ops)
	if err != nil {
		return err
	}
	for _, op := range ops {
		op.compare(have)
	}
	return nil
}

// A present is what the database has of some operations.
type present struct {
	mails   map[string]presentMail
	uploads map[string]bool
	leases  map[key]int64
}

type presentMail struct {
	notice bool
	digest sql.NullInt64 // a row of before version 3 has none
}

func (s *Store) present(ctx context.Context, ops []*operation) (have present, err error) {
	var mails, uploads, keys [][]any
	for _, op := range ops {
		if op.mail != "" {
			mails, uploads = append(mails, []any{op.mail}), append(uploads, []any{op.upload})
		}
		for _, o := range op.outcomes {
			keys = append(keys, []any{o.Mail, o.N})
		}
	}
	have = present{make(map[string]presentMail), make(map[string]bool), make(map[key]int64)}
	return have, errors.Join(
		s.each(ctx, selectMails, mails, func(rows *sql.Rows) error {
			var id string
			var notice int64
			var m presentMail
			err := rows.Scan(&id, &notice, &m.digest)
			m.notice = notice != 0
			have.mails[id] = m
			return err
		}),
		s.each(ctx, selectUploads, uploads, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			have.uploads[name] = true
			return err
		}),
		s.each(ctx, selectLeases, keys, func(rows *sql.Rows) error {
			var k key
			var lease int64
			err := rows.Scan(&k.mail, &k.n, &lease)
			have.leases[k] = lease
			return err
		}))
}

// compare notes which mails exist, and which leases are not held.
func (op *operation) compare(have present) {
	if there, ok := have.mails[op.mail]; ok {
		op.found = true
		if there.digest.Valid && !op.same(there.notice, there.digest.Int64) {
			op.err = errTaken(op.mail)
		}
	}
	if op.upload != "" && !op.found && op.err == nil && !have.uploads[op.upload] {
		op.err = errors.New("the content took so long that it was removed as a leftover")
	}
	for i, o := range op.outcomes {
		lease, ok := have.leases[key{o.Mail, o.N}]
		op.stale[i] = !ok || lease != o.Lease
	}
}

// each runs a query that reads, for all rows, and calls scan for each row of
// the result.
func (s *Store) each(ctx context.Context, q rowsQuery, rows [][]any, scan func(*sql.Rows) error) error {
	var statements []statement
	if err := s.plan(ctx, &statements, q, rows); err != nil || len(statements) == 0 {
		return err
	}
	return s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
		for _, st := range statements {
			result, err := on(st.prepared).QueryContext(ctx, st.args...)
			if err != nil {
				return err
			}
			if err := scanAll(result, scan); err != nil {
				return err
			}
		}
		return nil
	})
}
