package outbound

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
)

// Send hands a message to the server and calls its OnDelivered. The answer is the
// server's reply to the content, safe to show. The error is one of these:
//
//   - a *relay.RefusedError names the recipients that were refused: by the server,
//     or here because the address could do harm in a command. Its Partial is set
//     if that of the message is, and then the server took the message for the
//     others.
//   - a *relay.ReplyError is a refusal of the whole message that was made here;
//   - an *Error says what failed at the server. Its cause may be the server's
//     refusal, a *relay.ReplyError.
//
// Send uses this connection only; [Pool] goes on with another one if that helps.
func (c *Conn) Send(ctx context.Context, m *relay.Message) (answer string, err error) {
	s := sending{m: m, left: m.To}
	err = s.over(ctx, c)
	return s.answer, s.result(ctx, err)
}

// A sending is a message on its way to one site, in one transaction or several,
// over one connection or several.
type sending struct {
	m       *relay.Message
	left    []relay.Recipient // neither taken nor refused
	refused []relay.RefusedRecipient
	taken   int
	sorted  bool   // left is sorted by domain
	answer  string // to the last content that was taken
	reached func() // called when MAIL is accepted; may be nil

	// again means that the last error may be over on a fresh connection.
	again bool
}

// settled returns the number of recipients that need no further transaction.
func (s *sending) settled() int { return s.taken + len(s.refused) }

// over sends the message to the recipients that are left, until none is left, c
// can't be used any more, or something fails.
func (s *sending) over(ctx context.Context, c *Conn) error {
	s.again = false
	if err := s.check(c); err != nil {
		return err
	}
	for len(s.left) > 0 && c.keepable() {
		if err := s.transact(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// check refuses what must not go to this server. If the message may be taken for
// some of its recipients, those that are refused are out of the way then.
func (s *sending) check(c *Conn) error {
	if err := c.check(s.m); err != nil {
		return err
	}
	refused, rest := c.checkRecipients(s.left)
	s.refused = append(s.refused, refused...)
	s.left = rest
	if !s.m.Partial && len(s.refused) > 0 {
		return errRefused
	}
	return nil
}

// transact does one transaction (RFC 5321 section 3.3).
func (s *sending) transact(ctx context.Context, c *Conn) error {
	kept := c.messages > 0
	n := s.fits(c)
	c.messages++
	c.begin(ctx)
	defer c.end()
	c.usable = false // until the server has come to rest
	t := transaction{c: c, m: s.m, to: s.left[:n], reached: s.reached}
	err := t.run()
	switch {
	case err == nil:
		s.finish(&t, n)
		return nil
	case t.crowded():
		c.maxRcpt, c.lowered = len(t.taken), true
		return nil
	case chunkingFailed(c, err):
		s.again, c.badChunking = true, true
		c.usable = false // the server may be reading the content as commands
		return err
	case kept && t.blamesConnection(err):
		s.again = true
		return err
	}
	return s.refuse(&t, n, err)
}

// fits returns how many of the recipients that are left go into one transaction. If the
// server limits the domains, fits sorts the recipients by domain first.
func (s *sending) fits(c *Conn) int {
	if !s.m.Partial {
		return len(s.left)
	}
	n := min(len(s.left), c.maxRcpt)
	if c.ext.maxDomains == 0 {
		return n
	}
	if !s.sorted {
		s.sorted = true
		s.left = slices.Clone(s.left) // it may be the message's
		slices.SortStableFunc(s.left, func(a, b relay.Recipient) int { return strings.Compare(domainOf(a), domainOf(b)) })
	}
	domains := 1
	for i := 1; i < n; i++ {
		if domainOf(s.left[i]) != domainOf(s.left[i-1]) {
			domains++
		}
		if domains > c.ext.maxDomains {
			return i
		}
	}
	return n
}

// domainOf returns the domain of a recipient in lower case.
func domainOf(r relay.Recipient) string {
	return strings.ToLower(r.Address[strings.LastIndexByte(r.Address, '@')+1:])
}

// refuse settles the recipients that a server refused before err ended the
// transaction. n is how many of those left were in it.
func (s *sending) refuse(t *transaction, n int, err error) error {
	if len(t.refused)+len(t.surplus) == 0 {
		return err
	}
	s.refused = append(s.refused, t.refused...)
	if !s.m.Partial {
		s.refused = append(s.refused, t.refuseSurplus()...)
		return errRefused
	}
	s.again = resendable(err)
	s.left = append(append(t.taken, t.unanswered()...), s.left[n:]...)
	if err == errRefused {
		return nil
	}
	return err
}

// finish settles the recipients of a transaction whose content was taken. n is
// how many of those left were in it.
func (s *sending) finish(t *transaction, n int) {
	s.refused = append(s.refused, t.refused...)
	s.taken += len(t.taken)
	s.answer = t.answer
	s.left = s.left[n:]
	if len(t.surplus) > 0 {
		s.left = append(t.surplus, s.left...)
	}
	t.c.rejected = 0
	if t.full > 0 {
		t.c.maxRcpt, t.c.lowered = t.full, true
	}
	if s.m.OnDelivered == nil {
		return
	}
	hop := relay.NextHop{Host: t.c.host, Reply: t.answer, DSN: t.c.ext.dsn}
	if s.m.Partial {
		hop.Recipients = make([]string, len(t.taken))
		for i := range t.taken {
			hop.Recipients[i] = t.taken[i].Address
		}
	}
	s.m.OnDelivered(hop)
}

// errRefused stands for the refusals in transaction.refused and sending.refused.
var errRefused = errors.New("recipients were refused")

// result makes the error of Send. err is the one that sending ended with.
func (s *sending) result(ctx context.Context, err error) error {
	if err == nil && len(s.left) > 0 {
		if err = context.Cause(ctx); err == nil {
			err = errors.New("the connection can't be used any more")
		}
	}
	if !s.m.Partial {
		if len(s.refused) > 0 {
			return &relay.RefusedError{Recipients: s.refused}
		}
		return err
	}
	if s.settled() == 0 {
		return err
	}
	for i := range s.left {
		s.refused = append(s.refused, relay.RefusedRecipient{Address: s.left[i].Address, Err: err})
	}
	if len(s.refused) == 0 {
		return nil
	}
	return &relay.RefusedError{Recipients: s.refused, Partial: true}
}
