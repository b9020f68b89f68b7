package sqlstore

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"
)

// A checkpointer copies SQLite's log back into the database file now and then. A
// caller whose own commit is done does it, while other callers write. By default
// SQLite checkpoints inside a commit, which blocks all writers until megabytes are
// copied and on disk.
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

// checkpoint copies the log if it is long. It copies most of it while other callers
// write, and then the rest, which is little, while they wait. SQLite starts the log
// again only when all of it was copied. If copying fails, the next commits return
// the error. If a reader keeps the log in use, or ctx ends, a later checkpoint does
// the rest.
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

// copyLog copies as much of the log as it can without waiting for a reader or writer.
func (s *Store) copyLog(ctx context.Context) error {
	st, err := s.prepared(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	if err != nil {
		return err
	}
	var busy, frames, copied sql.NullInt64 // busy: another checkpoint runs
	return st.QueryRowContext(ctx).Scan(&busy, &frames, &copied)
}
