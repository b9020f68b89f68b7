package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Endpoints = (*Store)(nil)

const (
	addEndpoint = `INSERT INTO {endpoints} (types, sealed, off, off_since, failing, version, tenant, id, slot, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	changeEndpoint = `UPDATE {endpoints} SET types = ?, sealed = ?, off = ?, off_since = ?, failing = ?, version = ? WHERE tenant = ? AND id = ? AND version = ?`
	attemptColumns = `SELECT tenant, endpoint, id, at, took, event, type, attempt, status, reason FROM {endpoint_attempts}`
)

var (
	selectEndpoints = keysQuery(`SELECT tenant, id, slot, created, types, sealed, off, off_since, failing, version FROM {endpoints} WHERE tenant IN (...)`, 1)
	lockEndpoints   = keysQuery(`UPDATE {endpoints} SET version = version WHERE (tenant, id) IN (...)`, 2)
	findEndpoints   = keysQuery(`SELECT tenant, id FROM {endpoints} WHERE (tenant, id) IN (...)`, 2)
	insertAttempts  = rowsQuery{`INSERT INTO {endpoint_attempts} (tenant, endpoint, id, at, took, event, type, attempt, status, reason) VALUES ... ON CONFLICT DO NOTHING`,
		tuple(10), ", ", false}
	rankAttempts = keysQuery(`SELECT tenant, endpoint, id, ROW_NUMBER() OVER (PARTITION BY tenant, endpoint ORDER BY id DESC) FROM {endpoint_attempts}
		WHERE (tenant, endpoint) IN (...)`, 2)
	deleteAttempts = keysQuery(`DELETE FROM {endpoint_attempts} WHERE (tenant, endpoint, id) IN (...)`, 3)
)

// SetEndpoint implements [store.Endpoints].
func (s *Store) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	err := errors.Join(ctx.Err(), fits(string(e.Tenant), e.ID), fitsLong(e.Types, e.Off), shorter(maxSecrets, []string{e.Sealed}))
	if err != nil {
		return failed("set endpoint", err)
	}
	args := []any{[]byte(e.Types), []byte(e.Sealed), []byte(e.Off), e.OffSince.UnixMicro(), e.Failing.UnixMicro(), e.Version + 1, string(e.Tenant), e.ID}
	query := changeEndpoint
	if e.Version == 0 {
		query, args = addEndpoint, append(args, e.Slot, e.Created.UnixMicro())
	} else {
		args = append(args, e.Version)
	}
	n, err := s.exec(ctx, query, args...)
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return failed("set endpoint", err)
}

// DropEndpoint implements [store.Endpoints].
func (s *Store) DropEndpoint(ctx context.Context, tenant store.TenantID, id string) error {
	if err := ctx.Err(); err != nil {
		return failed("drop endpoint", err)
	}
	if !isText(string(tenant), id) {
		return failed("drop endpoint", store.ErrNotFound)
	}
	return failed("drop endpoint", s.inTx(ctx, func(tx tx) error {
		n, err := tx.exec(ctx, `DELETE FROM {endpoints} WHERE tenant = ? AND id = ?`, string(tenant), id)
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		if err == nil {
			_, err = tx.exec(ctx, `DELETE FROM {endpoint_attempts} WHERE tenant = ? AND endpoint = ?`, string(tenant), id)
		}
		return err
	}))
}

// ListEndpoints implements [store.Endpoints].
func (s *Store) ListEndpoints(ctx context.Context, tenants []store.TenantID) (list []store.Endpoint, err error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("list endpoints", err)
	}
	keys := make([][]any, len(tenants))
	for i, tenant := range tenants {
		keys[i] = []any{string(tenant)}
	}
	err = s.each(ctx, selectEndpoints, keys, func(rows *sql.Rows) error {
		e, err := scanEndpoint(rows)
		list = append(list, e)
		return err
	})
	if err != nil {
		return nil, failed("list endpoints", err)
	}
	slices.SortFunc(list, func(a, b store.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Slot, b.Slot))
	})
	return list, nil
}

func scanEndpoint(rows *sql.Rows) (e store.Endpoint, err error) {
	var created, offSince, failing int64
	var types, sealed, off []byte
	err = rows.Scan(&e.Tenant, &e.ID, &e.Slot, &created, &types, &sealed, &off, &offSince, &failing, &e.Version)
	e.Types, e.Sealed, e.Off = string(types), string(sealed), string(off)
	e.Created, e.OffSince, e.Failing = time.UnixMicro(created).UTC(), time.UnixMicro(offSince).UTC(), time.UnixMicro(failing).UTC()
	return e, err
}

// AddEndpointAttempts implements [store.Endpoints].
func (s *Store) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	if err := ctx.Err(); err != nil || len(list) == 0 {
		return failed("add endpoint attempts", err)
	}
	for _, a := range list {
		if err := errors.Join(fits(string(a.Tenant), a.Endpoint, a.ID), fitsLong(a.Event, a.Type, a.Reason)); err != nil {
			return failed("add endpoint attempts", err)
		}
	}
	return failed("add endpoint attempts", s.inTx(ctx, func(tx tx) error { return tx.addAttempts(ctx, list, max(keep, 0)) }))
}

// addAttempts locks the endpoints first, so that none of them is dropped meanwhile, and
// so that of two callers one sees what the other has added.
func (t tx) addAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	endpoints, _ := endpointsOf(list, nil)
	if err := t.write(ctx, lockEndpoints, endpoints); err != nil {
		return err
	}
	exist := make(map[[2]string]bool)
	err := t.read(ctx, findEndpoints, endpoints, func(rows *sql.Rows) error {
		var key [2]string
		err := rows.Scan(&key[0], &key[1])
		exist[key] = true
		return err
	})
	if err != nil || len(exist) == 0 {
		return err
	}
	endpoints, rows := endpointsOf(list, exist)
	if err := t.write(ctx, insertAttempts, rows); err != nil {
		return err
	}
	var old [][]any
	err = t.read(ctx, rankAttempts, endpoints, func(rows *sql.Rows) error {
		var tenant, endpoint, id string
		var rank int
		err := rows.Scan(&tenant, &endpoint, &id, &rank)
		if rank > keep {
			old = append(old, []any{tenant, endpoint, id})
		}
		return err
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return t.write(ctx, deleteAttempts, old)
}

// endpointsOf returns the keys of the endpoints in a list, in their order, so that two
// callers cannot wait for each other, and the rows of the list. If exist is not nil, it
// leaves out all other endpoints.
func endpointsOf(list []store.EndpointAttempt, exist map[[2]string]bool) (keys, rows [][]any) {
	seen := make(map[[2]string]bool)
	for _, a := range list {
		key := [2]string{string(a.Tenant), a.Endpoint}
		if exist != nil && !exist[key] {
			continue
		}
		rows = append(rows, []any{key[0], key[1], a.ID, a.At.UnixMicro(), a.Took.Microseconds(), []byte(a.Event), []byte(a.Type), a.Attempt, a.Status, []byte(a.Reason)})
		if !seen[key] {
			seen[key] = true
			keys = append(keys, []any{key[0], key[1]})
		}
	}
	slices.SortFunc(keys, func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[0].(string), b[0].(string)), cmp.Compare(a[1].(string), b[1].(string)))
	})
	return keys, rows
}

// ListEndpointAttempts implements [store.Endpoints].
func (s *Store) ListEndpointAttempts(ctx context.Context, tenant store.TenantID, endpoint string, limit int) ([]store.EndpointAttempt, error) {
	if !isText(string(tenant), endpoint) {
		return nil, failed("list endpoint attempts", ctx.Err())
	}
	list, err := selectAll(ctx, s, scanAttempt, attemptColumns+` WHERE tenant = ? AND endpoint = ? ORDER BY id DESC LIMIT ?`, string(tenant), endpoint, max(limit, 0))
	return list, failed("list endpoint attempts", err)
}

func scanAttempt(rows *sql.Rows) (a store.EndpointAttempt, err error) {
	var at, took int64
	var event, kind, reason []byte
	err = rows.Scan(&a.Tenant, &a.Endpoint, &a.ID, &at, &took, &event, &kind, &a.Attempt, &a.Status, &reason)
	a.At, a.Took = time.UnixMicro(at).UTC(), time.Duration(took)*time.Microsecond
	a.Event, a.Type, a.Reason = string(event), string(kind), string(reason)
	return a, err
}
