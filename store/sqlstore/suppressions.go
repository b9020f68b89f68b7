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

var _ store.Suppressions = (*Store)(nil)

const (
	addSuppression = `INSERT INTO {suppressions} (source, since, until, reason, site, event, strikes, struck, cleared, changed, version, tenant, address)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	changeSuppression = `UPDATE {suppressions} SET source = ?, since = ?, until = ?, reason = ?, site = ?, event = ?, strikes = ?, struck = ?, cleared = ?,
		changed = ?, version = ? WHERE tenant = ? AND address = ? AND version = ?`
	suppressionColumns = `SELECT tenant, address, source, since, until, reason, site, event, strikes, struck, cleared, changed, version FROM {suppressions}`
)

// Suppress implements [store.Suppressions].
func (s *Store) Suppress(ctx context.Context, list []store.Suppression) (lost []store.Suppression, err error) {
	if len(list) == 0 {
		return nil, failed("suppress", ctx.Err())
	}
	for _, su := range list {
		err := errors.Join(fits(string(su.Tenant), su.Address), fitsLong(su.Site, su.Event), fitsReason(su.Reason))
		if err != nil {
			return nil, failed("suppress", err)
		}
	}
	err = s.inTx(ctx, func(tx tx) (err error) {
		lost, err = tx.suppress(ctx, list)
		return err
	})
	if err != nil {
		return nil, failed("suppress", err)
	}
	return lost, nil
}

// suppress writes rows in the order of their keys, so that two callers cannot wait
// for each other.
func (t tx) suppress(ctx context.Context, list []store.Suppression) (lost []store.Suppression, err error) {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(list[i].Tenant, list[j].Tenant), cmp.Compare(list[i].Address, list[j].Address))
	})
	changed := make([]bool, len(list))
	for _, i := range order {
		su := &list[i]
		query, args := addSuppression, []any{
			int64(su.Source), su.Since.UnixMicro(), su.Until.UnixMicro(), []byte(su.Reason), []byte(su.Site), []byte(su.Event), su.Strikes,
			su.Struck.UnixMicro(), su.Cleared.UnixMicro(), su.Changed.UnixMicro(), su.Version + 1, string(su.Tenant), su.Address,
		}
		if su.Version != 0 {
			query, args = changeSuppression, append(args, su.Version)
		}
		n, err := t.exec(ctx, query, args...)
		if err != nil {
			return nil, err
		}
		changed[i] = n > 0
	}
	for i, ok := range changed {
		if !ok {
			lost = append(lost, list[i])
		}
	}
	return lost, nil
}

// Suppression implements [store.Suppressions].
func (s *Store) Suppression(ctx context.Context, tenant store.TenantID, address string) (store.Suppression, error) {
	list, err := selectAll(ctx, s, scanSuppression, suppressionColumns+` WHERE tenant = ? AND address = ?`, string(tenant), address)
	if err != nil || len(list) == 0 {
		return store.Suppression{}, failed("look up suppression", cmp.Or(err, store.ErrNotFound))
	}
	return list[0], nil
}

var selectSuppressions = keysQuery(suppressionColumns+` WHERE (tenant, address) IN (...)`, 2)

// SuppressionsByKey implements [store.Suppressions].
func (s *Store) SuppressionsByKey(ctx context.Context, keys []store.SuppressionKey) (list []store.Suppression, err error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("look up suppressions", err)
	}
	rows := make([][]any, len(keys))
	for i, key := range keys {
		rows[i] = []any{string(key.Tenant), key.Address}
	}
	err = s.each(ctx, selectSuppressions, rows, func(rows *sql.Rows) error {
		su, err := scanSuppression(rows)
		list = append(list, su)
		return err
	})
	if err != nil {
		return nil, failed("look up suppressions", err)
	}
	return list, nil
}

// ListSuppressions implements [store.Suppressions]. It reads the tenant's rows in the order
// of addresses until the page is full.
func (s *Store) ListSuppressions(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) ([]store.Suppression, error) {
	if !isText(string(tenant), page.After, page.Search) {
		return nil, failed("list suppressions", ctx.Err())
	}
	found, search := s.search(page, "address")
	query := suppressionColumns + ` WHERE tenant = ? AND address > ?` + found + ` ORDER BY address LIMIT ?`
	atOnce := page.Size()
	if f != (store.SuppressionFilter{}) {
		atOnce = max(atOnce, 1000)
	}
	var list []store.Suppression
	for after := page.After; ; {
		some, err := selectAll(ctx, s, scanSuppression, query, slices.Concat([]any{string(tenant), after}, search, []any{atOnce})...)
		if err != nil {
			return nil, failed("list suppressions", err)
		}
		for i := range some {
			if f.Match(&some[i]) {
				list = append(list, some[i])
			}
		}
		if len(some) < atOnce || len(list) >= page.Size() {
			return list[:min(len(list), page.Size())], nil
		}
		after = some[len(some)-1].Address
	}
}

// SuppressionsSince implements [store.Suppressions].
func (s *Store) SuppressionsSince(ctx context.Context, tenant store.TenantID, changed time.Time, limit int) ([]store.Suppression, error) {
	list, err := selectAll(ctx, s, scanSuppression, suppressionColumns+` WHERE tenant = ? AND changed >= ? ORDER BY changed LIMIT ?`,
		string(tenant), changed.UnixMicro(), max(limit, 0))
	return list, failed("list changed suppressions", err)
}

// ExpireSuppressions implements [store.Suppressions]. A row that changed after it was
// read stays.
func (s *Store) ExpireSuppressions(ctx context.Context, now time.Time, limit int) (removed int, err error) {
	list, err := selectAll(ctx, s, scanSuppression, suppressionColumns+` WHERE until > ? AND until <= ? ORDER BY until LIMIT ?`,
		time.Time{}.UnixMicro(), now.UnixMicro(), max(limit, 0))
	if err != nil || len(list) == 0 {
		return 0, failed("expire suppressions", err)
	}
	slices.SortFunc(list, func(a, b store.Suppression) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Address, b.Address))
	})
	err = s.inTx(ctx, func(tx tx) error {
		removed = 0
		for _, su := range list {
			n, err := tx.exec(ctx, `DELETE FROM {suppressions} WHERE tenant = ? AND address = ? AND version = ?`, string(su.Tenant), su.Address, su.Version)
			if err != nil {
				return err
			}
			removed += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, failed("expire suppressions", err)
	}
	return removed, nil
}

func scanSuppression(rows *sql.Rows) (su store.Suppression, err error) {
	var since, until, struck, cleared, changed int64
	var reason, site, event []byte
	err = rows.Scan(&su.Tenant, &su.Address, &su.Source, &since, &until, &reason, &site, &event, &su.Strikes, &struck, &cleared, &changed, &su.Version)
	su.Since, su.Until = time.UnixMicro(since).UTC(), time.UnixMicro(until).UTC()
	su.Struck, su.Cleared, su.Changed = time.UnixMicro(struck).UTC(), time.UnixMicro(cleared).UTC(), time.UnixMicro(changed).UTC()
	su.Reason, su.Site, su.Event = string(reason), string(site), string(event)
	return su, err
}
