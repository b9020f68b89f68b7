package console

import (
	"cmp"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// A pill is how pages show a state: a word, a colour and a shape. Only states of
// recipients have a Name, a Means and a Shape.
type pill struct {
	Name  string // in JSON and in addresses
	Word  string
	Means string // one sentence
	Kind  string // the colour: good, held, wait, bad or none
	Shape string // of the template "shape"; "" is a dot
}

// states has the names, the texts and the looks of all states.
var states = map[store.ActivityState]struct{ name, word, means, kind, shape string }{
	store.ActivityRejected:    {"rejected", "state.rejected", "state.rejected.means", "bad", "barred"},
	store.ActivityAccepted:    {"accepted", "state.accepted", "state.accepted.means", "none", "dot"},
	store.ActivityPending:     {"pending", "state.pending", "state.pending.means", "held", "pause"},
	store.ActivityDelivered:   {"delivered", "state.delivered", "state.delivered.means", "good", "check"},
	store.ActivityDeferred:    {"deferred", "state.deferred", "state.deferred.means", "held", "clock"},
	store.ActivitySoftBounced: {"soft-bounced", "state.soft-bounced", "state.soft-bounced.means", "bad", "back"},
	store.ActivityHardBounced: {"hard-bounced", "state.hard-bounced", "state.hard-bounced.means", "bad", "cross"},
	store.ActivityCanceled:    {"canceled", "state.canceled", "state.canceled.means", "none", "dash"},
}

// inOrder are the states in the order in which pages list them.
var inOrder = []store.ActivityState{
	store.ActivityAccepted, store.ActivityPending, store.ActivityDeferred, store.ActivityDelivered,
	store.ActivitySoftBounced, store.ActivityHardBounced, store.ActivityCanceled, store.ActivityRejected,
}

// stateGroups has what the filter by state may be: a state, or a group of states.
var stateGroups = func() map[string][]store.ActivityState {
	groups := map[string][]store.ActivityState{
		"waiting":  {store.ActivityAccepted, store.ActivityPending, store.ActivityDeferred},
		"problems": {store.ActivityRejected, store.ActivityDeferred, store.ActivitySoftBounced, store.ActivityHardBounced},
	}
	for state, s := range states {
		groups[s.name] = []store.ActivityState{state}
	}
	return groups
}()

// waits reports whether a recipient in a state may be in the queue.
func waits(s store.ActivityState) bool {
	return s == store.ActivityAccepted || s == store.ActivityPending || s == store.ActivityDeferred
}

// nameOfState returns the name of a state in JSON. A state of a later version has a name
// of the same form.
func nameOfState(state store.ActivityState) string {
	return cmp.Or(states[state].name, strings.ReplaceAll(state.String(), " ", "-"))
}

// Pill returns how a state is shown. A state of a later version is shown by its name.
func (req *request) Pill(state store.ActivityState) pill {
	s, ok := states[state]
	if !ok {
		return pill{Name: nameOfState(state), Word: state.String(), Kind: "none", Shape: "dot"}
	}
	return pill{s.name, req.T(s.word), req.T(s.means), s.kind, s.shape}
}

// StateChoices returns the options of the filter by state.
func (req *request) StateChoices(chosen string) []choice {
	list := []choice{
		{"", req.T("activity.state.all"), chosen == ""},
		{"problems", req.T("activity.state.problems"), chosen == "problems"},
		{"waiting", req.T("activity.state.waiting"), chosen == "waiting"},
	}
	for _, s := range inOrder {
		p := req.Pill(s)
		list = append(list, choice{p.Name, p.Word, chosen == p.Name})
	}
	return list
}
