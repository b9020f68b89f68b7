package bounces

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// plain reads the text for people, where the delivery status is missing or has no
// reasons.
func (w *walk) plain(header fields) {
	text, original := cutOriginal(w.text)
	failed := header.get("x-failed-recipients")
	switch {
	case len(w.report.Recipients) > 0:
		w.reasons(text)
		return
	case failed != "":
		w.failedRecipients(failed, text)
	default:
		w.qmail(text)
	}
	if len(w.report.Recipients) > 0 {
		w.original(original)
	}
}

// reasons finds the reasons that a delivery status lacks. OpenSMTPD gives each in a
// line "ADDRESS: REASON", and Exim in an indented paragraph. Both also give a wrong
// status to a message that has become too old: OpenSMTPD calls it delayed, and Exim
// calls it a permanent failure.
func (w *walk) reasons(text string) {
	said := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if address, reason, ok := strings.Cut(line, ": "); ok && strings.Contains(address, "@") {
			said[address] = oneLine(reason)
		}
	}
	for i := range w.report.Recipients {
		r := &w.report.Recipients[i]
		if r.Diagnostic != "" {
			continue
		}
		if reason := said[r.Final]; reason != "" {
			r.because(reason)
		} else {
			r.because(indented(text, r.Final))
		}
		if r.Action == ActionDelayed && r.Diagnostic == "Envelope expired" {
			r.Action = ActionFailed
		}
	}
}

// failedRecipients reads a bounce with the addresses in a field. Exim before version
// 4.87 gives the reasons in its text only.
func (w *walk) failedRecipients(list, text string) {
	for address := range strings.SplitSeq(list, ",") {
		if len(w.report.Recipients) == maxRecipients {
			break
		}
		r := Recipient{Final: addressIn("", strings.TrimSpace(address)), Action: ActionFailed}
		r.because(indented(text, r.Final))
		w.add(r)
	}
}

// indented returns the indented paragraph about an address in the text of Exim.
func indented(text, address string) string {
	_, after, _ := strings.Cut(text, "\n  "+address+"\n")
	reason, _, _ := strings.Cut(after, "\n\n")
	return oneLine(reason)
}

// because notes a reason from a text.
func (r *Recipient) because(reason string) {
	r.Diagnostic = reason
	if said := replyInText.FindStringSubmatch(reason); said != nil {
		r.DiagnosticType, r.Diagnostic = "smtp", said[1]
	} else if strings.Contains(reason, "retry timeout exceeded") {
		r.Status = "4.4.7" // RFC 3463 section 3.5: delivery time expired
	}
}

// replyInText finds the reply of a server in the text of Exim: "host mx.example.com
// [192.0.2.1]: 550 no such user".
var replyInText = regexp.MustCompile(`(?:^|: )([45][0-9][0-9][ -].*)`)

// qmail reads a bounce of qmail (QSBMF): a paragraph that begins with "Hi. This is
// the", a paragraph for each recipient, and the message after a line with dashes.
func (w *walk) qmail(text string) {
	paragraphs := strings.Split(strings.TrimLeft(text, "\n"), "\n\n")
	if !strings.HasPrefix(paragraphs[0], "Hi. This is the") {
		return
	}
	for _, p := range paragraphs[1:] {
		first, reason, _ := strings.Cut(strings.Trim(p, "\n"), "\n")
		if !strings.HasPrefix(first, "<") || !strings.HasSuffix(first, ">:") {
			continue
		}
		w.add(qmailRecipient(addressIn("", first[1:len(first)-len(">:")]), oneLine(reason)))
	}
}

// qmailRecipient reads the reason that qmail gives. It ends in an enhanced code such
// as (#5.1.1), and holds what a remote host said.
func qmailRecipient(address, reason string) Recipient {
	r := Recipient{Final: address, Action: ActionFailed}
	if i := strings.LastIndex(reason, "(#"); i >= 0 {
		code, _, _ := strings.Cut(reason[i+2:], ")")
		r.Status = statusCode(code)
	}
	if _, said, ok := strings.Cut(reason, "Remote host said: "); ok {
		reason, r.DiagnosticType = said, "smtp"
	}
	r.Diagnostic = reason
	return r
}

// cutOriginal returns the text of a bounce with LF as line ends, and the message
// that follows the line "--- Below this line is a copy of the message." or one like
// it.
func cutOriginal(body []byte) (text string, original []byte) {
	rest := body
	for len(rest) > 0 {
		begin := len(body) - len(rest)
		var line []byte
		line, rest = cutLine(rest)
		if bytes.HasPrefix(line, []byte("---")) && bytes.Contains(line, []byte(" copy of ")) {
			return readable(body[:begin]), rest
		}
	}
	return readable(body), nil
}

// maxPlain is how many bytes of a text are searched for reasons.
const maxPlain = 64 << 10

// readable returns a text with LF as line ends.
func readable(b []byte) string {
	return strings.ReplaceAll(string(b[:min(len(b), maxPlain)]), "\r\n", "\n")
}

// oneLine returns a paragraph as one line.
func oneLine(s string) string {
	return mailtext.OneLineUTF8(strings.Join(strings.Fields(s), " "), maxText)
}
