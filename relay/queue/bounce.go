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

// A Notice is what a sender is to be told: that a message was given up for some
// recipients, or that it waits for them.
type Notice struct {
	Subject
	Received   time.Time // when the message was accepted
	Delay      bool      // it waits; otherwise it was given up
	GiveUp     time.Time // when a message that waits is given up
	Hostname   string    // this server
	Recipients []NoticeRecipient
}

// A NoticeRecipient is a recipient that a [Notice] is about.
type NoticeRecipient struct {
	Address string

	// Reply is what the other server said, and Host its name. Both are nil
	// and empty if none said anything; what went wrong is then for the logs,
	// not for the sender.
	Reply *relay.ReplyError
	Host  string

	Expired bool // given up because the message has become too old

	original string // ORCPT
}

// noticeKind is what the sender may have to be told.
type noticeKind int

const (
	noNotice noticeKind = iota
	failureNotice
	delayNotice
)

// word is what RFC 3461 section 4.1 calls it.
func (k noticeKind) word() string {
	if k == delayNotice {
		return "DELAY"
	}
	return "FAILURE"
}

// wanted reports whether the sender wants to be told. Who didn't say does.
func (k noticeKind) wanted(notify string) bool {
	if k == noNotice {
		return false
	}
	if notify == "" {
		return true
	}
	for _, w := range strings.Split(notify, ",") {
		if strings.EqualFold(w, k.word()) {
			return true
		}
	}
	return false
}

// notify keeps the bounces and delay notices that are due in the spool, before
// what they report is recorded. After a crash in between, the same report has
// the same ID, so it isn't kept twice; and it is leased for longer than what it
// reports, so it can't have been sent yet. If a bounce can't be kept, its
// recipients are deferred. It returns what sendNotices has to release.
func (q *Queue) notify(ctx context.Context, p *parcel, ends []end) (notices []store.Outcome) {
	if p.mail.From == "" {
		return nil // never a bounce of a bounce (RFC 5321 section 4.5.5)
	}
	for _, kind := range []noticeKind{failureNotice, delayNotice} {
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
		case err != nil:
			q.logger().Error("queue: a notice to the sender can't be kept, trying again", "id", p.mail.ID, "error", err)
			q.postpone(&p.mail, about)
		case id != "":
			notices = append(notices, store.Outcome{Mail: id, Lease: 1})
		}
	}
	return notices
}

// postpone defers recipients that would have been given up, or told of a delay.
func (q *Queue) postpone(m *store.Mail, about []*end) {
	for _, e := range about {
		d := e.delivery
		o := untouched(d)
		o.Next, o.Attempts, o.Reason = q.now().Add(time.Minute), d.Attempts+1, reasonOf(e.err)
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
func (q *Queue) putNotice(ctx context.Context, p *parcel, kind noticeKind, about []*end) (string, error) {
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
	ctx, cancel := context.WithTimeout(ctx, spoolTime)
	defer cancel()
	body := io.MultiReader(bytes.NewReader(head), included, bytes.NewReader(tail))
	return m.ID, q.Spool.Put(ctx, m, []store.Delivery{d}, body)
}

func (q *Queue) notice(m *store.Mail, kind noticeKind, about []*end) *Notice {
	n := &Notice{
		Subject: subject(m, ""), Received: m.Received, Hostname: q.hostname(),
		Delay: kind == delayNotice, GiveUp: m.Received.Add(q.expire()),
	}
	for _, e := range about {
		r := NoticeRecipient{Address: e.delivery.Recipient, Expired: e.expired, original: e.delivery.OriginalRecipient}
		var reply *relay.ReplyError
		if errors.As(e.err, &reply) {
			r.Reply = &relay.ReplyError{Code: reply.Code, Enhanced: safe(reply.Enhanced), Text: safe(reply.Text), Host: safe(reply.Host)}
			r.Host = r.Reply.Host
		}
		n.Recipients = append(n.Recipients, r)
	}
	return n
}

var noticeEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// noticeID makes the ID of a notice of what it reports. It sorts by the time of
// the mail that it is about, as IDs do whose beginning is a time.
func noticeID(mail string, kind noticeKind, about []*end) string {
	h := sha256.New()
	io.WriteString(h, mail+" "+kind.word())
	for _, e := range about {
		binary.Write(h, binary.BigEndian, int64(e.delivery.N)) // never fails
	}
	sum := noticeEncoding.EncodeToString(h.Sum(nil))
	prefix := mail[:min(len(mail), 9)]
	return prefix + sum[:26-len(prefix)]
}
