package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// noticeTime is how long docs/operations.md says that a node may take to notice what
// an Admin in another process has changed. workTime is for the work that follows.
const (
	noticeTime = 6 * time.Second
	workTime   = 20 * time.Second
	slack      = 3 * time.Second // of a busy machine
)

// An operator is a person at a process of its own, which delivers nothing. It puts
// mail into the spool, and changes what is there.
type operator struct {
	*queue.Admin
	st *sqlstore.Store

	mu       sync.Mutex
	put      int             // messages so far
	canceled map[string]bool // the recipients that are reported as cancelled
}

// operator starts an operator on a node's database.
func (n *node) operator(t *testing.T) *operator {
	t.Helper()
	o := &operator{st: sqlstore.New(n.open(t), n.Dialect), canceled: make(map[string]bool)}
	never := relay.ForwarderFunc(func(context.Context, *relay.Message) error {
		t.Error("an Admin whose Queue does not run has delivered a message")
		return nil
	})
	o.Admin = &queue.Admin{By: "ann", Queue: &queue.Queue{
		Spool: o.st, Next: never, Hostname: "operator.test", Destination: domainOf, Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e queue.Event) {
			if e, ok := e.(*queue.Canceled); ok {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.canceled[e.Recipient] = true
			}
		},
	}}
	return o
}

// send puts messages of a tenant into the spool, each with one recipient in a domain,
// and returns the recipients.
func (o *operator) send(t *testing.T, tenant store.TenantID, to string, messages int) (recipients []string) {
	t.Helper()
	for range messages {
		recipients = append(recipients, o.sendTo(t, tenant, to, 1)...)
	}
	return recipients
}

// sendTo puts a message to so many recipients in a domain, and returns them.
func (o *operator) sendTo(t *testing.T, tenant store.TenantID, to string, number int) (recipients []string) {
	t.Helper()
	o.put++
	token := fmt.Sprintf("o%06d", o.put)
	m := &relay.Message{
		ID: relay.NewID(), From: "load@" + domain,
		Identity: credentials.Identity{Tenant: tenant, Domain: domain},
	}
	for i := range number {
		recipients = append(recipients, fmt.Sprintf("%s+%d@%s", token, i, to))
		m.To = append(m.To, relay.Recipient{Address: recipients[i]})
	}
	text := content(token, smallSize)
	if err := o.Queue.Forward(t.Context(), m.WithContent(bytes.NewReader(text), int64(len(text)))); err != nil {
		t.Fatal(err)
	}
	return recipients
}

// wantDone fails the test unless an action has changed so many deliveries.
func wantDone(t *testing.T, what string, want int) func(queue.Changed, error) {
	return func(c queue.Changed, err error) {
		t.Helper()
		if err != nil || c.Done != want {
			t.Errorf("%s: %+v, %v, want %d done", what, c, err, want)
		}
	}
}

// arrived returns how many of the recipients have a message, and fails the test if one
// has two.
func (s *sink) arrived(t *testing.T, recipients []string) (n int) {
	t.Helper()
	all := s.all()
	for _, r := range recipients {
		switch len(all[r]) {
		case 0:
		case 1:
			n++
		default:
			t.Errorf("%s arrived %d times", r, len(all[r]))
		}
	}
	return n
}

// wantSoon fails the test unless every recipient has a message in the time that an
// operator may expect.
func (s *sink) wantSoon(t *testing.T, what string, recipients []string) {
	t.Helper()
	began := time.Now()
	first := time.Duration(0)
	for {
		n := s.arrived(t, recipients)
		if n > 0 && first == 0 {
			first = time.Since(began)
		}
		if n == len(recipients) {
			break
		}
		if time.Since(began) > noticeTime+workTime {
			t.Errorf("%s: %d of %d messages arrived after %v", what, n, len(recipients), time.Since(began))
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	if first > noticeTime+slack {
		t.Errorf("%s: the first message arrived after %v, want %v", what, first, noticeTime)
	}
	t.Logf("%s: the first of %d arrived after %v, the last after %v", what, len(recipients), first, time.Since(began))
}

// wantNone fails the test if a recipient has a message.
func (s *sink) wantNone(t *testing.T, what string, recipients []string) {
	t.Helper()
	if n := s.arrived(t, recipients); n > 0 {
		t.Errorf("%s: %d of %d messages arrived", what, n, len(recipients))
	}
}
