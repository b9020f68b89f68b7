package history

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// The files derive*.go have all rules that make activities and counts of events. The
// result does not depend on the order in which events are applied, nor on which of them
// are applied together. derivestate.go decides which event gives an activity its state,
// and deriverefusals.go which refusals are one activity.

// An activityKey names an activity.
type activityKey struct {
	tenant store.TenantID
	mail   string
	n      int
}

// A countKey names a count. The hour is in microseconds since 1970.
type countKey struct {
	tenant           store.TenantID
	hour             int64
	domain, username string
}

// sorted returns the events of records with those of one recipient in the order in which
// they happened, and recipients by the time at which their mail was received. It returns
// pointers, because an event has 400 bytes.
func sorted(records []store.Record) []*store.Event {
	n := 0
	for i := range records {
		n += len(records[i].Events)
	}
	events := make([]*store.Event, 0, n)
	for i := range records {
		for j := range records[i].Events {
			events = append(events, &records[i].Events[j])
		}
	}
	slices.SortStableFunc(events, func(a, b *store.Event) int {
		if c := a.Received.Compare(b.Received); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.Mail, b.Mail), cmp.Compare(a.N, b.N), happened(a, b))
	})
	return events
}

// happened compares two events of one recipient.
func happened(a, b *store.Event) int {
	return cmp.Or(cmp.Compare(phase(a.Kind), phase(b.Kind)), a.Time.Compare(b.Time), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Attempt, b.Attempt))
}

// looks returns whether an event changes counts in a way that depends on what its
// activity was before. Deliveries, the most frequent end, do not: what a late bounce
// before its delivery subtracts, the delivery adds.
func looks(k store.EventKind) bool {
	return phase(k) == phaseLate || phase(k) == phaseEnd && k != store.EventDelivered
}

// derive returns the changes that follow from events, which must be sorted. before
// holds the activities of those events that look at them, if the store has them, with
// the trails that may be too long.
func derive(events []*store.Event, before map[activityKey]store.Activity) store.Changes {
	n := recipientsOf(events)
	d := deriver{
		before:  before,
		of:      make(map[activityKey]int, n),
		changes: make([]store.ActivityChange, 0, n),
		list:    make([]recipient, 0, n),
		counts:  make(map[countKey]*store.Count),
	}
	for _, e := range events {
		if isRefusal(e.Kind) {
			d.refusal(e)
		} else {
			d.event(e)
		}
	}
	for i := range d.list {
		r, change := &d.list[i], &d.changes[i]
		change.Trail = string(r.trail)
		if r.before != "" {
			if long := r.before + change.Trail; shorten(long) != long {
				change.TrailWas, change.Trail = len(r.before), shorten(long)
			}
		}
	}
	c := store.Changes{Activities: d.changes}
	for _, count := range d.counts {
		if *count != (store.Count{Tenant: count.Tenant, Hour: count.Hour, Domain: count.Domain, Username: count.Username}) {
			c.Counts = append(c.Counts, *count)
		}
	}
	c.Charges = chargesOf(events)
	slices.SortFunc(c.Counts, func(a, b store.Count) int {
		return cmp.Or(strings.Compare(string(a.Tenant), string(b.Tenant)), a.Hour.Compare(b.Hour),
			strings.Compare(a.Domain, b.Domain), strings.Compare(a.Username, b.Username))
	})
	return c
}

// recipientsOf is how many recipients sorted events have.
func recipientsOf(events []*store.Event) (n int) {
	for i, e := range events {
		if i == 0 || e.N != events[i-1].N || e.Mail != events[i-1].Mail || e.Tenant != events[i-1].Tenant {
			n++
		}
	}
	return n
}

type deriver struct {
	before  map[activityKey]store.Activity
	of      map[activityKey]int // index in changes and list
	changes []store.ActivityChange
	list    []recipient
	counts  map[countKey]*store.Count
	one     []byte // an event of a trail
}

// A recipient is what is known of an activity while its change is made.
type recipient struct {
	trail  []byte
	before string // the trail before; empty if it stays as it is

	// order is that of the state, including the state before. ended is the state
	// that is counted as the end of the recipient, 0 if none is. late means that
	// a late bounce is counted.
	order int64
	ended store.ActivityState
	late  bool
}

