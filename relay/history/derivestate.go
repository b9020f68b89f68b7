package history

import "github.com/gatepost-mail/gatepost/store"

// phase returns how far an event brings a recipient. The event with the greatest phase
// decides the state; within one phase the latest does. So the clocks of nodes may
// differ.
func phase(k store.EventKind) int64 {
	switch k {
	case store.EventAccepted, store.EventRefused, store.EventLoginRefused:
		return 1
	case store.EventWaiting, store.EventDeferred:
		return phaseWait
	case store.EventDelivered, store.EventSoftBounced, store.EventHardBounced, store.EventCanceled:
		return phaseEnd
	case store.EventLateSoftBounced, store.EventLateHardBounced:
		return phaseLate
	}
	return phaseNote
}

const (
	phaseWait = 2
	phaseEnd  = 4
	phaseLate = 5
	phaseNote = 6 // only the trail has it
)

// orderOf returns the Order of the state that an event leads to; 0 if it leads to
// none. Events of one recipient and kind that happened in the same microsecond have
// the same: clocks that differ can make two attempts look so. Then the later attempt
// decides. Two events of one attempt differ in nothing that a state has, or the lease of
// the first had ended; then the first of them that is applied decides.
func orderOf(e *store.Event) int64 {
	p := phase(e.Kind)
	if p == phaseNote {
		return 0
	}
	return p<<60 | max(0, e.Time.UnixMicro())&(1<<56-1)<<4 | int64(e.Kind)&15
}

func phaseOf(order int64) int64 { return order >> 60 }

// stateOf returns the state that an event leads to; 0 if it leads to none.
func stateOf(k store.EventKind) store.ActivityState {
	switch k {
	case store.EventAccepted:
		return store.ActivityAccepted
	case store.EventWaiting:
		return store.ActivityPending
	case store.EventDeferred:
		return store.ActivityDeferred
	case store.EventDelivered:
		return store.ActivityDelivered
	case store.EventSoftBounced, store.EventLateSoftBounced:
		return store.ActivitySoftBounced
	case store.EventHardBounced, store.EventLateHardBounced:
		return store.ActivityHardBounced
	case store.EventCanceled:
		return store.ActivityCanceled
	case store.EventRefused, store.EventLoginRefused:
		return store.ActivityRejected
	}
	return 0
}

// become gives an activity the state that an event leads to, unless it has a state of
// a greater order.
func become(a *store.Activity, e *store.Event) {
	order := orderOf(e)
	if order == 0 || order < a.Order || order == a.Order && e.Attempt <= a.Attempt {
		return
	}
	a.State, a.Order, a.Updated, a.Attempt = stateOf(e.Kind), order, e.Time, e.Attempt
	a.Reply = store.Reply{Code: e.Reply.Code, Enhanced: clip(e.Reply.Enhanced), Text: clip(e.Reply.Text), Host: clip(e.Reply.Host)}
	a.Field, a.Reason, a.NextAttempt = clip(e.Field), clip(e.Reason), e.NextAttempt
}
