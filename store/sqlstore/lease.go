package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Lease implements [store.Spool].
func (s *Store) Lease(ctx context.Context, now, until time.Time, limit int) ([]store.Leased, error) {
	leased, err := s.lease(ctx, now, until, limit)
	return leased, failed("lease", err)
}

func (s *Store) lease(ctx context.Context, now, until time.Time, limit int) ([]store.Leased, error) {
	if err := s.sweep(ctx, now); err != nil {
		return nil, err
	}
	due, err := s.anyDue(ctx, now)
	if err != nil || !due || limit <= 0 {
		return nil, err
	}
	var leased []store.Leased
	err = s.inTx(ctx, func(tx tx) error {
		// On SQLite the first statement must write; see inTx.
		if s.dialect == SQLite {
			if _, err := tx.exec(ctx, `DELETE FROM {uploads} WHERE upload = ''`); err != nil {
				return err
			}
		}
		if err := tx.planAnew(ctx); err != nil {
			return err
		}
		keys, err := tx.due(ctx, now, limit)
		if err != nil {
			return err
		}
		leased, err = tx.lease(ctx, keys, until)
		return err
	})
	if err != nil {
		return nil, err
	}
	return leased, nil
}

// anyDue spares whoever asks in vain a transaction. On PostgreSQL asking needs one
// anyway.
func (s *Store) anyDue(ctx context.Context, now time.Time) (bool, error) {
	if s.dialect == Postgres {
		return true, nil
	}
	st, err := s.prepared(ctx, `SELECT 1 FROM {deliveries} WHERE ready <= ? ORDER BY ready LIMIT 1`)
	if err != nil {
		return false, err
	}
	return exists(st.QueryRowContext(ctx, now.UnixMicro()))
}

// due locks deliveries that can be leased and returns their keys, those first
// that have waited longest. It reads no more of the index than it returns, but
// for what others have locked.
func (t tx) due(ctx context.Context, now time.Time, limit int) (keys [][]any, err error) {
	text, err := t.s.sql(`SELECT mail, n FROM {deliveries} WHERE ready <= ? ORDER BY ready LIMIT ? FOR UPDATE SKIP LOCKED`)
	if err != nil {
		return nil, err
	}
	rows, err := t.QueryContext(ctx, text, now.UnixMicro(), limit)
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(rows *sql.Rows) error {
		var mail string
		var n int
		err := rows.Scan(&mail, &n)
		keys = append(keys, []any{mail, n})
		return err
	})
	return keys, err
}

var updateLease = keysQuery(`UPDATE {deliveries} SET lease = `+nextLease+`, leased_until = ?, ready = `+later+` WHERE (mail, n) IN (...)`, 2)

// selectLeased reads deliveries and their mails. Of a list of keys PostgreSQL
// expects more rows than there are, and would read all mails.
func (s *Store) selectLeased() rowsQuery {
	if s.dialect == Postgres {
		return rowsQuery{`SELECT ` + leasedColumns + ` FROM (VALUES ...) AS v JOIN {deliveries} AS d ON d.mail = column1 AND d.n = column2
			LEFT JOIN {deliveries} AS m ON m.mail = column1 AND m.n = 0`, `(?::text, ?::bigint)`, ", ", false}
	}
	return keysQuery(`SELECT `+leasedColumns+` FROM {deliveries} AS d LEFT JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0 WHERE (d.mail, d.n) IN (...)`, 2)
}

// nextLease is the lease after a row's. Beyond the largest number, which only
// damage can lead to, it begins anew: a statement that fails would fail for all
// rows that it is about.
const nextLease = `CASE WHEN lease < ` + heldText + ` THEN lease + 1 ELSE 1 END`

// later is the ready of a delivery with a new lease.
const later = `CASE WHEN next > ? THEN next ELSE ? END`

// lease leases deliveries that are locked and returns them in order.
func (t tx) lease(ctx context.Context, keys [][]any, until time.Time) ([]store.Leased, error) {
	at := until.UnixMicro()
	if err := t.write(ctx, updateLease, keys, at, at, at); err != nil {
		return nil, err
	}
	type key struct {
		mail string
		n    int
	}
	found := make(map[key]store.Leased, len(keys))
	if err := t.read(ctx, t.s.selectLeased(), keys, func(rows *sql.Rows) error {
		l, err := scanLeased(rows)
		found[key{l.Delivery.Mail, l.Delivery.N}] = l
		return err
	}); err != nil {
		return nil, err
	}
	leased := make([]store.Leased, len(keys))
	for i, k := range keys {
		leased[i] = found[key{k[0].(string), k[1].(int)}]
	}
	return leased, nil
}

var updateRenewed = keysQuery(`UPDATE {deliveries} SET leased_until = ?,
	ready = CASE WHEN ready = `+heldText+` THEN ready ELSE `+later+` END WHERE (mail, n, lease) IN (...) AND ready IS NOT NULL`, 3)

const heldText = `9223372036854775807`

