package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"
)

// discardTime is how long discard goes on after the caller's context has ended.
const discardTime = 10 * time.Second

// discard removes a content that has no mail. sweep removes it later if
// discard fails. A content that has a mail after all stays.
func (s *Store) discard(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	left := false
	err := s.inTx(ctx, func(tx tx) (err error) {
		// From now on a Put that was still to come fails, so that its mail
		// does not lose its content.
		if _, err := tx.exec(ctx, `UPDATE {uploads} SET started = 0 WHERE upload = ?`, name); err != nil {
			return err
		}
		if left, err = tx.exists(ctx, `SELECT 1 FROM {uploads} WHERE upload = ?`, name); err != nil || !left || isOutside(name) {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM {contents} WHERE upload = ?`, name); err != nil {
			return err
		}
		_, err = tx.exec(ctx, `DELETE FROM {uploads} WHERE upload = ?`, name)
		return err
	})
	if err != nil || !left || !isOutside(name) {
		return err
	}
	if err := s.dropOutside(ctx, name); err != nil {
		return err
	}
	_, err = s.exec(ctx, `DELETE FROM {uploads} WHERE upload = ?`, name)
	return err
}

// tryDiscard logs if discard fails: that says nothing about what became of the mail.
func (s *Store) tryDiscard(ctx context.Context, name string) {
	if err := s.discard(ctx, name); err != nil {
		slog.WarnContext(ctx, "sqlstore: a content without a mail can't be removed, trying again in a day", "error", failed("discard", err))
	}
}

// An upload that began sweepAge ago and has no mail was left by a crash. They
// are looked for every sweepEvery.
const (
	sweepAge   = 24 * time.Hour
	sweepEvery = time.Hour
)

// sweep removes, once in sweepEvery, the contents that crashes have left, and the
// keys that have ended. If many keys have, the next call goes on. A failure is logged: it
// must not keep Lease from leasing.
func (s *Store) sweep(ctx context.Context, now time.Time) {
	last := s.swept.Load()
	if since := now.UnixMicro() - last; since < sweepEvery.Microseconds() && since > -sweepEvery.Microseconds() {
		return
	}
	if !s.swept.CompareAndSwap(last, now.UnixMicro()) {
		return // another goroutine does it
	}
	more, err := s.sweepKeys(ctx, now)
	if err == nil {
		err = s.sweepUploads(ctx, now)
	}
	switch {
	case err == nil && more:
		s.swept.CompareAndSwap(now.UnixMicro(), last)
	case err != nil && !errors.Is(err, context.Canceled):
		slog.ErrorContext(ctx, "sqlstore: ended keys and left contents can't be removed, trying again in an hour", "error", failed("sweep", err))
	}
}

// sweepUploads removes up to 1,000 contents that crashes have left.
func (s *Store) sweepUploads(ctx context.Context, now time.Time) error {
	st, err := s.prepared(ctx, `SELECT upload FROM {uploads} WHERE started < ? LIMIT 1000`)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, now.Add(-sweepAge).UnixMicro())
	if err != nil {
		return err
	}
	var names []string
	if err := scanAll(rows, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.discard(ctx, name); err != nil && !isOutside(name) {
			return err
		}
	}
	return nil // what could not be dropped outside is tried again an hour later
}
