package outbound

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// Send sends m to the server of a key. It is Admit, Send and Done of a Ticket.
func (p *Pool) Send(ctx context.Context, site, key string, m *relay.Message) (answer string, err error) {
	t, err := p.Admit(ctx, site, m.NoWait)
	if err != nil {
		return "", err
	}
	defer func() { err = t.Done(err) }()
	return t.Send(ctx, key, m)
}

// A Ticket admits one message to a site.
type Ticket struct {
	p      *Pool
	site   string
	noWait bool
	began  time.Time
	probe  bool // it is the first message after a pause
}

// Admit returns a Ticket when a message may go to a site. It waits for the rate
// limit or, with noWait, returns a *relay.BusyError instead. If the site has asked
// for a pause, Admit returns an error that does not have the site's reply to another
// message. Done must be called afterwards.
func (p *Pool) Admit(ctx context.Context, site string, noWait bool) (*Ticket, error) {
	limits := p.Limits(site)
	t := &Ticket{p: p, site: site, noWait: noWait}
	wait, err := p.admit(t, limits)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, wait); err != nil {
		return nil, t.Done(fmt.Errorf("waiting for the rate limit: %w", err))
	}
	return t, nil
}

func (p *Pool) admit(t *Ticket, limits Limits) (wait time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.began = time.Now()
	if p.closed {
		return 0, errClosed
	}
	s := p.site(t.site)
	defer p.forget(s)
	s.health.limits = limits
	wait, err = s.admit(t.began, t.noWait)
	t.probe = err == nil && s.health.probing
	return wait, err
}

// reached is called when a server has accepted MAIL. If the message is the first after
// a pause, the next one need not wait for its end.
func (t *Ticket) reached() {
	if !t.probe {
		return
	}
	t.probe = false
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if s := t.p.sites[t.site]; s != nil && s.health.probing {
		s.health.probing = false
		t.p.tidy(s)
	}
}

// Done ends the Ticket. err is how the message ended; Done returns the error for
// the caller, which is a *relay.BusyError if the site asks for a short pause and
// the caller does not wait.
func (t *Ticket) Done(err error) error { return t.p.judge(t.site, t.began, err, t.noWait) }

// Send sends m to a server of the site on a kept connection, or on a new one. If a
// message fails on a kept connection and may succeed on a new one, Send tries it
// again on a new one. It also uses a new one for the recipients that are left when a
// connection can't be used any more. See [Conn.Send] for the result.
//
// If all connections to the site are in use, Send waits, or returns a
// *relay.BusyError if the message has NoWait.
func (t *Ticket) Send(ctx context.Context, key string, m *relay.Message) (answer string, err error) {
	p := t.p
	c, err := p.get(ctx, t.site, key, m.NoWait)
	if err != nil {
		return "", err
	}
	defer func() {
		if c != nil {
			p.put(t.site, c)
		}
	}()
	s := sending{m: m, left: m.To, reached: t.reached}
	for {
		before := s.settled()
		err = s.over(ctx, c)
		p.learn(t.site, c)
		more := s.again || err == nil && s.settled() > before
		if len(s.left) == 0 || !more || ctx.Err() != nil {
			break
		}
		c.Close()
		c = nil // its place is connect's to give back
		if c, err = p.connect(ctx, t.site, key, m.NoWait); err != nil {
			break
		}
	}
	return s.answer, s.result(ctx, err)
}
