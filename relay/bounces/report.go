package bounces

import (
	"io"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// maxReport is how much of a message is read.
const maxReport = 1 << 20

// The actions of RFC 3464 section 2.3.3.
const (
	ActionFailed    = "failed"
	ActionDelayed   = "delayed"
	ActionDelivered = "delivered"
	ActionRelayed   = "relayed"
	ActionExpanded  = "expanded"
)

// A Report is what a message says about the delivery of another one. The sender of
// the message may have invented all of it.
type Report struct {
	EnvelopeID   string // Original-Envelope-Id: the ENVID of the message, or ""
	ReportingMTA string // the server that reports, without the type of its name
	Recipients   []Recipient

	// MessageID is the Message-ID field of the message that the report returns,
	// and Token its X-Bounce-Token field. They are "" if the report returns no
	// header, or the header has no such field.
	MessageID string
	Token     string
}

// A Recipient is what a [Report] says about one recipient.
type Recipient struct {
	// Final is the address that the server delivered to, and Original the one
	// that the sender gave (ORCPT), if the report has it. An address has no angle
	// brackets. It may lack a domain.
	Final, Original string

	Action string // such as [ActionFailed]; in lower case
	Status string // such as "5.1.1", or ""

	// RemoteMTA is the server that refused the message, without the type of its
	// name, or "". Diagnostic is its reply, on one line: DiagnosticType is "smtp"
	// if that is an SMTP reply.
	RemoteMTA, DiagnosticType, Diagnostic string
}

// Parse reads a message. It returns a Report without Recipients if the message is
// not a report: a vacation reply, or spam. It understands:
//
//   - the delivery status notifications of RFC 3464 and RFC 6533, also if they are
//     damaged: cut off, in the wrong multipart, or with LF as line ends
//   - the bounces of qmail (QSBMF)
//   - bounces with the field X-Failed-Recipients, as old versions of Exim write them
//
// Parse reads at most 1 MiB and ignores the rest. An error comes from r.
func Parse(r io.Reader) (*Report, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxReport))
	if err != nil {
		return nil, err
	}
	return parse(content), nil
}

func parse(content []byte) *Report {
	e := entityOf(content)
	var w walk
	w.entity(e, 0)
	w.plain(e.header)
	return &w.report
}

// Reply returns the reason in the form of an SMTP reply, with the host that gave it.
// Its code is 4yz for a temporary failure and 5yz for a permanent one. The class is
// that of Status. If Status is missing, or is only a class (5.0.0), the
// diagnostic decides. A failure without any reason counts as temporary.
func (r *Recipient) Reply() *relay.ReplyError {
	reply := diagnosed(r.Diagnostic)
	reply.Host = r.RemoteMTA
	class, detail, _ := strings.Cut(r.Status, ".")
	switch {
	case class != "4" && class != "5", detail == "0.0" && reply.Code != 0:
	case reply.Code/100 != int(class[0]-'0'):
		reply.Code, reply.Enhanced = int(class[0]-'0')*100+50, r.Status
	case reply.Enhanced == "":
		reply.Enhanced = r.Status
	}
	if reply.Code == 0 {
		reply.Code = 450
	}
	return reply
}

// diagnosed finds the codes at the beginning of a diagnostic, which may have an
// SMTP code, an enhanced code, both or neither: "550 5.1.1 no such user". The lines
// of a reply may each repeat them: "550-5.1.1 no 550 5.1.1 such user".
func diagnosed(s string) *relay.ReplyError {
	reply := &relay.ReplyError{}
	if code, rest, ok := cutCode(s); ok {
		reply.Code = code
		begin := s[:3]
		reply.Enhanced, s = mailtext.CutEnhancedCode(rest, code)
		for _, repeated := range []string{" " + begin + "-" + reply.Enhanced + " ", " " + begin + " " + reply.Enhanced + " "} {
			s = strings.ReplaceAll(s, strings.TrimRight(repeated, " ")+" ", " ")
		}
		s = oneLine(s)
	} else if word, _, _ := strings.Cut(s, " "); len(word) > 0 && (word[0] == '4' || word[0] == '5') {
		code := int(word[0]-'0')*100 + 50
		if mailtext.IsEnhancedCode(word, code) {
			reply.Code = code
			reply.Enhanced, s = mailtext.CutEnhancedCode(s, code)
		}
	}
	reply.Text = s
	return reply
}

// cutCode cuts an SMTP code of a failure off the beginning of s.
func cutCode(s string) (code int, rest string, ok bool) {
	if len(s) < 3 || s[0] != '4' && s[0] != '5' || len(s) > 3 && s[3] != ' ' && s[3] != '-' {
		return 0, s, false
	}
	for i := range 3 {
		if s[i] < '0' || s[i] > '9' {
			return 0, s, false
		}
		code = code*10 + int(s[i]-'0')
	}
	return code, s[min(4, len(s)):], true
}
