package sqlstore

import (
	"context"
	"database/sql"
	"time"
)

var (
	deleteUsages   = keysQuery(`DELETE FROM {usages} WHERE (scope, period) IN (...)`, 2)
	deleteGrantsOf = keysQuery(`DELETE FROM {grants} WHERE (scope, period) IN (...)`, 2)
)

// ExpireUsages implements [store.Allowances]. It looks for the rows without a lock, since
// no index has the periods of all scopes.
func (s *Store) ExpireUsages(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	var keys [][]any
	query := `SELECT scope, period FROM {usages} WHERE period < ? ORDER BY scope, period LIMIT ?`
	err = s.query(ctx, query, []any{before.UnixMicro(), max(0, limit)}, func(rows *sql.Rows) error {
		var scope string
		var period int64
		err := rows.Scan(&scope, &period)
		keys = append(keys, []any{scope, period})
		return err
	})
	if err != nil {
		return 0, failed("expire usages", err)
	}
	if len(keys) == 0 {
		return 0, nil
	}
	err = s.inTx(ctx, func(tx tx) error {
		if err := tx.writeFirst(ctx); err != nil {
			return err
		}
		if err := tx.write(ctx, deleteUsages, keys); err != nil {
			return err
		}
		return tx.write(ctx, deleteGrantsOf, keys)
	})
	if err != nil {
		return 0, failed("expire usages", err)
	}
	return len(keys), nil
}
