package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/cursor"
)

// AddDomain implements [store.Store].
func (s *Store) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	if err := errors.Join(fits(string(d.Tenant), d.Name), fitsLong(d.SortName, d.Suspended)); err != nil {
		return failed("add domain", err)
	}
	add := func(exec func(context.Context, string, ...any) (int64, error)) error {
		owned := sql.NullString{String: d.Name, Valid: !d.Claim}
		n, err := exec(ctx, `INSERT INTO {domains} (name, tenant, sort_name, created, owned, suspended) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			d.Name, string(d.Tenant), d.SortName, d.Created.UnixMicro(), owned, d.Suspended)
		if err == nil && n == 0 {
			err = store.ErrTaken
		}
		return err
	}
	if limit <= 0 {
		return failed("add domain", add(s.exec))
	}
	return failed("add domain", s.inTx(ctx, func(tx tx) error {
		if err := tx.lockTenant(ctx, d.Tenant); err != nil {
			return err
		}
		if err := add(tx.exec); err != nil {
			return err
		}
		return tx.within(ctx, limit, `SELECT COUNT(*) FROM {domains} WHERE tenant = ?`, string(d.Tenant))
	}))
}

// lockTenant locks the tenant's row until the transaction ends, so that only one adds a
// domain to it. The row is only for this.
func (t tx) lockTenant(ctx context.Context, tenant store.TenantID) error {
	for range 2 {
		n, err := t.exec(ctx, `UPDATE {tenants} SET locks = locks + 1 WHERE tenant = ?`, string(tenant))
		if err != nil || n > 0 {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO {tenants} (tenant, locks) VALUES (?, 0) ON CONFLICT DO NOTHING`, string(tenant)); err != nil {
			return err
		}
	}
	return nil
}

// within returns ErrLimit if a query counts more than limit.
func (t tx) within(ctx context.Context, limit int, query string, args ...any) error {
	text, err := t.s.sql(query)
	if err != nil {
		return err
	}
	var n int
	if err := t.QueryRowContext(ctx, text, args...).Scan(&n); err != nil {
		return err
	}
	if n > limit {
		return store.ErrLimit
	}
	return nil
}

// domainColumns are the columns that scanDomain reads, from {domains} AS d.
const (
	domainColumns = `d.tenant, d.name, d.sort_name, d.created, CASE WHEN d.owned IS NULL THEN 1 ELSE 0 END, d.suspended,
	(SELECT COUNT(*) FROM {users} AS u WHERE u.domain = d.name AND u.tenant = d.tenant), ` + domainConnection
	domainConnection = `COALESCE((SELECT MAX(u.last_connection) FROM {users} AS u WHERE u.domain = d.name AND u.tenant = d.tenant), ` + never + `)`
)

// Domain implements [store.Store].
func (s *Store) Domain(ctx context.Context, tenant store.TenantID, name string) (store.Domain, error) {
	d, err := s.domain(ctx, tenant, name)
	return d, failed("look up domain", err)
}

func (s *Store) domain(ctx context.Context, tenant store.TenantID, name string) (store.Domain, error) {
	st, err := s.prepared(ctx, `SELECT `+domainColumns+` FROM {domains} AS d WHERE d.name = ? AND d.tenant = ?`)
	if err != nil {
		return store.Domain{}, err
	}
	d, err := scanDomain(st.QueryRowContext(ctx, name, string(tenant)))
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	return d, err
}

// domainsWithConnection are the rows of a tenant's domains with their last connections,
// which are read in the order of an index.
const domainsWithConnection = ` FROM (SELECT d.tenant, d.name, d.sort_name, d.suspended, COALESCE(c.latest, ` + never + `) AS last_connection FROM {domains} AS d
	LEFT JOIN (SELECT u.domain, MAX(u.last_connection) AS latest FROM {users} AS u WHERE u.tenant = ? GROUP BY u.domain) AS c ON c.domain = d.name
	WHERE d.tenant = ?) AS l WHERE 0 = 0`

// Domains implements [store.Store].
func (s *Store) Domains(ctx context.Context, tenant store.TenantID, q store.Query) ([]store.Domain, store.Found, error) {
	l := listing[store.Domain]{
		s: s, q: q, key: "name",
		plain: rowsOfList{` FROM {domains} AS l WHERE l.tenant = ?`, []any{string(tenant)}},
		read:  `SELECT ` + domainColumns + ` FROM %s JOIN {domains} AS d ON d.name = k.entry AND d.tenant = k.owner`,
		scan:  func(rows *sql.Rows) (store.Domain, error) { return scanDomain(rows) },
		place: func(d store.Domain) cursor.Cursor { return placeOf(q, d.SortName, d.LastConnection, d.Name) },
	}
	l.rows = l.plain
	if q.Order == store.ByConnection || q.Never || !q.ConnectedBefore.IsZero() {
		l.rows = rowsOfList{domainsWithConnection, []any{string(tenant), string(tenant)}}
	}
	list, found, err := l.list(ctx)
	return list, found, failed("list domains", err)
}

// DomainsNamed implements [store.Store].
func (s *Store) DomainsNamed(ctx context.Context, name string) ([]store.Domain, error) {
	list, err := selectAll(ctx, s, func(rows *sql.Rows) (store.Domain, error) { return scanDomain(rows) },
		`SELECT `+domainColumns+` FROM {domains} AS d WHERE d.name = ? ORDER BY d.tenant`, name)
	return list, failed("look up domains", err)
}

// scanDomain reads domainColumns.
func scanDomain(row interface{ Scan(...any) error }) (store.Domain, error) {
	var d store.Domain
	var created, lastConnection int64
	if err := row.Scan(&d.Tenant, &d.Name, &d.SortName, &created, &d.Claim, &d.Suspended, &d.Users, &lastConnection); err != nil {
		return store.Domain{}, err
	}
	d.Created = time.UnixMicro(created).UTC()
	d.LastConnection = time.UnixMicro(lastConnection).UTC()
	return d, nil
}

// SuspendDomain implements [store.Store].
func (s *Store) SuspendDomain(ctx context.Context, tenant store.TenantID, name, reason string) error {
	if err := fitsLong(reason); err != nil {
		return failed("suspend domain", err)
	}
	err := s.change(
		func() (int64, error) {
			return s.exec(ctx, `UPDATE {domains} SET suspended = ? WHERE name = ? AND tenant = ?`, reason, name, string(tenant))
		},
		func() (bool, error) {
			d, err := s.domain(ctx, tenant, name)
			return d.Suspended == reason, err
		})
	return failed("suspend domain", err)
}

// DeleteDomain implements [store.Store].
func (s *Store) DeleteDomain(ctx context.Context, tenant store.TenantID, name string) error {
	err := s.inTx(ctx, func(tx tx) error {
		// The row of the domain is deleted and locked first. AddUser cannot add
		// a user to it from here on, and the second DELETE sees all users.
		n, err := tx.exec(ctx, `DELETE FROM {domains} WHERE name = ? AND tenant = ?`, name, string(tenant))
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrNotFound
		}
		_, err = tx.exec(ctx, `DELETE FROM {users} WHERE domain = ? AND tenant = ?`, name, string(tenant))
		return err
	})
	return failed("delete domain", err)
}
