package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Setups = (*Store)(nil)

const (
	setupColumns = `SELECT domain, tenant, added, token, state, told, holds, since, checked, next, secrets, found, version FROM {setups}`
	setupKey     = `domain = ? AND tenant = ? AND added = ?`
	addSetup     = `INSERT INTO {setups} (token, state, told, holds, since, checked, next, secrets, found, version, domain, tenant, added)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	changeSetup = `UPDATE {setups} SET token = ?, state = ?, told = ?, holds = ?, since = ?, checked = ?, next = ?, secrets = ?, found = ?, version = ?
		WHERE ` + setupKey + ` AND version = ?`
)

// maxSecrets is the most bytes of Secrets and of Found.
const maxSecrets = 65_536

// Setup implements [store.Setups].
func (s *Store) Setup(ctx context.Context, domain string, tenant store.TenantID, added time.Time) (store.Setup, error) {
	return s.setup(ctx, setupColumns+` WHERE `+setupKey, domain, string(tenant), added.UnixMicro())
}

// HoldingSetup implements [store.Setups].
func (s *Store) HoldingSetup(ctx context.Context, domain string) (store.Setup, error) {
	return s.setup(ctx, setupColumns+` WHERE domain = ? AND holds = 1`, domain)
}

// SetupsOf implements [store.Setups].
func (s *Store) SetupsOf(ctx context.Context, tenant store.TenantID, domains []string) (list []store.Setup, err error) {
	for chunk := range slices.Chunk(domains, 500) {
		args := []any{string(tenant)}
		for _, d := range chunk {
			args = append(args, d)
		}
		some, err := selectAll(ctx, s, scanSetup, setupColumns+` WHERE tenant = ? AND domain IN (`+strings.TrimSuffix(strings.Repeat("?, ", len(chunk)), ", ")+`)`, args...)
		if err != nil {
			return nil, failed("list setups", err)
		}
		list = append(list, some...)
	}
	return list, failed("list setups", ctx.Err())
}

// OpenSetups implements [store.Setups]. The index has what both queries ask for.
func (s *Store) OpenSetups(ctx context.Context, tenant store.TenantID, settled string, limit int) ([]store.Setup, error) {
	if limit <= 0 {
		return nil, failed("list setups", ctx.Err())
	}
	list, err := selectAll(ctx, s, scanSetup, setupColumns+` WHERE tenant = ? AND holds = 1 AND state <> ? ORDER BY state LIMIT ?`, string(tenant), settled, limit)
	if err != nil || len(list) == limit {
		return list, failed("list setups", err)
	}
	more, err := selectAll(ctx, s, scanSetup, setupColumns+` WHERE tenant = ? AND holds = 0 LIMIT ?`, string(tenant), limit-len(list))
	return append(list, more...), failed("list setups", err)
}

func (s *Store) setup(ctx context.Context, query string, args ...any) (store.Setup, error) {
	list, err := selectAll(ctx, s, scanSetup, query, args...)
	if err != nil || len(list) == 0 {
		return store.Setup{}, failed("look up setup", cmp.Or(err, store.ErrNotFound))
	}
	return list[0], nil
}

// SetSetup implements [store.Setups].
func (s *Store) SetSetup(ctx context.Context, su store.Setup) error {
	err := errors.Join(ctx.Err(), fits(su.Domain, string(su.Tenant), su.Token, su.State, su.Told), shorter(maxSecrets, []string{su.Secrets, su.Found}))
	if err != nil {
		return failed("set setup", err)
	}
	return failed("set setup", s.setSetup(ctx, &su))
}

func (s *Store) setSetup(ctx context.Context, su *store.Setup) error {
	holds := 0
	if su.Holds {
		holds = 1
	}
	query, args := addSetup, []any{
		su.Token, su.State, su.Told, holds, su.Since.UnixMicro(), su.Checked.UnixMicro(), su.Next.UnixMicro(), []byte(su.Secrets), []byte(su.Found),
		su.Version + 1, su.Domain, string(su.Tenant), su.Added.UnixMicro(),
	}
	if su.Version != 0 {
		query, args = changeSetup, append(args, su.Version)
	}
	if su.Holds && su.Version == 0 {
		return errors.New("a new setup cannot hold its domain")
	}
	if su.Holds {
		// Without a change of the holder one statement is enough.
		if n, err := s.exec(ctx, query+` AND holds = 1`, args...); err != nil || n > 0 {
			return err
		}
		return s.inTx(ctx, func(tx tx) error { return tx.hold(ctx, su, query, args) })
	}
	n, err := s.exec(ctx, query, args...)
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return err
}

// hold changes a setup to one that holds its domain, and the other setups of the domain.
// It locks all of them first, so that of two callers one sees what the other has done.
func (t tx) hold(ctx context.Context, su *store.Setup, query string, args []any) error {
	if _, err := t.exec(ctx, `UPDATE {setups} SET version = version WHERE domain = ?`, su.Domain); err != nil {
		return err
	}
	n, err := t.exec(ctx, query, args...)
	if err != nil {
		return err
	}
	if n == 0 {
		return store.ErrConflict
	}
	_, err = t.exec(ctx, `UPDATE {setups} SET holds = 0, token = '', next = ?, version = version + 1 WHERE domain = ? AND NOT (tenant = ? AND added = ?)`,
		su.Checked.UnixMicro(), su.Domain, string(su.Tenant), su.Added.UnixMicro())
	return err
}

// DropSetup implements [store.Setups].
func (s *Store) DropSetup(ctx context.Context, su store.Setup) error {
	if err := ctx.Err(); err != nil {
		return failed("drop setup", err)
	}
	n, err := s.exec(ctx, `DELETE FROM {setups} WHERE `+setupKey+` AND version = ?`, su.Domain, string(su.Tenant), su.Added.UnixMicro(), su.Version)
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return failed("drop setup", err)
}

// DueSetups implements [store.Setups].
func (s *Store) DueSetups(ctx context.Context, now, until time.Time, limit int) (due []store.Setup, err error) {
	list, err := selectAll(ctx, s, scanSetup, setupColumns+` WHERE next <= ? ORDER BY next LIMIT ?`, now.UnixMicro(), max(limit, 0))
	if err != nil || len(list) == 0 {
		return nil, failed("due setups", err)
	}
	err = s.inTx(ctx, func(tx tx) (err error) {
		due, err = tx.claim(ctx, list, until)
		return err
	})
	if err != nil {
		return nil, failed("due setups", err)
	}
	return due, nil
}

// claim returns those of the setups that are still due, as they were read. It writes in
// the order of keys, so that two callers cannot wait for each other.
func (t tx) claim(ctx context.Context, list []store.Setup, until time.Time) (due []store.Setup, err error) {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &list[i], &list[j]
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Tenant, b.Tenant), a.Added.Compare(b.Added))
	})
	mine := make([]bool, len(list))
	for _, i := range order {
		su := &list[i]
		n, err := t.exec(ctx, `UPDATE {setups} SET next = ? WHERE `+setupKey+` AND next = ? AND version = ?`,
			until.UnixMicro(), su.Domain, string(su.Tenant), su.Added.UnixMicro(), su.Next.UnixMicro(), su.Version)
		if err != nil {
			return nil, err
		}
		mine[i] = n > 0
	}
	for i, su := range list {
		if su.Next = until; mine[i] {
			due = append(due, su)
		}
	}
	return due, nil
}

func scanSetup(rows *sql.Rows) (su store.Setup, err error) {
	var added, holds, since, checked, next int64
	var secrets, found []byte
	err = rows.Scan(&su.Domain, &su.Tenant, &added, &su.Token, &su.State, &su.Told, &holds, &since, &checked, &next, &secrets, &found, &su.Version)
	su.Added, su.Holds, su.Since = time.UnixMicro(added).UTC(), holds != 0, time.UnixMicro(since).UTC()
	su.Checked, su.Next = time.UnixMicro(checked).UTC(), time.UnixMicro(next).UTC()
	su.Secrets, su.Found = string(secrets), string(found)
	return su, err
}
