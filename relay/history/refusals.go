package history

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A gatherer adds up refusals that are the same, until they are recorded.
type gatherer struct {
	mu      sync.Mutex
	waiting map[string]*store.Event // by refusalID; of those omitted by user, too
	hour    time.Time               // the hour that kept is about
	kept    map[store.TenantID]map[string]bool
	total   int // of all tenants in kept
	lost    int64
}

const (
	// maxWaiting bounds the different refusals that wait to be recorded. Those
	// beyond it are omitted, and beyond twice as many lost.
	maxWaiting = 10_000

	// maxKept bounds the refusals of an hour that are remembered for all tenants.
	// A tenant may have fewKept nevertheless.
	maxKept = 50_000
	fewKept = 10

	// maxOfMessage bounds the recipients of one refused message that are recorded
	// one by one.
	maxOfMessage = 100
)

// outOfOrder is the reply to a command out of order (RFC 5321 section 4.1.4). A client
// that sends commands without waiting for replies (PIPELINING) gets it for each command
// after one that was refused, so it would count one message several times.
const outOfOrder = 503

const failRecord = "history: refusals are not recorded, trying again"

// OnRelayEvent records refusals. It is for [relay.Server].OnEvent, or to be called by a
// function that does more. It ignores other events.
//
// It records a [relay.MessageRefused] of a user that is logged in, except for commands
// out of order (503), which follow another refusal in the same message, and a
// [relay.LoginRefused] of a user that exists. It does not wait for the Store: refusals
// that are the same in user, field, code, reason, sender, recipient and network (/24,
// IPv6: /64) are added up, and recorded together each second by Run. A crash loses
// those of the last second.
func (h *History) OnRelayEvent(e relay.Event) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	switch e := e.(type) {
	case *relay.MessageRefused:
		if e.Identity != (credentials.Identity{}) && e.Code != outOfOrder {
			h.messageRefused(e, now)
		}
	case *relay.LoginRefused:
		if e.Identity != (credentials.Identity{}) {
			h.gather(loginRefused(e, now))
		}
	}
}

func (h *History) messageRefused(e *relay.MessageRefused, now time.Time) {
	r := store.Event{
		Kind: store.EventRefused, Time: now, Received: now,
		Tenant: e.Identity.Tenant, Domain: e.Identity.Domain, Username: e.Identity.Username,
		From: e.From, Author: e.Author, Subject: e.Subject, MessageID: e.MessageID, Remote: e.Remote, Size: e.Size,
		Reply: store.Reply{Code: e.Code, Enhanced: e.Enhanced, Text: e.Reason}, Field: string(e.Field), Reason: e.Reason, Times: 1,
	}
	if h.NoSubjects {
		r.Subject = ""
	}
	if len(e.To) == 0 {
		h.gather(r)
		return
	}
	for i, to := range e.To {
		if i == maxOfMessage {
			r = omitted(r)
			r.Times = len(e.To) - i
			h.gather(r)
			return
		}
		r.Recipient = to
		h.gather(r)
	}
}

func loginRefused(e *relay.LoginRefused, now time.Time) store.Event {
	reason := e.Cause.String()
	switch e.Cause {
	case relay.CauseNoTLS:
		reason = "no TLS; the password may have been sent in the clear, so reset it"
	case relay.CauseNotAllowed:
		reason = e.Reason
	}
	return store.Event{
		Kind: store.EventLoginRefused, Time: now, Received: now,
		Tenant: e.Identity.Tenant, Domain: e.Identity.Domain, Username: e.Identity.Username, Remote: e.Remote,
		Reply: store.Reply{Code: e.Code, Enhanced: e.Enhanced, Text: e.Reason}, Field: string(relay.FieldAuth), Reason: reason, Times: 1,
	}
}

// omitted returns the refusal that counts for one beyond MaxRefusals.
func omitted(r store.Event) store.Event {
	return store.Event{
		Kind: r.Kind, Time: r.Time, Received: r.Received, Tenant: r.Tenant, Domain: r.Domain, Username: r.Username,
		Field: fieldOmitted, Reason: "further refusals in this hour", Times: r.Times,
	}
}

