package relay

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// Limits on the parameters that the relay keeps, in characters as sent (RFC 3461
// sections 4.2 and 4.4). With maxAddress they keep every text below the 1,024
// bytes that a store.Spool promises to store.
const (
	maxEnvelopeID = 100
	maxORCPT      = 500
)

// A mailCommand is the argument of MAIL.
type mailCommand struct {
	from    string // "" is the null path
	size    int64  // SIZE, or 0; math.MaxInt64 if it is larger
	options Options
}

// parseMail parses the argument of MAIL, such as "FROM:<a@b.example> SIZE=1", or
// returns the reply that refuses it.
func parseMail(arg string) (cmd mailCommand, refusal reply) {
	p, rest, ok := cutPathAfter("FROM:", arg)
	if !ok || p.domain == "" && p.local != "" {
		return cmd, replyBadMail
	}
	params, refusal := parseParams(rest)
	if refusal != (reply{}) {
		return cmd, refusal
	}
	for _, param := range params {
		if refusal := cmd.set(param); refusal != (reply{}) {
			return cmd, refusal
		}
	}
	if p != (path{}) {
		cmd.from, refusal = p.address(cmd.options.UTF8, replyBadSender)
	}
	return cmd, refusal
}

func (cmd *mailCommand) set(p param) reply {
	ok := true
	switch value := strings.ToUpper(p.value); p.name {
	case "SIZE":
		cmd.size, ok = parseSize(p.value)
	case "BODY":
		cmd.options.Body, ok = value, value == "7BIT" || value == "8BITMIME"
	case "SMTPUTF8":
		cmd.options.UTF8, ok = true, !p.hasValue
	case "REQUIRETLS":
		cmd.options.RequireTLS, ok = true, !p.hasValue
	case "RET":
		cmd.options.Return, ok = value, value == "FULL" || value == "HDRS"
	case "ENVID":
		cmd.options.EnvelopeID, ok = decodeXtext(p.value)
		ok = ok && len(p.value) <= maxEnvelopeID
	case "AUTH": // RFC 4954 section 5: ignored, because only this server says who the user is
	default:
		return replyUnknownMailParam
	}
	if !ok {
		return replyBadParam(p.name)
	}
	return reply{}
}

// parseRcpt parses the argument of RCPT, such as "TO:<a@b.example>", or returns
// the reply that refuses it. The recipient <postmaster> is the postmaster of host.
func parseRcpt(arg string, allowUTF8 bool, host string) (r Recipient, refusal reply) {
	p, rest, ok := cutPathAfter("TO:", arg)
	if p = p.ofRecipient(host); !ok || p.domain == "" {
		return r, replyBadRcpt
	}
	params, refusal := parseParams(rest)
	if refusal != (reply{}) {
		return r, refusal
	}
	for _, param := range params {
		ok := true
		switch param.name {
		case "NOTIFY":
			r.Notify, ok = parseNotify(param.value)
		case "ORCPT":
			r.OriginalRecipient, ok = parseORCPT(param.value, allowUTF8)
		default:
			return r, replyUnknownRcptParam
		}
		if !ok {
			return r, replyBadParam(param.name)
		}
	}
	r.Address, refusal = p.address(allowUTF8, replyBadRecipient)
	return r, refusal
}

func cutPathAfter(prefix, arg string) (p path, rest string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return path{}, "", false
	}
	return cutPath(strings.TrimLeft(arg[len(prefix):], " \t"))
}

// A param is a parameter of MAIL or RCPT (RFC 5321 section 4.1.2).
type param struct {
	name     string // in upper case
	value    string
	hasValue bool
}

// parseParams splits the parameters of a command. A parameter that is given twice
// is refused: one of the two values would be lost.
func parseParams(s string) (params []param, refusal reply) {
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' }) {
		name, value, hasValue := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		if slices.ContainsFunc(params, func(p param) bool { return p.name == name }) {
			return nil, replyTwice
		}
		params = append(params, param{name, value, hasValue})
		if len(params) > maxParams {
			return nil, replyTooManyParams
		}
	}
	return params, reply{}
}

// maxParams is the maximum number of parameters. The server knows fewer.
const maxParams = 20

// parseSize parses a number of bytes. One that is too large for an int64 counts as
// the largest, so that it is refused for its size (RFC 1870 section 6.1).
func parseSize(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// parseNotify parses the value of NOTIFY: NEVER, or some of SUCCESS, FAILURE and
// DELAY (RFC 3461 section 4.1).
func parseNotify(s string) (notify []string, ok bool) {
	known := []string{"NEVER", "SUCCESS", "FAILURE", "DELAY"}
	for word := range strings.SplitSeq(strings.ToUpper(s), ",") {
		i := slices.Index(known, word)
		if i < 0 || slices.Contains(notify, word) {
			return nil, false
		}
		notify = append(notify, known[i]) // not word, which keeps the whole command in memory
	}
	return notify, len(notify) == 1 || !slices.Contains(notify, "NEVER")
}

// parseORCPT parses the value of ORCPT: a type, a semicolon and an address of that
// type (RFC 3461 section 4.2, RFC 6533 section 3).
func parseORCPT(s string, allowUTF8 bool) (string, bool) {
	kind, addr, ok := strings.Cut(s, ";")
	kind = strings.ToUpper(kind)
	if !ok || len(s) > maxORCPT || kind == "" || strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return "", false
	}
	if kind == "UTF-8" {
		addr, ok = decodeUTF8Address(addr, allowUTF8)
	} else {
		addr, ok = decodeXtext(addr)
	}
	return kind + ";" + addr, ok
}

// decodeXtext decodes a parameter's value (RFC 3461 section 4). The result is
// printable ASCII and not empty.
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case ch <= ' ' || ch > '~' || ch == '=':
			return "", false
		case ch == '+':
			if len(s)-i < 3 {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if ch = byte(n); err != nil || ch < ' ' || ch > '~' {
				return "", false
			}
			i += 2
		}
		b.WriteByte(ch)
	}
	return b.String(), b.Len() > 0
}

// encodeXtext encodes a parameter's value, so that decodeXtext decides whether it is
// allowed.
func encodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if ch := s[i]; ch <= ' ' || ch > '~' || ch == '+' || ch == '=' {
			fmt.Fprintf(&b, "+%02X", ch)
		} else {
			b.WriteByte(ch)
		}
	}
	return b.String()
}

// decodeUTF8Address decodes an address of type utf-8, in which \x{HEX} stands for
// a character (RFC 6533 section 3). Characters beyond ASCII may stand for
// themselves only if allowUTF8 is set. The result is not empty.
func decodeUTF8Address(s string, allowUTF8 bool) (string, bool) {
	if !utf8.ValidString(s) || !allowUTF8 && !mailtext.IsASCII(s) {
		return "", false
	}
	var b strings.Builder
	for s != "" {
		if after, ok := strings.CutPrefix(s, `\x{`); ok {
			hex, rest, ok := strings.Cut(after, "}")
			n, err := strconv.ParseUint(hex, 16, 32)
			if !ok || err != nil || len(hex) > 6 || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
				return "", false
			}
			b.WriteRune(rune(n))
			s = rest
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if r == ' ' || r == '\\' || r == '+' || r == '=' {
			return "", false
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String(), b.Len() > 0 && mailtext.IsGraphic(b.String())
}
