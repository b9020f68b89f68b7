package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A settler batches outcomes. While one call of Settle runs, later outcomes collect
// for the next. Calls begin at least settlePace apart, because each Settle delays the
// Puts that clients wait for.
type settler struct {
	mu    sync.Mutex
	next  *batch        // collects outcomes; nil if there are none
	last  chan struct{} // closed when the batch before the next one is done
	began time.Time     // when that batch was
	size  int           // how many outcomes that batch had, at most maxSize
}

// maxSize is how many outcomes a batch has room for at its beginning, at most.
const maxSize = 64

// settlePace is how long after a call of Settle the next one begins at least.
const settlePace = 10 * time.Millisecond

type batch struct {
	outcomes []store.Outcome
	lost     lostLeases
	err      error
	done     chan struct{}
}

// lostLeases are deliveries whose lease this node doesn't hold any more. False
// means that Settle failed before and was repeated: it may be that the call whose
// answer didn't arrive has recorded the outcome.
type lostLeases map[recipientKey]bool

// A recipientKey names a delivery.
type recipientKey struct {
	mail string
	n    int
}

// settle records outcomes. It tries again until it succeeds or ctx ends. It returns
// the outcomes whose lease was lost. ctx must be run.settles, because outcomes of other
// callers share it.
func (q *Queue) settle(ctx context.Context, outcomes []store.Outcome) (lostLeases, error) {
	s := &q.settler
	s.mu.Lock()
	b := s.next
	first := b == nil
	before := s.last
	if first {
		b = &batch{outcomes: make([]store.Outcome, 0, max(s.size, len(outcomes))), done: make(chan struct{})}
		s.next, s.last = b, b.done
	}
	b.outcomes = append(b.outcomes, outcomes...)
	s.mu.Unlock()
	if !first {
		<-b.done
		return b.lost, b.err
	}
	if before != nil {
		select {
		case <-before:
			time.Sleep(time.Until(s.began.Add(settlePace)))
		case <-ctx.Done(): // it hangs
		}
	}
	s.mu.Lock()
	s.next = nil
	s.began, s.size = time.Now(), min(len(b.outcomes), maxSize)
	s.mu.Unlock()
	b.lost, b.err = q.record(ctx, b.outcomes)
	close(b.done)
	return b.lost, b.err
}

