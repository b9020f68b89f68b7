package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A Queue is a [relay.Forwarder] that keeps messages in a Spool and hands them
// on to Next, again and again, until each recipient is settled: delivered, or
// given up with a bounce to the sender.
//
// Fill in the fields, and call Run in a goroutine of its own. The fields must not
// be changed after that. If Run is not called, the log says so a minute after the
// first message. Any number of Queues, in any number of processes, may
// share a Spool. Limits and times of less than zero count as zero, except
// MaxMemory.
type Queue struct {
	// Spool keeps the messages. Required.
	Spool store.Spool

	// Next delivers them. [relay.Forwarder] says what its errors mean, and the
	// package's documentation how the Queue treats them. Required.
	Next relay.Forwarder

	// Hostname names this server in bounces: a fully qualified domain name.
	// Empty means the name the operating system reports.
	Hostname string

	// Destination tells where a recipient's mail goes; recipients of a message
	// with the same destination are handed on together. Nil means that all
	// go the same way, as to a smarthost.
	Destination func(recipient string) string

	// Workers is how many deliveries are under way at once. A tenant that has few
	// of them may have some on top, up to half of Workers for all such tenants, so
	// that slow deliveries of one tenant don't stop others. Zero means 64.
	// PerDestination is how many of them may go to one destination. Zero means 10,
	// or all of them if Destination is nil. As many deliveries as are under way may
	// have ended and wait to be recorded; after a crash all of these are delivered
	// again.
	Workers        int
	PerDestination int

	// Retry returns how long to wait after the attempt of this number, the
	// first being 1. Zero and less count as a second. Nil means a minute, then
	// twice as long each time up to three hours, each time up to a fifth more or
	// less.
	Retry func(attempt int) time.Duration

	// Node names this process among those that share the Spool: at most 255 bytes,
	// the same each time the process is started again, and another one for each
	// process. A process that starts under a name takes over at once what the
	// process before it had leased. Empty means a name that is made up at each
	// start; then mail that was being sent during a crash waits until Lease is over,
	// also if this is the only process, and the log says so. Set it in production.
	Node string

	// Lease is how long a delivery stays leased after the node working on it dies.
	// A live node renews itself four times in that time. If the clock of the machine
	// differs from the Spool's by more than a quarter of Lease, the log says so; if
	// it differs by more than half, nothing is leased. Zero means a minute.
	Lease time.Duration

	// Expire is how old a message may become before it is given up, instead
	// of tried again. Zero means three days.
	Expire time.Duration

	// MaxMemory bounds the bytes of messages that wait for their delivery in
	// memory. Messages beyond this limit stay in the Spool and are read back when
	// they are tried. Zero means 64 MiB; less than zero means none.
	MaxMemory int64

	// Record keeps what becomes of every recipient in the journal of the Spool,
	// which must then be a [store.History], in the same step. Package relay/history
	// makes activities and counts of it. The zero value records nothing, because a
	// journal that nothing applies only grows: Run warns of that once an hour. Mail that the Queue writes itself, such
	// as bounces, is not recorded, and neither is mail without an SMTP user from the
	// null reverse-path, such as the reports that package relay/bounces passes on.
	Record bool

	// NoSubjects leaves the subjects of messages out of what is recorded.
	NoSubjects bool

	// Bounce, if set, writes the text of bounces and of the other notices to
	// senders, see [NoticeKind]; [Notice.Text] is what is sent otherwise. If it
	// returns the empty string, none is sent.
	Bounce func(n Notice) string

	// OnEvent, if set, is told what becomes of every recipient. It is called
	// from many goroutines at once and delays the message it is about.
	OnEvent func(Event)

	// Logger gets the same events, and errors. Nil means slog.Default().
	Logger *slog.Logger

	counters   counters
	dispatcher dispatcher
	settler    settler
	reminder   reminder
	node       node
	strays     strays
	clock      clock
	wallClock  func() time.Time // nil: time.Now

	runMu   sync.Mutex
	current *run // nil if Run doesn't work

	pollMu  sync.Mutex
	poller  poller
	backlog atomic.Bool // the spool may have more that is due
}

