package console

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// kinds has the names, the texts and the looks of all kinds of events.
var kinds = map[store.EventKind]struct {
	name, word, kind, shape string
	state                   store.ActivityState // whose advice the reply gets
}{
	store.EventAccepted:        {"accepted", "event.accepted", "none", "dot", 0},
	store.EventWaiting:         {"waiting", "event.waiting", "held", "pause", store.ActivityPending},
	store.EventDeferred:        {"deferred", "event.deferred", "held", "clock", store.ActivityDeferred},
	store.EventDelivered:       {"delivered", "event.delivered", "good", "check", 0},
	store.EventSoftBounced:     {"soft-bounced", "event.soft-bounced", "bad", "back", store.ActivitySoftBounced},
	store.EventHardBounced:     {"hard-bounced", "event.hard-bounced", "bad", "cross", store.ActivityHardBounced},
	store.EventCanceled:        {"canceled", "event.canceled", "none", "dash", 0},
	store.EventLateSoftBounced: {"late-soft-bounced", "event.late-soft-bounced", "bad", "back", store.ActivitySoftBounced},
	store.EventLateHardBounced: {"late-hard-bounced", "event.late-hard-bounced", "bad", "cross", store.ActivityHardBounced},
	store.EventRefused:         {"refused", "event.refused", "bad", "barred", 0},
	store.EventLoginRefused:    {"login-refused", "event.refused", "bad", "barred", 0},
	store.EventReported:        {"reported", "event.reported", "held", "back", 0},
}

// nameOfKind returns the name of a kind of event in JSON. A kind of a later version has a
// name of the same form.
func nameOfKind(kind store.EventKind) string {
	return cmp.Or(kinds[kind].name, strings.ReplaceAll(kind.String(), " ", "-"))
}

// EventWord returns what happened at an event.
func (req *request) EventWord(kind store.EventKind) string {
	if word := kinds[kind].word; word != "" {
		return req.T(word)
	}
	return kind.String()
}

// A trailEntry is one event of the trail of a recipient, as the page shows it.
type trailEntry struct {
	store.Event
	Kind, Shape string
	Word        string // what happened
	Advice      string // what the reply means
	Next        bool   // whether to say when it is tried again
	By          string // who canceled it
	Says        string // the words of the server, or the reason
}

// A trail is the data of the template "trail".
type trail struct {
	*request
	Entries []trailEntry
	LeftOut int
}

// Trail returns what happened to a recipient.
func (req *request) Trail(events []store.Event, leftOut int) trail {
	return trail{req, req.entries(events), leftOut}
}

func (req *request) entries(events []store.Event) (list []trailEntry) {
	for i, e := range events {
		k := kinds[e.Kind]
		entry := trailEntry{Event: e, Kind: k.kind, Shape: k.shape, Word: req.EventWord(e.Kind), Says: says(e.Reply, e.Reason)}
		if k.state != 0 && req.op == nil { // the advice is for customers
			a := store.Activity{State: k.state, Reply: e.Reply, Reason: e.Reason, Domain: e.Domain}
			entry.Advice = req.AdviceOn(a)
		}
		entry.Next = i == len(events)-1 && !e.NextAttempt.IsZero()
		if e.Kind != store.EventAccepted && e.Kind != store.EventRefused && e.Kind != store.EventLoginRefused {
			entry.Remote = netip.Addr{} // that of the client, who has no part in it
		}
		switch e.Kind {
		case store.EventWaiting:
			entry.Word, entry.Says = req.waitingFor(e.Reason)
		case store.EventCanceled:
			if by, ok := strings.CutPrefix(e.Reason, canceledBy); ok {
				entry.By, entry.Says = by, ""
			}
		}
		if req.op != nil {
			entry.Says = req.sayWhere(entry.Says)
		}
		if entry.Advice != "" && store.IsInternal(e.Reason) { // the advice says it in the visitor's language
			entry.Says = ""
		}
		list = append(list, entry)
	}
	return list
}

// waitingFor returns why a recipient waits: a text of ours, or the reason as it is.
func (req *request) waitingFor(reason string) (word, says string) {
	switch reason {
	case "released":
		return req.T("event.released"), ""
	case "to be tried at once":
		return req.T("event.retried"), ""
	}
	return req.T("event.waiting"), reason
}
