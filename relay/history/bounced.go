package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// Bounced records a late bounce: another server has reported that it could not deliver
// a message to a recipient, after it had taken the message. It is for
// [bounces.Receiver].Bounced. The activity of the recipient becomes a bounce, and the
// counts of the hour in which the message was accepted are corrected. The bounce is
// soft if r.Enhanced, or r.Code if that is empty, is of class 4; otherwise it is hard.
// r.Host is the server that gave up.
//
// If the tenant has no such mail, or it is older than Retention, the error is
// [store.ErrNotFound]. If r is nil or has a code that is not 4yz or 5yz, Bounced returns an
// error too; a code of 0 is that of a reply without one.
//
// Bounced returns nil and records nothing if the recipient is known to have bounced, or was
// canceled. If the mail was not sent to recipient (it may be a member of a list), the state
// stays as it is, and the trail of the mail's first recipient gets a
// [store.EventReported], until the trail has 64 KiB: who has one report can send it again
// and again. An empty recipient means the only one of the mail.
//
// A recipient that was erased cannot be told apart from an address that the mail was not
// sent to. So if any recipient of the mail was erased, the event has neither the address
// nor the text of the report, and the erased recipient stays in the state and in the
// counts as it is. If the first recipient was erased, nothing is recorded.
//
// Bounced needs no Run in its own process: it records an event, which the process that
// calls Run publishes and applies. If the report comes before the delivery was applied, and
// this process calls Run, Bounced applies what waits. Otherwise it waits up to 10 seconds
// for the process that does, until the delivery is applied, or all that was recorded before
// the call. Then it returns an error, also for a mail that does not exist, since the events
// that wait may be about it. After an error the call may be repeated; at worst the trail
// has the report twice.
func (h *History) Bounced(ctx context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
	switch {
	case h.Store == nil:
		return errNoStore
	case r == nil:
		return errors.New("history: a late bounce needs a reply, not nil")
	case r.Code != 0 && r.Code/100 != 4 && r.Code/100 != 5:
		return fmt.Errorf("history: a late bounce needs a reply that refuses, not %d", r.Code)
	}
	a, listed, err := h.lastReported(ctx, tenant, mail, recipient)
	if err == nil && a == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("history: report about mail %.100q: %w", mail, err)
	}
	if a.Erased || listed && ended(a) && a.State != store.ActivityDelivered || !listed && len(a.Trail) > fullTrail {
		return nil
	}
	e := lateEvent(a, listed, recipient, r)
	if !listed {
		erased, err := h.anyErased(ctx, tenant, mail)
		if err != nil {
			return fmt.Errorf("history: report about mail %.100q: %w", mail, err)
		}
		if erased {
			e.Reply.Text, e.Reason = "", ""
		}
	}
	if err := h.recordEvents(ctx, []store.Event{e}); err != nil {
		return fmt.Errorf("history: record a late bounce: %w", err)
	}
	return nil
}

// patience is how long Bounced waits for another process to apply events.
const patience = 10 * time.Second

// lastReported returns what reported does when no event that waits can change it: the
// recipient has ended, or everything that was recorded before now is applied. If this
// process calls Run, it applies that. Otherwise its Publish may not be set, so it waits for
// a process that does.
func (h *History) lastReported(ctx context.Context, tenant store.TenantID, mail, recipient string) (a *store.Activity, listed bool, err error) {
	now := time.Now()
	for last := false; ; {
		a, listed, err = h.reported(ctx, tenant, mail, recipient)
		if err != nil || last || a != nil && ended(a) {
			return a, listed, err
		}
		if last, err = h.caughtUp(ctx, now); err != nil {
			return nil, false, err
		}
		if !last && !sleep(ctx, pace) {
			return nil, false, ctx.Err()
		}
	}
}

