package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/hook"
	"github.com/gatepost-mail/gatepost/store"
)

// Forward keeps m in the Spool. When it returns nil, the message is durable and
// will be delivered or bounced, even if this process is killed. It doesn't wait for
// the delivery, and works without Run too.
//
// An error means that the message was not taken, and that the same may work later.
// It carries the reply 452 4.3.1 if the Spool is full, and otherwise 451 4.3.0. If
// the Spool fails twice, or ctx ends during the call, the message may be delivered
// all the same; not if the error matches [store.ErrFull]. If the user has sent a message with this Key within a day, the error
// is a [*relay.TakenError]. If the Spool has another message of this ID, the error matches
// [store.ErrTaken]. Received is part of a message: a program that hands on the same
// message again must set it, because zero means the time of the call. See
// [relay.Message.WithRecipients] for how to split a message.
func (q *Queue) Forward(ctx context.Context, m *relay.Message) error {
	if err := q.checkFields(); err != nil {
		return err
	}
	if m.ID == "" || len(m.To) == 0 {
		return errors.New("queue: the message has no ID or no recipients")
	}
	if hook.IsRequest(m.ID, m.Identity.Tenant, m.Options.EnvelopeID) != q.forWebhooks() {
		return q.errStray()
	}
	if m.Grants != "" && !q.Record {
		return errors.New("queue: the message is charged to a limit, which needs Queue.Record")
	}
	mail := q.describe(m)
	deliveries := q.deliveries(mail, m.To)
	jobs := q.keep(ctx, mail, deliveries, m)
	if err := q.put(ctx, mail, deliveries, m); err != nil {
		q.dispatcher.abandon(jobs)
		if dup := duplicate(err); dup != nil {
			return &relay.TakenError{ID: dup.ID, Differs: dup.Differs}
		}
		q.unsure()
		return putError(m.ID, err)
	}
	q.dispatcher.remember(m.ID)
	for i := range m.To {
		q.emit(&Queued{subject(mail, m.To[i].Address)})
	}
	q.remind()
	if jobs == nil {
		q.noticed() // that there is something in the spool
		return nil
	}
	if refused := q.dispatcher.accept(jobs); len(refused) > 0 {
		q.release(refused)
	}
	return nil
}

// put puts a message into the Spool. If Put fails, the Spool may have kept the
// message, and only the answer was lost. So put calls Put once more. That changes
// nothing if the message was kept, unless it was delivered and removed in between.
func (q *Queue) put(ctx context.Context, mail *store.Mail, ds []store.Delivery, m *relay.Message) error {
	events := q.accepted(mail, ds, m)
	err := q.Spool.Put(ctx, *mail, ds, m.Content(), events...)
	if err == nil || isFull(err) || errors.Is(err, store.ErrTaken) || duplicate(err) != nil || ctx.Err() != nil {
		return err
	}
	q.logger().Warn("queue: a message can't be kept, trying once more", "id", m.ID, "error", err)
	err = q.Spool.Put(ctx, *mail, ds, m.Content(), events...)
	if errors.Is(err, store.ErrFull) { // which says that nothing is kept, but the first call may have kept the message
		err = fmt.Errorf("%v: %w", err, syscall.ENOSPC)
	}
	return err
}

// duplicate returns the DuplicateError that err is, or nil.
func duplicate(err error) *store.DuplicateError {
	var dup *store.DuplicateError
	errors.As(err, &dup)
	return dup
}

func isFull(err error) bool {
	return errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// describe makes a Mail of a Message.
func (q *Queue) describe(m *relay.Message) *store.Mail {
	received := m.Received
	if now := q.now(); received.IsZero() || received.After(now) {
		received = now
	}
	received = received.UTC().Truncate(time.Microsecond)
	return &store.Mail{
		ID: m.ID, Tenant: m.Identity.Tenant, Domain: m.Identity.Domain, Username: m.Identity.Username,
		From: m.From, Remote: m.Remote, Received: received, Size: m.Size(),
		Body: m.Options.Body, UTF8: m.Options.UTF8, RequireTLS: m.Options.RequireTLS,
		Return: m.Options.Return, EnvelopeID: m.Options.EnvelopeID, Key: m.Key, Fingerprint: m.Fingerprint,
	}
}

func (q *Queue) deliveries(m *store.Mail, to []relay.Recipient) []store.Delivery {
	now := q.now()
	ds := make([]store.Delivery, len(to))
	for i, r := range to {
		ds[i] = store.Delivery{
			Mail: m.ID, N: i, Recipient: r.Address, Notify: strings.Join(r.Notify, ","),
			OriginalRecipient: r.OriginalRecipient, Destination: q.destinationOf(r.Address), Next: now,
		}
	}
	return ds
}

// keep decides whether the message can wait for its delivery in memory. If so
// it leases the deliveries to this node, and returns the work to be done once
// they are in the spool. Their first attempt is counted with that. Of a large
// message only the envelope waits, and load reads the content from the Spool.
func (q *Queue) keep(ctx context.Context, mail *store.Mail, ds []store.Delivery, m *relay.Message) []*job {
	node := q.nodeID()
	kept, ok := m.Retain()
	if node == "" || !ok && m.Size() <= maxInMemory {
		return nil
	}
	p := newParcel(mail)
	p.mail.Key, p.mail.Fingerprint = "", "" // Put keeps them, and the next Forwarder must not
	p.charge = parcelCost + int64(len(ds))*deliveryCost
	if ok {
		kept.Key, kept.Fingerprint = "", ""
		p.message = kept
		p.charge += m.Size()
	}
	leased := slices.Clone(ds)
	for i := range leased {
		d := &leased[i]
		d.Node, d.Lease, d.Attempts, d.Tried = node, 1, 1, d.Next
	}
	jobs := q.group(p, leased)
	if !q.dispatcher.reserve(ctx, p, jobs) {
		return nil
	}
	copy(ds, leased)
	return jobs
}

// Roughly what a message, and a recipient of it, take in memory on top of the
// content.
const (
	parcelCost   = 2 << 10
	deliveryCost = 512
)

// putError returns the SMTP reply for a message that the Spool could not keep. The
// reply does not show err, which is for the log.
func putError(id string, err error) error {
	reply := &relay.ReplyError{Code: 451, Enhanced: "4.3.0", Text: "the message can't be kept right now, try again later"}
	if isFull(err) {
		reply = &relay.ReplyError{Code: 452, Enhanced: "4.3.1", Text: "out of storage, try again later"}
	}
	return fmt.Errorf("queue: keeping %s: %w: %w", id, reply, err)
}
