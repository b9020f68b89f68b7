package chaos_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// TestUpstreamDropsLine has an upstream that drops the line after the final dot
// of some messages, so that the relay cannot know whether it took them.
func TestUpstreamDropsLine(t *testing.T) {
	t.Parallel()
	var messages atomic.Int64
	s := newSink(t, func(c relaytest.Command) relaytest.Answer {
		if c.Verb != relaytest.EndOfData {
			return relaytest.Answer{}
		}
		number := messages.Add(1)
		return relaytest.Answer{Close: number%3 == 0 && number < 40}
	})
	n, l := backends[0].node(t, s), &load{conns: 4, pause: 10 * time.Millisecond, large: 40}
	n.start(t)
	send(t, l, 100, n)
	s.wantAll(t, l, n)
	n.wantDepth(t, 0, 0)
	l.wantCodes(t)
	if times := s.repeats(); len(times) > 0 {
		t.Errorf("%v were delivered again after the upstream had said 250", times)
	}
	deferred := 0 // some of them twice
	for _, times := range n.became("deferred") {
		deferred += times
	}
	if deferred < 13 {
		t.Errorf("%d times a message was deferred, but 13 times the line was dropped", deferred)
	}
}

// TestUpstreamRefusesForAWhile has an upstream that answers 4xx to everything,
// from the greeting on, for some seconds. Clients don't notice.
func TestUpstreamRefusesForAWhile(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	var well atomic.Bool
	s := newSink(t, func(c relaytest.Command) relaytest.Answer {
		if well.Load() {
			return relaytest.Answer{}
		}
		switch c.Conn % 3 { // some never get beyond the greeting, others to MAIL or to RCPT
		case 0:
			return relaytest.Answer{Text: "421 4.3.2 closing"}
		case 1:
			if c.Verb == "MAIL" {
				return relaytest.Answer{Text: "451 4.3.0 not now"}
			}
		case 2:
			if c.Verb == "RCPT" || c.Verb == relaytest.EndOfData {
				return relaytest.Answer{Text: "450 4.2.0 not now"}
			}
		}
		return relaytest.Answer{}
	})
	n, l := backends[0].node(t, s), &load{conns: 4, pause: 20 * time.Millisecond, large: 40}
	n.start(t)
	stop := l.run(t, n)
	eventually(t, "mail is accepted", func() bool { return l.accepted() > 50 })
	time.Sleep(4 * time.Second)
	if got := len(s.all()); got > 0 {
		t.Errorf("%d messages have arrived already", got)
	}
	well.Store(true)
	stop()
	l.wantCodes(t)
	s.wantAll(t, l, n)
	n.wantDepth(t, 0, 0)
	if times := s.repeats(); len(times) > 0 {
		t.Errorf("%v were delivered again", times)
	}
	if got := n.became("bounced"); len(got) > 0 {
		t.Errorf("%v bounced", got)
	}
}

// TestUpstreamIsSlow has an upstream that takes long over a few messages. The
// others don't wait for them.
func TestUpstreamIsSlow(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	const long = 5 * time.Second
	slow := []string{"t000001", "t000002", "t000003", "t000004"}
	var conns sync.Map // whether the message of a connection is one of the slow
	s := newSink(t, func(c relaytest.Command) relaytest.Answer {
		switch c.Verb {
		case "RCPT":
			conns.Store(c.Conn, slices.ContainsFunc(slow, func(token string) bool { return strings.Contains(c.Line, token) }))
		case relaytest.EndOfData:
			if is, _ := conns.Load(c.Conn); is == true {
				return relaytest.Answer{Wait: long}
			}
		}
		return relaytest.Answer{}
	})
	n, l := backends[0].node(t, s), &load{conns: 4, pause: 5 * time.Millisecond}
	n.start(t)
	begun := time.Now()
	send(t, l, 60, n)
	s.wantAll(t, l, n)
	n.wantDepth(t, 0, 0)
	for recipient, list := range s.all() {
		took := list[0].at.Sub(l.begun[tokenOf(recipient)])
		if is := slices.Contains(slow, tokenOf(recipient)); is != (took >= long) {
			t.Errorf("%s took %v", recipient, took)
		}
	}
	if took := time.Since(begun); took > 3*long {
		t.Errorf("everything took %v, as if the slow were sent one after the other", took)
	}
}

// TestUpstreamAcceptsOneInThree has an upstream that takes one recipient of three
// at once, one at the second try, and one never. Each gets what it deserves, and
// the sender one bounce for the third.
func TestUpstreamAcceptsOneInThree(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	var tries sync.Map
	s := newSink(t, func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Verb != "RCPT":
		case strings.Contains(c.Line, "+never@"):
			return relaytest.Answer{Text: "550 5.1.1 no such user"}
		case strings.Contains(c.Line, "+later@"):
			if _, again := tries.LoadOrStore(c.Line, true); !again {
				return relaytest.Answer{Text: "450 4.2.1 come back later"}
			}
		}
		return relaytest.Answer{}
	})
	n, l := backends[0].node(t, s), &load{conns: 4, pause: 10 * time.Millisecond, also: []string{"+later", "+never"}, large: 20}
	n.start(t)
	send(t, l, 40, n)
	s.wantAll(t, l, n)
	n.wantDepth(t, 0, 0)
	arrived, bounced, deferred := s.all(), n.became("bounced"), n.became("deferred")
	bounces := arrived["load@"+domain]
	if len(bounces) != l.accepted() {
		t.Errorf("%d bounces for %d messages", len(bounces), l.accepted())
	}
	for token := range l.kept {
		at := func(tag string) int { return len(arrived[token+tag+"@example.net"]) }
		if at("") != 1 || at("+later") != 1 || at("+never") != 0 {
			t.Errorf("%s came %d times to the first, %d to the second, %d to the third recipient, want 1, 1, 0", token, at(""), at("+later"), at("+never"))
		}
		never, later := token+"+never@example.net", token+"+later@example.net"
		if bounced[never] != 1 || deferred[later] != 1 {
			t.Errorf("%s: bounced %d times, deferred %d times, want once each", token, bounced[never], deferred[later])
		}
		about := 0
		for _, b := range bounces {
			if strings.Contains(b.text, "Final-Recipient: rfc822; "+never) {
				about++
			}
		}
		if about != 1 {
			t.Errorf("%d bounces are about %s, want 1", about, never)
		}
	}
	for _, b := range bounces {
		if n := strings.Count(b.text, "Final-Recipient:"); n != 1 {
			t.Errorf("a bounce is about %d recipients:\n%s", n, b.text)
		}
	}
	if want := l.accepted(); len(bounced) != want || len(deferred) != want {
		t.Errorf("%d recipients bounced and %d were deferred, want %d", len(bounced), len(deferred), want)
	}
}

// send sends so many messages, or a few more.
func send(t *testing.T, l *load, messages int, n *node) {
	t.Helper()
	stop := l.run(t, n)
	defer stop()
	eventually(t, fmt.Sprintf("%d messages are accepted", messages), func() bool { return l.accepted() >= messages })
}
