package smarthost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// atRate returns a script that takes so many messages in any second, and refuses
// the others at MAIL.
func atRate(n int, refused *int) func(relaytest.Command) relaytest.Answer {
	var mu sync.Mutex
	var taken []time.Time
	return func(c relaytest.Command) relaytest.Answer {
		if c.Verb != "MAIL" {
			return relaytest.Answer{}
		}
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		for len(taken) > 0 && now.Sub(taken[0]) > time.Second {
			taken = taken[1:]
		}
		if len(taken) < n {
			taken = append(taken, now)
			return relaytest.Answer{}
		}
		*refused++
		return relaytest.Answer{Text: "450 4.7.1 Error: too much mail from 127.0.0.1"}
	}
}

// An upstream that takes 50 messages a second gets them at that rate with MaxRate,
// and within three times that time without.
func TestRateOfTheUpstream(t *testing.T) {
	t.Parallel()
	const n, rate = 200, 50
	for _, set := range []float64{0, 0.95 * rate} {
		t.Run(fmt.Sprint(set), func(t *testing.T) {
			t.Parallel()
			refused := 0
			up := &relaytest.Upstream{Script: atRate(rate, &refused)}
			f := start(t, up)
			f.MaxRate = set
			var wg sync.WaitGroup
			begin := time.Now()
			for i := range n {
				wg.Go(func() {
					m := message(hello, fmt.Sprintf("r%d@example.com", i))
					m.NoWait = true
					for {
						err := f.Forward(t.Context(), m)
						var busy *relay.BusyError
						if err == nil || !errors.As(err, &busy) {
							if err != nil {
								t.Error(err)
							}
							return
						}
						<-busy.Free
					}
				})
			}
			wg.Wait()
			took, ideal := time.Since(begin), time.Second*n/rate
			t.Logf("%v, ideal %v, %d refusals", took, ideal, refused)
			if took > 3*ideal {
				t.Errorf("it took %v, the ideal is %v", took, ideal)
			}
			if refused > n || set > 0 && refused > n/4 { // far fewer on an idle machine
				t.Errorf("%d refusals", refused)
			}
		})
	}
}

// A message that waits for the rate, or for a pause that the upstream asked for,
// has not been tried.
func TestRateCostsNoAttempt(t *testing.T) {
	refused := 0
	up := &relaytest.Upstream{Script: atRate(1, &refused)}
	f := start(t, up)
	m := message(hello, "b@example.com")
	m.NoWait = true
	mustForward(t, f, m)
	busy := wantBusy(t, forward(t, f, m)) // refused by the upstream
	if busy.Wait <= 0 || busy.Wait > time.Second || busy.Err == nil {
		t.Errorf("%+v", busy)
	}
	before := refused
	busy = wantBusy(t, forward(t, f, m)) // not asked again
	if refused != before || busy.Err == nil || errors.As(busy, new(*relay.ReplyError)) {
		t.Errorf("%d refusals, %+v", refused, busy)
	}
	// A client that waits does not get the upstream's answer to another message.
	m.NoWait = false
	err := forward(t, f, m)
	if errors.As(err, new(*relay.ReplyError)) || !relay.Temporary(err) || !relay.Internal(err) {
		t.Errorf("got %v, want a temporary error without a reply", err)
	}
	<-busy.Free
}

// An upstream that turns every connection away is not asked again at once.
func TestThrottledGreeting(t *testing.T) {
	up := &relaytest.Upstream{Script: on(relaytest.Greeting, relaytest.Answer{Text: "421 4.7.0 too many connections\r\n", Close: true})}
	f := start(t, up)
	for range 10 {
		m := message(hello, "b@example.com")
		m.NoWait = true
		err := forward(t, f, m)
		wantTemporary(t, err, "421 4.7.0 too many connections")
		if !relay.Unreachable(err) {
			t.Errorf("not unreachable: %v", err)
		}
	}
	if n := made(up); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// What servers say when they get mail at too high a rate begins a pause.
func TestRateTexts(t *testing.T) {
	for _, text := range []string{
		"451 Sender rate exceeds 50 messages per 1h",                             // Exim's manual
		"451 Sender rate 51.2 / 1h",                                              // Exim's manual
		"450 4.7.1 Error: too much mail from 192.0.2.1",                          // Postfix
		"450 4.7.1 Error: too many recipients from 192.0.2.1",                    // Postfix
		"421 4.7.28 Our system has detected an unusual rate of unsolicited mail", // Gmail
	} {
		up := &relaytest.Upstream{Script: on("RCPT", relaytest.Answer{Text: text})}
		f := start(t, up)
		m := message(hello, "b@example.com")
		m.NoWait = true
		if err := forward(t, f, m); !errors.As(err, new(*relay.BusyError)) {
			wantRefused(t, err, "b@example.com")
			var refused *relay.RefusedError
			if errors.As(err, &refused); !errors.As(refused.Recipients[0].Err, new(*relay.BusyError)) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

// A mailbox that gets too much mail does not slow down the site.
func TestBusyMailboxIsNotTheSite(t *testing.T) {
	up := &relaytest.Upstream{Script: on("RCPT TO:<popular@", relaytest.Answer{
		Text: "450 4.2.1 The user is receiving mail at a rate of too many messages",
	})}
	f := start(t, up)
	wantRefused(t, forward(t, f, message(hello, "popular@example.com")), "popular@example.com")
	mustForward(t, f, message(hello, "b@example.com"))
}

// Behind the queue no attempt fails for the rate of the upstream, and nothing is
// deferred.
func TestRateBehindTheQueue(t *testing.T) {
	t.Parallel()
	const n, rate = 60, 20
	refused := 0
	up := &relaytest.Upstream{Script: atRate(rate, &refused)}
	f := start(t, up)
	var mu sync.Mutex
	delivered := 0
	done := make(chan struct{})
	q := &queue.Queue{
		Spool: new(memory.Store), Next: f, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e queue.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e := e.(type) {
			case *queue.Queued:
			case *queue.Delivered:
				if delivered++; delivered == n {
					close(done)
				}
			default:
				t.Errorf("%T: %+v", e, e)
			}
		},
	}
	for i := range n {
		m := message(hello, "b@example.com")
		m.ID = fmt.Sprintf("message%d", i)
		if err := q.Forward(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	begin := time.Now()
	go func() { ended <- q.Run(ctx) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("not everything was delivered")
	}
	t.Logf("%v, %d refusals", time.Since(begin), refused)
	cancel()
	<-ended
}
