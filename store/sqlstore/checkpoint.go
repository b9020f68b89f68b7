package sqlstore

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"
)

// A checkpointer has SQLite's log copied back into the database file now and
// then, beside those who write, by a caller whose own work is done. Left alone
// SQLite does it in one of the commits, and everybody who writes waits until
// megabytes are copied and on disk.
type checkpointer struct {
	logged  atomic.Int64 // roughly how much was written to the log since it began
	running atomic.Bool
}

const (
	// checkpointEvery is how long the log becomes before it is copied.
	checkpointEvery = 16 << 20

	// checkpointTime is how long copying it may take.
	checkpointTime = time.Minute

	// commitCost is roughly what a commit adds to the log on top of contents:
	// pages of 4 KiB of the table, its indexes and the list of free pages.
	commitCost = 6 * 4 << 10
)

// written counts what was written to the log.
func (s *Store) written(bytes int) { s.checkpoints.logged.Add(int64(bytes) + commitCost) }

// checkpoint copies the log if it is long: while others write, and then, while
// they wait, the little that they have added meanwhile. SQLite begins the log
// anew only when all of it was copied. If that fails, the next commits will say
// what is wrong; if others read for so long that it can't be done, or ctx ends,
// the next checkpoint, or SQLite's own, does the rest.
func (s *Store) checkpoint(ctx context.Context) {
	c := &s.checkpoints
	if s.dialect != SQLite || ctx.Err() != nil || c.logged.Load() < checkpointEvery || !c.running.CompareAndSwap(false, true) {
		return
	}
	defer c.running.Store(false)
	c.logged.Store(0)
	ctx, cancel := context.WithTimeout(ctx, checkpointTime)
	defer cancel()
	if s.copyLog(ctx) != nil {
		return
	}
	s.write(ctx, func() error { return s.copyLog(ctx) })
}

// copyLog copies as much of the log as it can without waiting for anybody.
func (s *Store) copyLog(ctx context.Context) error {
	st, err := s.prepared(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	if err != nil {
		return err
	}
	var busy, frames, copied sql.NullInt64 // who is busy is another checkpoint
	return st.QueryRowContext(ctx).Scan(&busy, &frames, &copied)
}
