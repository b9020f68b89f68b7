package queue

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// unappliedTime is how often a queue with Record looks at the journal, and how old an
// event in it must be for a warning.
const unappliedTime = time.Hour

// warnOfUnapplied warns of events in the journal that history.History.Run does not
// apply, on any node. Without it the journal only grows. The first look is after
// unappliedTime, so that an outage of all nodes is not taken for that.
func (q *Queue) warnOfUnapplied(ctx context.Context) {
	journal, ok := q.Spool.(store.History)
	if !q.Record || !ok {
		return
	}
	timer := time.NewTicker(unappliedTime)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		j, err := waitingIn(ctx, journal)
		if err == nil && !j.Oldest.IsZero() && q.now().Sub(j.Oldest) >= unappliedTime { // the poller logs that the Spool fails
			q.logger().Warn("queue: recorded events are not applied", "records", j.Records, "since", j.Oldest)
		}
	}
}

func waitingIn(ctx context.Context, journal store.History) (store.Journal, error) {
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	return journal.Journal(ctx)
}
