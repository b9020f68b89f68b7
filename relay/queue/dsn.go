package queue

import (
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A report is a notice as a message: a multipart/report (RFC 6522) of a text, a
// delivery status (RFC 3464) and the message that it is about.
type report struct {
	notice   *Notice
	mail     *store.Mail
	original *relay.Message // nil if the content is missing
	text     string
	id       string
	now      time.Time
}

// compose returns the message, and whether it has bytes with the eighth bit set.
func (r *report) compose() (content []byte, eightBit bool) {
	var b bytes.Buffer
	boundary := "=_" + r.id // the ID is unknown to the author of the message
	r.writeHeader(&b, boundary)
	r.writeText(&b, boundary)
	var status bytes.Buffer
	r.writeStatus(&status)
	writePart(&b, boundary, r.kind("message/delivery-status", "message/global-delivery-status"), status.Bytes())
	if part, all := returned(r.original, r.mayReturnAll()); part != nil {
		kind := r.kind("text/rfc822-headers", "message/global-headers")
		if all {
			kind = r.kind("message/rfc822", "message/global")
		}
		writePart(&b, boundary, kind, part)
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return b.Bytes(), !mailtext.IsASCII(b.Bytes())
}

// mayReturnAll reports whether the sender may get the whole message back: RFC
// 3461 section 4.3 allows that for failures only, RFC 8689 section 5 doesn't allow
// it with REQUIRETLS, because the way back may have no TLS. A message that was too
// large for one server may be so for the sender's too.
func (r *report) mayReturnAll() bool {
	if r.mail.Return != "FULL" || r.mail.RequireTLS || r.notice.Kind != FailureNotice {
		return false
	}
	for i := range r.notice.Recipients {
		if r.notice.Recipients[i].isAboutSize() {
			return false
		}
	}
	return true
}

// isAboutSize reports whether the recipient was refused for the message's size.
func (n *NoticeRecipient) isAboutSize() bool {
	return n.Reply.Code == 552 || strings.HasSuffix(n.Reply.Enhanced, ".3.4") || strings.HasSuffix(n.Reply.Enhanced, ".2.3")
}

// writePart writes a part of the report as it is.
func writePart(b *bytes.Buffer, boundary, kind string, part []byte) {
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: %s\r\n", boundary, kind)
	if !mailtext.IsASCII(part) {
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\n")
	b.Write(part)
}

// writeText writes the part for people, in a form that every server takes.
func (r *report) writeText(b *bytes.Buffer, boundary string) {
	text := lines(r.text)
	fmt.Fprintf(b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n", boundary)
	if mailtext.IsASCII(text) && !hasLongLine([]byte(text)) {
		b.WriteString("\r\n" + text)
		return
	}
	b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	io.WriteString(w, text) // a Buffer takes everything
	w.Close()
}

// kind chooses the content type: those of RFC 6533 are for mail that may have
// UTF-8 in its header and its addresses.
func (r *report) kind(ascii, global string) string {
	if r.mail.UTF8 {
		return global
	}
	return ascii
}

func (r *report) writeHeader(b *bytes.Buffer, boundary string) {
	_, _, subject := r.notice.Kind.words()
	host := r.notice.Hostname
	fmt.Fprintf(b, "From: Mail Delivery System <mailer-daemon@%s>\r\nTo: <%s>\r\nSubject: %s\r\n", host, r.address(r.mail.From), subject)
	fmt.Fprintf(b, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", r.now.Format(time.RFC1123Z), r.id, host)
	b.WriteString("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n") // RFC 3834 section 3.1.7
	fmt.Fprintf(b, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n", boundary)
	b.WriteString("Content-Transfer-Encoding: 8bit\r\n\r\n") // RFC 2045 section 6.4: as its parts may be
}

// writeStatus writes the part for programs (RFC 3464 section 2).
func (r *report) writeStatus(b *bytes.Buffer) {
	fmt.Fprintf(b, "Reporting-MTA: dns; %s\r\n", r.notice.Hostname)
	if r.mail.EnvelopeID != "" {
		fmt.Fprintf(b, "Original-Envelope-Id: %s\r\n", safe(r.mail.EnvelopeID))
	}
	fmt.Fprintf(b, "X-Gatepost-ID: %s\r\nArrival-Date: %s\r\n", r.mail.ID, r.mail.Received.Format(time.RFC1123Z))
	for i := range r.notice.Recipients {
		b.WriteString("\r\n")
		r.writeRecipient(b, &r.notice.Recipients[i])
	}
}

func (r *report) writeRecipient(b *bytes.Buffer, n *NoticeRecipient) {
	if n.original != "" {
		kind, addr, _ := strings.Cut(n.original, ";")
		fmt.Fprintf(b, "Original-Recipient: %s; %s\r\n", safe(kind), r.address(addr))
	}
	addressType := "rfc822"
	if r.mail.UTF8 && !mailtext.IsASCII(n.Address) {
		addressType = "utf-8" // RFC 6533 section 3
	}
	_, action, _ := r.notice.Kind.words()
	fmt.Fprintf(b, "Final-Recipient: %s; %s\r\nAction: %s\r\nStatus: %s\r\n", addressType, r.address(n.Address), action, n.statusCode(r.notice.Kind))
	kind := "smtp"
	if n.Reply.Host != "" {
		fmt.Fprintf(b, "Remote-MTA: dns; %s\r\n", n.Reply.Host)
	} else {
		kind = "x-gatepost" // a refusal that was made here (RFC 3464 section 2.3.6)
	}
	if n.Reply.Code != 0 {
		fmt.Fprintf(b, "Diagnostic-Code: %s; %s\r\n", kind, n.Reply)
	}
	fmt.Fprintf(b, "Last-Attempt-Date: %s\r\n", r.now.Format(time.RFC1123Z))
	if r.notice.Kind == DelayNotice {
		fmt.Fprintf(b, "Will-Retry-Until: %s\r\n", r.notice.GiveUp.Format(time.RFC1123Z))
	}
}

// address makes an address fit for a field.
func (r *report) address(addr string) string {
	if r.mail.UTF8 {
		return safeUTF8(addr)
	}
	return safe(addr)
}

// lines gives a text the line ends of a message.
func lines(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\x00", "")
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return strings.ReplaceAll(text, "\n", "\r\n")
}