// caughtUp reports whether everything that was recorded before a time is applied.
func (h *History) caughtUp(ctx context.Context, until time.Time) (bool, error) {
	if h.isRunning() {
		return true, h.applyUntil(ctx, until)
	}
	j, err := h.Store.Journal(ctx)
	switch {
	case err != nil:
		return false, err
	case j.Records == 0 || j.Oldest.After(until):
		return true, nil
	case time.Since(until) >= patience:
		return false, fmt.Errorf("%d records of events wait to be applied: some process must call Run", j.Records)
	}
	return false, nil
}

// anyErased returns whether a recipient of a mail was erased.
func (h *History) anyErased(ctx context.Context, tenant store.TenantID, mail string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	list, err := h.Store.Recipients(ctx, tenant, mail, store.RecipientFilter{Erased: true, Limit: 1})
	return len(list) > 0, err
}

// fullTrail is how many bytes a trail has when it gets no more reports about addresses
// that the mail was not sent to.
const fullTrail = 64 << 10

// reported returns the activity that a report is about; nil if there is none. listed
// is false if the mail has no such recipient: then the activity is the mail's first.
// It reads a few activities, however many recipients the mail has.
func (h *History) reported(ctx context.Context, tenant store.TenantID, mail, recipient string) (a *store.Activity, listed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	var first, second *store.Activity
	list, err := h.Store.ActivitiesByKey(ctx, []store.ActivityKey{{Tenant: tenant, Mail: mail, N: 0}, {Tenant: tenant, Mail: mail, N: 1}})
	for i := range list {
		if list[i].N == 0 {
			first = &list[i]
		} else {
			second = &list[i]
		}
	}
	switch {
	case err != nil || first == nil:
		return nil, false, err
	case recipient == "":
		return first, second == nil, nil
	}
	a, err = h.recipientOf(ctx, first, recipient)
	if err != nil || a != nil {
		return a, true, err
	}
	return first, false, nil
}

// recipientOf returns the activity of a recipient of the same mail as first, without its
// trail; nil if the mail has no such recipient. All of them were received at once.
func (h *History) recipientOf(ctx context.Context, first *store.Activity, recipient string) (a *store.Activity, err error) {
	f := store.ActivityFilter{Recipient: recipient, RecipientForms: formsOf(recipient), From: first.Received, Until: first.Received.Add(time.Microsecond)}
	for {
		page, err := h.Store.Activities(ctx, first.Tenant, f)
		if err != nil {
			return nil, err
		}
		for i := range page.List {
			if o := &page.List[i]; o.Mail == first.Mail && (a == nil || o.N < a.N) {
				a = o
			}
		}
		if f.After = page.Next; f.After == "" {
			return a, nil
		}
	}
}

// ended reports whether no further attempt is made for a recipient.
func ended(a *store.Activity) bool { return phaseOf(a.Order) >= phaseEnd }

func lateEvent(a *store.Activity, listed bool, recipient string, r *relay.ReplyError) store.Event {
	text := mailtext.OneLineUTF8(r.Text, 1024)
	e := store.Event{
		Kind: store.EventLateHardBounced, Time: time.Now().UTC().Truncate(time.Microsecond), Received: a.Received,
		Tenant: a.Tenant, Domain: a.Domain, Username: a.Username,
		Mail: a.Mail, N: a.N, From: a.From, Author: a.Author, Recipient: a.Recipient, Subject: a.Subject, MessageID: a.MessageID, Size: a.Size,
		Attempt: a.Attempt, Reply: store.Reply{Code: r.Code, Enhanced: r.Enhanced, Text: text, Host: r.Host}, Reason: text,
	}
	switch {
	case !listed:
		e.Kind, e.Reason = store.EventReported, mailtext.OneLineUTF8(recipient, 320)+": "+text
	case strings.HasPrefix(r.Enhanced, "4.") || r.Enhanced == "" && r.Code/100 == 4:
		e.Kind = store.EventLateSoftBounced
	}
	clipTexts(&e)
	return e
}
