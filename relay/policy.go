package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// ExactDomain allows addresses at exactly the user's own domain, and at no
// other: not at a subdomain of it, and not at a parent. It is what a [Server]
// without AllowSender applies. The refusal is a [*ReplyError] that names both
// domains.
func ExactDomain(_ context.Context, id credentials.Identity, addr string) error {
	domain := addr[strings.LastIndexByte(addr, '@')+1:]
	if name, err := credentials.NormalizeDomain(domain); err == nil && name == id.Domain {
		return nil
	}
	return &ReplyError{
		Code:     550,
		Enhanced: "5.7.1",
		Text:     fmt.Sprintf("domain %s is not allowed, this user sends from %s only", mailtext.OneLine(domain, 255), id.Domain),
	}
}

// checkSender asks the policy about one address. field is what the refusal says
// held it.
func (s *session) checkSender(ctx context.Context, id credentials.Identity, field, addr string) reply {
	allow := s.srv.AllowSender
	if allow == nil {
		allow = ExactDomain
	}
	return s.answer(field, allow(ctx, id, addr))
}

func (s *session) checkRecipient(id credentials.Identity, addr string) reply {
	if s.srv.AllowRecipient == nil {
		return reply{}
	}
	ctx, cancel := s.context(lookupTimeout)
	defer cancel()
	return s.answer("RCPT TO", s.srv.AllowRecipient(ctx, id, addr))
}

// answer makes a reply of what a policy function returned.
func (s *session) answer(field string, err error) reply {
	if err == nil {
		return reply{}
	}
	var re *ReplyError
	if !errors.As(err, &re) {
		s.srv.logger().Error("relay: a policy function failed", "field", field, "error", err)
		r := replyTrouble
		r.field = field
		return r
	}
	r := replyFor(re)
	r.field, r.text = field, field+": "+r.text
	return r
}

// checkHeader applies the policy to every address in From and Sender (RFC 5322
// section 3.6.2): they are what the recipient is shown.
func (s *session) checkHeader(ctx context.Context, id credentials.Identity, h *header) reply {
	for _, a := range h.from {
		if r := s.checkSender(ctx, id, "From", a); r != (reply{}) {
			return r
		}
	}
	for _, a := range h.sender {
		if r := s.checkSender(ctx, id, "Sender", a); r != (reply{}) {
			return r
		}
	}
	return reply{}
}

// pathAddress checks an envelope address as go-smtp gives it, with a quoted
// local part unquoted, and returns it as it is to be written in a command
// (RFC 5321 section 4.1.2), or the reply with which it is refused. One with two
// @ is refused even if the first is quoted: unquoted, <a@b@c> is just the same.
func pathAddress(addr string, allowUTF8 bool, bad reply) (string, reply) {
	at := strings.IndexByte(addr, '@')
	if at <= 0 || at > 64 || len(addr) > 254 || !utf8.ValidString(addr) {
		return "", bad
	}
	local, domain := addr[:at], addr[at+1:]
	if !allowUTF8 && !mailtext.IsASCII(addr) {
		return "", replyNeedsUTF8
	}
	if _, ok := mailtext.AddressLiteral(domain); !ok && !isHostname(domain) {
		return "", bad
	}
	local, ok := quoteLocal(local)
	if !ok {
		return "", bad
	}
	return local + "@" + domain, reply{}
}

// quoteLocal returns the local part in the form it has in a command: as it is
// if it is a dot-string, else as a quoted string.
func quoteLocal(local string) (string, bool) {
	plain := local[0] != '.' && local[len(local)-1] != '.' && !strings.Contains(local, "..")
	for _, r := range local {
		if r < ' ' || r == 0x7f {
			return "", false
		}
		plain = plain && !strings.ContainsRune(` "(),:;<>@[\]`, r)
	}
	if plain {
		return local, true
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`, true
}

// isHostname reports whether s can be a domain in an address or the name of
// this server. It is lenient about what is beyond ASCII and about what names
// mean; what it keeps out is everything a command could be broken with.
func isHostname(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || label[0] == '-' {
			return false
		}
		for _, r := range label {
			switch {
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			case r >= utf8.RuneSelf && r != utf8.RuneError:
			default:
				return false
			}
		}
	}
	return true
}
