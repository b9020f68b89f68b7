package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailheader"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// A Field names what a refusal is about. Its value is what the client reads.
type Field string

// The fields. FieldMailFrom and FieldRcptTo are in the envelope, FieldFrom and
// FieldSender in the header (RFC 5322 section 3.6.2). FieldData is the message as
// a whole, FieldAuth the login.
const (
	FieldAuth     Field = "AUTH"
	FieldMailFrom Field = "MAIL FROM"
	FieldRcptTo   Field = "RCPT TO"
	FieldFrom     Field = "From"
	FieldSender   Field = "Sender"
	FieldData     Field = "data"
)

// A PolicyRequest is what a policy function of a [Server] decides on: AllowLogin,
// AllowUser, AllowSender, AllowRecipient or ReplaceExactDomain. Later versions may
// add fields. The function must not change it.
//
// A policy function returns nil to allow. If it returns a [*ReplyError], that is
// the client's reply. For any other error the client is told to try again later
// (451 4.3.0, or 454 4.7.0 for a login); the error is logged, and the client does
// not see it. A panic counts as such an error. ctx ends after at most 30 seconds,
// and when the server is closed. A function that ignores ctx delays its own session
// and no other. Policy functions are called from many goroutines at once.
type PolicyRequest struct {
	Client

	// Field is what Address was given as: FieldMailFrom, FieldFrom or FieldSender
	// for a sender, FieldRcptTo for a recipient. AllowUser gets FieldMailFrom and
	// AllowLogin gets FieldAuth, both without an Address.
	Field Field

	// Address has its domain in the form of Identity.Domain: lower-case A-labels
	// without a trailing dot. The local part is as the client wrote it.
	Address string

	From       string // the envelope sender, except in AllowUser and AllowLogin
	Recipients int    // how many recipients the message has so far
	Size       int64  // bytes: as declared at MAIL, 0 if not; for the header as received
	TLS        string // the version, such as "TLS 1.3"; empty without TLS
}

// ExactDomain allows addresses at exactly the user's own domain. It refuses
// addresses at a subdomain or a parent of it with a [*ReplyError] (550 5.7.1)
// that names both domains. Every [Server] applies it to senders unless
// ReplaceExactDomain is set.
func ExactDomain(_ context.Context, r *PolicyRequest) error {
	domain := r.Address[strings.LastIndexByte(r.Address, '@')+1:]
	if domain != "" && domain == r.Identity.Domain {
		return nil
	}
	return &ReplyError{
		Code:     550,
		Enhanced: "5.7.1",
		Text:     fmt.Sprintf("domain %s is not allowed, this user sends from %s only", mailtext.OneLine(domain, 255), r.Identity.Domain),
	}
}

// canonicalAddress returns addr with its domain in the form of
// credentials.NormalizeDomain, or in lower case if it is not a domain name.
func canonicalAddress(addr string) string {
	at := strings.LastIndexByte(addr, '@') + 1
	local, domain := addr[:at], addr[at:]
	if name, err := credentials.NormalizeDomain(domain); err == nil {
		return local + name
	}
	return local + strings.ToLower(strings.TrimSuffix(domain, "."))
}

type policyFunc = func(context.Context, *PolicyRequest) error

// ask calls a policy function, unless it is nil. A panic becomes an error.
func (s *Server) ask(ctx context.Context, allow policyFunc, r *PolicyRequest) (err error) {
	if allow == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			s.logPanic("a policy function", p, slog.String("session", r.Session))
			err = errPolicyPanic
		}
	}()
	return allow(ctx, r)
}

var errPolicyPanic = errors.New("relay: a policy function panicked")

// checkUser asks AllowUser at MAIL.
func (tx *transaction) checkUser(ctx context.Context) reply {
	r := &PolicyRequest{Client: tx.client, Field: FieldMailFrom, Size: tx.size, TLS: tx.tls}
	return tx.srv.answer(r, tx.srv.ask(ctx, tx.srv.AllowUser, r))
}

// checkSender applies the sender rule to r.Address and then asks AllowSender.
func (tx *transaction) checkSender(ctx context.Context, r *PolicyRequest) reply {
	rule := tx.srv.ReplaceExactDomain
	if rule == nil {
		rule = ExactDomain
	}
	err := tx.srv.ask(ctx, rule, r)
	if err == nil {
		err = tx.srv.ask(ctx, tx.srv.AllowSender, r)
	}
	return tx.srv.answer(r, err)
}

func (tx *transaction) checkRecipient(addr string) reply {
	if tx.srv.AllowRecipient == nil {
		return reply{}
	}
	ctx, cancel := tx.context(lookupTimeout)
	defer cancel()
	r := tx.request(FieldRcptTo, addr)
	return tx.srv.answer(r, tx.srv.ask(ctx, tx.srv.AllowRecipient, r))
}

// request describes an address of the transaction to a policy function.
func (tx *transaction) request(field Field, addr string) *PolicyRequest {
	return &PolicyRequest{
		Client: tx.client, Field: field, Address: canonicalAddress(addr),
		From: tx.from, Recipients: len(tx.to), Size: tx.size, TLS: tx.tls,
	}
}

// answer turns the error of a policy function into a reply. The text about an
// address begins with its field.
func (s *Server) answer(r *PolicyRequest, err error) reply {
	if err == nil {
		return reply{}
	}
	var re *ReplyError
	if !errors.As(err, &re) || !re.isRefusal() {
		if err != errPolicyPanic {
			s.logger().Error("relay: a policy function failed", "session", r.Session, "field", string(r.Field), "error", err)
		}
		refusal := replyUnavailable
		refusal.field = r.Field
		return refusal
	}
	refusal := replyFor(re)
	refusal.field = r.Field
	if r.Address != "" {
		refusal.text = string(r.Field) + ": " + refusal.text
	}
	return refusal
}

// checkHeader applies the policy to every address in From and Sender (RFC 5322
// section 3.6.2): they are what the recipient is shown.
func (tx *transaction) checkHeader(ctx context.Context, h *mailheader.Header, size int64) reply {
	for _, field := range []struct {
		name  Field
		addrs []string
	}{{FieldFrom, h.From}, {FieldSender, h.Sender}} {
		for _, addr := range field.addrs {
			r := tx.request(field.name, addr)
			r.Size = size
			if refusal := tx.checkSender(ctx, r); refusal != (reply{}) {
				return refusal
			}
		}
	}
	return reply{}
}
