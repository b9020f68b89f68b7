package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net/smtp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The tests of this file go all the way, over real sockets: a client, the
// relay, its queue, an upstream.

type wire struct {
	*testing.T
	relay *relaytest.Relay
	up    *relaytest.Upstream
	spool *memory.Store
	queue *queue.Queue
}

func newWire(t *testing.T, script func(relaytest.Command) relaytest.Answer) *wire {
	t.Helper()
	w := newUnstartedWire(t, script)
	w.start()
	return w
}

func newUnstartedWire(t *testing.T, script func(relaytest.Command) relaytest.Answer) *wire {
	t.Helper()
	return newUnstartedWireTo(t, &relaytest.Upstream{Script: script})
}

func newUnstartedWireTo(t *testing.T, up *relaytest.Upstream) *wire {
	t.Helper()
	w := &wire{T: t, relay: relaytest.NewUnstartedRelay(t), up: up, spool: new(memory.Store)}
	w.up.Start()
	t.Cleanup(w.up.Close)
	next := &smarthost.Forwarder{Addr: w.up.Addr(), TLSConfig: w.up.ClientTLS(), Hostname: "relay.test", Logger: quiet}
	t.Cleanup(func() { next.Close() })
	w.queue = &queue.Queue{
		Spool: w.spool, Next: next, Hostname: "relay.test", Logger: quiet,
		Retry: func(int) time.Duration { return 50 * time.Millisecond },
	}
	w.relay.Server.Forwarder = w.queue
	return w
}

func (w *wire) start() {
	w.relay.Start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.queue.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Errorf("Run: %v", err)
		}
	})
}

// login returns a connection that is ready for MAIL.
func (w *wire) login() (*smtp.Client, error) {
	auth := smtp.PlainAuth("", w.relay.Username, w.relay.Password, "127.0.0.1")
	c, err := smtp.Dial(w.relay.Addr)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.StartTLS(w.relay.ClientTLS()), c.Auth(auth)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (w *wire) send(to ...string) error {
	c, err := w.login()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail("shop@acme.example"); err != nil {
		return err
	}
	for _, addr := range to {
		if err := c.Rcpt(addr); err != nil {
			return err
		}
	}
	d, err := c.Data()
	if err != nil {
		return err
	}
	d.Write([]byte(hello))
	return d.Close()
}

// eventually waits until the spool is empty.
func (w *wire) eventually() {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if d, err := w.spool.Depth(w.Context()); err == nil && d.Deliveries == 0 {
			return
		}
	}
	w.Fatal("the spool isn't empty after 20 seconds")
}

// recipients counts the deliveries to each recipient.
func (w *wire) recipients() map[string]int {
	n := make(map[string]int)
	for _, d := range w.up.Received() {
		for _, r := range d.To {
			n[r.Address]++
		}
	}
	return n
}

func TestEndToEnd(t *testing.T) {
	w := newWire(t, nil)
	for i := range 20 {
		if err := w.send(fmt.Sprintf("r%d@example.com", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually()
	got := w.recipients()
	if len(got) != 20 {
		t.Errorf("%d recipients got the message, want 20", len(got))
	}
	for addr, n := range got {
		if n != 1 {
			t.Errorf("%s got it %d times", addr, n)
		}
	}
}

func TestEndToEndOneInThree(t *testing.T) {
	w := newWire(t, func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "RCPT" && strings.Contains(c.Line, "bad") {
			return relaytest.Answer{Text: "550 5.1.1 no such user"}
		}
		return relaytest.Answer{}
	})
	if err := w.send("bad1@example.com", "good@example.com", "bad2@example.com"); err != nil {
		t.Fatal(err)
	}
	w.eventually()
	got := w.recipients()
	if got["good@example.com"] != 1 || got["shop@acme.example"] != 1 || len(got) != 2 {
		t.Errorf("delivered: %v, want good@ and the bounce", got)
	}
	for _, d := range w.up.Received() {
		if d.From == "" && strings.Count(string(d.Content), "Final-Recipient:") != 2 {
			t.Errorf("the bounce is\n%s\nwant both in it", d.Content)
		}
	}
}

func TestEndToEndTemporary(t *testing.T) {
	t.Parallel()
	// Four cases wait for 5 s. All run at once, which -parallel would not allow on two
	// processors.
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, answer := range map[string]relaytest.Answer{
		"4xx":      {Text: "451 4.3.0 later"},
		"421":      {Text: "421 4.3.2 closing", Close: false},
		"dropped":  {Close: true},
		"nonsense": {Text: "what?"},
	} {
		for _, verb := range []string{"MAIL", "RCPT", relaytest.Greeting} {
			cases.Go(func() {
				t.Run(name+" at "+verb, func(t *testing.T) {
					var bad atomic.Int64
					w := newWire(t, func(c relaytest.Command) relaytest.Answer {
						if c.Verb == verb && bad.Add(1) == 1 {
							return answer
						}
						return relaytest.Answer{}
					})
					if err := w.send("one@example.com", "two@example.com"); err != nil {
						t.Fatal(err)
					}
					w.eventually()
					if got := w.recipients(); got["one@example.com"] != 1 || got["two@example.com"] != 1 || len(got) != 2 {
						t.Errorf("delivered: %v, want each once", got)
					}
				})
			})
		}
	}
}

func TestEndToEndReplies(t *testing.T) {
	for want, err := range map[string]error{
		"452 4.3.1": fmt.Errorf("disk: %w", syscall.ENOSPC),
		"451 4.3.0": errors.New("secret"),
	} {
		w := newUnstartedWire(t, nil)
		w.queue.Spool = &badSpool{Spool: w.spool, put: func(context.Context, func() error) error { return err }}
		w.start()
		if got := w.send("bob@example.com"); got == nil || !strings.HasPrefix(strings.ReplaceAll(got.Error(), `"`, ""), want) || strings.Contains(got.Error(), "secret") {
			t.Errorf("the client was told %v, want %s", got, want)
		}
	}
}
