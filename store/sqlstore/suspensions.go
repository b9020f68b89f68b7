package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// suspensionKey returns the key of a suspension.
func suspensionKey(su *store.Suspension) (ofTenant int64, name string) {
	if su.Tenant != "" {
		return 1, string(su.Tenant)
	}
	return 0, su.Destination
}

// Suspend implements [store.Spool].
func (s *Store) Suspend(ctx context.Context, su store.Suspension) error {
	return failed("suspend", s.suspend(ctx, su))
}

func (s *Store) suspend(ctx context.Context, su store.Suspension) error {
	ofTenant, name := suspensionKey(&su)
	if err := fits(name); err != nil {
		return err
	}
	if err := fitsLong(su.By); err != nil {
		return err
	}
	if err := fitsReason(su.Reason); err != nil {
		return err
	}
	values := []any{
		[]byte(su.By), []byte(su.Reason), su.Since.UnixMicro(), su.Until.UnixMicro(), su.Tried.UnixMicro(), su.Failures, su.Version + 1, ofTenant, name,
	}
	query := `INSERT INTO {suspensions} (person, reason, since, until, tried, failures, version, tenant, name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	if su.Version != 0 {
		query = `UPDATE {suspensions} SET person = ?, reason = ?, since = ?, until = ?, tried = ?, failures = ?, version = ? WHERE tenant = ? AND name = ? AND version = ?`
		values = append(values, su.Version)
	}
	return s.ifChanged(ctx, query, values...)
}

// Resume implements [store.Spool].
func (s *Store) Resume(ctx context.Context, su store.Suspension) error {
	ofTenant, name := suspensionKey(&su)
	return failed("resume", s.ifChanged(ctx, `DELETE FROM {suspensions} WHERE tenant = ? AND name = ? AND version = ?`, ofTenant, name, su.Version))
}

// ifChanged runs a statement, and returns ErrConflict if it changes nothing.
func (s *Store) ifChanged(ctx context.Context, query string, args ...any) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := s.exec(ctx, query, args...)
	if err == nil && n == 0 {
		err = store.ErrConflict
	}
	return err
}

// Suspensions implements [store.Spool].
func (s *Store) Suspensions(ctx context.Context) ([]store.Suspension, error) {
	list, err := s.suspensions(ctx)
	return list, failed("list suspensions", err)
}

func (s *Store) suspensions(ctx context.Context) (list []store.Suspension, err error) {
	st, err := s.prepared(ctx, `SELECT tenant, name, person, reason, since, until, tried, failures, version FROM {suspensions} ORDER BY tenant DESC, name`)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	err = scanAll(rows, func(rows *sql.Rows) error {
		var su store.Suspension
		var ofTenant, since, until, tried int64
		var name string
		var person, reason []byte
		err := rows.Scan(&ofTenant, &name, &person, &reason, &since, &until, &tried, &su.Failures, &su.Version)
		if ofTenant != 0 {
			su.Tenant = store.TenantID(name)
		} else {
			su.Destination = name
		}
		su.By, su.Reason = string(person), string(reason)
		su.Since, su.Until, su.Tried = time.UnixMicro(since).UTC(), time.UnixMicro(until).UTC(), time.UnixMicro(tried).UTC()
		list = append(list, su)
		return err
	})
	return list, err
}
