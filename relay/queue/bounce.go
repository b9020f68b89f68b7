package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"

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

// wanted reports whether the sender wants to be told. Who didn't say does, but
// not of success.
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

	// Reply is what the other server said, and Host its name. Both are nil
	// and empty if none said anything; what went wrong is then for the logs,
	// not for the sender. In a RelayedNotice the reply is no error but 2yz.
	Reply *relay.ReplyError
	Host  string

	Expired bool // given up because the message has become too old

	original string // ORCPT
}

// notify keeps the notices that are due in the spool, before what they report is
// recorded. After a crash in between, the same report has the same ID, so it
// isn't kept twice; and it is leased for longer than what it reports, so that it
// hasn't been sent yet, unless the attempt after the crash takes very long. If a
// bounce can't be kept, its recipients are deferred; a message that was relayed
// isn't sent again. It returns what sendNotices has to release.
func (q *Queue) notify(ctx context.Context, p *parcel, ends []end) (notices []store.Outcome) {
	if p.mail.From == "" {
		return nil // never a bounce of a bounce (RFC 5321 section 4.5.5)
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

// postpone defers recipients that would have been given up. If it was a delay that
// the sender was to be told of, that comes with the next attempt.
func (q *Queue) postpone(m *store.Mail, about []*end) {
	for _, e := range about {
		d := e.delivery
		if e.notice == DelayNotice { // it is deferred already
			e.outcome.Delayed = false
			continue
		}
		o := untouched(d)
		o.Attempts, o.Reason = d.Attempts+1, reasonOf(e.err)
		o.Next = q.nextTry(m, q.now(), q.retryAfter(o.Attempts))
		e.outcome = o
		e.event = &Deferred{Subject: subject(m, d.Recipient), Reason: o.Reason, Next: o.Next, Attempt: o.Attempts}
	}
}

// sendNotices releases notices, now that what they report is recorded.
func (q *Queue) sendNotices(ctx context.Context, notices []store.Outcome) {
	for i := range notices {
		notices[i].Next = q.now()
	}
	if _, err := q.settle(ctx, notices); err != nil {
		return // they go out when their lease ends
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
	now := q.now()
	r := report{notice: n, mail: &p.mail, original: original, text: text, id: noticeID(p.mail.ID, kind, about), now: now}
	head, included, tail := r.compose()
	m := store.Mail{
		ID: r.id, Tenant: p.mail.Tenant, Domain: p.mail.Domain, Username: p.mail.Username, Received: now,
		Size: int64(len(head)+len(tail)) + included.Size(),
		Body: p.mail.Body, UTF8: p.mail.UTF8, RequireTLS: p.mail.RequireTLS,
	}
	if !isASCII(text) {
		m.Body = "8BITMIME"
	}
	d := store.Delivery{
		Mail: m.ID, Recipient: p.mail.From, Notify: "NEVER", Next: now, // RFC 3461 section 6.1
		Lease: 1, LeasedUntil: now.Add(3 * q.leaseFor()),
	}
	body := io.MultiReader(bytes.NewReader(head), included, bytes.NewReader(tail))
	return m.ID, q.Spool.Put(ctx, m, []store.Delivery{d}, body)
}

func (q *Queue) notice(m *store.Mail, kind NoticeKind, about []*end) *Notice {
	n := &Notice{
		Subject: subject(m, ""), Kind: kind, Hostname: q.hostname(),
		Received: m.Received, GiveUp: m.Received.Add(q.expire()),
	}
	for _, e := range about {
		r := NoticeRecipient{Address: e.delivery.Recipient, Expired: e.expired, original: e.delivery.OriginalRecipient}
		var reply *relay.ReplyError
		if errors.As(e.err, &reply) {
			r.Reply = &relay.ReplyError{Code: reply.Code, Enhanced: safe(reply.Enhanced), Text: safe(reply.Text), Host: safe(reply.Host)}
			r.Host = r.Reply.Host
		}
		if e.taken != nil {
			r.Reply, r.Host = replyOf(e.taken), e.taken.Host
		}
		n.Recipients = append(n.Recipients, r)
	}
	return n
}

var noticeEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// noticeID makes the ID of a notice of what it reports. It sorts by the time of
// the mail that it is about, as IDs do whose beginning is a time.
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
