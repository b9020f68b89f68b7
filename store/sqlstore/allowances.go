package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

var _ store.Allowances = (*Store)(nil)

// Reserve implements [store.Allowances]. Whoever changes a usage, or gives something to
// its grants, locks the row of the usage first.
func (s *Store) Reserve(ctx context.Context, r store.Reservation) (got store.Reserved, err error) {
	if err := cmp.Or(ctx.Err(), fitsGrant(r.Grant)); err != nil {
		return got, failed("reserve", err)
	}
	err = s.inTx(ctx, func(tx tx) (err error) {
		got, err = tx.reserve(ctx, r)
		return err
	})
	if err != nil {
		return store.Reserved{}, failed("reserve", err)
	}
	return got, nil
}

// fitsGrant returns an error if a grant is not one that a row can name.
func fitsGrant(g store.Grant) error {
	if g.ID == "" || len(g.ID) > maxID || strings.ContainsFunc(g.ID, notInID) {
		return fmt.Errorf("the grant's id %q is not of 1 to %d letters and digits", g.ID, maxID)
	}
	return fitsLong(g.Scope)
}

func (t tx) reserve(ctx context.Context, r store.Reservation) (got store.Reserved, err error) {
	if err := t.writeFirst(ctx); err != nil {
		return got, err
	}
	u, err := t.lockUsage(ctx, r)
	if err == nil && u.Used < r.Used {
		u.Used = r.Used
		_, err = t.exec(ctx, `UPDATE {usages} SET used = ? WHERE scope = ? AND period = ?`, r.Used, r.Scope, r.Period.UnixMicro())
	}
	if err != nil {
		return got, err
	}
	held, mine, has, err := t.held(ctx, r)
	if err != nil {
		return got, err
	}
	given := max(0, min(r.Want, r.Max-u.Used-held))
	query := `UPDATE {grants} SET amount = amount + ?, until = ? WHERE id = ?`
	args := []any{given, r.Until.UnixMicro(), r.ID}
	if !has {
		query = `INSERT INTO {grants} (amount, until, id, scope, period) VALUES (?, ?, ?, ?, ?)`
		args = append(args, r.Scope, r.Period.UnixMicro())
	}
	_, err = t.exec(ctx, query, args...)
	u.Held = held + given
	return store.Reserved{Given: given, Mine: mine + given, Usage: u}, err
}

// lockUsage returns a usage and locks its row, which it makes if it is not there.
func (t tx) lockUsage(ctx context.Context, r store.Reservation) (u store.Usage, err error) {
	period := r.Period.UnixMicro()
	found, err := t.usage(ctx, &u, r.Scope, period)
	if err != nil || found {
		return u, err
	}
	_, err = t.exec(ctx, `INSERT INTO {usages} (scope, period, used, noticed, noticed_max) VALUES (?, ?, ?, 0, 0) ON CONFLICT DO NOTHING`, r.Scope, period, r.Used)
	if err != nil {
		return u, err
	}
	if found, err = t.usage(ctx, &u, r.Scope, period); err == nil && !found {
		err = errors.New("the usage that was added is gone")
	}
	if err != nil {
		return u, err
	}
	for _, table := range []string{"usages", "grants"} {
		if _, err := t.exec(ctx, `DELETE FROM {`+table+`} WHERE scope = ? AND period < ?`, r.Scope, r.Forget.UnixMicro()); err != nil {
			return u, err
		}
	}
	return u, nil
}

// usage reads a usage and locks its row. Its Held is 0.
func (t tx) usage(ctx context.Context, u *store.Usage, scope string, period int64) (found bool, err error) {
	err = t.each(ctx, `SELECT used, noticed, noticed_max FROM {usages} WHERE scope = ? AND period = ? FOR UPDATE`, []any{scope, period}, func(rows *sql.Rows) error {
		found = true
		u.Scope, u.Period = scope, time.UnixMicro(period).UTC()
		return rows.Scan(&u.Used, &u.Noticed, &u.NoticedMax)
	})
	return found, err
}

// each runs a query with one row of arguments.
func (t tx) each(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	text, err := t.s.sql(query)
	if err != nil {
		return err
	}
	rows, err := t.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	return scanAll(rows, scan)
}

// held returns what the grants of a usage hold, and what the one of the reservation
// does, after it has dropped those that have ended.
func (t tx) held(ctx context.Context, r store.Reservation) (all, mine int64, has bool, err error) {
	type row struct {
		id            string
		amount, until int64
	}
	var list []row
	earliest := r.Ended.UnixMicro()
	ended := false
	err = t.each(ctx, `SELECT id, amount, until FROM {grants} WHERE scope = ? AND period = ?`, []any{r.Scope, r.Period.UnixMicro()}, func(rows *sql.Rows) error {
		var g row
		err := rows.Scan(&g.id, &g.amount, &g.until)
		ended = ended || g.until < earliest
		list = append(list, g)
		return err
	})
	if err == nil && ended {
		earliest, err = t.beforeRecords(ctx, earliest)
	}
	if err != nil {
		return 0, 0, false, err
	}
	var gone [][]any
	for _, g := range list {
		if ended && g.until < earliest {
			gone = append(gone, []any{g.id})
			continue
		}
		all += g.amount
		if g.id == r.ID {
			mine, has = g.amount, true
		}
	}
	return all, mine, has, t.write(ctx, deleteGrants, gone)
}

