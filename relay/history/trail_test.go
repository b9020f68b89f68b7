package history

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The trail has what each event said, in the order in which it happened, also if it
// was applied in another order.
func TestTrail(t *testing.T) {
	l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDeferred, 5).then(store.EventDelivered, 3).then(store.EventLateHardBounced, 90)
	l.events[0].Remote = netip.MustParseAddr("2001:db8::7")
	h := &History{Store: new(memory.Store)}
	for _, e := range slices.Backward(l.events) {
		if err := h.Store.Record(t.Context(), []store.Event{e}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.step(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	got := only(t, h, "m1")
	if got.Trail != "" || len(got.Events) != len(l.events) {
		t.Fatalf("%d events, trail %q", len(got.Events), got.Trail)
	}
	for i, e := range got.Events {
		if e.ID == "" {
			t.Errorf("event %d has no ID", i)
		}
		e.ID = ""
		if e != l.events[i] {
			t.Errorf("event %d is\n%+v, want\n%+v", i, e, l.events[i])
		}
	}
}

// No trail makes the decoder panic, or take much memory.
func FuzzTrail(f *testing.F) {
	e := newLife("m1", 0).then(store.EventDelivered, 1).events[0]
	f.Add(string(appendEntry(nil, appendEvent(nil, &e))))
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Add("\x03\x01\xff\xff")
	f.Fuzz(func(t *testing.T, trail string) {
		events, leftOut := eventsOf(&store.Activity{Trail: trail})
		again, same := eventsOf(&store.Activity{Trail: shorten(trail)})
		if leftOut < 0 || leftOut != same || !slices.Equal(events, again) {
			t.Errorf("%d events, %d left out, after shortening %d, %d", len(events), leftOut, len(again), same)
		}
	})
}
