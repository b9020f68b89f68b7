package queue

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// Text returns what the sender is told, in words that need no knowledge of mail
// servers: which recipient, what the other server said, what to do. Lines end in
// "\n".
func (n Notice) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Your message of %s ", n.Received.UTC().Format(textTime))
	switch n.Kind {
	case DelayNotice:
		fmt.Fprintf(&b, "has not been delivered yet\nto the recipients below. You don't have to do anything: we keep trying until\n%s.\n",
			n.GiveUp.UTC().Format(textTime))
	case RelayedNotice:
		b.WriteString("was sent on to the\nrecipients below. You asked for a confirmation of delivery. There will be\nnone, but if the message can't be delivered after all, you should be told so.\n")
	default:
		b.WriteString("could not be delivered\nto the recipients below, and we have stopped trying. Recipients who are not\nlisted are not affected.\n")
	}
	for i := range n.Recipients {
		n.Recipients[i].write(&b, n.Kind)
	}
	fmt.Fprintf(&b, "\nYour message is known here as %s. It is attached, or its header is.\n\n--\nThe mail server %s\n", n.ID, n.Hostname)
	return b.String()
}

const textTime = "2 January 2006 at 15:04 UTC"

func (r *NoticeRecipient) write(b *strings.Builder, kind NoticeKind) {
	fmt.Fprintf(b, "\n    %s\n\n", safeUTF8(r.Address))
	if kind == RelayedNotice {
		r.writeRelayed(b)
		return
	}
	switch {
	case r.refusedHere(kind):
		b.WriteString("The message could not be sent on.\n")
	case r.Internal:
		b.WriteString("Our outgoing server has a problem, so the message could not be sent on.\n")
	case r.Reply.Code == 0:
		b.WriteString("The server for this address could not be reached, or gave no answer.\n")
	case r.Reply.Host == "":
		fmt.Fprintf(b, "The message could not be sent on:\n%s\n", wrap(r.Reply.String()))
	default:
		fmt.Fprintf(b, "The server %s answered:\n%s\n", r.Reply.Host, wrap(r.Reply.String()))
	}
	if kind != DelayNotice {
		fmt.Fprintf(b, "\n%s\n", r.advice())
	}
}

// refusedHere reports whether a recipient was given up for good although no server
// said anything.
func (r *NoticeRecipient) refusedHere(kind NoticeKind) bool {
	return kind == FailureNotice && !r.Expired && r.Reply.Code == 0
}

func (r *NoticeRecipient) writeRelayed(b *strings.Builder) {
	if r.Reply.Host == "" {
		b.WriteString("It was passed to a server that does not confirm deliveries.\n")
		return
	}
	fmt.Fprintf(b, "It was passed to the mail server %s,\nwhich does not confirm deliveries.", r.Reply.Host)
	if r.Reply.Code != 0 {
		fmt.Fprintf(b, " It answered:\n%s", wrap(r.Reply.String()))
	}
	b.WriteByte('\n')
}

// advice says what to do. The codes are those of RFC 3463 section 3.
func (r *NoticeRecipient) advice() string {
	_, detail, _ := strings.Cut(r.statusCode(FailureNotice), ".")
	switch class, _, _ := strings.Cut(detail, "."); {
	case r.Expired && r.Internal:
		return "What to do: send the message again later. The address is not the reason. We have\ntried for as long as makes sense."
	case r.Expired:
		return "What to do: check that the part of the address after the @ is right, and send\nthe message again later. We have tried for as long as makes sense."
	case detail == "2.2":
		return "What to do: the mailbox is full. Tell the recipient in another way, and send\nthe message again later."
	case detail == "2.3", detail == "3.4":
		return "What to do: the message is too large for the recipient's server. Send a\nsmaller one, or a link to what you wanted to attach."
	case class == "1":
		return "What to do: check the address for typos. If it is right, the mailbox does\nnot exist any more; ask the recipient for another one."
	case class == "7":
		return "What to do: the recipient's server doesn't accept this message. Show this\nmessage to whoever looks after your mail: the answer above says why."
	case class == "6":
		return "What to do: the message itself was not understood. Show this message to\nwhoever looks after the program that sent it."
	}
	if r.Reply.Code == 0 {
		return "What to do: show this message to whoever looks after your mail."
	}
	return "What to do: if the answer above doesn't tell you, show this message to whoever\nlooks after your mail."
}

