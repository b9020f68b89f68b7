package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/store"
)

// A History makes activities and counts of the events that a queue and a server
// record, and answers questions about them.
//
// Fill in the fields, and call Run in a goroutine of its own. The fields must not be
// changed after that. All methods may be called from many goroutines at once, whether
// Run works or not.
type History struct {
	// Store keeps everything. It must be the Spool of the queue. Required.
	Store store.History

	// Retention is how long activities are kept, and CountRetention how long counts
	// are. Both end with a full day in UTC. Zero and less mean 30 days and 400 days.
	Retention, CountRetention time.Duration

	// MaxRefusals is how many different refusals of one tenant this process records
	// in an hour. Those beyond it become one activity, which says how many there
	// were. Zero and less mean 1,000.
	MaxRefusals int

	// NoSubjects leaves the subjects of refused messages out of what is recorded.
	// Those of accepted messages are a matter of queue.Queue.NoSubjects.
	NoSubjects bool

	// Publish, if set, gets all events before they are applied. Set it in every process
	// that calls Run or Tenant.Erase: both apply, and what a process without Publish
	// applies is never published. A process that only asks questions, or calls Bounced,
	// needs neither Publish nor Run.
	//
	// Publish gets each event at least once; after a failure or a crash it gets some
	// again, with the same IDs. The events of one message come in the order in which
	// they happened, as far as the clocks of the nodes agree. One call has up to about
	// 2,000 events, and calls of one process do not overlap. Two processes may make the
	// same call at the same time: if one has taken the other for dead, and during Bounced
	// and Tenant.Erase.
	//
	// If Publish returns an error, panics, or takes longer than 20 seconds, its
	// events are not applied, and after a pause it is called again, with half as many
	// of them. Nothing that happened later is applied or published until it succeeds.
	// So it should fail only if it could not keep the events, for instance because
	// its database failed, and not because one of them is unusable.
	Publish func(ctx context.Context, events []store.Event) error

	// Destination tells where a recipient's mail goes. Set it to the Destination of the
	// queue, nil if that is nil: then a recipient that waits because its destination
	// is suspended has the suspension's Reason, and its Until as NextAttempt.
	Destination func(recipient string) string

	// Node names this process among those that share the Store, as Queue.Node does: at
	// most 255 bytes, the same each time the process is started again, and another one
	// for each process. A process that starts under a name goes on at once where the one
	// before it was killed. If two processes with Run have the same name, both apply, so
	// that Publish gets many events twice. Empty means a name that is made up at each
	// start: then events wait for up to 30 seconds after a crash.
	Node string

	// Logger gets errors. Nil means slog.Default().
	Logger *slog.Logger

	gathered gatherer
	failing  failures
	stepping gate // held while records are applied
	runMu    sync.Mutex
	running  bool
}

const (
	// pace is how long events gather before they are applied or recorded.
	pace = time.Second

	// batch is about how many events are applied at once. More of them take less time
	// each, and keep writers of SQLite waiting for longer: these do for about 30 ms.
	batch = 4000

	// publishAtOnce is how many events Publish gets at once.
	publishAtOnce = 2000

	// storeTime is how long a call of the store, or of Publish, may take.
	storeTime = 20 * time.Second

	// claimTime is how long a process that has died keeps others from applying.
	claimTime = 30 * time.Second

	// flushTime is how long Run may take at its end to record what was gathered.
	flushTime = 5 * time.Second
)

// Run applies events as they are recorded, records refusals, and removes what is older
// than Retention, until ctx ends. Any number of processes may run it on one store, each
// with the same Publish: one of them applies. If that one dies, it goes on when it starts
// again under the same Node, or another takes over within 30 seconds; within two minutes if
// its clock was wrong. At its end Run records the refusals of the last second, which takes
// at most 5 seconds; so shut the server down before ctx ends.
//
// Failures of the store are logged once, and tried again. Run returns an error only if
// it cannot begin: Store is nil, Node is not valid, or Run is being called already.
func (h *History) Run(ctx context.Context) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer h.end()
	var tasks sync.WaitGroup
	tasks.Go(func() { h.work(ctx) })
	tasks.Go(func() { h.record(ctx) })
	tasks.Wait()
	return nil
}

func (h *History) begin() error {
	h.runMu.Lock()
	defer h.runMu.Unlock()
	switch {
	case h.Store == nil:
		return errNoStore
	case len(h.Node) > 255 || !utf8.ValidString(h.Node) || strings.Contains(h.Node, "\x00"):
		return fmt.Errorf("history: History.Node %.300q is not valid UTF-8 of at most 255 bytes", h.Node)
	case h.running:
		return errors.New("history: Run is being called already")
	}
	h.running = true
	return nil
}

var errNoStore = errors.New("history: History.Store is required")

func (h *History) isRunning() bool {
	h.runMu.Lock()
	defer h.runMu.Unlock()
	return h.running
}

func (h *History) end() {
	h.runMu.Lock()
	defer h.runMu.Unlock()
	h.running = false
}

// Backlog returns how much was recorded and waits to be applied. It is the same for
// all processes that share the store.
func (h *History) Backlog(ctx context.Context) (store.Journal, error) {
	if h.Store == nil {
		return store.Journal{}, errNoStore
	}
	j, err := h.Store.Journal(ctx)
	if err != nil {
		return store.Journal{}, fmt.Errorf("history: %w", err)
	}
	return j, nil
}

func (h *History) logger() *slog.Logger {
	if h.Logger != nil {
		return h.Logger
	}
	return slog.Default()
}

func (h *History) retention() time.Duration {
	if h.Retention > 0 {
		return h.Retention
	}
	return 30 * 24 * time.Hour
}

func (h *History) countRetention() time.Duration {
	if h.CountRetention > 0 {
		return h.CountRetention
	}
	return 400 * 24 * time.Hour
}

// publish calls Publish, if it is set. A panic in it is an error.
func (h *History) publish(ctx context.Context, events []*store.Event) (err error) {
	if h.Publish == nil || len(events) == 0 {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			h.logger().LogAttrs(context.Background(), slog.LevelError, "history: panic in Publish",
				slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			err = errors.New("history: Publish panicked")
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	list := make([]store.Event, len(events))
	for i, e := range events {
		list[i] = *e
	}
	return h.Publish(ctx, list)
}

// failures remembers what fails now, so that each failure is logged once.
type failures struct {
	mu  sync.Mutex
	now map[string]bool
}

// report logs an error that is the first in a row. A nil error ends the row. The
// log line is failed.
func (h *History) report(ctx context.Context, failed string, err error) {
	if err != nil && ctx.Err() != nil {
		return // Run ends
	}
	f := &h.failing
	f.mu.Lock()
	was := f.now[failed]
	if f.now == nil {
		f.now = make(map[string]bool)
	}
	f.now[failed] = err != nil
	f.mu.Unlock()
	switch {
	case err != nil && !was:
		h.logger().Error(failed, "error", err)
	case err == nil && was:
		h.logger().Info("history: it works again", "after", failed)
	}
}

// A gate is a lock that a caller need not wait for longer than its context lasts.
type gate struct {
	once sync.Once
	held chan struct{}
}

func (g *gate) lock(ctx context.Context) error {
	g.once.Do(func() { g.held = make(chan struct{}, 1) })
	select {
	case g.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) unlock() { <-g.held }
