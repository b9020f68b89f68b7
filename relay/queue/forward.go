package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// Forward keeps m in the Spool. When it returns nil, the message is durable and
// will be delivered or bounced, whatever happens to this process. It doesn't wait
// for the delivery, and works whether Run does or not. An error means that the
// message was not taken, and that the same may work later; it carries the reply
// 452 4.3.1 if the Spool is full, else 451 4.3.0. If the Spool fails twice, or ctx
// ends while it works, nobody knows: such a message may be delivered after all.
func (q *Queue) Forward(ctx context.Context, m *relay.Message) error {
	if err := q.check(); err != nil {
		return err
	}
	if m.ID == "" || len(m.To) == 0 {
		return errors.New("queue: the message has no ID or no recipients")
	}
	mail := q.describe(m)
	deliveries := q.deliveries(mail, m.To)
	jobs := q.keep(ctx, mail, deliveries, m)
	if err := q.put(ctx, mail, deliveries, m); err != nil {
		q.abandon(jobs)
		return putError(m.ID, err)
	}
	for i := range m.To {
		q.emit(&Queued{subject(mail, m.To[i].Address)})
	}
	q.remind()
	if jobs == nil {
		q.noticed() // that there is something in the spool
	} else if !q.accept(jobs) {
		q.release(jobs) // Run has ended meanwhile
	}
	return nil
}

// put puts a message into the Spool. If that fails it may yet have been kept, with
// only the answer lost. The second call tells, and changes nothing then, unless the
// message was delivered and removed in between.
func (q *Queue) put(ctx context.Context, mail *store.Mail, ds []store.Delivery, m *relay.Message) error {
	err := q.Spool.Put(ctx, *mail, ds, m.Content())
	if err == nil || isFull(err) || ctx.Err() != nil {
		return err
	}
	q.logger().Warn("queue: a message can't be kept, trying once more", "id", m.ID, "error", err)
	return q.Spool.Put(ctx, *mail, ds, m.Content())
}

func isFull(err error) bool {
	return errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// describe makes a Mail of a Message.
func (q *Queue) describe(m *relay.Message) *store.Mail {
	received := m.Received
	if received.IsZero() {
		received = q.now()
	}
	return &store.Mail{
		ID: m.ID, Tenant: m.Identity.Tenant, Domain: m.Identity.Domain, Username: m.Identity.Username,
		From: m.From, Remote: m.Remote, Received: received, Size: m.Size(),
		Body: m.Options.Body, UTF8: m.Options.UTF8, RequireTLS: m.Options.RequireTLS,
		Return: m.Options.Return, EnvelopeID: m.Options.EnvelopeID,
	}
}

func (q *Queue) deliveries(m *store.Mail, to []relay.Recipient) []store.Delivery {
	now := q.now()
	ds := make([]store.Delivery, len(to))
	for i, r := range to {
		ds[i] = store.Delivery{
			Mail: m.ID, N: i, Recipient: r.Address, Notify: strings.Join(r.Notify, ","),
			OriginalRecipient: r.OriginalRecipient, Next: now,
		}
	}
	return ds
}

// keep decides whether the message can wait for its delivery in memory. If so
// it leases the deliveries to this node, and returns the work to be done once
// they are in the spool.
func (q *Queue) keep(ctx context.Context, mail *store.Mail, ds []store.Delivery, m *relay.Message) []*job {
	kept, ok := m.Retain()
	if !ok {
		return nil
	}
	p := newParcel(mail)
	p.message = kept
	p.charge = parcelCost + m.Size() + int64(len(ds))*deliveryCost
	jobs := q.group(p, ds)
	if !q.reserve(ctx, p, jobs) {
		return nil
	}
	until := q.now().Add(q.leaseFor())
	for i := range ds {
		ds[i].Lease, ds[i].LeasedUntil = 1, until
	}
	for _, j := range jobs {
		j.until = until
		for i := range j.due {
			j.due[i].Lease, j.due[i].LeasedUntil = 1, until
		}
	}
	return jobs
}

// Roughly what a message, and a recipient of it, take in memory on top of the
// content.
const (
	parcelCost   = 2 << 10
	deliveryCost = 512
)

// group makes one job of the deliveries to each destination.
func (q *Queue) group(p *parcel, ds []store.Delivery) []*job {
	if q.Destination == nil {
		p.jobs = 1
		return []*job{{parcel: p, due: append([]store.Delivery(nil), ds...)}}
	}
	var jobs []*job
	byName := make(map[string]*job)
	for _, d := range ds {
		name := q.destinationOf(d.Recipient)
		j := byName[name]
		if j == nil {
			j = &job{parcel: p, name: name}
			byName[name] = j
			jobs = append(jobs, j)
		}
		j.due = append(j.due, d)
	}
	p.jobs = len(jobs)
	return jobs
}

// putError says in the words of SMTP that a message could not be kept; why, is
// for the log.
func putError(id string, err error) error {
	reply := &relay.ReplyError{Code: 451, Enhanced: "4.3.0", Text: "the message can't be kept right now, try again later"}
	if isFull(err) {
		reply = &relay.ReplyError{Code: 452, Enhanced: "4.3.1", Text: "out of storage, try again later"}
	}
	return fmt.Errorf("queue: keeping %s: %w: %w", id, reply, err)
}
