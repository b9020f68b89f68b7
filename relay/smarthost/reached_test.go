package smarthost_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// OnReached is called when the upstream has accepted MAIL, and before the content
// is sent. It is not called for an upstream that refuses us earlier.
func TestOnReached(t *testing.T) {
	for _, c := range []struct {
		at, reply string
		want      bool
	}{
		{"", "", true},
		{relaytest.EndOfData, "451 later", true},
		{"AUTH", "535 5.7.8 no", false},
		{"EHLO", "421 busy", false},
		{"MAIL", "530 5.7.0 login required", false},
		{"MAIL", "550 5.7.1 blocked", false},
		{"MAIL", "451 4.3.0 later", false},
	} {
		t.Run(c.at+" "+c.reply, func(t *testing.T) {
			var reached, early atomic.Bool
			up := &relaytest.Upstream{Username: "u", Script: func(cmd relaytest.Command) relaytest.Answer {
				if cmd.Verb == relaytest.EndOfData {
					early.Store(reached.Load())
				}
				if cmd.Verb == c.at {
					return relaytest.Answer{Text: c.reply}
				}
				return relaytest.Answer{}
			}}
			f := start(t, up)
			f.Username = "u"
			m := message(hello, "b@example.com")
			m.OnReached = func() { reached.Store(true) }
			forward(t, f, m)
			if reached.Load() != c.want || early.Load() != c.want {
				t.Errorf("called: %t, before the end of the content: %t, want %t", reached.Load(), early.Load(), c.want)
			}
		})
	}
}

// After a pause that the upstream has asked for, the second message does not wait
// until the upstream has taken the content of the first.
func TestMessageAfterAPauseDoesNotWaitForAContent(t *testing.T) {
	t.Parallel()
	var turnAway atomic.Bool
	turnAway.Store(true)
	hold, held := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() { close(hold) })
	defer end()
	var ends atomic.Int64
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Verb == relaytest.Greeting && turnAway.Load():
			return relaytest.Answer{Text: "421 4.7.0 too many connections"}
		case c.Verb == relaytest.EndOfData && ends.Add(1) == 1:
			close(held)
			<-hold
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	if err := forward(t, f, message(hello, "b@example.com")); !relay.Temporary(err) {
		t.Fatal(err)
	}
	turnAway.Store(false)
	time.Sleep(1100 * time.Millisecond) // the pause
	first := make(chan error, 1)
	go func() { first <- f.Forward(t.Context(), message(hello, "b@example.com")) }()
	<-held
	mustForward(t, f, message(hello, "b@example.com"))
	end()
	if err := <-first; err != nil {
		t.Error(err)
	}
}
