package mx

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// final returns a refusal for good that is made here.
func final(code int, enhanced, text string) *relay.ReplyError {
	return &relay.ReplyError{Code: code, Enhanced: enhanced, Text: text}
}

// An unreachable is a failure on the way to a domain. It concerns all mail for the
// domain and is temporary.
type unreachable struct{ reply *relay.ReplyError }

func later(enhanced, text string) error {
	return unreachable{&relay.ReplyError{Code: 451, Enhanced: enhanced, Text: text}}
}

func (e unreachable) Error() string     { return strings.TrimPrefix(e.reply.Error(), "relay: ") }
func (e unreachable) Unwrap() error     { return e.reply }
func (e unreachable) Unreachable() bool { return true }

// A verdict is the meaning of one host's error for the message. After any verdict
// except settled the next host is asked. If no host is left, the error with the
// smallest verdict is returned: an answer counts more than silence, and the message
// is not refused while one host may still take it.
type verdict int

const (
	settled  verdict = iota // the error is the result, without asking other hosts
	answered                // the host refused the message for now
	failed                  // the host gave no answer to the message
	unfit                   // the host can never take this message
)

// judge decides how a message goes on after one host failed.
func judge(err error, m *relay.Message) verdict {
	var (
		refused *relay.RefusedError
		e       *outbound.Error
		re      *relay.ReplyError
	)
	switch {
	case errors.As(err, new(*relay.BusyError)):
		return settled // no slot at the site: another host would have none either
	case errors.As(err, &refused):
		return judgeRefused(refused, m)
	case errors.As(err, &e):
		return judgeStep(e)
	case errors.As(err, new(unreachable)): // which holds a reply of ours
		return failed
	case errors.As(err, &re) && (re.Enhanced == noRequireTLS || re.Enhanced == noAddress):
		return unfit
	case errors.As(err, &re):
		return settled // a refusal of ours: the message can't be sent as it is
	}
	return failed
}

// judgeRefused returns settled, so that no other host is asked, in three cases. Only
// some recipients were refused: the host takes mail. A refusal is final (RFC 5321
// section 4.2.1). An outcome is unknown: another host might deliver a second copy.
// Otherwise it returns answered.
func judgeRefused(refused *relay.RefusedError, m *relay.Message) verdict {
	if len(refused.Recipients) < len(m.To) {
		return settled
	}
	for _, r := range refused.Recipients {
		var e *outbound.Error
		if !relay.Temporary(r.Err) || errors.As(r.Err, &e) && e.Unknown {
			return settled
		}
	}
	return answered
}

func judgeStep(e *outbound.Error) verdict {
	var re *relay.ReplyError
	switch {
	case e.Unknown: // the host may have the message, another one would be a duplicate
		return settled
	case e.Lost || e.Step < outbound.Mail:
		return failed
	case errors.As(e.Err, &re) && re.Temporary():
		return answered
	}
	return settled // refused for good, or the message couldn't be read
}

// tlsFailed reports whether TLS is what a connection failed with.
func tlsFailed(err error) bool {
	var e *outbound.Error
	return errors.As(err, &e) && (e.Step == outbound.StartTLS || e.Step == outbound.Handshake) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// lacksTLS reports whether a host offers no TLS, or has no valid certificate. Any other
// failure of TLS may be over next time.
func lacksTLS(err error) bool {
	return errors.Is(err, outbound.ErrNoTLS) || badCertificate(err)
}

func badCertificate(err error) bool {
	var bad *tls.CertificateVerificationError
	return errors.As(err, &bad)
}

// Enhanced codes of refusals that concern one host only.
const (
	noRequireTLS = "5.7.30" // RFC 8689 section 7.3
	noAddress    = "5.4.4"  // RFC 3463 section 3.5
)
