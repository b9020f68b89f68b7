package sqlstore

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// AddDomain implements [store.Store].
func (s *Store) AddDomain(ctx context.Context, d store.Domain) error {
	if err := fits(string(d.Tenant), d.Name); err != nil {
		return failed("add domain", err)
	}
	n, err := s.exec(ctx, `INSERT INTO {domains} (name, tenant, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		d.Name, string(d.Tenant), d.Created.UnixMicro())
	if err == nil && n == 0 {
		err = store.ErrTaken
	}
	return failed("add domain", err)
}

// Domains implements [store.Store].
func (s *Store) Domains(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Domain, error) {
	list, err := s.domains(ctx, tenant, page)
	return list, failed("list domains", err)
}

func (s *Store) domains(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Domain, error) {
	st, err := s.prepared(ctx, `SELECT name, created FROM {domains} WHERE tenant = ? AND name > ? ORDER BY name LIMIT ?`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, string(tenant), page.After, page.Size())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []store.Domain
	for rows.Next() {
		d := store.Domain{Tenant: tenant}
		var created int64
		if err := rows.Scan(&d.Name, &created); err != nil {
			return nil, err
		}
		d.Created = time.UnixMicro(created).UTC()
		list = append(list, d)
	}
	return list, rows.Err()
}

// DeleteDomain implements [store.Store].
func (s *Store) DeleteDomain(ctx context.Context, tenant store.TenantID, name string) error {
	err := s.inTx(ctx, func(tx tx) error {
		// From here on the domain's row is locked, and gone: no user can be
		// added to it any more, and all that were are seen below.
		n, err := tx.exec(ctx, `DELETE FROM {domains} WHERE name = ? AND tenant = ?`, name, string(tenant))
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrNotFound
		}
		_, err = tx.exec(ctx, `DELETE FROM {users} WHERE domain = ?`, name)
		return err
	})
	return failed("delete domain", err)
}
