package storetest_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// A spoolMistake is a way to write a spool wrongly, as a mistake is for stores.
type spoolMistake struct {
	make        func(store.Spool) store.Spool
	name, words string
}

var spoolMistakes = map[string]spoolMistake{
	"only so many tenants of a destination are listed": {
		make:  func(s store.Spool) store.Spool { return firstTenants{s} },
		name:  "Deliveries/OfADestination",
		words: "Deliveries lists the deliveries that match the filter",
	},
	"there is no spool": {
		make:  func(store.Spool) store.Spool { return nil },
		name:  "Put/AsGiven",
		words: "the function that fresh returned opened nil",
	},
	"a spool of its own for each process": {
		make:  func(store.Spool) store.Spool { return new(memory.Store) },
		name:  "Handles/SeeEachOther",
		words: "it may be shared by any number of processes",
	},
	"what is leased is handed out again": {
		make:  func(s store.Spool) store.Spool { return unhidden{s} },
		name:  "Lease/Hides",
		words: "No other call of Lease, in any process, returns them",
	},
	"the due are read, then leased": {
		make:  func(s store.Spool) store.Spool { return readsThenLeases{s} },
		name:  "Race/NeverSharedByTwo",
		words: "No other call of Lease, in any process, returns them",
	},
	"the last in is the first out": {
		make:  func(s store.Spool) store.Spool { return newestFirst{s} },
		name:  "Lease/LongestFirst",
		words: "Within a lane the deliveries that are due longest come first.",
	},
	"held deliveries are handed out": {
		make:  func(s store.Spool) store.Spool { return holdsNothing{s} },
		name:  "Lease/Held",
		words: "those that are due, not held",
	},
	"any lease will do to settle": {
		make:  func(s store.Spool) store.Spool { return unfenced{s} },
		name:  "Settle/LostLease",
		words: "An outcome whose token is not the delivery's",
	},
	"one lost outcome is the end of all": {
		make:  func(s store.Spool) store.Spool { return allLost{s} },
		name:  "Settle/LostLease",
		words: "changes nothing and is returned as lost",
	},
	"what is lost isn't told": {
		make:  func(s store.Spool) store.Spool { return neverLost{s} },
		name:  "Settle/LostLease",
		words: "changes nothing and is returned as lost",
	},
	"the content stays": {
		make:  func(s store.Spool) store.Spool { return hoards{s, new(sync.Map)} },
		name:  "Settle/LastOfTheMail",
		words: "With the last delivery of a mail the mail and its content are removed.",
	},
	"ReadAt ends with the context": {
		make:  func(s store.Spool) store.Spool { return impatient{s} },
		name:  "Body/ReaderAt",
		words: "Its ReadAt may be called until it is closed, also after ctx has ended.",
	},
	"the content goes with the first recipient": {
		make:  func(s store.Spool) store.Spool { return hasty{s, new(sync.Map)} },
		name:  "Settle/LastOfTheMail",
		words: "With the last delivery of a mail the mail and its content are removed.",
	},
	"a second Put is an error": {
		make:  func(s store.Spool) store.Spool { return once{s} },
		name:  "Put/Twice",
		words: "a Put whose outcome is unknown may be repeated",
	},
	"what came of a content is enough": {
		make:  func(s store.Spool) store.Spool { return shortened{s} },
		name:  "Put/BodyOfAnotherLength",
		words: "An error of body, and a body of another length, are errors of Put, and nothing is kept.",
	},
	"a cancelled Put leaves some recipients": {
		make:  func(s store.Spool) store.Spool { return halfDone{s} },
		name:  "Put/CancelledHalfWay",
		words: "If Put fails, it has kept everything or nothing.",
	},
	"what remote servers say is made valid": {
		make:  func(s store.Spool) store.Spool { return valid{s} },
		name:  "Text/AnyBytes",
		words: "may hold any bytes (what remote servers say often isn't UTF-8) and comes back as it went in",
	},
	"an ID that is not text is an error": {
		make:  func(s store.Spool) store.Spool { return onlyTextIDs{s} },
		name:  "Deliveries/AnyID",
		words: "An ID that no mail or node can have matches nothing",
	},
	"reasons are cut to fit the column": {
		make:  func(s store.Spool) store.Spool { return cutReasons{s} },
		name:  "Text/Long",
		words: "but never cuts them",
	},
	"times are kept in milliseconds": {
		make:  func(s store.Spool) store.Spool { return spoolMilliseconds{s} },
		name:  "Times/ToTheMicrosecond",
		words: "All times are UTC whole microseconds",
	},
	"tenants see each other's mail": {
		make:  func(s store.Spool) store.Spool { return everybodys{s} },
		name:  "Deliveries/Filters",
		words: "Deliveries lists the deliveries that match the filter",
	},
	"the context is ignored": {
		make:  func(s store.Spool) store.Spool { return deafSpool{s} },
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail with its error and change nothing",
	},
}