// Renew implements [store.Spool].
func (s *Store) Renew(ctx context.Context, leased []store.Delivery, until time.Time) (lost []store.Delivery, err error) {
	lost, err = s.renew(ctx, leased, until)
	return lost, failed("renew", err)
}

func (s *Store) renew(ctx context.Context, leased []store.Delivery, until time.Time) (lost []store.Delivery, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at := until.UnixMicro()
	keys := make([][]any, len(leased))
	for i, d := range leased {
		keys[i] = []any{d.Mail, d.N, d.Lease}
	}
	inOrder(keys)
	var statements []statement
	if err := s.plan(ctx, &statements, updateRenewed, keys, at, at, at); err != nil {
		return nil, err
	}
	var renewed int64
	if err := s.inTx(ctx, func(tx tx) error {
		if err := tx.planAnew(ctx); err != nil {
			return err
		}
		renewed, err = tx.run(ctx, statements)
		return err
	}); err != nil || renewed == rowsOf(statements) {
		return nil, err
	}
	// Whoever has lost a lease doesn't get it again: it's not too late to look.
	op := &operation{outcomes: make([]store.Outcome, len(leased)), stale: make([]bool, len(leased))}
	for i, d := range leased {
		op.outcomes[i] = store.Outcome{Mail: d.Mail, N: d.N, Lease: d.Lease}
	}
	if err := s.look(ctx, []*operation{op}); err != nil {
		return nil, err
	}
	for i, d := range leased {
		if op.stale[i] {
			lost = append(lost, d)
		}
	}
	return lost, nil
}

// leasedColumns are what scanLeased reads: of a delivery d and its mail m,
// which may be missing.
const leasedColumns = `d.mail, d.n, d.recipient, d.notify, d.original, d.lease, d.leased_until, d.next, d.ready, d.attempts, d.warned, d.reason,
	m.mail, m.tenant, m.domain, m.username, m.sender, m.remote, m.received, m.size, m.body, m.utf8, m.require_tls, m.ret, m.envelope_id`

func scanLeased(rows *sql.Rows) (store.Leased, error) {
	var l store.Leased
	d := &l.Delivery
	var recipient, notify, original, reason []byte
	var leasedUntil, next, ready, warned int64
	var id, tenant, remote sql.NullString
	var domain, username, sender, body, ret, envelopeID []byte
	var received, size, utf8, requireTLS sql.NullInt64
	err := rows.Scan(&d.Mail, &d.N, &recipient, &notify, &original, &d.Lease, &leasedUntil, &next, &ready, &d.Attempts, &warned, &reason,
		&id, &tenant, &domain, &username, &sender, &remote, &received, &size, &body, &utf8, &requireTLS, &ret, &envelopeID)
	if err != nil {
		return l, err
	}
	d.Recipient, d.Notify, d.OriginalRecipient, d.Reason = string(recipient), string(notify), string(original), string(reason)
	d.LeasedUntil, d.Next = time.UnixMicro(leasedUntil).UTC(), time.UnixMicro(next).UTC()
	d.Delayed, d.Held = warned != 0, ready == heldReady
	l.Mail = store.Mail{
		ID: id.String, Tenant: store.TenantID(tenant.String), Domain: string(domain), Username: string(username), From: string(sender),
		Received: time.UnixMicro(received.Int64).UTC(), Size: size.Int64, Body: string(body), UTF8: utf8.Int64 != 0,
		RequireTLS: requireTLS.Int64 != 0, Return: string(ret), EnvelopeID: string(envelopeID),
	}
	if remote.String != "" {
		l.Mail.Remote, err = netip.ParseAddr(remote.String)
	}
	if !id.Valid || !received.Valid || !size.Valid || err != nil {
		l.Mail = store.Mail{ID: d.Mail}
	}
	return l, nil
}

// Deliveries implements [store.Spool].
func (s *Store) Deliveries(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Leased, error) {
	list, err := s.deliveries(ctx, tenant, page)
	return list, failed("list deliveries", err)
}

func (s *Store) deliveries(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Leased, error) {
	const from = `SELECT ` + leasedColumns + ` FROM {deliveries} AS d LEFT JOIN {deliveries} AS m ON m.mail = d.mail AND m.n = 0`
	const after = ` d.ready IS NOT NULL AND (d.mail > ? OR d.mail = ? AND d.n >= ?) AND d.mail >= ? ORDER BY `
	mail, n := firstAfter(page.After)
	query := from + ` WHERE` + after + `d.mail, d.n LIMIT ?`
	args := []any{mail, mail, n, mail, page.Size()}
	if tenant != "" {
		query = from + ` WHERE d.tenant = ? AND` + after + `d.tenant, d.mail, d.n LIMIT ?`
		args = slices.Insert(args, 0, any(string(tenant)))
	}
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	var list []store.Leased
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
	st, err := s.prepared(ctx, `SELECT (SELECT COUNT(*) FROM {deliveries} WHERE ready IS NOT NULL), (SELECT COUNT(*) FROM {deliveries} WHERE ready = `+heldText+`),
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
