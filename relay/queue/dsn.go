package queue

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A report is a notice as a message: a multipart/report (RFC 6522) of a text, a
// delivery status (RFC 3464) and the message that it is about.
type report struct {
	notice   *Notice
	mail     *store.Mail
	original *relay.Message // nil if there is no content
	text     string
	id       string
	now      time.Time
}

// compose returns the message in three pieces.
func (r *report) compose() (head []byte, included *io.SectionReader, tail []byte) {
	var b bytes.Buffer
	boundary := "=_" + r.id // the ID is unknown to whoever wrote the message
	r.writeHeader(&b, boundary)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", boundary)
	b.WriteString(lines(r.text))
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\n", boundary, r.kind("message/delivery-status", "message/global-delivery-status"))
	if r.mail.UTF8 {
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\n")
	r.writeStatus(&b)
	tail = []byte("\r\n--" + boundary + "--\r\n")
	if r.original == nil {
		return b.Bytes(), io.NewSectionReader(strings.NewReader(""), 0, 0), tail
	}
	included = r.original.Content()
	kind := r.kind("message/rfc822", "message/global")
	if r.mail.Return != "FULL" || r.notice.Kind != FailureNotice { // RFC 3461 section 4.3 allows FULL for failures only
		included = headerOf(included)
		kind = r.kind("text/rfc822-headers", "message/global-headers")
	}
	fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\n", boundary, kind)
	if r.mail.Body == "8BITMIME" || r.mail.UTF8 {
		b.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes(), included, tail
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
	if r.mail.UTF8 && !isASCII(n.Address) {
		addressType = "utf-8" // RFC 6533 section 3
	}
	_, action, _ := r.notice.Kind.words()
	fmt.Fprintf(b, "Final-Recipient: %s; %s\r\nAction: %s\r\nStatus: %s\r\n", addressType, r.address(n.Address), action, n.statusCode(r.notice.Kind))
	if n.Host != "" {
		fmt.Fprintf(b, "Remote-MTA: dns; %s\r\n", n.Host)
	}
	if n.Reply != nil {
		fmt.Fprintf(b, "Diagnostic-Code: smtp; %s\r\n", replyText(n.Reply))
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

// maxHeader is how much of a header a notice returns.
const maxHeader = 64 << 10

// headerOf returns the header that a content begins with, in whole lines.
func headerOf(content *io.SectionReader) *io.SectionReader {
	b := make([]byte, min(content.Size(), maxHeader))
	n, _ := io.ReadFull(content, b)
	b = b[:n]
	end := len(b)
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		end = i + 2
	} else if i := bytes.LastIndex(b, []byte("\r\n")); i >= 0 {
		end = i + 2
	}
	return io.NewSectionReader(bytes.NewReader(b[:end]), 0, int64(end))
}

// lines gives a text the line ends of a message.
func lines(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\x00", "")
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return strings.ReplaceAll(text, "\n", "\r\n")
}