// TestSpoolMistakes is TestMistakes for spools.
func TestSpoolMistakes(t *testing.T) {
	for name, m := range spoolMistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongSpool", name, m.name, m.words)
		})
	}
}

// TestWrongSpool is run by TestSpoolMistakes, in a process of its own.
func TestWrongSpool(t *testing.T) {
	m, ok := spoolMistakes[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestSpoolMistakes runs this")
	}
	storetest.SetOtherProcess(time.Second)
	storetest.RunSpool(t, func(*testing.T) func() store.Spool {
		right := new(memory.Store)
		return func() store.Spool { return m.make(right) }
	})
}

// unhidden gives a delivery back as soon as it is leased.
type unhidden struct{ store.Spool }

func (s unhidden) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	leased, err := s.Spool.Lease(ctx, r)
	for _, l := range leased[:min(len(leased), 10)] { // so that loops end
		d := l.Delivery
		s.Settle(ctx, []store.Outcome{{Mail: d.Mail, N: d.N, Lease: d.Lease, Next: d.Next, Attempts: d.Attempts}})
	}
	return leased, err
}

type readsThenLeases struct{ store.Spool }

func (s readsThenLeases) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	all, err := s.Deliveries(ctx, store.Filter{State: store.StateWaiting}, store.Page{Limit: 1000})
	if err != nil {
		return nil, err
	}
	var due []store.Leased
	for _, l := range all {
		if !l.Delivery.Next.After(r.Now) && len(due) < r.Limit {
			l.Delivery.Lease++
			l.Delivery.Node = r.Node
			due = append(due, l)
		}
	}
	time.Sleep(time.Millisecond)
	r.Limit = len(due)
	_, err = s.Spool.Lease(ctx, r)
	return due, err
}

type newestFirst struct{ store.Spool }

func (s newestFirst) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	leased, err := s.Spool.Lease(ctx, r)
	slices.Reverse(leased)
	return leased, err
}

type holdsNothing struct{ store.Spool }

func (s holdsNothing) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	deliveries = slices.Clone(deliveries)
	for i := range deliveries {
		deliveries[i].Held = false
	}
	return s.Spool.Put(ctx, m, deliveries, body, events...)
}

type unfenced struct{ store.Spool }

func (s unfenced) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	all, err := s.Deliveries(ctx, store.Filter{}, store.Page{Limit: 1000})
	outcomes = slices.Clone(outcomes)
	for i, o := range outcomes {
		for _, l := range all {
			if l.Delivery.Mail == o.Mail && l.Delivery.N == o.N {
				outcomes[i].Lease = l.Delivery.Lease
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return s.Spool.Settle(ctx, outcomes)
}

type allLost struct{ store.Spool }

func (s allLost) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	all, err := s.Deliveries(ctx, store.Filter{}, store.Page{Limit: 1000})
	if err != nil {
		return nil, err
	}
	for _, o := range outcomes {
		if !slices.ContainsFunc(all, func(l store.Leased) bool {
			return l.Delivery.Mail == o.Mail && l.Delivery.N == o.N && l.Delivery.Lease == o.Lease
		}) {
			return outcomes, nil
		}
	}
	return s.Spool.Settle(ctx, outcomes)
}

type neverLost struct{ store.Spool }

func (s neverLost) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	_, err := s.Spool.Settle(ctx, outcomes)
	return nil, err
}

