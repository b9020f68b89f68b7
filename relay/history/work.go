package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A worker applies records while it has the claim.
type worker struct {
	h        *History
	who      string
	claimed  time.Time // until when; zero if it does not have the claim
	failed   int       // steps in a row
	limit    int       // about how many events a step takes
	expired  time.Time // when nothing was left to expire
	restored time.Time // when records that were set aside were looked at
	oldest   string    // the oldest record while another process has the claim
	since    time.Time // since when that is the oldest
	stuck    bool      // nothing was applied for too long, so this process applies too
}

// claimOf is the piece of work that one process does for all.
const claimOf = "history"

// The messages of failures.
const (
	failClaim   = "history: the claim to apply events failed, trying again"
	failApply   = "history: events are not applied, trying again"
	failExpire  = "history: old activities are not removed, trying again"
	failRestore = "history: records that were set aside are not looked at, trying again"
)

// work applies records and expires activities until ctx ends.
func (h *History) work(ctx context.Context) {
	w := &worker{h: h, who: cmp.Or(h.Node, relay.NewID()), limit: batch}
	for pause := time.Duration(0); sleep(ctx, pause); {
		pause = w.turn(ctx)
	}
	if w.claimed.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	h.Store.Claim(ctx, claimOf, w.who, now, now) // else it ends by itself
}

// turn applies one batch and returns how long to wait until the next.
func (w *worker) turn(ctx context.Context) time.Duration {
	mine, err := w.claim(ctx)
	w.h.report(ctx, failClaim, err)
	switch {
	case err != nil:
		return w.backoff()
	case !mine && !w.isStuck(ctx):
		w.failed = 0
		return 5 * pace
	}
	w.h.report(ctx, failRestore, w.restore(ctx))
	events, err := w.h.step(ctx, w.limit)
	if errors.Is(err, store.ErrConflict) && w.failed < 3 { // another process works too
		w.claimed = time.Time{}
		w.stuck, w.oldest = false, ""
		w.failed++
		return 0
	}
	w.h.report(ctx, failApply, err)
	w.h.report(ctx, failExpire, w.expire(ctx)) // Retention holds also while Publish fails
	if err != nil {                            // fewer events may take less time than there is
		w.limit = max(min(w.limit, publishAtOnce)/2, 1)
		return w.backoff()
	}
	w.failed = 0
	full := events >= w.limit
	w.limit = min(w.limit+batch/20, batch)
	if full {
		return 0
	}
	return pace
}

// backoff returns how long to wait after a failure.
func (w *worker) backoff() time.Duration {
	w.failed++
	return min(pace<<min(w.failed-1, 5), 30*time.Second)
}

// claim reports whether this process is the one that applies. It asks the store only
// if its claim ends soon.
func (w *worker) claim(ctx context.Context) (bool, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if w.claimed.Sub(now) > claimTime/2 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	until := now.Add(claimTime)
	mine, err := w.h.Store.Claim(ctx, claimOf, w.who, now, until)
	w.claimed = time.Time{}
	if err == nil && mine {
		w.claimed = until
	} else {
		w.restored = time.Time{}
	}
	return mine, err
}

// isStuck reports whether nothing was applied for so long that whoever has the claim
// must be dead or fail, also if its clock is wrong and the claim lasts for hours. It is
// to be asked only while another process has the claim.
func (w *worker) isStuck(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	records, err := w.h.Store.Records(ctx, 1)
	if err != nil || len(records) == 0 {
		w.oldest = ""
		return w.stuck
	}
	if id := records[0].ID; id != w.oldest {
		w.oldest, w.since = id, time.Now()
	}
	w.stuck = w.stuck || time.Since(w.since) >= 2*claimTime
	return w.stuck
}

// step applies the oldest records, with about limit events. It returns how many events
// they had.
func (h *History) step(ctx context.Context, limit int) (int, error) {
	if err := h.stepping.lock(ctx); err != nil {
		return 0, err
	}
	defer h.stepping.unlock()
	ids, events, err := h.records(ctx, limit)
	if err != nil || len(ids) == 0 {
		return len(events), err
	}
	for some := range slices.Chunk(events, min(limit, publishAtOnce)) {
		if err := h.publish(ctx, some); err != nil {
			return 0, fmt.Errorf("history: publish events: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	before, err := h.before(ctx, events)
	if err != nil {
		return 0, err
	}
	return len(events), h.Store.Apply(ctx, ids, derive(events, before))
}

// restore restores what was set aside by an older version and can be read by this one:
// when this process begins to apply, and then each hour.
func (w *worker) restore(ctx context.Context) error {
	now := time.Now()
	if now.Sub(w.restored) < time.Hour {
		return nil
	}
	err := w.h.restore(ctx)
	if err == nil {
		w.restored = now
	}
	return err
}

func (h *History) restore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	n, err := h.Store.Restore(ctx)
	if n > 0 {
		h.logger().Info("history: records that were set aside can be read now and are applied", "records", n)
	}
	return err
}

// records returns the oldest records that can be read, and their events in order. It
// sets the others aside: they are damaged, or a newer version has written them.
func (h *History) records(ctx context.Context, limit int) (ids []string, events []*store.Event, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for len(ids) == 0 {
		records, err := h.Store.Records(ctx, limit)
		if err != nil || len(records) == 0 {
			return nil, nil, err
		}
		for _, r := range records {
			if r.Damage == "" {
				ids = append(ids, r.ID)
				continue
			}
			h.logger().Error("history: a record that cannot be read is set aside", "record", r.ID, "damage", r.Damage)
			if err := h.Store.SetAside(ctx, r.ID); err != nil {
				return nil, nil, err
			}
		}
		events = sorted(records)
	}
	return ids, events, nil
}

// before returns the activities of the events that look at them. Those of events that
// shorten trails have their Trail.
func (h *History) before(ctx context.Context, events []*store.Event) (map[activityKey]store.Activity, error) {
	var keys []store.ActivityKey
	withTrail := make(map[activityKey]bool)
	for _, e := range events {
		if !looks(e.Kind) && !shortens(e) {
			continue
		}
		key := activityKey{e.Tenant, e.Mail, e.N}
		trail, asked := withTrail[key]
		if !asked {
			keys = append(keys, store.ActivityKey{Tenant: e.Tenant, Mail: e.Mail, N: e.N})
		}
		withTrail[key] = trail || shortens(e)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	list, err := h.Store.ActivitiesByKey(ctx, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[activityKey]store.Activity, len(list))
	for _, a := range list {
		key := activityKey{a.Tenant, a.Mail, a.N}
		if !withTrail[key] {
			a.Trail = ""
		}
		found[key] = a
	}
	return found, nil
}

// expire removes some of what is too old: at most twice as much as one step adds.
func (w *worker) expire(ctx context.Context) error {
	now := time.Now().UTC()
	if now.Sub(w.expired) < time.Hour {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	n, err := w.h.Store.Expire(ctx, now.Add(-w.h.retention()), now.Add(-w.h.countRetention()).Truncate(time.Hour), 2*batch)
	if err == nil && n == 0 {
		w.expired = now
	}
	return err
}

// sleep waits. It returns false if ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
