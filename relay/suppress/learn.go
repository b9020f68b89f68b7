package suppress

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	// strikePause is how far apart two refusals must be for both to count.
	strikePause = 24 * time.Hour

	// lately is how long after a delivery one refusal is not believed.
	lately = 30 * 24 * time.Hour

	// maxPages is how many pages of a History are looked at for a delivery. If there
	// are more, there was one.
	maxPages = 100
)

// Learn adds the recipients of events that say that there is no such mailbox, and
// removes those to whom mail was delivered. It is for Publish of history.History. An
// event that comes again, and one that comes late, changes nothing. An error means that
// Learn should be called with the same events again.
//
// A reply counts by its enhanced code (RFC 3463). One reply with 5.1.1, 5.1.2, 5.1.3,
// 5.1.6 or 5.1.10 is enough. If mail was delivered to the address in the last 30 days,
// two are needed. Two are needed as well if the reply is from a report about a message
// with several recipients, since each of them could have written it, or if there is no
// List.History to tell. Three are needed with 5.2.1, with 5.4.1 if the text says that the
// recipient is rejected, and without an enhanced code if the text of a 550, 551 or 553
// says that there is no such mailbox. Only replies that are at least 24 hours apart and
// not older than Keep count. No other reply counts: no 5.7.x, and no reply of the relay
// itself, except that the domain takes no mail (5.1.2, 5.1.10).
//
// If a site refuses at least 20 addresses within an hour, and more than it takes,
// nothing is learned there until an hour after the last of them, and what was learned
// there within that hour is forgotten. A site is the domain of the recipient, and the
// registered domain of the server's name. Each node counts for itself.
func (l *List) Learn(ctx context.Context, events []store.Event) error {
	if l.Store == nil {
		return errStore
	}
	s := &lesson{List: l, said: make(map[key]*saidOf), delivered: make(map[store.TenantID]int), had: make(map[key]bool)}
	for i := range events {
		if e := &events[i]; e.Kind == store.EventDelivered {
			s.delivered[e.Tenant]++
		}
	}
	for i := range events {
		if err := s.hear(ctx, &events[i]); err != nil {
			return wrap("learn", err)
		}
	}
	done, err := l.change(ctx, s.keys, func(su *store.Suppression) (bool, error) { return s.apply(ctx, su) })
	for i := range done {
		s.report(&done[i])
	}
	return wrap("learn", err)
}

// A lesson is one call of Learn.
type lesson struct {
	*List
	said      map[key]*saidOf
	keys      []key                  // those of which something may change
	delivered map[store.TenantID]int // how many events are deliveries
	had       map[key]bool           // whether an address was suppressed before
}

// fewDeliveries is up to how many deliveries of a tenant are looked up with all others
// in one call of the Store. With more of them its list is read, as for its recipients.
const fewDeliveries = 20

// mayMatter reports whether a delivery to an address may change what is known of it.
func (s *lesson) mayMatter(ctx context.Context, k key) (bool, error) {
	if s.delivered[k.tenant] > fewDeliveries {
		return s.mayHave(ctx, k)
	}
	return s.mayRemember(k), nil
}

// A saidOf is what is said of one key, in order.
type saidOf struct {
	sayings []saying
	listed  bool // in keys
}

// A saying is what an event says of an address.
type saying struct {
	event  *store.Event
	needed int    // how many refusals like this it takes; 0 if it is not a refusal
	forget string // if not empty, what the event of this ID taught is forgotten
}

// hear notes what an event says.
func (s *lesson) hear(ctx context.Context, e *store.Event) error {
	addr, ok := fold(e.Recipient)
	if !ok || e.Tenant == "" {
		return nil
	}
	k := key{e.Tenant, addr}
	switch e.Kind {
	case store.EventDelivered:
		s.bursts.delivered(e.Time, sites(e, addr)...)
		may, err := s.mayMatter(ctx, k)
		if err != nil {
			return err
		}
		s.note(k, saying{event: e}, may)
	case store.EventHardBounced, store.EventLateHardBounced:
		late := e.Kind == store.EventLateHardBounced
		needed := gone(e.Reply, late)
		if needed == never {
			return nil
		}
		at := sites(e, addr)
		for _, b := range s.bursts.refused(e, k, late, at...) {
			s.stop(e, &b)
		}
		if !s.bursts.stopped(e.Time, at...) {
			s.note(k, saying{event: e, needed: needed}, true)
		}
	}
	return nil
}

// note adds a saying. matters means that something may change.
func (s *lesson) note(k key, say saying, matters bool) {
	said := s.said[k]
	if said == nil {
		said = new(saidOf)
		s.said[k] = said
	}
	said.sayings = append(said.sayings, say)
	if matters && !said.listed {
		said.listed = true
		s.keys = append(s.keys, k)
	}
}

// stop notes that what a burst has taught is to be forgotten.
func (s *lesson) stop(e *store.Event, b *burst) {
	s.stops.Add(1)
	s.logger().Warn("suppress: a site refuses most recipients, nothing is learned there for an hour",
		"site", b.site, "refused", b.refused, "delivered", b.delivered)
	for k, event := range b.events {
		s.note(k, saying{event: e, forget: event}, true)
	}
}

