package outbound

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// A limit of connections that was learned is raised by one every minute, up to what
// is set.
func TestLearnedLimitIsRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Pool)
		s := &site{health: &health{limits: Limits{Conns: 5}, limit: 2, limitedAt: time.Now()}}
		for minute, want := range []int{2, 3, 4, 5, 5} {
			if got := p.maxConns(s); got != want {
				t.Errorf("after %d minutes: %d, want %d", minute, got, want)
			}
			time.Sleep(time.Minute)
		}
	})
}

// Pauses grow from a second to half an hour, and begin at a second again after a message was
// taken.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{Limits: func(string) Limits { return Limits{Conns: 1, Messages: 1} }}
		reply := &relay.ReplyError{Code: 450, Enhanced: "4.7.1", Text: "too much mail", Host: "mx.test"}
		slow := &Error{Step: Mail, Reply: reply, Err: reply}
		var last time.Duration
		for range 15 {
			ticket, err := p.Admit(t.Context(), "site", true)
			if err != nil {
				t.Fatal(err)
			}
			if err := ticket.Done(slow); err == nil {
				t.Fatal("no error")
			}
			if _, err := p.Admit(t.Context(), "site", true); err == nil {
				t.Error("a message is admitted during the pause")
			}
			h, _ := p.health.Get("site")
			last = time.Until(h.until)
			time.Sleep(last)
		}
		if last < 24*time.Minute || last > 30*time.Minute {
			t.Errorf("the longest pause is %v", last)
		}
		probe, err := p.Admit(t.Context(), "site", true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Admit(t.Context(), "site", true); err == nil {
			t.Error("two messages probe")
		}
		time.Sleep(time.Millisecond)
		probe.Done(nil)
		next, err := p.Admit(t.Context(), "site", true)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		next.Done(slow)
		h, _ := p.health.Get("site")
		if wait := time.Until(h.until); wait > time.Second {
			t.Errorf("the first pause after a success is %v", wait)
		}
	})
}
