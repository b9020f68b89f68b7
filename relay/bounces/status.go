package bounces

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// maxText is the most bytes kept of a text of another server.
const maxText = 500

// status reads a delivery status (RFC 3464 section 2.1): fields about the message,
// then a group of fields for each recipient. Empty lines between them may be missing.
func (w *walk) status(b []byte) {
	for len(b) > 0 && len(w.report.Recipients) < maxRecipients {
		var group fields
		group, b = readFields(b)
		var r Recipient
		for _, f := range group {
			if f.name == "original-recipient" && r.Original != "" || f.name == "final-recipient" && r.Final != "" {
				w.add(r)
				r = Recipient{}
			}
			w.field(&r, f)
		}
		w.add(r)
	}
}

// add adds a recipient, if a group was about one.
func (w *walk) add(r Recipient) {
	if (r.Final != "" || r.Original != "") && len(w.report.Recipients) < maxRecipients {
		w.report.Recipients = append(w.report.Recipients, r)
	}
}

// field notes a field of a delivery status.
func (w *walk) field(r *Recipient, f field) {
	kind, value := typed(f.value)
	switch f.name {
	case "original-envelope-id":
		w.report.EnvelopeID = mailtext.OneLine(f.value, maxText)
	case "reporting-mta":
		w.report.ReportingMTA = strings.TrimSuffix(mailtext.OneLine(value, maxText), ".")
	case "final-recipient":
		r.Final = addressIn(kind, value)
	case "original-recipient":
		r.Original = addressIn(kind, value)
	case "action":
		action, _, _ := strings.Cut(strings.ToLower(withoutComment(f.value)), " ")
		r.Action = mailtext.OneLine(action, maxText)
	case "status":
		r.Status = statusCode(f.value)
	case "remote-mta":
		host, _, _ := strings.Cut(withoutComment(value), " ")
		r.RemoteMTA = strings.TrimSuffix(mailtext.OneLine(host, maxText), ".")
	case "diagnostic-code":
		if kind != "" {
			r.DiagnosticType = kind
			f.value = value
		}
		r.Diagnostic = mailtext.OneLineUTF8(f.value, maxText)
	}
}

// typed splits a value such as "smtp; 550 no" (RFC 3464 section 2.1.2). The kind is
// in lower case, and "" if the value has none.
func typed(value string) (kind, rest string) {
	kind, rest, ok := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if !ok || kind == "" || strings.ContainsAny(kind, " @<") {
		return "", value
	}
	return mailtext.OneLine(kind, maxText), strings.TrimSpace(rest)
}

// addressIn returns the address in a value of a type.
func addressIn(kind, value string) string {
	if kind == "utf-8" {
		value = decodeUTF8Address(value)
	}
	if i := strings.IndexByte(value, '<'); i >= 0 && strings.IndexByte(value[i:], '>') > 0 {
		value = value[i+1 : i+strings.IndexByte(value[i:], '>')]
	}
	if !strings.HasPrefix(value, `"`) {
		value = withoutComment(value)
	}
	if len(value) > 2*maxAddress {
		return ""
	}
	return mailtext.OneLineUTF8(value, maxText)
}

// withoutComment cuts a comment in parentheses off the end of a value.
func withoutComment(value string) string {
	if i := strings.IndexByte(value, '('); i > 0 && strings.HasSuffix(value, ")") {
		value = value[:i]
	}
	return strings.TrimSpace(value)
}

// statusCode returns the enhanced code that a value begins with, or "".
func statusCode(value string) string {
	word, _, _ := strings.Cut(value, " ")
	if word == "" || !mailtext.IsEnhancedCode(word, int(word[0]-'0')*100) {
		return ""
	}
	return word
}

// decodeUTF8Address decodes the \x{…} of an address of type utf-8 (RFC 6533 section
// 3).
func decodeUTF8Address(s string) string {
	var b bytes.Buffer
	for {
		i := strings.Index(s, `\x{`)
		if i < 0 {
			return b.String() + s
		}
		hex, rest, ok := strings.Cut(s[i+3:], "}")
		code, err := strconv.ParseInt(hex, 16, 32)
		if !ok || err != nil {
			return b.String() + s
		}
		b.WriteString(s[:i])
		b.WriteRune(rune(code))
		s = rest
	}
}
