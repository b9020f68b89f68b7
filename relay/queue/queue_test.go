package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func TestMessageIsHandedOnAsItCame(t *testing.T) {
	check := func(b *bench) {
		b.Helper()
		got := b.sink.all()
		if len(got) != 1 {
			b.Fatalf("the message was handed on %d times, want once", len(got))
		}
		m := got[0].message
		want := full()
		if got[0].data != hello {
			b.Errorf("the content is %q, want %q", got[0].data, hello)
		}
		if m.ID != want.ID || m.From != want.From || m.Options != want.Options || m.Identity != want.Identity ||
			m.Remote != want.Remote || !reflect.DeepEqual(m.To, want.To) {
			b.Errorf("handed on was\n%+v, want\n%+v", m, want)
		}
		b.wantDepth(0)
	}
	t.Run("from memory", func(t *testing.T) {
		inBubble(t, nil, func(b *bench) {
			b.forward(full())
			synctest.Wait()
			check(b)
		})
	})
	t.Run("from the spool", func(t *testing.T) {
		inBubble(t, func(b *bench) { b.q.MaxMemory = -1 }, func(b *bench) {
			b.forward(full())
			synctest.Wait()
			check(b)
		})
	})
	t.Run("after a restart", func(t *testing.T) {
		inBubble(t, func(b *bench) {
			b.forward(full()) // Run doesn't work yet
		}, func(b *bench) { check(b) })
	})
}

// full makes a message with everything a message can have.
func full() *relay.Message {
	m := message(1, "shop@acme.example", "bob@a.example", "carol@b.example")
	m.Options = relay.Options{Body: "8BITMIME", UTF8: true, RequireTLS: true, Return: "HDRS", EnvelopeID: "order 7"}
	m.To[0].Notify = []string{"SUCCESS", "FAILURE"}
	m.To[1].OriginalRecipient = "rfc822;carol@elsewhere.example"
	return m
}

func TestLargeMessagesComeFromAFile(t *testing.T) {
	inBubble(t, func(b *bench) { b.q.MaxMemory = -1 }, func(b *bench) {
		big := hello + strings.Repeat("0123456789abcdef\r\n", 100_000)
		m := message(1, "a@acme.example", "b@example.com")
		m = m.WithContent(strings.NewReader(big), int64(len(big)))
		b.forward(m)
		synctest.Wait()
		if got := b.sink.all(); len(got) != 1 || got[0].data != big {
			t.Errorf("%d messages came, want one as it was sent", len(got))
		}
		b.wantDepth(0)
	})
}

// A large message is leased in the step that keeps it. To lease it afterwards would be
// another commit, which others wait for.
func TestLargeMessagesAreLeasedAsTheyAreKept(t *testing.T) {
	var down atomic.Bool
	inBubble(t, func(b *bench) {
		lease := func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return lease()
		}
		b.q.Spool = &badSpool{Spool: b.spool, lease: lease, died: lease}
	}, func(b *bench) {
		down.Store(true)
		big := hello + strings.Repeat("0123456789abcdef\r\n", 100_000)
		m := message(1, "a@acme.example", "b@example.com")
		m.Key = "key"
		b.forward(m.WithContent(strings.NewReader(big), int64(len(big))))
		synctest.Wait()
		if got := b.sink.all(); len(got) != 1 || got[0].data != big || got[0].message.Key != "" {
			t.Errorf("%d messages came, want one as it was sent, without its key", len(got))
		}
		b.wantDepth(0)
		down.Store(false)
	})
}

// A content in a file is gone after Forward.
func TestContentThatCannotBeKeptComesFromTheSpool(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, hello)
		m := message(1, "a@acme.example", "b@example.com")
		m = m.WithContent(f, int64(len(hello)))
		b.forward(m)
		f.Close()
		synctest.Wait()
		if got := b.sink.all(); len(got) != 1 || got[0].data != hello {
			t.Errorf("got %+v, want the message", got)
		}
	})
}

func TestDestinationsAreServedTogether(t *testing.T) {
	domain := func(addr string) string { return addr[strings.LastIndex(addr, "@")+1:] }
	to := []string{"a@one.example", "b@two.example", "c@one.example"}
	for _, test := range []struct {
		name        string
		destination func(string) string
		memory      int64
		want        int
	}{
		{"all the same way", nil, 0, 1},
		{"by domain", domain, 0, 2},
		{"by domain, from the spool", domain, -1, 2},
		{"a Destination that panics", func(string) string { panic("no") }, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) { b.q.Destination, b.q.MaxMemory = test.destination, test.memory }, func(b *bench) {
				b.forward(message(1, "a@acme.example", to...))
				b.pass(time.Second)
				n := 0
				for _, g := range b.sink.all() {
					n += len(g.to)
				}
				if got := b.sink.all(); len(got) != test.want || n != len(to) {
					t.Errorf("handed on %d times to %d recipients, want %d times to %d: %v", len(got), n, test.want, len(to), got)
				}
				b.wantDepth(0)
			})
		})
	}
}

// A message to many recipients who go the same way costs what one to a single
// recipient does: one attempt, and one write to the spool for all outcomes.
func TestThousandRecipients(t *testing.T) {
	var puts, settles atomic.Int64
	inBubble(t, func(b *bench) {
		b.q.Spool = &badSpool{
			Spool: b.spool,
			put: func(_ context.Context, put func() error) error {
				puts.Add(1)
				return put()
			},
			settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
				settles.Add(1)
				return settle()
			},
		}
	}, func(b *bench) {
		var to []string
		for i := range 1000 {
			to = append(to, fmt.Sprintf("to%d@example.com", i))
		}
		b.forward(message(1, "a@acme.example", to...))
		b.pass(hour)
		if n := len(b.sink.all()); n != 1 || puts.Load() != 1 || settles.Load() != 1 {
			t.Errorf("handed on %d times, with %d Puts and %d Settles, want one each", n, puts.Load(), settles.Load())
		}
		b.wantDepth(0)
	})
}