// recipient returns the change of an event's activity.
func (d *deriver) recipient(key activityKey) (*recipient, *store.ActivityChange) {
	i, ok := d.of[key]
	if !ok {
		i = len(d.list)
		d.of[key] = i
		d.changes = append(d.changes, store.ActivityChange{})
		d.list = append(d.list, recipient{})
		r, c := &d.list[i], &d.changes[i]
		c.Tenant, c.Mail, c.N = key.tenant, key.mail, key.n
		if a, ok := d.before[key]; ok {
			c.Was, r.order, r.before = a.Order, a.Order, a.Trail
			r.late = phaseOf(a.Order) == phaseLate
			if r.late || phaseOf(a.Order) == phaseEnd {
				r.ended = a.State
			}
		}
	}
	return &d.list[i], &d.changes[i]
}

// event adds an event of a recipient of a mail.
func (d *deriver) event(e *store.Event) {
	r, c := d.recipient(activityKey{e.Tenant, e.Mail, e.N})
	fill(&c.Activity, e)
	c.Begins = c.Begins || e.Kind == store.EventAccepted
	d.one = appendEvent(d.one[:0], e)
	r.trail = appendEntry(r.trail, d.one)
	d.count(r, e)
	become(&c.Activity, e)
	r.order = max(r.order, orderOf(e))
}

// fill fills in what an activity has empty.
func fill(a *store.Activity, e *store.Event) {
	for _, f := range []struct {
		field *string
		value string
	}{
		{&a.Domain, e.Domain}, {&a.Username, e.Username}, {&a.From, e.From}, {&a.Author, e.Author},
		{&a.Recipient, e.Recipient}, {&a.Subject, e.Subject}, {&a.MessageID, e.MessageID},
	} {
		if *f.field == "" {
			*f.field = clip(f.value)
		}
	}
	if a.Size == 0 {
		a.Size = e.Size
	}
	if received := receivedOf(e); a.Received.IsZero() || received.Before(a.Received) {
		a.Received = received
	}
}

func receivedOf(e *store.Event) time.Time {
	if e.Received.IsZero() {
		return e.Time
	}
	return e.Received
}

// count counts an event. In the end each recipient counts as what its state says: as
// delivered, as one kind of bounce, or as canceled.
func (d *deriver) count(r *recipient, e *store.Event) {
	c := d.hour(e)
	switch state := stateOf(e.Kind); phase(e.Kind) {
	case phaseEnd:
		if r.late { // it was subtracted already
			add(c, store.ActivityDelivered, 1)
			return
		}
		add(c, state, 1)
		r.ended = state
	case phaseLate:
		switch {
		case r.late && orderOf(e) <= r.order: // an older report, or one of the same
			return
		case r.ended == 0: // its end was not applied yet; it will be counted as delivered
			add(c, store.ActivityDelivered, -1)
		default:
			add(c, r.ended, -1)
		}
		add(c, state, 1)
		r.ended, r.late = state, true
	default:
		switch e.Kind {
		case store.EventAccepted:
			c.Accepted++
			c.Bytes += e.Size
		case store.EventDeferred:
			c.Deferred++
		}
	}
}

func add(c *store.Count, state store.ActivityState, n int64) {
	switch state {
	case store.ActivityDelivered:
		c.Delivered += n
	case store.ActivitySoftBounced:
		c.SoftBounced += n
	case store.ActivityHardBounced:
		c.HardBounced += n
	case store.ActivityCanceled:
		c.Canceled += n
	}
}

// hour returns the count that an event belongs to: that of the hour in which its
// message was accepted.
func (d *deriver) hour(e *store.Event) *store.Count {
	hour := receivedOf(e).UTC().Truncate(time.Hour)
	key := countKey{e.Tenant, hour.UnixMicro(), e.Domain, e.Username}
	c := d.counts[key]
	if c == nil {
		c = &store.Count{Tenant: e.Tenant, Hour: hour, Domain: e.Domain, Username: e.Username}
		d.counts[key] = c
	}
	return c
}

// maxText is how many bytes of a text each store takes.
const maxText = 1024

func clip(s string) string { return mailtext.Clip(s, maxText) }

// clipTexts clips what others may have written. A store may refuse longer texts, and
// then everything that is recorded together with them.
func clipTexts(e *store.Event) {
	for _, s := range []*string{
		&e.From, &e.Author, &e.Recipient, &e.Subject, &e.MessageID, &e.Reply.Enhanced, &e.Reply.Text, &e.Reply.Host, &e.Field, &e.Reason,
	} {
		*s = clip(*s)
	}
}
