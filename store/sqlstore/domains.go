package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// AddDomain implements [store.Store].
func (s *Store) AddDomain(ctx context.Context, d store.Domain) error {
	if err := errors.Join(fits(string(d.Tenant), d.Name), fitsLong(d.Suspended)); err != nil {
		return failed("add domain", err)
	}
	owned := sql.NullString{String: d.Name, Valid: !d.Claim}
	n, err := s.exec(ctx, `INSERT INTO {domains} (name, tenant, created, owned, suspended) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		d.Name, string(d.Tenant), d.Created.UnixMicro(), owned, d.Suspended)
	if err == nil && n == 0 {
		err = store.ErrTaken
	}
	return failed("add domain", err)
}

// domainColumns are the columns that scanDomain reads, from {domains} AS d. The
// latest connection is computed from all users of the domain: an index for it would
// make every login write more.
const domainColumns = `d.tenant, d.name, d.created, CASE WHEN d.owned IS NULL THEN 1 ELSE 0 END, d.suspended,
	(SELECT COUNT(*) FROM {users} AS u WHERE u.domain = d.name AND u.tenant = d.tenant),
	(SELECT MAX(u.last_connection) FROM {users} AS u WHERE u.domain = d.name AND u.tenant = d.tenant)`

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

// Domains implements [store.Store].
func (s *Store) Domains(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Domain, error) {
	list, err := s.domains(ctx, tenant, page)
	return list, failed("list domains", err)
}

func (s *Store) domains(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Domain, error) {
	found, args := s.search(page, "d.name")
	st, err := s.prepared(ctx, `SELECT `+domainColumns+` FROM {domains} AS d WHERE d.tenant = ? AND d.name > ?`+found+` ORDER BY d.name LIMIT ?`)
	if err != nil {
		return nil, err
	}
	args = append([]any{string(tenant), page.After}, args...)
	rows, err := st.QueryContext(ctx, append(args, page.Size())...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Domain
	for rows.Next() {
		d, err := scanDomain(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, rows.Err()
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
	var created int64
	var lastConnection sql.NullInt64 // NULL if there are no users
	if err := row.Scan(&d.Tenant, &d.Name, &created, &d.Claim, &d.Suspended, &d.Users, &lastConnection); err != nil {
		return store.Domain{}, err
	}
	d.Created = time.UnixMicro(created).UTC()
	if lastConnection.Valid {
		d.LastConnection = time.UnixMicro(lastConnection.Int64).UTC()
	}
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
