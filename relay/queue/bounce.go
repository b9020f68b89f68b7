package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A NoticeKind says what became of a message.
type NoticeKind int

// The kinds of notices.
const (
	// FailureNotice: the message was given up.
	FailureNotice NoticeKind = iota + 1

	// DelayNotice: it waits, and is tried again.
	DelayNotice

	// RelayedNotice: it was handed to a server that won't confirm the delivery,
	// and the sender asked to be told of success (RFC 3461 section 5.2.2).
	RelayedNotice
)

// words are what RFC 3461 section 4.1 and RFC 3464 section 2.3.3 call it, and
// what the sender reads.
func (k NoticeKind) words() (notify, action, subject string) {
	switch k {
	case DelayNotice:
		return "DELAY", "delayed", "Your message is delayed"
	case RelayedNotice:
		return "SUCCESS", "relayed", "Your message was sent on"
	}
	return "FAILURE", "failed", "Your message could not be delivered"
}

// wanted reports whether the sender wants to be told. Without NOTIFY the sender gets
// failure and delay notices, but no success report.
func (k NoticeKind) wanted(notify string) bool {
	if notify == "" {
		return k != RelayedNotice
	}
	word, _, _ := k.words()
	for _, w := range strings.Split(notify, ",") {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// A Notice is what a sender is to be told of some recipients of a message.
type Notice struct {
	Subject
	Kind       NoticeKind
	Received   time.Time // when the message was accepted
	GiveUp     time.Time // when a message that waits is given up
	Hostname   string    // this server
	Recipients []NoticeRecipient
}

// A NoticeRecipient is a recipient that a [Notice] is about.
type NoticeRecipient struct {
	Address string

	// Reply is what the other server said, or why this one refused the message.
	// Its Code is 0 if neither is known; what went wrong is then for the logs,
	// not for the sender. In a RelayedNotice the reply is not an error but 2yz.
	Reply store.Reply

	Expired bool // given up because the message has become too old

	// Internal means that a server of the operator's own is why, and not the
	// recipient's server: see [relay.Internal]. Reply is zero then.
	Internal bool

	original string // ORCPT
}

// notify keeps the notices that are due in the spool, before what they report is
// recorded. After a crash in between, the same report has the same ID, so it
// isn't kept twice. If a
// bounce can't be kept, its recipients are deferred; a message that was relayed
// isn't sent again. It returns what sendNotices has to release.
func (q *Queue) notify(ctx context.Context, p *parcel, ends []end) (notices []store.Outcome) {
	if p.mail.From == "" { // never a bounce of a bounce (RFC 5321 section 4.5.5)
		for i := range ends {
			notices = append(notices, q.remake(ctx, p, &ends[i])...)
		}
		return notices
	}
	for _, kind := range []NoticeKind{FailureNotice, DelayNotice, RelayedNotice} {
		var about []*end
		for i := range ends {
			if e := &ends[i]; e.notice == kind && kind.wanted(e.delivery.Notify) {
				about = append(about, e)
			}
		}
		if len(about) == 0 {
			continue
		}
		id, err := q.putNotice(ctx, p, kind, about)
		switch {
		case err != nil && kind == RelayedNotice:
			q.logger().Error("queue: a notice to the sender can't be kept, and is lost", "id", p.mail.ID, "error", err)
		case err != nil:
			q.logger().Error("queue: a notice to the sender can't be kept, trying again", "id", p.mail.ID, "error", err)
			q.postpone(&p.mail, about)
		case id != "":
			notices = append(notices, store.Outcome{Mail: id, Lease: 1})
		}
	}
	return notices
}

// postpone defers recipients that would have been given up. A delay notice that was
// due is sent after the next attempt instead.
func (q *Queue) postpone(m *store.Mail, about []*end) {
	for _, e := range about {
		d := e.delivery
		if e.notice == DelayNotice { // it is deferred already
			e.outcome.Delayed = false
			continue
		}
		o := untouched(d)
		o.Attempts, o.Reason = d.Attempts, reasonOf(e.err)
		o.Next = q.nextTry(m, d, q.now(), q.retryAfter(max(o.Attempts, 1)))
		e.outcome = o
		e.event = &Deferred{Subject: subject(m, d.Recipient), Reason: o.Reason, Reply: replyIn(e.err), Next: o.Next, Attempt: o.Attempts}
	}
}

// sendNotices releases notices with record, now that what they report is recorded.
func (q *Queue) sendNotices(ctx context.Context, notices []store.Outcome, record func(context.Context, []store.Outcome) (lostLeases, error)) {
	for i := range notices {
		notices[i].Next = q.now()
	}
	if _, err := record(ctx, notices); err != nil {
		q.unsure()
		return // they go out when the poller has found them, or when this node is gone
	}
	q.noticed()
}

// putNotice keeps a notice in the spool and returns its ID, which is empty if
// the embedder wants none.
func (q *Queue) putNotice(ctx context.Context, p *parcel, kind NoticeKind, about []*end) (string, error) {
	n := q.notice(&p.mail, kind, about)
	text := n.Text()
	if q.Bounce != nil {
		func() {
			defer q.recovered("Bounce")
			text = q.Bounce(*n)
		}()
	}
	if text == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	original, err := q.load(ctx, p)
	if err != nil && !errors.Is(err, errUnworkable) {
		return "", err
	}
	r := report{notice: n, mail: &p.mail, original: original, text: text, id: noticeID(p.mail.ID, kind, about), now: q.now()}
	content, eightBit := r.compose()
	// The way back need not have REQUIRETLS (RFC 8689 section 5).
	m := store.Mail{ID: r.id, UTF8: p.mail.UTF8}
	return m.ID, q.keepNotice(ctx, &p.mail, m, p.mail.From, content, eightBit)
}

// keepNotice puts a notice about a mail into the spool, leased to this node, so
// that no node sends it before sendNotices releases it.
func (q *Queue) keepNotice(ctx context.Context, about *store.Mail, m store.Mail, to string, content []byte, eightBit bool) error {
	now := q.now()
	m.Tenant, m.Domain, m.Username, m.Received = about.Tenant, about.Domain, about.Username, now
	m.Notice, m.EnvelopeID = true, about.ID
	if of := noticeOf(about); of != "" {
		m.EnvelopeID = of
	}
	m.Size = int64(len(content))
	if m.Body = "7BIT"; eightBit {
		m.Body = "8BITMIME"
	}
	d := store.Delivery{
		Mail: m.ID, Recipient: to, Notify: "NEVER", Next: now, // RFC 3461 section 6.1
		Destination: q.destinationOf(to), Node: q.nodeID(), Lease: 1,
	}
	return q.Spool.Put(ctx, m, []store.Delivery{d}, bytes.NewReader(content))
}

// noticeOf returns the ID of the message that a mail is a notice of; "" if it is
// not a notice. A notice has that ID as its envelope ID.
func noticeOf(m *store.Mail) string {
	if m.Notice {
		return m.EnvelopeID
	}
	return ""
}

// remake puts a notice that was refused for good into the spool once more, without
// the returned message, which may be why it was refused. Such a notice has the Return
// HDRS, so that it is not remade again. remake returns what sendNotices has to release.
func (q *Queue) remake(ctx context.Context, p *parcel, e *end) []store.Outcome {
	if noticeOf(&p.mail) == "" || p.mail.Return == "HDRS" || e.notice != FailureNotice || e.expired || e.byName {
		return nil
	}
	id := noticeID(p.mail.ID, FailureNotice, []*end{e})
	err := q.putRemade(ctx, p, id, e.delivery.Recipient)
	switch {
	case errors.Is(err, errUnworkable):
		return nil
	case err != nil:
		q.logger().Error("queue: a notice can't be kept without the returned message, trying again", "id", p.mail.ID, "error", err)
		q.postpone(&p.mail, []*end{e})
		return nil
	}
	return []store.Outcome{{Mail: id, Lease: 1}}
}

func (q *Queue) putRemade(ctx context.Context, p *parcel, id, to string) error {
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	m, err := q.load(ctx, p)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(m.Content(), 1<<20)) // notices are far smaller
	if err != nil {
		return err
	}
	if content = withoutReturned(content); content == nil {
		return fmt.Errorf("%w: not a notice with a returned message", errUnworkable)
	}
	eightBit := !mailtext.IsASCII(content)
	mail := store.Mail{ID: id, Return: "HDRS", UTF8: p.mail.UTF8 && (eightBit || !mailtext.IsASCII(to))}
	return q.keepNotice(ctx, &p.mail, mail, to, content, eightBit)
}

func (q *Queue) notice(m *store.Mail, kind NoticeKind, about []*end) *Notice {
	n := &Notice{
		Subject: subject(m, ""), Kind: kind, Hostname: q.hostname(),
		Received: m.Received, GiveUp: m.Received.Add(q.expire()),
	}
	for _, e := range about {
		if t := m.Received.Add(q.expire() + e.delivery.Idle); t.After(n.GiveUp) {
			n.GiveUp = t
		}
		r := NoticeRecipient{Address: e.delivery.Recipient, Expired: e.expired, original: e.delivery.OriginalRecipient}
		r.Internal = relay.Internal(e.err)
		var reply *relay.ReplyError
		if !r.Internal && errors.As(e.err, &reply) { // other replies are about this server, and not the sender's business
			r.Reply = replyIn(e.err)
		}
		if e.taken != nil {
			r.Reply = replyOf(e.taken)
		}
		n.Recipients = append(n.Recipients, r)
	}
	return n
}

var noticeEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// noticeID derives the ID of a notice from what it reports, so that a repeated Put
// changes nothing. It begins with the timestamp of the mail's ID and so sorts with
// it.
func noticeID(mail string, kind NoticeKind, about []*end) string {
	h := sha256.New()
	word, _, _ := kind.words()
	io.WriteString(h, mail+" "+word)
	for _, e := range about {
		binary.Write(h, binary.BigEndian, int64(e.delivery.N)) // never fails
	}
	sum := noticeEncoding.EncodeToString(h.Sum(nil))
	prefix := mail[:min(len(mail), 9)]
	return prefix + sum[:26-len(prefix)]
}
