package smarthost_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}

func open(up *relaytest.Upstream) int { _, open := up.Connections(); return open }
func made(up *relaytest.Upstream) int { made, _ := up.Connections(); return made }

func TestConnectionsAreKept(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up)
	for range 50 {
		mustForward(t, f, message(hello, "b@example.com"))
	}
	if n := made(up); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestMaxMessages(t *testing.T) {
	rec := &recorder{}
	up := &relaytest.Upstream{Script: rec.script}
	f := start(t, up)
	f.MaxMessages = 3
	for range 7 {
		mustForward(t, f, message(hello, "b@example.com"))
	}
	if n, quits := made(up), len(rec.lines("QUIT")); n != 3 || quits != 2 {
		t.Errorf("%d connections, %d QUITs", n, quits)
	}
}

// There are never more than MaxConns connections; who waits is served in order.
func TestMaxConns(t *testing.T) {
	var now, most atomic.Int32
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" {
			most.Store(max(most.Load(), now.Add(1)))
		}
		if c.Verb == relaytest.EndOfData {
			time.Sleep(time.Millisecond)
			now.Add(-1)
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	f.MaxConns = 3
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() {
			if err := forward(t, f, message(hello, "b@example.com")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made(up) != 3 || most.Load() != 3 || len(up.Received()) != 60 {
		t.Errorf("%d connections, %d at once, %d deliveries", made(up), most.Load(), len(up.Received()))
	}
}

func TestWaitersAreServedInOrder(t *testing.T) {
	release := make(chan struct{})
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if strings.HasPrefix(c.Line, "RCPT TO:<first@") {
			<-release
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	f.MaxConns = 1
	var wg sync.WaitGroup
	send := func(to string) {
		wg.Go(func() {
			if err := forward(t, f, message(hello, to)); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(20 * time.Millisecond) // let it queue up
	}
	send("first@example.com")
	send("a@example.com")

	// One that gives up doesn't disturb the others.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := f.Forward(ctx, message(hello, "impatient@example.com"))
	wantTemporary(t, err, "waiting for a connection")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	send("b@example.com")
	send("c@example.com")
	close(release)
	wg.Wait()
	var order []string
	for _, d := range up.Received() {
		order = append(order, d.To[0].Address[:1])
	}
	if got := strings.Join(order, ""); got != "fabc" {
		t.Errorf("order: %s", got)
	}
}

func TestIdleTimeout(t *testing.T) {
	rec := &recorder{}
	up := &relaytest.Upstream{Script: rec.script}
	f := start(t, up)
	f.IdleTimeout = 50 * time.Millisecond
	for i := range 2 {
		mustForward(t, f, message(hello, "b@example.com"))
		eventually(t, "the connection is closed", func() bool { return open(up) == 0 })
		if n := len(rec.lines("QUIT")); n != i+1 {
			t.Errorf("%d QUITs", n)
		}
	}
	if n := made(up); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A kept connection that died never makes a message fail.
func TestDeadConnection(t *testing.T) {
	bye := relaytest.Answer{Text: "421 4.4.2 Too many messages\r\n", Close: true}
	drop := relaytest.Answer{Close: true}
	for _, tc := range []struct {
		name string
		at   string
		a    relaytest.Answer
	}{
		{"dropped at MAIL", "MAIL", drop},
		{"421 at MAIL", "MAIL", bye},
		{"nonsense at MAIL", "MAIL", relaytest.Answer{Text: "what?"}},
		{"dropped at RCPT", "RCPT", drop},
		{"421 at RCPT", "RCPT", bye},
		{"dropped at DATA", "DATA", drop},
		{"421 at DATA", "DATA", bye},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := &relaytest.Upstream{Extensions: without("CHUNKING"), Script: func(c relaytest.Command) relaytest.Answer {
				if c.Verb == relaytest.EndOfData || c.Conn != 1 {
					return relaytest.Answer{}
				}
				if c.Verb == tc.at && (c.Line == "DATA" || strings.Contains(c.Line, "second")) {
					return tc.a
				}
				return relaytest.Answer{}
			}}
			if tc.at == "DATA" {
				var first atomic.Bool
				inner := up.Script
				up.Script = func(c relaytest.Command) relaytest.Answer {
					if c.Verb == "DATA" && first.CompareAndSwap(false, true) {
						return relaytest.Answer{}
					}
					return inner(c)
				}
			}
			f := start(t, up)
			mustForward(t, f, message(hello, "first@example.com"))
			m := message(hello, "second@example.com", "another@example.com")
			m.From = "second@example.org"
			mustForward(t, f, m)
			if n := len(up.Received()); n != 2 || made(up) != 2 {
				t.Errorf("%d deliveries, %d connections", n, made(up))
			}
		})
	}

	t.Run("upstream restarted", func(t *testing.T) {
		up := &relaytest.Upstream{}
		f := start(t, up)
		for range 5 {
			mustForward(t, f, message(hello, "b@example.com"))
			up.DropConnections()
		}
		if n := len(up.Received()); n != 5 || made(up) != 5 {
			t.Errorf("%d deliveries, %d connections", n, made(up))
		}
	})

	t.Run("in the middle of the content", func(t *testing.T) {
		up := &relaytest.Upstream{}
		var n atomic.Int32
		up.Script = func(c relaytest.Command) relaytest.Answer {
			if c.Verb == relaytest.Content && n.Add(1) == 2 {
				return drop
			}
			return relaytest.Answer{}
		}
		f := start(t, up)
		big := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 200_000)
		mustForward(t, f, message(hello, "b@example.com"))
		mustForward(t, f, message(big, "b@example.com"))
		if d := up.Received(); len(d) != 2 || string(d[1].Content) != big {
			t.Errorf("%d deliveries", len(d))
		}
	})
}

// Once the upstream may have the message, it isn't sent again: whoever called
// Forward decides.
func TestNeverSentTwice(t *testing.T) {
	for _, a := range []relaytest.Answer{{Close: true}, {Text: "250", Close: true}, {Text: "nonsense"}} {
		var n atomic.Int32
		up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
			if c.Verb == relaytest.EndOfData && n.Add(1) == 2 {
				return a
			}
			return relaytest.Answer{}
		}}
		f := start(t, up)
		mustForward(t, f, message(hello, "b@example.com"))
		wantTemporary(t, forward(t, f, message(hello, "b@example.com")), "end of data", "unknown")
		if n.Load() != 2 {
			t.Errorf("sent %d times", n.Load())
		}
		mustForward(t, f, message(hello, "b@example.com"))
	}
}

// An upstream that drops everything doesn't make us try for ever.
func TestOneRetryOnly(t *testing.T) {
	up := &relaytest.Upstream{}
	var broken atomic.Bool
	up.Script = func(c relaytest.Command) relaytest.Answer {
		return relaytest.Answer{Close: broken.Load() && c.Verb == "MAIL"}
	}
	f := start(t, up)
	mustForward(t, f, message(hello, "b@example.com"))
	broken.Store(true)
	wantTemporary(t, forward(t, f, message(hello, "b@example.com")), "MAIL: the server closed the connection")
	if n := made(up); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A connection on which the upstream spoke while it was idle is not used: a
// late 421 must not become the answer to the next message.
func TestUnsolicitedReply(t *testing.T) {
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Conn == 1 && c.Verb == relaytest.EndOfData {
			return relaytest.Answer{Text: "250 2.0.0 OK\r\n250 2.0.0 and another"}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	mustForward(t, f, message(hello, "b@example.com"))
	mustForward(t, f, message(hello, "b@example.com"))
	if n := made(up); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// Close ends idle connections and waiting calls, lets a message in progress finish,
// and leaves no goroutine behind.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	release := make(chan struct{})
	rec := &recorder{then: func(c relaytest.Command) relaytest.Answer {
		if strings.HasPrefix(c.Line, "RCPT TO:<slow@") {
			<-release
		}
		return relaytest.Answer{}
	}}
	up := &relaytest.Upstream{Script: rec.script}
	f := start(t, up)
	f.MaxConns = 1
	mustForward(t, f, message(hello, "b@example.com"))

	var slow, waiting error
	var wg sync.WaitGroup
	wg.Go(func() { slow = forward(t, f, message(hello, "slow@example.com")) })
	eventually(t, "the slow one is being sent", func() bool { return strings.Contains(strings.Join(rec.lines("RCPT"), ""), "slow") })
	wg.Go(func() { waiting = forward(t, f, message(hello, "waiting@example.com")) })
	time.Sleep(20 * time.Millisecond)
	f.Close()
	close(release)
	wg.Wait()
	if slow != nil {
		t.Errorf("what was being sent: %v", slow)
	}
	wantTemporary(t, waiting, "closed")
	wantTemporary(t, forward(t, f, message(hello, "late@example.com")), "closed")
	eventually(t, "all connections are closed", func() bool { return open(up) == 0 })
	f.Close()
	up.Close()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}