const (
	// leaseTime is the default of Queue.Lease.
	leaseTime = time.Minute

	// pollTime is how long a delivery that is due may wait to be noticed.
	pollTime = 5 * time.Second

	// attemptTime is how long Next may take. The steps of SMTP have their own
	// timeouts (RFC 5321 section 4.5.3.2); this is for what has none.
	attemptTime = 30 * time.Minute

	// delayTime is the age at which a sender is told that a message waits.
	delayTime = 4 * time.Hour

	// spoolTime is how long one call of the Spool may take.
	spoolTime = 30 * time.Second

	// leaseBatch is how many deliveries are leased at once.
	leaseBatch = 1000
)

// hostnameChars are those of names and of address literals.
const hostnameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_[]:"

// Check returns what is wrong with the fields of the Queue or of Next.
func (q *Queue) Check() error {
	if err := q.checkFields(); err != nil {
		return err
	}
	return relay.CheckForwarder(q.Next)
}

// checkFields returns what is wrong with the fields of the Queue alone.
func (q *Queue) checkFields() error {
	switch {
	case q.Spool == nil:
		return errors.New("queue: Queue.Spool is required")
	case q.Next == nil:
		return errors.New("queue: Queue.Next is required")
	case q.Record && !isHistory(q.Spool):
		return fmt.Errorf("queue: Queue.Record is set, but the Spool %T is not a store.History", q.Spool)
	case len(q.Node) > q.maxNode() || !utf8.ValidString(q.Node) || strings.Contains(q.Node, "\x00"):
		return fmt.Errorf("queue: Queue.Node %.300q is not valid UTF-8 of at most %d bytes", q.Node, q.maxNode())
	case strings.Trim(q.Hostname, hostnameChars) != "":
		return fmt.Errorf("queue: Queue.Hostname %q is no host name", q.Hostname)
	}
	return nil
}

func isHistory(sp store.Spool) bool {
	_, ok := sp.(store.History)
	return ok
}

func (q *Queue) workers() int {
	n := 64
	if q.Workers > 0 {
		n = q.Workers
	}
	if q.Destination == nil && q.PerDestination > 0 {
		return min(n, q.PerDestination)
	}
	return n
}

// perDestination returns the limit of a destination; 0 means that there is none
// beside the limit of all.
func (q *Queue) perDestination() int {
	switch {
	case q.PerDestination > 0:
		return min(q.PerDestination, q.workers())
	case q.Destination == nil:
		return 0
	}
	return min(10, q.workers())
}

func (q *Queue) maxMemory() int64 { return cmp.Or(q.MaxMemory, 64<<20) }

func (q *Queue) leaseFor() time.Duration {
	if q.Lease > 0 {
		return q.Lease
	}
	return leaseTime
}

func (q *Queue) expire() time.Duration {
	if q.Expire > 0 {
		return q.Expire
	}
	return 3 * 24 * time.Hour
}

func (q *Queue) hostname() string {
	if q.Hostname != "" {
		return q.Hostname
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// destinationOf asks Destination, and makes a name of the answer that a Spool can
// keep.
func (q *Queue) destinationOf(recipient string) (dest string) {
	if q.Destination == nil {
		return ""
	}
	defer q.recovered("Destination")
	name := q.Destination(recipient)
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if len(name) > 255 {
		name = strings.ToValidUTF8(name[:255], "")
	}
	return name
}

// now is the Spool's time.
func (q *Queue) now() time.Time { return q.clock.now() }

// wall is the time by the clock of this machine, which may jump.
func (q *Queue) wall() time.Time {
	if q.wallClock != nil {
		return q.wallClock().Round(0)
	}
	return time.Now().Round(0)
}

func (q *Queue) logger() *slog.Logger {
	if q.Logger != nil {
		return q.Logger
	}
	return slog.Default()
}

// recovered is deferred around what embedders have written: a panic in it is
// logged, and costs nothing but the call.
func (q *Queue) recovered(where string) {
	if p := recover(); p != nil {
		q.logPanic(where, p)
	}
}

func (q *Queue) logPanic(where string, p any) {
	q.logger().LogAttrs(context.Background(), slog.LevelError, "queue: panic in "+where,
		slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
}
