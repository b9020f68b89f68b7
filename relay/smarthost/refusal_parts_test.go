package smarthost_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// If the upstream takes the first transaction of a message and refuses MAIL of the second,
// only the recipients of the second are tried again. One that was refused at RCPT keeps
// its answer.
func TestRefusalOfMailOfASecondTransaction(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"550 5.7.1 blocked", "554 5.0.0 failed", "554 failed"} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			var mails atomic.Int64
			up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
				if strings.HasPrefix(c.Line, "MAIL FROM:<a@") { // and not that of the notice
					// A kept connection may be to blame, so it is refused on a fresh one too.
					if n := mails.Add(1); n == 2 || n == 3 {
						return relaytest.Answer{Text: reply}
					}
				}
				if strings.Contains(c.Line, "<r0@") {
					return relaytest.Answer{Text: "550 5.1.1 no such user"}
				}
				return relaytest.Answer{}
			}}
			f := start(t, up)
			f.MaxRecipients = 3
			b := runBehind(t, f)
			m := message(hello)
			m.ID = "message1"
			for i := range 6 {
				m.To = append(m.To, relay.Recipient{Address: fmt.Sprintf("r%d@example.com", i)})
			}
			if err := b.q.Forward(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			deferred := 0
			for ended := 0; ended < 6; {
				switch _, e := b.next(t); e := e.(type) {
				case *queue.Delivered:
					if e.NoticeOf == "" {
						ended++
					}
				case *queue.Bounced:
					if e.Recipient != "r0@example.com" {
						t.Errorf("%s bounced", e.Recipient)
					}
					ended++
				case *queue.Deferred:
					deferred++
				default:
					t.Fatalf("got %+v", e)
				}
			}
			if deferred != 3 {
				t.Errorf("%d recipients were deferred, want the three of the second transaction", deferred)
			}
			got := make(map[string]int)
			for _, r := range up.Received() {
				for _, to := range r.To {
					got[to.Address]++
				}
			}
			for i := 1; i < 6; i++ {
				if to := fmt.Sprintf("r%d@example.com", i); got[to] != 1 {
					t.Errorf("%s got the message %d times, want once: %v", to, got[to], got)
				}
			}
		})
	}
}

// A recipient that is refused here, and not by the upstream, does not count as mail that
// the upstream has accepted.
func TestRefusalHereIsNoAcceptance(t *testing.T) {
	t.Parallel()
	up := &relaytest.Upstream{Extensions: without("SMTPUTF8"), Script: on("MAIL FROM:<a@", relaytest.Answer{Text: "550 5.7.1 blocked"})}
	b := runBehind(t, start(t, up))
	b.send(t, 1, "one", "a@example.org")
	if name, e := b.next(t); name != "Deferred" {
		t.Fatalf("got %s, want Deferred: %+v", name, e)
	}
	m := message(hello, "\u00fc@example.com")
	m.ID, m.From, m.Identity.Tenant = "message2", "", "one" // without a sender, so that no notice follows
	if err := b.q.Forward(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for bounced, deferred := false, 0; !bounced || deferred < 2; {
		switch _, e := b.next(t); e := e.(type) {
		case *queue.Bounced:
			if e.ID == "message1" {
				t.Fatalf("bounced, although the upstream has accepted nothing: %+v", e)
			}
			bounced = true
		case *queue.Deferred:
			if bounced {
				deferred++
			}
		}
	}
}