// sites returns where an event counts: at the recipient's domain and at the server's
// site. A report does not count at the site of its server, since deliveries count at the
// site of another. Refusals by the relay itself are a site of their own, where every
// delivery counts: a broken resolver can make the relay believe that no domain exists.
func sites(e *store.Event, addr string) []string {
	list := []string{domainOf(addr)}
	host := siteOf(e.Reply.Host)
	if host != "" && host != list[0] && e.Kind != store.EventLateHardBounced {
		list = append(list, host)
	}
	if e.Kind == store.EventDelivered || e.Kind == store.EventHardBounced && host == "" {
		list = append(list, ownSite)
	}
	return list
}

const ownSite = "this relay"

// apply changes what is known of an address by all that is said of it.
func (s *lesson) apply(ctx context.Context, su *store.Suppression) (changed bool, err error) {
	before := *su
	for _, say := range s.said[key{su.Tenant, su.Address}].sayings {
		switch {
		case su.Source == store.SuppressedByPerson || su.Source == store.SuppressedByComplaint:
		case say.forget != "":
			if su.Event == say.forget {
				forget(su, say.event.Time)
			}
		case say.needed == 0:
			delivered(su, say.event)
		default:
			if err := s.refused(ctx, su, &say); err != nil {
				return false, err
			}
		}
	}
	s.had[key{su.Tenant, su.Address}] = before.Suppresses(now())
	return *su != before, nil
}

// delivered forgets what refusals before the delivery have said. It does not forget what
// reports said: the next server had taken those messages as well.
func delivered(su *store.Suppression, e *store.Event) {
	if su.Source == store.SuppressedByReply && e.Time.After(su.Struck) {
		forget(su, e.Time)
	}
}

// refused counts a refusal.
func (s *lesson) refused(ctx context.Context, su *store.Suppression, say *saying) error {
	e := say.event
	if !e.Time.After(su.Cleared) {
		return nil
	}
	if !su.Until.IsZero() && !e.Time.Before(su.Until) { // it has expired
		*su = store.Suppression{Tenant: su.Tenant, Address: su.Address, Cleared: su.Cleared, Version: su.Version}
	}
	if !su.Since.IsZero() {
		return nil
	}
	needed := say.needed
	if needed == certain {
		had, err := s.hadMail(ctx, su, e)
		if err != nil {
			return err
		}
		alone := e.Kind != store.EventLateHardBounced
		if !had && !alone {
			if alone, err = s.isAlone(ctx, e); err != nil {
				return err
			}
		}
		if had || !alone {
			needed = afterMail
		}
	}
	if su.Strikes > 0 && e.Time.Sub(su.Struck) < strikePause && needed != certain {
		return nil
	}
	su.Strikes++
	su.Source = store.SuppressedByReply
	if e.Kind == store.EventLateHardBounced {
		su.Source = store.SuppressedByReport
	}
	su.Struck, su.Until, su.Event, su.Site, su.Reason = e.Time, e.Time.Add(s.keep()), e.ID, siteOf(e.Reply.Host), reason(e)
	if su.Strikes >= needed {
		su.Since = e.Time
	}
	return nil
}

// reason returns why an address is on the list, for the replies to clients.
func reason(e *store.Event) string {
	text := e.Reply.String()
	switch {
	case text == "":
		text = e.Reason
	case e.Reply.Host != "":
		text = e.Reply.Host + " replied " + text
	}
	return mailtext.OneLine(text, maxReason)
}

// hadMail reports whether mail was delivered to an address within lately before an event
// that is about another message, or in the same call of Learn.
func (s *lesson) hadMail(ctx context.Context, su *store.Suppression, e *store.Event) (bool, error) {
	for _, say := range s.said[key{su.Tenant, su.Address}].sayings {
		if o := say.event; say.needed == 0 && say.forget == "" && o.Mail != e.Mail && o.Time.Before(e.Time) {
			return true, nil
		}
	}
	if s.History == nil {
		return false, nil
	}
	f := store.ActivityFilter{From: e.Time.Add(-lately), Recipient: e.Recipient, States: []store.ActivityState{store.ActivityDelivered}, Limit: 100}
	for range maxPages {
		page, err := s.History.Activities(ctx, su.Tenant, f)
		if err != nil {
			return false, err
		}
		for _, a := range page.List {
			if a.Mail != e.Mail && a.Updated.Before(e.Time) {
				return true, nil
			}
		}
		if page.Next == "" {
			return false, nil
		}
		f.After = page.Next
	}
	return true, nil
}

// isAlone reports whether the message of an event had no other recipient. Every recipient has
// what it takes to write a report about the others, which package bounces accepts.
func (s *lesson) isAlone(ctx context.Context, e *store.Event) (bool, error) {
	if s.History == nil {
		return false, nil
	}
	list, err := s.History.ActivitiesByKey(ctx, []store.ActivityKey{{Tenant: e.Tenant, Mail: e.Mail, N: 0}, {Tenant: e.Tenant, Mail: e.Mail, N: 1}})
	return len(list) == 1 && list[0].N == 0, err
}

// report counts and logs what was learned or forgotten.
func (s *lesson) report(su *store.Suppression) {
	switch had, has := s.had[key{su.Tenant, su.Address}], su.Suppresses(now()); {
	case has && !had:
		s.learned.Add(1)
		s.logger().Info("suppress: added", "tenant", string(su.Tenant), "address", su.Address, "reason", su.Reason, "event", su.Event)
	case had && !has:
		s.forgotten.Add(1)
		s.logger().Info("suppress: removed", "tenant", string(su.Tenant), "address", su.Address)
	}
}
