package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"time"
)

// A checkpointer copies SQLite's log back into the database file now and then. A
// caller whose own commit is done does it, while other callers write. By default
// SQLite checkpoints inside a commit, which blocks all writers until megabytes are
// copied and on disk.
type checkpointer struct {
	logged  atomic.Int64  // roughly how much was written to the log since it began
	running chan struct{} // a lock
}

const (
	// checkpointEvery is how long the log becomes before it is copied.
	checkpointEvery = 16 << 20

	// checkpointTime is how long copying it may take.
	checkpointTime = time.Minute

	// readersTime is how long writers wait at the end of a checkpoint for readers of the
	// log. It is longer than a read of a Store takes. A back-up may read for minutes.
	readersTime = 100 * time.Millisecond

	// longLog is a number of pages that the log has only if a reader kept it in use for
	// long. The file is cut short then, once, so that the disk has its space back.
	longLog = 4 * checkpointEvery / (4 << 10)

	// commitCost is roughly what a commit adds to the log on top of contents:
	// pages of 4 KiB of the table, its indexes and the list of free pages.
	commitCost = 6 * 4 << 10
)

// written counts what was written to the log.
func (s *Store) written(bytes int) { s.checkpoints.logged.Add(int64(bytes) + commitCost) }

// checkpoint copies the log if it is long. It copies most of it while other callers
// write, and then the rest, which is little, while they wait. If they write as much
// again before that, they wait for the end of the checkpoint: otherwise the log would
// grow on a slow disk. If copying fails, the next commits return the error. If a reader
// keeps the log in use for long, or ctx ends, a later checkpoint does the rest.
func (s *Store) checkpoint(ctx context.Context) {
	c := &s.checkpoints
	if s.dialect != SQLite || ctx.Err() != nil || c.logged.Load() < checkpointEvery {
		return
	}
	select {
	case c.running <- struct{}{}:
	default:
		if c.logged.Load() < 2*checkpointEvery {
			return
		}
		select {
		case c.running <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	defer func() { <-c.running }()
	if c.logged.Load() < checkpointEvery {
		return // the caller that this one waited for has copied it
	}
	ctx, cancel := context.WithTimeout(ctx, checkpointTime)
	defer cancel()
	pages, err := s.copyLog(ctx)
	if err != nil {
		c.logged.Store(0)
		return
	}
	s.write(ctx, func() error {
		defer c.logged.Store(0)
		return s.restartLog(ctx, pages)
	})
}

// copyLog copies as much of the log as it can without waiting for a reader or writer.
// It returns how many pages the log has.
func (s *Store) copyLog(ctx context.Context) (pages int64, err error) {
	st, err := s.prepared(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	if err != nil {
		return 0, err
	}
	var busy, log, copied sql.NullInt64 // busy: another checkpoint runs
	err = st.QueryRowContext(ctx).Scan(&busy, &log, &copied)
	return log.Int64, err
}

// restartLog copies the rest of the log and makes the next commit write to its beginning.
// SQLite does so only if nobody reads the log at that moment. With a few readers there is
// always one, so restartLog waits until all that have begun are done; readers that begin
// meanwhile read the database file. The caller must hold the lock of the writer.
func (s *Store) restartLog(ctx context.Context, pages int64) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var patience int64 // busy_timeout is how long a checkpoint waits as well, and 10 s is too long
	if err := conn.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&patience); err != nil {
		return err
	}
	mode := `RESTART`
	if pages > longLog {
		mode = `TRUNCATE`
	}
	_, err = conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, readersTime.Milliseconds()))
	if err == nil {
		_, err = conn.ExecContext(ctx, `PRAGMA wal_checkpoint(`+mode+`)`)
	}
	if _, failed := conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf(`PRAGMA busy_timeout = %d`, patience)); failed != nil {
		conn.Raw(func(any) error { return driver.ErrBadConn }) // another caller must not get it
	}
	return err
}