var deleteGrants = keysQuery(`DELETE FROM {grants} WHERE id IN (...)`, 1)

// beforeRecords returns a time, or that of the oldest record that waits if that is
// earlier. What another transaction is about to apply still waits.
func (t tx) beforeRecords(ctx context.Context, at int64) (int64, error) {
	const query = `SELECT mail FROM {deliveries} WHERE mail > '` + recordPrefix + `' AND mail < '` + asidePrefix + `' AND n = 0 ORDER BY mail LIMIT 1`
	err := t.each(ctx, query, nil, func(rows *sql.Rows) error {
		var oldest string
		err := rows.Scan(&oldest)
		at = min(at, spools.RecordTime(strings.TrimPrefix(oldest, recordPrefix)).UnixMicro())
		return err
	})
	return at, err
}

// Release implements [store.Allowances].
func (s *Store) Release(ctx context.Context, g store.Grant, n int64) error {
	if err := ctx.Err(); err != nil {
		return failed("release", err)
	}
	_, err := s.exec(ctx, `UPDATE {grants} SET amount = CASE WHEN amount > ? THEN amount - ? ELSE 0 END WHERE id = ?`, n, n, g.ID)
	return failed("release", err)
}

// Usages implements [store.Allowances].
func (s *Store) Usages(ctx context.Context, scope string) (list []store.Usage, err error) {
	query := `SELECT period, used, noticed, noticed_max,
		CAST(COALESCE((SELECT SUM(amount) FROM {grants} WHERE {grants}.scope = {usages}.scope AND {grants}.period = {usages}.period), 0) AS ` + s.integer() + `)
		FROM {usages} WHERE scope = ? ORDER BY period`
	err = s.query(ctx, query, []any{scope}, func(rows *sql.Rows) error {
		var period int64
		u := store.Usage{Scope: scope}
		err := rows.Scan(&period, &u.Used, &u.Noticed, &u.NoticedMax, &u.Held)
		u.Period = time.UnixMicro(period).UTC()
		list = append(list, u)
		return err
	})
	if err != nil {
		return nil, failed("read usages", err)
	}
	return list, nil
}

// SetNoticed implements [store.Allowances].
func (s *Store) SetNoticed(ctx context.Context, scope string, period time.Time, percent int, max int64) error {
	if err := ctx.Err(); err != nil {
		return failed("set noticed", err)
	}
	err := s.inTx(ctx, func(tx tx) error {
		if err := tx.writeFirst(ctx); err != nil {
			return err
		}
		var u store.Usage
		found, err := tx.usage(ctx, &u, scope, period.UnixMicro())
		switch {
		case err != nil:
			return err
		case !found:
			return store.ErrNotFound
		case u.NoticedMax == max && u.Noticed >= percent:
			return nil
		}
		_, err = tx.exec(ctx, `UPDATE {usages} SET noticed = ?, noticed_max = ? WHERE scope = ? AND period = ?`, percent, max, scope, period.UnixMicro())
		return err
	})
	return failed("set noticed", err)
}

// usageColumns are those that a charge sets.
const usageColumns = `scope, period, used, noticed, noticed_max`

// upsertUsages adds to what is used.
func (s *Store) upsertUsages() rowsQuery {
	return s.upsert("usages", usageColumns, 5, "scope, period", ` used = a.used + excluded.used`)
}

// charges returns the rows of charges: what is added to usages, in the order of their
// keys, and the IDs of the grants from which a number of recipients is taken.
func charges(list []store.Charge) (usages [][]any, grants map[int64][][]any, err error) {
	grants = make(map[int64][][]any)
	list = slices.SortedFunc(slices.Values(list), func(a, b store.Charge) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), a.Period.Compare(b.Period), cmp.Compare(a.ID, b.ID))
	})
	for i, c := range list {
		if err := fitsGrant(c.Grant); err != nil {
			return nil, nil, err
		}
		if i > 0 && c.Scope == list[i-1].Scope && c.Period.Equal(list[i-1].Period) {
			last := usages[len(usages)-1]
			last[2] = last[2].(int64) + c.N
		} else {
			usages = append(usages, []any{c.Scope, c.Period.UnixMicro(), c.N, 0, 0})
		}
		grants[c.N] = append(grants[c.N], []any{c.ID})
	}
	return usages, grants, nil
}

var updateGrants = keysQuery(`UPDATE {grants} SET amount = CASE WHEN amount > ? THEN amount - ? ELSE 0 END WHERE id IN (...)`, 1)

// takeFromGrants takes from grants what was charged to them. The usages are locked, so
// that the order does not matter.
func (t tx) takeFromGrants(ctx context.Context, grants map[int64][][]any) error {
	for n, ids := range grants {
		if err := t.write(ctx, updateGrants, ids, n, n); err != nil {
			return err
		}
	}
	return nil
}
