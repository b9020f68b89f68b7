package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Counts implements [store.History].
func (s *Store) Counts(ctx context.Context, tenant store.TenantID, f store.CountFilter) ([]store.Count, error) {
	if !isText(string(tenant)) {
		return nil, failed("count", ctx.Err())
	}
	list, err := s.counts(ctx, tenant, f)
	if err != nil {
		return nil, failed("count", err)
	}
	return list, nil
}

func (s *Store) counts(ctx context.Context, tenant store.TenantID, f store.CountFilter) (list []store.Count, err error) {
	var groups string
	switch f.By {
	case store.ByHour:
		groups = `hour`
	case store.ByDomain:
		groups = `domain`
	case store.ByUser:
		groups = `domain, username`
	}
	conditions, args := ` WHERE tenant = ?`, []any{string(tenant)}
	add := func(condition string, arg any) {
		conditions += condition
		args = append(args, arg)
	}
	if !f.From.IsZero() {
		add(` AND hour >= ?`, f.From.UnixMicro())
	}
	if !f.Until.IsZero() {
		add(` AND hour < ?`, f.Until.UnixMicro())
	}
	if f.Domain != "" {
		add(` AND domain = ?`, []byte(f.Domain))
	}
	if f.Username != "" {
		add(` AND username = ?`, []byte(f.Username))
	}
	query := `SELECT COUNT(*)`
	for _, column := range []string{"accepted", "delivered", "deferred", "soft", "hard", "rejected", "canceled", "bytes"} {
		query += `, CAST(COALESCE(SUM(` + column + `), 0) AS ` + s.integer() + `)`
	}
	if groups != "" {
		query += `, ` + groups
		conditions += ` GROUP BY ` + groups + ` ORDER BY ` + groups
	}
	err = s.query(ctx, query+` FROM {counts}`+conditions, args, func(rows *sql.Rows) error {
		c, found, err := scanCount(rows, f.By)
		if c.Tenant = tenant; found {
			list = append(list, c)
		}
		return err
	})
	return list, err
}

// integer is the type of sums.
func (s *Store) integer() string {
	if s.dialect == MySQL {
		return "SIGNED"
	}
	return "BIGINT"
}

// scanCount reads a sum. found is false if it is the sum of nothing.
func scanCount(rows *sql.Rows, by store.Grouping) (c store.Count, found bool, err error) {
	var n, hour int64
	var domain, username []byte
	to := []any{&n, &c.Accepted, &c.Delivered, &c.Deferred, &c.SoftBounced, &c.HardBounced, &c.Rejected, &c.Canceled, &c.Bytes}
	switch by {
	case store.ByHour:
		to = append(to, &hour)
	case store.ByDomain:
		to = append(to, &domain)
	case store.ByUser:
		to = append(to, &domain, &username)
	}
	err = rows.Scan(to...)
	c.Domain, c.Username = string(domain), string(username)
	if by == store.ByHour {
		c.Hour = time.UnixMicro(hour).UTC()
	}
	return c, n > 0, err
}

// Expire implements [store.History].
func (s *Store) Expire(ctx context.Context, activities, counts time.Time, limit int) (removed int, err error) {
	if err := ctx.Err(); err != nil || limit <= 0 {
		return 0, failed("expire", err)
	}
	a, err := s.exec(ctx, s.deleteOldest("activities", "day"), dayOf(activities), limit)
	if err != nil {
		return 0, failed("expire", err)
	}
	c, err := s.exec(ctx, s.deleteOldest("counts", "hour"), counts.UnixMicro(), limit)
	return int(a + c), failed("expire", err)
}

// deleteOldest deletes the rows with the least of a column below a value, up to a
// limit. The column is the first of an index.
func (s *Store) deleteOldest(table, column string) string {
	query := map[Dialect]string{
		SQLite:   `DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE column < ? ORDER BY column LIMIT ?)`,
		Postgres: `DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE column < ? ORDER BY column LIMIT ?))`,
		MySQL:    `DELETE FROM {table} WHERE column < ? ORDER BY column LIMIT ?`,
	}[s.dialect]
	return strings.NewReplacer("table", table, "column", column).Replace(query)
}

// Erase implements [store.History].
func (s *Store) Erase(ctx context.Context, tenant store.TenantID, recipient string) (erased int, err error) {
	if err := ctx.Err(); err != nil || recipient == "" {
		return 0, failed("erase", err)
	}
	all, err := s.allDays(ctx)
	if err != nil {
		return 0, failed("erase", err)
	}
	err = s.inTx(ctx, func(tx tx) error {
		if err := tx.writeFirst(ctx); err != nil {
			return err
		}
		erased = 0
		for _, days := range slices.Backward(all) {
			n, err := tx.erase(ctx, tenant, recipient, days)
			if err != nil {
				return err
			}
			erased += n
		}
		return nil
	})
	if err != nil {
		return 0, failed("erase", err)
	}
	return erased, nil
}

// allDays returns all days that may have activities, some at a time, newest first.
func (s *Store) allDays(ctx context.Context) (list [][]any, err error) {
	for at := start; at != end; {
		var days []any
		if days, at, err = s.days(ctx, math.MinInt64, at.received); err != nil {
			return nil, err
		}
		if len(days) > 0 {
			list = append(list, days)
		}
	}
	return list, nil
}

var updateErased = keysQuery(`UPDATE {activities} SET erased = 1, folded = 0, recipient = ?, said = ?, reason = ?, trail = ? WHERE id IN (...)`, 1)

// erase erases a recipient from the activities of some days.
func (t tx) erase(ctx context.Context, tenant store.TenantID, recipient string, days []any) (erased int, err error) {
	args := append([]any{folded(tenant, recipient)}, days...)
	text, err := t.s.sql(`SELECT id, tenant, recipient FROM {activities} WHERE folded = ? AND day IN (` +
		strings.TrimSuffix(strings.Repeat("?, ", len(days)), ", ") + `) ORDER BY id FOR UPDATE`)
	if err != nil {
		return 0, err
	}
	rows, err := t.QueryContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	f := store.ActivityFilter{Recipient: recipient}
	var ids [][]any
	if err := scanAll(rows, func(rows *sql.Rows) error {
		var id int64
		var of store.TenantID
		var name []byte
		err := rows.Scan(&id, &of, &name)
		if of == tenant && f.Match(&store.Activity{Recipient: string(name)}) {
			ids = append(ids, []any{id})
		}
		return err
	}); err != nil {
		return 0, err
	}
	none := []byte{}
	return len(ids), t.write(ctx, updateErased, ids, none, none, none, none)
}
