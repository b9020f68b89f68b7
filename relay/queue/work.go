package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

var (
	errStopped  = errors.New("queue: stopped") // Run has ended
	errNoAnswer = errors.New("queue: no answer in time")
	errNotTried = errors.New("queue: not tried")
	errNobody   = errors.New("queue: the forwarder refused recipients, but none of these")
	errPanic    = errors.New("queue: the forwarder panicked")
)

// A result is what came of an attempt for one recipient.
type result struct {
	store.Delivery
	err    error // nil: delivered
	parked *closed
	taken  relay.NextHop // by whom, if that is known
}

// deliver does a job: it hands the message on, and settles what came of it.
func (q *Queue) deliver(r *run, j *job) {
	due := q.start(r, j)
	if j.parked != nil {
		if q.claim(j) {
			q.finish(r, j, all(due, j.parked.cause, j.parked))
		}
		return
	}
	var results []result
	err := errNotTried
	if len(due) > 0 {
		ctx, cancel := context.WithTimeout(r.attempts, attemptTime)
		results, err = q.attempt(ctx, j.parcel, due)
		cancel()
	}
	q.leave(j, err)
	switch {
	case !q.claim(j):
	case q.handOver():
		go q.finishApart(r, j, results)
	default:
		q.finish(r, j, results)
	}
}

// handOver reports whether a worker may go on while what came of its job is
// recorded. There is a limit to that, because all that isn't recorded is
// delivered again after a crash.
func (q *Queue) handOver() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.finishing >= q.workers() {
		return false
	}
	q.finishing++
	return true
}

func (q *Queue) finishApart(r *run, j *job, results []result) {
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.finishing--
	}()
	q.finish(r, j, results)
}

// start returns the deliveries of a job that this node may still work on. If the
// leases have run out meanwhile, because the process was stopped for a while,
// others may have done the work.
func (q *Queue) start(r *run, j *job) []store.Delivery {
	q.mu.Lock()
	ended := !q.now().Before(j.until)
	q.mu.Unlock()
	if ended && q.renew(r, []*job{j}) != nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	j.started = time.Now()
	return slices.Clone(j.due)
}

// attempt hands a message on for the deliveries due. A recipient that is
// refused doesn't stand in the way of the others, who are tried again at once.
// The error is how it ended as a whole.
func (q *Queue) attempt(ctx context.Context, p *parcel, due []store.Delivery) ([]result, error) {
	m, err := q.load(ctx, p)
	if err != nil {
		return all(due, stopped(ctx, err), nil), errNotTried
	}
	var results []result
	for len(due) > 0 {
		taken, err := q.try(ctx, m, due)
		refused, rest := split(due, err)
		if len(refused) == 0 {
			var re *relay.RefusedError
			if errors.As(err, &re) {
				err = errNobody
			}
			last := all(due, err, nil)
			for i := range last {
				last[i].taken = taken
			}
			return append(results, last...), err
		}
		results = append(results, refused...)
		due = rest
	}
	return results, nil
}

// try calls Next. Which of several servers took which recipient isn't known: one
// without DSN counts for all.
func (q *Queue) try(ctx context.Context, m *relay.Message, due []store.Delivery) (_ relay.NextHop, err error) {
	var mu sync.Mutex // a forwarder that was abandoned may call late
	var taken relay.NextHop
	first := true
	c := m.WithRecipients(recipients(due))
	c.OnDelivered = func(d relay.NextHop) {
		mu.Lock()
		defer mu.Unlock()
		if first || taken.DSN || !d.DSN {
			taken = relay.NextHop{Host: safe(d.Host), Reply: safe(d.Reply), DSN: d.DSN}
		}
		first = false
	}
	defer func() {
		if p := recover(); p != nil {
			q.logPanic("Next", p)
			err = errPanic
		}
	}()
	err = q.Next.Forward(ctx, c)
	tryOut(err)
	if err != nil && !answered(err) {
		err = stopped(ctx, err)
	}
	mu.Lock()
	defer mu.Unlock()
	return taken, err
}

// tryOut calls what will be called of an error, where a panic in it (of a nil
// *relay.ReplyError, say) is caught.
func tryOut(err error) {
	if err == nil {
		return
	}
	reasonOf(err)
	relay.Temporary(err)
	unreachable(err)
	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Recipients {
			tryOut(r.Err)
		}
	}
}

// stopped says of an error whether it is only the end of ctx.
func stopped(ctx context.Context, err error) error {
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	case context.Canceled:
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	return err
}

// split takes those of due that err refuses by name from the rest.
func split(due []store.Delivery, err error) (refused []result, rest []store.Delivery) {
	var re *relay.RefusedError
	if !errors.As(err, &re) || re == nil {
		return nil, due
	}
	reasons := make(map[string]error, len(re.Recipients))
	for _, r := range re.Recipients {
		reasons[r.Address] = r.Err
		if r.Err == nil {
			reasons[r.Address] = err
		}
	}
	for _, d := range due {
		if reason := reasons[d.Recipient]; reason != nil {
			refused = append(refused, result{Delivery: d, err: reason})
		} else {
			rest = append(rest, d)
		}
	}
	return refused, rest
}

// all makes the same result of all deliveries.
func all(due []store.Delivery, err error, parked *closed) []result {
	results := make([]result, len(due))
	for i, d := range due {
		results[i] = result{Delivery: d, err: err, parked: parked}
	}
	return results
}