// statusCode is the status of RFC 3464 section 2.3.4.
func (r *NoticeRecipient) statusCode(kind NoticeKind) string {
	switch {
	case kind == RelayedNotice && r.Reply.Enhanced != "":
		return r.Reply.Enhanced // replyOf has looked at it
	case kind == RelayedNotice:
		return "2.0.0"
	case r.Reply.Code >= 400 && mailtext.IsEnhancedCode(r.Reply.Enhanced, r.Reply.Code):
		return r.Reply.Enhanced
	case r.Reply.Code != 0:
		return fmt.Sprintf("%d.0.0", max(4, min(r.Reply.Code/100, 5)))
	case r.Expired:
		return "4.4.7" // RFC 3463 section 3.5: delivery time expired
	case r.refusedHere(kind):
		return "5.0.0"
	case r.Internal:
		return "4.3.0" // RFC 3463 section 3.4: a problem of the sending system
	}
	return "4.4.1" // no answer from host
}

// replyOf returns the reply of a server that took a message. It has only the host
// if that is not a reply of SMTP: a gateway to elsewhere says what it likes.
func replyOf(d *relay.NextHop) store.Reply {
	r := store.Reply{Host: d.Host}
	number, text, _ := strings.Cut(d.Reply, " ")
	if code, err := strconv.Atoi(number); err == nil && code/100 == 2 {
		r.Code = code
		r.Enhanced, r.Text = mailtext.CutEnhancedCode(text, code)
	}
	return r
}

// replyIn returns the reply that an error carries: as a *relay.ReplyError or, if it
// is not about the message, by a method ServerReply.
func replyIn(err error) store.Reply {
	var reply *relay.ReplyError
	if !errors.As(err, &reply) {
		var s interface{ ServerReply() *relay.ReplyError }
		if errors.As(err, &s) {
			reply = s.ServerReply()
		}
	}
	if reply == nil {
		return store.Reply{}
	}
	return store.Reply{Code: reply.Code, Enhanced: safe(reply.Enhanced), Text: safe(reply.Text), Host: safe(reply.Host)}
}

// reasonOf is the text of an error for [Event], logs and the spool. Tenants read what
// [store.PublicReason] makes of it.
func reasonOf(err error) string {
	text := err.Error()
	var busy *relay.BusyError
	if errors.As(err, &busy) && busy.Err != nil {
		text = busy.Err.Error()
	}
	var reply *relay.ReplyError
	if errors.As(err, &reply) {
		r := store.Reply{Code: reply.Code, Enhanced: reply.Enhanced, Text: reply.Text}
		text = strings.TrimSpace(reply.Host + " " + r.String())
	}
	if relay.Internal(err) {
		text = store.InternalReason + ": " + text
	}
	return safe(text)
}

// suspendedError is why mail that a person or another node has suspended isn't
// tried.
func suspendedError(s store.Suspension) error {
	if s.Reason == "" {
		return errors.New("queue: the destination is suspended")
	}
	if text, ok := strings.CutPrefix(s.Reason, store.InternalReason+": "); ok {
		return internalError(text)
	}
	return errors.New(s.Reason)
}

// An internalError is why another node could not reach a server of the operator's own.
type internalError string

func (e internalError) Error() string { return string(e) }
func (internalError) Internal() bool  { return true }

// maxText is how much of what others say is kept: a reply line has 512 bytes
// (RFC 5321 section 4.5.3.1.5).
const maxText = 500

// safe makes a text fit to be shown anywhere: one line of printable ASCII, of
// bounded length.
func safe(s string) string { return mailtext.OneLine(s, maxText) }

// safeUTF8 is safe for texts that may be UTF-8.
func safeUTF8(s string) string { return mailtext.OneLineUTF8(s, maxText) }

// wrap breaks a text into indented lines.
func wrap(s string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(s) {
		if column > 0 && column+len(word) > 70 {
			b.WriteByte('\n')
			column = 0
		}
		if column == 0 {
			b.WriteString("   ")
		}
		b.WriteString(" " + word)
		column += len(word) + 1
	}
	return b.String()
}