// record calls Settle until it works.
func (q *Queue) record(ctx context.Context, outcomes []store.Outcome) (lostLeases, error) {
	surely := true
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		lost, err := q.recordOnce(ctx, outcomes)
		for key := range lost {
			lost[key] = surely
		}
		if err == nil || ctx.Err() != nil {
			return lost, err
		}
		surely = false
		q.logger().Error("queue: outcomes can't be recorded, trying again", "outcomes", len(outcomes), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (q *Queue) recordOnce(ctx context.Context, outcomes []store.Outcome) (lostLeases, error) {
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	lost, err := q.Spool.Settle(ctx, outcomes)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	keys := make(lostLeases, len(lost))
	for _, o := range lost {
		keys[recipientKey{o.Mail, o.N}] = true
	}
	return keys, nil
}

// finish settles the results of a job, and sends events and notices.
func (q *Queue) finish(r *run, j *job, results []result) {
	defer q.dispatcher.forget(j)
	m := &j.parcel.mail
	ends := make([]end, len(results))
	plan := make(map[planKey]time.Time)
	for i := range results {
		ends[i] = q.judge(m, &results[i], plan)
	}
	notices := q.notify(r.settles, j.parcel, ends)
	outcomes := make([]store.Outcome, 0, len(ends))
	for i := range ends {
		e := &ends[i]
		e.outcome.Event = q.journaled(m, e.delivery, e.event)
		outcomes = append(outcomes, e.outcome)
	}
	if len(outcomes) == 0 {
		return
	}
	lost, err := q.settle(r.settles, outcomes)
	if err != nil {
		r.left.Add(1)
		q.logger().Error("queue: outcomes are not recorded, the recipients will be tried again",
			"id", m.ID, "recipients", len(outcomes), "error", err)
		return
	}
	for _, e := range ends {
		if lost[recipientKey{e.outcome.Mail, e.outcome.N}] {
			q.logger().Warn("queue: lease lost, the outcome is dropped", "id", m.ID, "to", e.delivery.Recipient)
		} else if e.event != nil {
			q.planned(e.outcome)
			q.emit(e.event)
		}
	}
	if len(notices) > 0 {
		q.sendNotices(r.settles, notices, q.settle)
	}
}

// An end is how an attempt ends for one recipient.
type end struct {
	delivery *store.Delivery
	outcome  store.Outcome
	event    Event          // nil if nothing happened
	err      error          // why it was not delivered
	taken    *relay.NextHop // the server that took it
	expired  bool
	byName   bool       // it was refused by name, so the content is not why
	notice   NoticeKind // the notice that the sender may get; 0: none
}

// A planKey names recipients that failed together and are retried together.
type planKey struct {
	attempts int
	idle     time.Duration
}

// judge decides what a result means. plan has the times of retries.
func (q *Queue) judge(m *store.Mail, r *result, plan map[planKey]time.Time) end {
	d := &r.Delivery
	who := subject(m, d.Recipient)
	e := end{delivery: d, err: r.err, byName: r.byName, outcome: store.Outcome{Mail: d.Mail, N: d.N, Lease: d.Lease}}
	switch {
	case r.err == nil:
		e.outcome.Done = true
		e.event = &Delivered{Subject: who, Reply: replyOf(&r.taken)}
		if e.taken = &r.taken; !r.taken.DSN {
			e.notice = RelayedNotice
		}
	case errors.Is(r.err, errStopped):
		e.outcome = untouched(d)
	case errors.Is(r.err, errUnworkable):
		e.outcome = q.hold(untouched(d), safe(r.err.Error()))
		e.event = &Held{Subject: who, Reason: e.outcome.Reason}
	case !relay.Temporary(r.err):
		e.outcome.Done = true
		e.event = &Bounced{Subject: who, Reason: reasonOf(r.err), Reply: replyIn(r.err)}
		e.notice = FailureNotice
	default:
		q.judgeTemporary(m, r, plan, &e)
	}
	return e
}

// judgeTemporary defers a recipient, or gives it up.
func (q *Queue) judgeTemporary(m *store.Mail, r *result, plan map[planKey]time.Time, e *end) {
	d, now := &r.Delivery, q.now()
	age := now.Sub(m.Received) - d.Idle
	attempts, reason := d.Attempts, reasonOf(r.err)
	ours := errors.As(r.err, new(unread))
	var busy *relay.BusyError // the site was not asked, or wants a pause
	if errors.As(r.err, &busy) || r.untried || ours {
		attempts--
	}
	never := busy != nil && busy.Err == nil && attempts <= 0 // no server was asked so far
	if age >= q.expire() && !ours && !never {
		e.outcome.Done, e.expired = true, true
		e.event = &Expired{Subject: subject(m, d.Recipient), Reason: reason, Reply: replyIn(r.err), Attempt: attempts}
		e.notice = FailureNotice
		return
	}
	key := planKey{attempts, d.Idle}
	if plan[key].IsZero() {
		wait := time.Duration(0)
		switch {
		case r.untried:
			wait = d.Next.Sub(now)
		case busy != nil:
			wait = max(busy.Wait, time.Second)
		default:
			wait = q.retryAfter(max(attempts, 1))
		}
		plan[key] = q.nextTry(m, d, now, wait)
	}
	e.outcome.Next = plan[key]
	e.outcome.Attempts, e.outcome.Reason, e.outcome.Delayed, e.outcome.Idle = attempts, reason, d.Delayed, d.Idle
	if age >= delayTime && !d.Delayed {
		e.outcome.Delayed = true
		e.notice = DelayNotice
	}
	e.event = &Deferred{
		Subject: subject(m, d.Recipient), Reason: reason, Reply: replyIn(r.err), Next: e.outcome.Next, Attempt: attempts,
		untried: r.untried, uncounted: attempts < d.Attempts,
	}
}

// untouched is the outcome of a leased delivery that nothing was tried for: it is as
// it was before it was leased.
func untouched(d *store.Delivery) store.Outcome {
	return store.Outcome{
		Mail: d.Mail, N: d.N, Lease: d.Lease,
		Next: d.Next, Attempts: max(d.Attempts-1, 0), Delayed: d.Delayed, Held: d.Held, Idle: d.Idle, Reason: d.Reason,
	}
}
