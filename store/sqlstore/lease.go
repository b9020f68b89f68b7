package sqlstore

import (
	"context"
	"database/sql"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Lease implements [store.Spool].
func (s *Store) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	leased, err := s.lease(ctx, r)
	return leased, failed("lease", err)
}

func (s *Store) lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	s.sweep(ctx, r.Now)
	if r.Limit <= 0 {
		return nil, ctx.Err()
	}
	found, seen, err := s.candidates(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		s.catalog.learn(seen, nil)
		return nil, nil
	}
	keys := make([][]any, len(found))
	for i, k := range found {
		keys[i] = []any{k.mail, k.n}
	}
	var leased []store.Leased
	err = s.inTx(ctx, func(tx tx) error {
		if err := tx.writeFirst(ctx); err != nil {
			return err
		}
		leased, err = tx.lease(ctx, r, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.catalog.learn(seen, leased)
	return leased, nil
}

// writeFirst begins a transaction that reads before it writes. On SQLite the first
// statement must write; see inTx.
func (t tx) writeFirst(ctx context.Context) error {
	if t.s.dialect == SQLite {
		_, err := t.exec(ctx, `DELETE FROM {uploads} WHERE upload = ''`)
		return err
	}
	return t.planAnew(ctx)
}

// lockWaiting locks those of the deliveries that still wait. Another transaction
// that has locked some is about to change them, so they are left out. SUBSTR keeps
// PostgreSQL from reading all that waits by the index of lists.
var (
	lockWaiting = keysQuery(`SELECT mail, n FROM {deliveries} WHERE (mail, n) IN (...) AND SUBSTR(list, 1, 1) = '`+lanePrefix+`' FOR UPDATE SKIP LOCKED`, 2)
	updateLease = keysQuery(`UPDATE {deliveries} SET lease = `+nextLease+`, list = ?, tried = ?, attempts = attempts + 1 WHERE (mail, n) IN (...)`, 2)
)

// selectLeased reads deliveries and their mails. For a list of keys PostgreSQL expects
// more rows than there are, and would read all mails.
func (s *Store) selectLeased() rowsQuery {
	if s.dialect == Postgres {
		return rowsQuery{`SELECT ` + leasedColumns + ` FROM (VALUES ...) AS v JOIN {deliveries} AS d ON d.mail = column1 AND d.n = column2
			LEFT JOIN {deliveries} AS m ON m.mail = column1 AND m.n = 0`, `(?::text, ?::bigint)`, ", ", false}
	}
	return keysQuery(`SELECT `+leasedColumns+` FROM {deliveries} AS d LEFT JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0 WHERE (d.mail, d.n) IN (...)`, 2)
}

// nextLease is the token after a row's. After the largest number, which only a
// damaged row has, it begins with 1 again: a statement that fails would fail for
// all its rows.
const nextLease = `CASE WHEN lease < 9223372036854775807 THEN lease + 1 ELSE 1 END`

// lease leases those of the deliveries that still wait, and returns them in order.
func (t tx) lease(ctx context.Context, r store.LeaseRequest, keys [][]any) ([]store.Leased, error) {
	lock := lockWaiting
	if r.Deaths > 0 {
		lock = keysQuery(`SELECT mail, n FROM {deliveries} WHERE (mail, n) IN (...) AND list = '`+deathsList(r.Deaths)+`' FOR UPDATE SKIP LOCKED`, 2)
	}
	locked := make(map[key]bool, len(keys))
	if err := t.read(ctx, lock, keys, func(rows *sql.Rows) error {
		var k key
		err := rows.Scan(&k.mail, &k.n)
		locked[k] = true
		return err
	}); err != nil {
		return nil, err
	}
	var mine [][]any
	for _, k := range keys {
		if locked[key{k[0].(string), k[1].(int)}] {
			mine = append(mine, k)
		}
	}
	if err := t.write(ctx, updateLease, mine, leasedPrefix+r.Node, r.Now.UnixMicro()); err != nil {
		return nil, err
	}
	found := make(map[key]store.Leased, len(mine))
	if err := t.read(ctx, t.s.selectLeased(), mine, func(rows *sql.Rows) error {
		l, err := scanLeased(rows)
		found[key{l.Delivery.Mail, l.Delivery.N}] = l
		return err
	}); err != nil {
		return nil, err
	}
	leased := make([]store.Leased, len(mine))
	for i, k := range mine {
		leased[i] = found[key{k[0].(string), k[1].(int)}]
	}
	return leased, nil
}

// leasedColumns are what scanLeased reads: of a delivery d and its mail m,
// which may be missing.
const leasedColumns = `d.mail, d.n, d.recipient, d.notify, d.original, d.lane, d.list, d.lease, d.next, d.tried, d.attempts, d.deaths, d.warned, d.reason,
	m.mail, m.tenant, m.domain, m.username, m.sender, m.remote, m.received, m.size, m.body, m.utf8, m.require_tls, m.ret, m.envelope_id, m.notice`

// warnedOf returns the column warned: twice the microseconds of Idle, and one more if
// Delayed is set. On SQLite a column that is added later stands behind the content, and
// reading it reads the content, so Idle has no column of its own.
func warnedOf(delayed bool, idle time.Duration) int64 {
	return 2*idle.Microseconds() + number(delayed)
}

func scanLeased(rows *sql.Rows) (store.Leased, error) {
	var l store.Leased
	d := &l.Delivery
	var recipient, notify, original, reason []byte
	var lane, list string
	var next, tried, warned int64
	var id, tenant, remote sql.NullString
	var domain, username, sender, body, ret, envelopeID []byte
	var received, size, utf8, requireTLS, notice sql.NullInt64
	err := rows.Scan(&d.Mail, &d.N, &recipient, &notify, &original, &lane, &list, &d.Lease, &next, &tried, &d.Attempts, &d.Deaths, &warned, &reason,
		&id, &tenant, &domain, &username, &sender, &remote, &received, &size, &body, &utf8, &requireTLS, &ret, &envelopeID, &notice)
	if err != nil {
		return l, err
	}
	d.Recipient, d.Notify, d.OriginalRecipient, d.Reason = string(recipient), string(notify), string(original), string(reason)
	d.Destination = laneOf(lane).Destination
	setList(d, list)
	d.Next, d.Tried = time.UnixMicro(next).UTC(), time.UnixMicro(tried).UTC()
	d.Delayed, d.Idle = warned%2 != 0, time.Duration(warned/2)*time.Microsecond
	l.Mail = store.Mail{
		ID: id.String, Tenant: store.TenantID(tenant.String), Domain: string(domain), Username: string(username), From: string(sender),
		Received: time.UnixMicro(received.Int64).UTC(), Size: size.Int64, Body: string(body), UTF8: utf8.Int64 != 0,
		RequireTLS: requireTLS.Int64 != 0, Return: string(ret), EnvelopeID: string(envelopeID), Notice: notice.Int64 != 0,
	}
	if remote.String != "" {
		l.Mail.Remote, err = netip.ParseAddr(remote.String)
	}
	if !id.Valid || !received.Valid || !size.Valid || err != nil {
		l.Mail = store.Mail{ID: d.Mail}
	}
	return l, nil
}
