package limits_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var billing = credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "u1"}

// A product has limits that can be changed, and a store with a history.
type product struct {
	*testing.T
	st    *memory.Store
	hist  *history.History
	stop  func()
	count counter

	mu     sync.Mutex
	limits []limits.Limit
	asked  int
	kept   int // recipients, of all nodes
	fail   error
}

// A counter counts calls of Reserve and of Usages.
type counter struct {
	store.Allowances
	mu       sync.Mutex
	reserved int
	looks    int
}

func (c *counter) Usages(ctx context.Context, scope string) ([]store.Usage, error) {
	c.mu.Lock()
	c.looks++
	c.mu.Unlock()
	return c.Allowances.Usages(ctx, scope)
}

func (c *counter) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	c.mu.Lock()
	c.reserved++
	c.mu.Unlock()
	return c.Allowances.Reserve(ctx, r)
}

func (c *counter) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reserved
}

// looked returns how many calls of Usages there were.
func (c *counter) looked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

func newProduct(t *testing.T, list ...limits.Limit) *product {
	p := &product{T: t, st: new(memory.Store), limits: list}
	p.count.Allowances = p.st
	p.hist = &history.History{Store: p.st}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.hist.Run(ctx) }()
	p.stop = func() {
		cancel()
		<-done
	}
	return p
}

func (p *product) of(context.Context, credentials.Identity) ([]limits.Limit, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	return p.limits, nil
}

func (p *product) set(list ...limits.Limit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = list
}

// keep keeps a message as a queue does, or fails.
func (p *product) keep(ctx context.Context, m *relay.Message) error {
	p.mu.Lock()
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		return fail
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	var events []store.Event
	for i, to := range m.To {
		events = append(events, store.Event{
			Kind: store.EventAccepted, Time: now, Received: now, Tenant: m.Identity.Tenant, Domain: m.Identity.Domain, Username: m.Identity.Username,
			Mail: m.ID, N: i, Recipient: to.Address, Grants: m.Grants,
		})
	}
	if err := p.st.Record(ctx, events); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept += len(m.To)
	return nil
}

// node returns a Limiter on the store of the product.
func (p *product) node() *limits.Limiter {
	return &limits.Limiter{Store: &p.count, Limits: p.of, Next: relay.ForwarderFunc(p.keep), Logger: slog.New(slog.DiscardHandler)}
}

// run runs a Limiter until the function it returns is called.
func (p *product) run(l *limits.Limiter) (stop func()) {
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			p.Error(err)
		}
	}
}

func send(l *limits.Limiter, id credentials.Identity, recipients int) error {
	m := &relay.Message{ID: relay.NewID(), Identity: id}
	for i := range recipients {
		m.To = append(m.To, relay.Recipient{Address: fmt.Sprintf("to%d@example.net", i)})
	}
	return l.Forward(context.Background(), m)
}

// sends sends messages with one recipient each.
func (p *product) sends(l *limits.Limiter, id credentials.Identity, messages int) {
	p.Helper()
	for i := range messages {
		if err := send(l, id, 1); err != nil {
			p.Fatalf("message %d of %d: %v", i+1, messages, err)
		}
	}
}

// refuses checks that a message with so many recipients gets a reply.
func (p *product) refuses(l *limits.Limiter, id credentials.Identity, recipients, code int, text string) {
	p.Helper()
	wantReply(p.T, send(l, id, recipients), code, text)
}

func wantReply(t *testing.T, err error, code int, text string) {
	t.Helper()
	var reply *relay.ReplyError
	if !errors.As(err, &reply) || reply.Code != code || reply.Enhanced != fmt.Sprintf("%d.7.1", code/100) || reply.Text != text {
		t.Errorf("got %v, want %d %s", err, code, text)
	}
}

// uses checks what is used of the only limit.
func (p *product) uses(l *limits.Limiter, id credentials.Identity, want int64) {
	p.Helper()
	used, err := l.Usage(context.Background(), id)
	if err != nil || len(used) != 1 || used[0].Used != want {
		p.Errorf("Usage: got %+v, %v, want %d used", used, err, want)
	}
}

func allow(l *limits.Limiter, id credentials.Identity) error {
	return l.AllowUser(context.Background(), &relay.PolicyRequest{Client: relay.Client{Identity: id}})
}
