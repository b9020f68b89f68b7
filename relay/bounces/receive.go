package bounces

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/ascii"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A Receiver takes what comes to the addresses of a [Rewriter]. Its methods may be
// called from many goroutines at once. The fields must not be changed after the first
// call. A Receiver must not be copied.
type Receiver struct {
	// Secrets are those of the Rewriter. An address or a token that any of them
	// has signed is accepted. Required.
	Secrets []credentials.Password

	// Bounced is called for each recipient that a report says has failed, if the
	// report has the token of the mail; History.Bounced of package relay/history
	// fits. The recipient is an address at the domain that the mail was sent to.
	// It may be another one than the mail's, such as a member of a list. If the
	// mail was passed on to another domain, recipient is a text that begins with
	// that address and is not an address.
	//
	// The reply's code is 4yz for a soft bounce and 5yz for a hard bounce, and its
	// Host is the server that refused the mail or, if the report does not say,
	// the one that reports. A report may come twice. An error makes Receive fail,
	// so that the other server sends the report again, except store.ErrNotFound: it
	// means that there is no such mail, or none any more, so the report is only
	// passed on. Required.
	Bounced func(ctx context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error

	// Forwarder passes every message on to the original sender, from the null
	// reverse-path, also one that is not a report: vacation replies go to the
	// envelope sender too. A message over 1 MiB is cut there. The message's
	// Identity has the sender's domain and, if the token is valid, the tenant.
	// Usually it is the queue. Nil means that nothing is passed on.
	Forwarder relay.Forwarder

	// Logger gets a line for each message. Nil means slog.Default().
	Logger *slog.Logger

	stats receiverCounts
}

// Accepts reports whether an address was made by a Rewriter with one of the secrets.
// A server should refuse any other recipient with 550 5.1.1.
func (r *Receiver) Accepts(recipient string) bool {
	_, ok := originalSender(r.Secrets, recipient)
	return ok
}

// Receive reads a message that came to one of the addresses. It reads at most 1
// MiB of content; line ends may be CRLF or LF.
//
// It returns a [*relay.ReplyError] with code 550 if Accepts does not hold, and 554 if
// the message has passed more than 100 servers. An error of content or Bounced is
// temporary: the message should be given to Receive again. An error of Forwarder
// is as [relay.Temporary] says.
func (r *Receiver) Receive(ctx context.Context, recipient string, content io.Reader) error {
	err := r.receive(ctx, recipient, content)
	switch {
	case err == nil:
		r.stats.messages.Add(1)
	case relay.Temporary(err):
		r.stats.failed.Add(1)
	default:
		r.stats.refused.Add(1)
	}
	return err
}

func (r *Receiver) receive(ctx context.Context, recipient string, content io.Reader) error {
	if err := r.check(); err != nil {
		return err
	}
	sender, ok := originalSender(r.Secrets, recipient)
	if !ok {
		return &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "no such address here"}
	}
	b, err := io.ReadAll(io.LimitReader(content, maxReport))
	if err != nil {
		return fmt.Errorf("bounces: reading a report: %v", err) // temporary, whatever it is
	}
	header, _ := readFields(b)
	if hops(header) > maxHops {
		return &relay.ReplyError{Code: 554, Enhanced: "5.4.6", Text: "the message has passed too many servers"}
	}
	report := parse(b)
	tenant, err := r.record(ctx, sender, report)
	if err != nil {
		return err
	}
	return r.forward(ctx, sender, tenant, b)
}

// check returns an error if a required field is missing.
func (r *Receiver) check() error {
	if err := checkSecrets("Receiver.Secrets", r.Secrets); err != nil {
		return err
	}
	if r.Bounced == nil {
		return errors.New("bounces: Receiver.Bounced is required")
	}
	return nil
}

