package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var quiet = slog.New(slog.DiscardHandler)

const hello = "From: shop@acme.example\r\nSubject: hello\r\n\r\nHello.\r\n"

// message makes a message with an ID of the usual form.
func message(n int, from string, to ...string) *relay.Message {
	m := &relay.Message{
		ID:       fmt.Sprintf("0abcdefgh%017d", n),
		Identity: credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "user1"},
		From:     from,
		Received: time.Now().UTC().Truncate(time.Microsecond),
	}
	for _, addr := range to {
		m.To = append(m.To, relay.Recipient{Address: addr})
	}
	m = m.WithContent(bytes.NewReader([]byte(hello)), int64(len(hello)))
	return m
}

// A sent is a message that a sink got.
type sent struct {
	at      time.Time
	id      string
	from    string
	to      []string
	message *relay.Message
	data    string
}

// A sink is a Forwarder that remembers what it got, and answers as script says.
type sink struct {
	script func(ctx context.Context, m *relay.Message) error // nil: takes everything
	taken  []relay.NextHop                                   // what OnDelivered is told; nil: a server with DSN

	mu  sync.Mutex
	got []sent // also what was not taken
}

func (s *sink) Forward(ctx context.Context, m *relay.Message) error {
	data, err := io.ReadAll(m.Content())
	if err != nil {
		return err
	}
	g := sent{at: time.Now(), id: m.ID, from: m.From, message: m, data: string(data)}
	for _, r := range m.To {
		g.to = append(g.to, r.Address)
	}
	s.mu.Lock()
	s.got = append(s.got, g)
	s.mu.Unlock()
	if s.script != nil {
		if err := s.script(ctx, m); err != nil {
			return err
		}
	}
	taken := s.taken
	if taken == nil {
		taken = []relay.NextHop{{Host: "mx.test", Reply: "250 ok", DSN: true}}
	}
	for _, d := range taken {
		m.OnDelivered(d)
	}
	return nil
}

func (s *sink) all() []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sent(nil), s.got...)
}

// events collects what OnEvent is told.
type events struct {
	mu   sync.Mutex
	list []queue.Event
}

func (e *events) add(ev queue.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

// of returns the events of type T.
func of[T queue.Event](e *events) (list []T) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.list {
		if t, ok := ev.(T); ok {
			list = append(list, t)
		}
	}
	return list
}

// A bench is a queue in a bubble of synctest, with everything around it.
type bench struct {
	*testing.T
	q      *queue.Queue
	spool  *memory.Store
	sink   *sink
	events *events
	stop   func() error // ends Run and waits for it
}

// inBubble runs f with a queue that is set up by configure, which may be nil.
func inBubble(t *testing.T, configure func(b *bench), f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if configure != nil {
			configure(b)
		}
		b.start()
		f(b)
		if err := b.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		synctest.Wait()
		if !b.q.Idle() {
			t.Error("the queue holds something after Run has ended")
		}
	})
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, spool: new(memory.Store), sink: new(sink), events: new(events)}
	b.q = &queue.Queue{Spool: b.spool, Next: b.sink, Hostname: "relay.test", OnEvent: b.events.add, Logger: quiet}
	b.stop = func() error { return nil }
	return b
}

func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.q.Run(ctx) }()
	b.stop = func() error {
		cancel()
		b.stop = func() error { return nil }
		return <-done
	}
	b.Cleanup(func() { b.stop() })
	synctest.Wait()
}

func (b *bench) forward(m *relay.Message) {
	b.Helper()
	if err := b.q.Forward(b.Context(), m); err != nil {
		b.Fatalf("Forward: %v", err)
	}
}

// pass lets time pass, and everything happen that is due.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) wantDepth(want int64) {
	b.Helper()
	depth, err := b.spool.Depth(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if depth.Deliveries != want {
		b.Errorf("the spool holds %d deliveries, want %d", depth.Deliveries, want)
	}
}

// deliveries returns what the spool holds.
func (b *bench) deliveries() []store.Leased {
	b.Helper()
	list, err := b.spool.Deliveries(b.Context(), store.Filter{}, store.Page{Limit: 100_000})
	if err != nil {
		b.Fatal(err)
	}
	return list
}

// from returns the messages that the sink got from a sender.
func (b *bench) from(from string) (list []sent) {
	for _, g := range b.sink.all() {
		if g.from == from {
			list = append(list, g)
		}
	}
	return list
}

func reply(code int, text string) error {
	return &relay.ReplyError{Code: code, Text: text, Host: "mx.test"}
}

// refuse refuses the recipients of m that have one of the prefixes.
func refuse(m *relay.Message, err error, prefixes ...string) error {
	re := new(relay.RefusedError)
	for _, r := range m.To {
		for _, p := range prefixes {
			if strings.HasPrefix(r.Address, p) {
				re.Recipients = append(re.Recipients, relay.RefusedRecipient{Address: r.Address, Err: err})
			}
		}
	}
	if len(re.Recipients) == 0 {
		return nil
	}
	return re
}

// unreachable is the error of a destination that is down.
type unreachable struct{}

func (unreachable) Error() string     { return "connecting: refused" }
func (unreachable) Temporary() bool   { return true }
func (unreachable) Unreachable() bool { return true }

// A handler is what becomes of log records.
type handler func(slog.Record)

func (handler) Enabled(context.Context, slog.Level) bool        { return true }
func (h handler) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h handler) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h handler) WithGroup(string) slog.Handler                 { return h }