// After a crash, deliveries that were not recorded are repeated. So their number is
// limited while the spool fails.
func TestLittleIsDeliveredThatCannotBeRecorded(t *testing.T) {
	inBubble(t, func(b *bench) {
		for i := range 1000 { // nothing runs yet
			b.forward(message(i, "a@acme.example", "bob@example.com"))
		}
		began := time.Now()
		b.q.Spool = &badSpool{Spool: b.spool, settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
			if time.Since(began) < minute {
				return nil, errors.New("permission denied")
			}
			return settle()
		}}
	}, func(b *bench) {
		b.pass(20 * time.Second)
		if n := len(b.sink.all()); n != 2*64 {
			t.Errorf("%d were delivered, want twice as many as there are workers", n)
		}
		b.pass(2 * minute)
		b.wantDepth(0)
	})
}

func TestForwardFails(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		code int
	}{
		{"disk full", fmt.Errorf("write: %w", syscall.ENOSPC), 452},
		{"quota", fmt.Errorf("write: %w", syscall.EDQUOT), 452},
		{"the store is full", fmt.Errorf("put: %w", store.ErrFull), 452},
		{"anything else", errors.New("secret internals"), 451},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Spool = &badSpool{Spool: b.spool, put: func(context.Context, func() error) error { return test.err }}
			}, func(b *bench) {
				err := b.q.Forward(t.Context(), message(1, "a@acme.example", "b@example.com"))
				var reply *relay.ReplyError
				if !errors.As(err, &reply) || reply.Code != test.code || strings.Contains(reply.Text, "secret") {
					t.Errorf("Forward: %v, want a reply %d without the cause", err, test.code)
				}
				if !errors.Is(err, test.err) || !relay.Temporary(err) {
					t.Errorf("Forward: %v, want a temporary error with its cause", err)
				}
				synctest.Wait()
				if n := len(b.sink.all()) + len(b.events.list); n != 0 {
					t.Errorf("there were %d deliveries and events, want none", n)
				}
			})
		})
	}
}

func TestFieldsThatAreMissingOrWrong(t *testing.T) {
	for want, q := range map[string]*queue.Queue{
		"Queue.Spool is required":                 {Next: new(sink)},
		"Queue.Next is required":                  {Spool: new(memory.Store)},
		"valid UTF-8 of at most 255 bytes":        {Next: new(sink), Spool: new(memory.Store), Node: strings.Repeat("n", 256)},
		`Queue.Hostname "a b" is no host name`:    {Next: new(sink), Spool: new(memory.Store), Hostname: "a b"},
		`Queue.Hostname "a\r\nX" is no host name`: {Next: new(sink), Spool: new(memory.Store), Hostname: "a\r\nX"},
	} {
		if err := q.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run: %v, want %q", err, want)
		}
		if err := q.Forward(t.Context(), message(1, "", "b@example.com")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Forward: %v, want %q", err, want)
		}
	}
}

// A wrong is a Forwarder whose fields are wrong.
type wrong struct{ relay.Forwarder }

func (wrong) Check() error { return errors.New("next: Forwarder.Addr is required") }

// Run returns what is wrong with Next. What a client sends is kept meanwhile.
func TestNextIsWrong(t *testing.T) {
	q := &queue.Queue{Next: wrong{new(sink)}, Spool: new(memory.Store)}
	if err := q.Run(t.Context()); err == nil || err.Error() != "next: Forwarder.Addr is required" {
		t.Errorf("Run: %v, want the error of Next", err)
	}
	if err := q.Forward(t.Context(), message(1, "", "b@example.com")); err != nil {
		t.Errorf("Forward: %v", err)
	}
}

func TestEvents(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			return refuse(m, reply(550, "no such user"), "gone")
		}
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com", "gone@example.com"))
		b.pass(time.Second)
		got0 := of[*queue.Queued](b.events)[0]
		if got0.Received.IsZero() {
			t.Error("the event doesn't say when the message was accepted")
		}
		who := queue.Subject{
			ID: message(1, "").ID, Tenant: "acme", Domain: "acme.example", Username: "user1",
			From: "a@acme.example", Recipient: "bob@example.com", Size: int64(len(hello)), Received: got0.Received,
		}
		if got := of[*queue.Queued](b.events); len(got) != 2 || got[0].Subject != who {
			t.Errorf("queued: %+v, want both, the first as %+v", got, who)
		}
		got := of[*queue.Delivered](b.events)
		if len(got) != 2 || *got[0] != (queue.Delivered{Subject: who, Reply: store.Reply{Code: 250, Text: "ok", Host: "mx.test"}}) {
			t.Errorf("delivered: %+v, want one to bob by mx.test, and the bounce", got)
		}
		who.Recipient = "gone@example.com"
		if got := of[*queue.Bounced](b.events); len(got) != 1 || got[0].Subject != who || got[0].Reason != "mx.test 550 no such user" ||
			got[0].Reply != (store.Reply{Code: 550, Text: "no such user", Host: "mx.test"}) {
			t.Errorf("bounced: %+v, want one to gone", got)
		}
	})
}

func TestOnEventThatPanics(t *testing.T) {
	inBubble(t, func(b *bench) { b.q.OnEvent = func(queue.Event) { panic("no") } }, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com"))
		synctest.Wait()
		b.wantDepth(0)
	})
}