// record calls Bounced for each failure. It returns the tenant of the mail, or "" if
// the report has no valid token.
func (r *Receiver) record(ctx context.Context, sender string, report *Report) (tenant store.TenantID, err error) {
	var tokens []signedToken
	for _, text := range []string{report.Token, report.EnvelopeID} {
		if t, err := parseToken(text); err == nil {
			tokens = append(tokens, t)
		}
	}
	for i := range report.Recipients {
		rc := &report.Recipients[i]
		log := r.logger().With("sender", sender, "recipient", rc.Final, "action", rc.Action, "status", rc.Status, "from", report.ReportingMTA)
		tok, address := r.find(tokens, sender, rc)
		if address == "" {
			r.stats.unsigned.Add(1)
			log.Info("bounces: a report without a valid token for the recipient")
			continue
		}
		tenant = tok.tenant
		log.Info("bounces: a report", "id", tok.mail, "tenant", tok.tenant)
		if rc.Action != ActionFailed {
			continue
		}
		reply := rc.Reply()
		reply.Host = cmp.Or(reply.Host, report.ReportingMTA)
		err := r.Bounced(ctx, tok.tenant, tok.mail, address, reply)
		if errors.Is(err, store.ErrNotFound) {
			r.stats.notFound.Add(1)
			log.Warn("bounces: a report about a mail that is not in the history", "id", tok.mail, "tenant", tok.tenant)
			continue
		}
		if err != nil {
			return "", fmt.Errorf("bounces: recording that mail %s to %s failed: %v", tok.mail, address, err) // temporary, whatever it is
		}
		r.stats.recorded.Add(1)
	}
	return tenant, nil
}

// find returns the token that covers a recipient of a report, and the recipient of the
// mail; "" if there is none.
func (r *Receiver) find(tokens []signedToken, sender string, rc *Recipient) (tok signedToken, address string) {
	for _, t := range tokens {
		if address := r.match(t, sender, rc); address != "" {
			return t, address
		}
	}
	return signedToken{}, ""
}

// maxParents is how many domains above a recipient's are looked at.
const maxParents = 5

// match returns the recipient that Bounced is told of, if the token covers it;
// otherwise "".
func (r *Receiver) match(t signedToken, sender string, rc *Recipient) string {
	local, domain, ok := cutAddress(rc.Final)
	if !ok {
		local, domain = rc.Final, ""
	}
	original, own, given := cutAddress(rc.Original)
	// A server may report its own name for the mailbox: bob@mail.example.com.
	if given && ascii.Lower(original) == ascii.Lower(local) && (domain == "" || strings.HasSuffix(domain, "."+own)) {
		domain = own
	}
	if address := r.covered(t, sender, local, domain); address != "" || !given {
		return address
	}
	if address := r.covered(t, sender, original, own); address != "" && domain != "" {
		return mailtext.OneLineUTF8(rc.Final, maxText) + ", to which mail for " + mailtext.OneLineUTF8(address, maxText) + " was passed on"
	}
	return ""
}

// covered returns the address, if the token covers its domain or one above; otherwise
// "".
func (r *Receiver) covered(t signedToken, sender, local, domain string) string {
	quoted, ok := mailtext.QuoteLocal(local)
	if domain == "" || !ok {
		return ""
	}
	d := domain
	for range 1 + maxParents {
		if d != "" && t.covers(r.Secrets, sender, d) {
			return quoted + "@" + d
		}
		_, d, _ = strings.Cut(d, ".")
	}
	if t.covers(r.Secrets, sender, "") {
		return quoted + "@" + domain
	}
	return ""
}

// maxHops is how many servers a message may have passed (RFC 5321 section 6.3).
const maxHops = 100

func hops(header fields) (n int) {
	for i := range header {
		if header[i].name == "received" {
			n++
		}
	}
	return n
}

// forward passes a message on to the original sender.
func (r *Receiver) forward(ctx context.Context, sender string, tenant store.TenantID, content []byte) error {
	if r.Forwarder == nil {
		return nil
	}
	content = safeLines(content)
	m := &relay.Message{
		ID: relay.NewID(), Received: time.Now().UTC(),
		To: []relay.Recipient{{Address: sender, Notify: []string{"NEVER"}}}, // RFC 3461 section 6.1
	}
	m.Identity.Tenant = tenant
	_, m.Identity.Domain, _ = cutAddress(sender)
	header, _, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	m.Options.UTF8 = !mailtext.IsASCII(header) || !mailtext.IsASCII(sender)
	if !mailtext.IsASCII(content) {
		m.Options.Body = "8BITMIME"
	}
	if err := r.Forwarder.Forward(ctx, m.WithContent(bytes.NewReader(content), int64(len(content)))); err != nil {
		return fmt.Errorf("bounces: passing a report on to %s: %w", sender, err)
	}
	return nil
}

// safeLines returns the content with CRLF as line ends, and without other carriage
// returns and NULs, which no server may pass on (RFC 5321 section 2.3.8).
func safeLines(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/32)
	for len(b) > 0 {
		line, rest := cutLine(b)
		for _, c := range line {
			if c != '\r' && c != 0 {
				out = append(out, c)
			}
		}
		out, b = append(out, "\r\n"...), rest
	}
	return out
}

func (r *Receiver) logger() *slog.Logger {
	if r.Logger == nil {
		return slog.Default()
	}
	return r.Logger
}