// keepable reports whether a store can keep the event of this user. A store that cannot
// returns an error for all events that are recorded together with it.
func keepable(e *store.Event) bool {
	tenant := string(e.Tenant)
	return len(tenant) <= 255 && utf8.ValidString(tenant) && !strings.Contains(tenant, "\x00") &&
		len(e.Domain) <= maxText && len(e.Username) <= maxText
}

// gather adds a refusal to those that wait. It drops one that no store can keep, which
// would wait for ever: relay.Server.Submit takes any Identity.
func (h *History) gather(r store.Event) {
	if !keepable(&r) {
		h.logger().Error("history: a refusal is not recorded, because its Identity is too long or not text",
			"tenant", clip(string(r.Tenant)), "domain", clip(r.Domain), "username", clip(r.Username))
		return
	}
	clipTexts(&r)
	g := &h.gathered
	id := refusalID(&r)
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Field == fieldOmitted || !g.keep(id, &r, h.maxRefusals()) {
		if r.Field != fieldOmitted {
			r = omitted(r)
		}
		r.Mail = refusalID(&r)
		id = r.Mail + string(rune('0'+r.Kind)) + r.Domain + "\x00" + r.Username
	} else {
		r.Mail = id
	}
	g.add(id, r)
}

// keep reports whether a refusal is recorded as itself. The caller must hold g.mu.
func (g *gatherer) keep(id string, r *store.Event, most int) bool {
	if hour := r.Received.Truncate(time.Hour); !hour.Equal(g.hour) {
		g.hour, g.kept, g.total = hour, make(map[store.TenantID]map[string]bool), 0
	}
	kept := g.kept[r.Tenant]
	if !kept[id] {
		if len(kept) >= most || g.total >= maxKept && len(kept) >= fewKept || len(g.waiting) >= maxWaiting {
			return false
		}
		if kept == nil {
			kept = make(map[string]bool)
			g.kept[r.Tenant] = kept
		}
		kept[id] = true
		g.total++
	}
	return g.waiting[id] != nil || len(g.waiting) < maxWaiting
}

// add adds a refusal to the one that is the same. The caller must hold g.mu.
func (g *gatherer) add(id string, r store.Event) {
	w := g.waiting[id]
	switch {
	case w != nil:
		w.Times += r.Times
		if r.Time.After(w.Time) {
			w.Time = r.Time
		}
		if r.Received.Before(w.Received) {
			w.Received = r.Received
		}
	case len(g.waiting) >= 2*maxWaiting:
		g.lost += int64(r.Times)
	default:
		if g.waiting == nil {
			g.waiting = make(map[string]*store.Event)
		}
		g.waiting[id] = &r
	}
}

func (h *History) maxRefusals() int {
	if h.MaxRefusals > 0 {
		return h.MaxRefusals
	}
	return 1000
}

// record records what was gathered, each second until ctx ends, and then once more.
func (h *History) record(ctx context.Context) {
	for sleep(ctx, pace) {
		h.report(ctx, failRecord, h.flush(ctx))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	h.report(ctx, failRecord, h.flush(ctx))
}

// flush records what was gathered. If the store fails, the rest goes on waiting.
func (h *History) flush(ctx context.Context) error {
	g := &h.gathered
	g.mu.Lock()
	waiting, lost := g.waiting, g.lost
	g.waiting, g.lost = nil, 0
	g.mu.Unlock()
	if lost > 0 {
		h.logger().Warn("history: refusals were lost, because too many different ones waited to be recorded", "refusals", lost)
	}
	ids := make([]string, 0, len(waiting))
	for id := range waiting {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(a, b) })
	for part := range slices.Chunk(ids, batch/4) {
		events := make([]store.Event, len(part))
		for i, id := range part {
			events[i] = *waiting[id]
		}
		if err := h.recordEvents(ctx, events); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			for id, r := range waiting {
				g.add(id, *r)
			}
			return err
		}
		for _, id := range part {
			delete(waiting, id)
		}
	}
	return nil
}

func (h *History) recordEvents(ctx context.Context, events []store.Event) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return h.Store.Record(ctx, events)
}
