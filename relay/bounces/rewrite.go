package bounces

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// A Rewriter is a [relay.Forwarder] that gives each message an envelope sender to
// which reports come back, and hands the message to Next. It belongs behind the
// queue, whose own bounces still go to the original sender. The fields must not be
// changed after the first Forward.
//
// A message keeps its sender if that is the null reverse-path, if Domain returns "",
// or if the new address would be too long. Otherwise it also gets the field
// X-Bounce-Token and, if it has none, an envelope ID.
type Rewriter struct {
	// Next takes the message. Required.
	Next relay.Forwarder

	// Secrets sign the addresses and tokens. The first one signs; the others are
	// for the [Receiver], which accepts what any of them has signed. All nodes
	// need the same. To replace the secret, put the new one in front and keep the
	// old one for as long as reports may come back, such as 30 days. Each has at
	// least 16 bytes. Required.
	Secrets []credentials.Password

	// Domain returns the domain to which reports for a sending domain go, or ""
	// if they go to the sender. It should return "" until [CheckDomain] has found
	// no fault in the domain. It is called for each message, from many goroutines.
	// An error means that the message is tried again later. Required.
	Domain func(ctx context.Context, domain string) (string, error)
}

// tokenField is the header field of a token.
const tokenField = "X-Bounce-Token"

// maxEnvelopeID is the most characters of an ENVID (RFC 3461 section 4.4). Tokens
// have none that xtext would encode.
const maxEnvelopeID = 100

// Forward forwards the message, with another sender if there is one. It returns the
// errors of Next; an error of its own is temporary. See [relay.Forwarder].
func (w *Rewriter) Forward(ctx context.Context, m *relay.Message) error {
	if err := w.checkFields(); err != nil {
		return err
	}
	from, err := w.sender(ctx, m)
	if err != nil {
		return ownError{fmt.Errorf("bounces: message %s: %w", m.ID, err)}
	}
	if from == "" {
		return w.Next.Forward(ctx, m)
	}
	tok := token{m.ID, m.Identity.Tenant}.sign(w.Secrets[0], m.From, commonDomain(m.To))
	c := m.Prepend([]byte(tokenField + ": " + tok + "\r\n"))
	c.From = from
	if c.Options.EnvelopeID == "" && len(tok) <= maxEnvelopeID {
		c.Options.EnvelopeID = tok
	}
	return w.Next.Forward(ctx, c)
}

// Check returns what is wrong with the fields of the Rewriter or of Next.
func (w *Rewriter) Check() error {
	if err := w.checkFields(); err != nil {
		return err
	}
	return relay.CheckForwarder(w.Next)
}

// checkFields returns what is wrong with the fields of the Rewriter alone.
func (w *Rewriter) checkFields() error {
	switch {
	case w.Next == nil:
		return errors.New("bounces: Rewriter.Next is required")
	case w.Domain == nil:
		return errors.New("bounces: Rewriter.Domain is required")
	}
	return checkSecrets("Rewriter.Secrets", w.Secrets)
}

// sender returns the new sender of a message, or "" if it keeps the one it has.
func (w *Rewriter) sender(ctx context.Context, m *relay.Message) (string, error) {
	_, own, ok := cutAddress(m.From)
	if !ok {
		return "", nil
	}
	domain, err := w.Domain(ctx, own)
	if err != nil || domain == "" {
		return "", err
	}
	name, ok := mailtext.Domain(domain)
	if !ok {
		return "", fmt.Errorf("Rewriter.Domain returned %q for %s, which is not a host name", domain, own)
	}
	address, ok := returnAddress(w.Secrets[0], m.From, name)
	if !ok {
		return "", nil
	}
	return address, nil
}

// commonDomain returns the domain that all recipients have, or "".
func commonDomain(to []relay.Recipient) (common string) {
	for i, r := range to {
		_, domain, _ := cutAddress(r.Address)
		if i > 0 && domain != common {
			return ""
		}
		common = domain
	}
	return common
}

// An ownError is an error about this message, which leaves Next reachable.
type ownError struct{ error }

func (e ownError) Unwrap() error   { return e.error }
func (ownError) Unreachable() bool { return false }