// hoards keeps every content that was ever read.
type hoards struct {
	store.Spool
	contents *sync.Map
}

func (s hoards) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if content, ok := s.contents.Load(mail); ok {
		return io.NopCloser(bytes.NewReader(content.([]byte))), nil
	}
	body, err := s.Spool.Body(ctx, mail)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(body)
	s.contents.Store(mail, content)
	return io.NopCloser(bytes.NewReader(content)), err
}

// impatient offers an io.ReaderAt that fails when the context of Body has ended.
type impatient struct{ store.Spool }

func (s impatient) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	body, err := s.Spool.Body(ctx, mail)
	if err != nil {
		return nil, err
	}
	return impatientBody{body, ctx}, nil
}

type impatientBody struct {
	io.ReadCloser
	ctx context.Context
}

func (b impatientBody) ReadAt(p []byte, off int64) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.(io.ReaderAt).ReadAt(p, off)
}

// hasty forgets a content when any delivery of it is done.
type hasty struct {
	store.Spool
	done *sync.Map
}

func (s hasty) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	lost, err := s.Spool.Settle(ctx, outcomes)
	for _, o := range outcomes {
		if o.Done && err == nil && len(lost) == 0 {
			s.done.Store(o.Mail, true)
		}
	}
	return lost, err
}

func (s hasty) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if _, done := s.done.Load(mail); done {
		return nil, store.ErrNotFound
	}
	return s.Spool.Body(ctx, mail)
}

type once struct{ store.Spool }

func (s once) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	if there, err := s.Body(ctx, m.ID); err == nil {
		there.Close()
		return store.ErrTaken
	}
	return s.Spool.Put(ctx, m, deliveries, body, events...)
}

type shortened struct{ store.Spool }

func (s shortened) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	content, err := io.ReadAll(io.LimitReader(body, max(m.Size, 0)))
	if err != nil {
		return err
	}
	m.Size = int64(len(content))
	return s.Spool.Put(ctx, m, deliveries, bytes.NewReader(content), events...)
}

type halfDone struct{ store.Spool }

func (s halfDone) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	var content bytes.Buffer
	err := s.Spool.Put(ctx, m, deliveries, io.TeeReader(body, &content), events...)
	if ctx.Err() != nil && err != nil && int64(content.Len()) == m.Size && len(deliveries) > 1 {
		s.Spool.Put(context.WithoutCancel(ctx), m, deliveries[:len(deliveries)/2], &content)
	}
	return err
}

type valid struct{ store.Spool }

func (s valid) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	return settleWith(ctx, s.Spool, outcomes, func(reason string) string { return strings.ToValidUTF8(reason, "?") })
}

type cutReasons struct{ store.Spool }

func (s cutReasons) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	return settleWith(ctx, s.Spool, outcomes, func(reason string) string { return reason[:min(len(reason), 1024)] })
}

func settleWith(ctx context.Context, s store.Spool, outcomes []store.Outcome, reason func(string) string) ([]store.Outcome, error) {
	outcomes = slices.Clone(outcomes)
	for i, o := range outcomes {
		outcomes[i].Reason = reason(o.Reason)
	}
	return s.Settle(ctx, outcomes)
}

type spoolMilliseconds struct{ store.Spool }

func (s spoolMilliseconds) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	m.Received = m.Received.Truncate(time.Millisecond)
	return s.Spool.Put(ctx, m, deliveries, body, events...)
}

type deafSpool struct{ store.Spool }

func (s deafSpool) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	return s.Spool.Settle(context.WithoutCancel(ctx), outcomes)
}
