package bounces

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// plain reads a bounce that has no delivery status.
func (w *walk) plain(e entity) {
	if kind, _ := contentType(e.header); kind != "" && kind != "text/plain" {
		return
	}
	body := decode(e)
	if failed := e.header.get("x-failed-recipients"); failed != "" {
		w.failedRecipients(failed, body)
		return
	}
	w.qmail(body)
}

// failedRecipients reads a bounce of Exim before version 4.87: the addresses are in
// a field, and each begins an indented paragraph of the text that says why.
func (w *walk) failedRecipients(list string, body []byte) {
	text, original := cutOriginal(body)
	for address := range strings.SplitSeq(list, ",") {
		if len(w.report.Recipients) == maxRecipients {
			break
		}
		address = addressIn("", strings.TrimSpace(address))
		_, after, _ := strings.Cut(text, "\n  "+address+"\n")
		reason, _, _ := strings.Cut(after, "\n\n")
		r := Recipient{Final: address, Action: ActionFailed, Diagnostic: oneLine(reason)}
		if said := replyInText.FindStringSubmatch(r.Diagnostic); said != nil {
			r.DiagnosticType, r.Diagnostic = "smtp", said[1]
		}
		w.add(r)
	}
	w.original(original)
}

// replyInText finds the reply of a server in the text of Exim: "host mx.example.com
// [192.0.2.1]: 550 no such user".
var replyInText = regexp.MustCompile(`(?:^|: )([45][0-9][0-9][ -].*)`)

// qmail reads a bounce of qmail (QSBMF): a paragraph that begins with "Hi. This is
// the", a paragraph for each recipient, and the message after a line with dashes.
func (w *walk) qmail(body []byte) {
	text, original := cutOriginal(body)
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
	w.original(original)
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
