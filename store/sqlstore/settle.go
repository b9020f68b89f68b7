package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Settle implements [store.Spool].
func (s *Store) Settle(ctx context.Context, outcomes []store.Outcome) (lost []store.Outcome, err error) {
	for _, o := range outcomes {
		if err := fitsReason(o.Reason); err != nil {
			return nil, failed("settle", err)
		}
	}
	op := &operation{outcomes: slices.Clone(outcomes), stale: make([]bool, len(outcomes))}
	if err := s.commits.do(ctx, op, s.commit); err != nil {
		return nil, failed("settle", err)
	}
	return op.lost, nil
}

// updateLater records outcomes that aren't done. The values come as a table,
// whose columns SQLite and PostgreSQL call column1 and so on by themselves.
func (s *Store) updateLater() rowsQuery {
	const set = ` SET lease = ` + nextLease + `, leased_until = ` + never + `, next = column4, ready = column5,
		attempts = column6, warned = column7, reason = column8`
	const on = ` d.mail = column1 AND d.n = column2 AND d.lease = column3`
	switch s.dialect {
	case Postgres:
		return rowsQuery{`UPDATE {deliveries} AS d` + set + ` FROM (VALUES ...) AS v WHERE` + on,
			`(?::text, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::bigint, ?::bytea)`, ", "}
	case MySQL:
		return rowsQuery{`UPDATE {deliveries} AS d JOIN (...) AS v ON` + on + set,
			`SELECT ? AS column1, ? AS column2, ? AS column3, ? AS column4, ? AS column5, ? AS column6, ? AS column7, CAST(? AS BINARY) AS column8`, " UNION ALL "}
	default:
		return rowsQuery{`UPDATE {deliveries} AS d` + set + ` FROM (VALUES ...) AS v WHERE` + on, tuple(8), ", "}
	}
}

// never is the zero time in microseconds.
const never = `-62135596800000000`

func laterRow(o store.Outcome) []any {
	return []any{
		o.Mail, o.N, o.Lease, o.Next.UnixMicro(), readyAt(o.Next, time.Time{}, o.Held),
		o.Attempts, number(o.Delayed), []byte(o.Reason),
	}
}

var (
	selectMails   = keysQuery(`SELECT id FROM {mails} WHERE id IN (...)`, 1)
	selectUploads = keysQuery(`SELECT upload FROM {uploads} WHERE upload IN (...)`, 1)
	selectLeases  = keysQuery(`SELECT mail, n, lease FROM {deliveries} WHERE (mail, n) IN (...)`, 2)
)

// look finds out which mails exist and which leases are held.
func (s *Store) look(ctx context.Context, ops []*operation) error {
	type key struct {
		mail string
		n    int
	}
	var mails, uploads, keys [][]any
	for _, op := range ops {
		if op.mail != "" {
			mails, uploads = append(mails, []any{op.mail}), append(uploads, []any{op.upload})
		}
		for _, o := range op.outcomes {
			keys = append(keys, []any{o.Mail, o.N})
		}
	}
	have, uploaded, leases := make(map[string]bool), make(map[string]bool), make(map[key]int64)
	err := errors.Join(
		s.each(ctx, selectMails, mails, func(rows *sql.Rows) error {
			var id string
			err := rows.Scan(&id)
			have[id] = true
			return err
		}),
		s.each(ctx, selectUploads, uploads, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			uploaded[name] = true
			return err
		}),
		s.each(ctx, selectLeases, keys, func(rows *sql.Rows) error {
			var k key
			var lease int64
			err := rows.Scan(&k.mail, &k.n, &lease)
			leases[k] = lease
			return err
		}))
	if err != nil {
		return err
	}
	for _, op := range ops {
		op.found = op.found || have[op.mail]
		if op.upload != "" && !op.found && !uploaded[op.upload] {
			op.err = errors.New("the content took so long that it was removed as a leftover")
		}
		for i, o := range op.outcomes {
			lease, ok := leases[key{o.Mail, o.N}]
			op.stale[i] = !ok || lease != o.Lease
		}
	}
	return nil
}

// each runs a query that reads, for all rows, and calls scan for each row of
// the result.
func (s *Store) each(ctx context.Context, q rowsQuery, rows [][]any, scan func(*sql.Rows) error) error {
	statements, err := s.plan(ctx, q, rows)
	if err != nil {
		return err
	}
	for _, st := range statements {
		result, err := st.prepared.QueryContext(ctx, st.args...)
		if err != nil {
			return err
		}
		if err := scanAll(result, scan); err != nil {
			return err
		}
	}
	return nil
}
