package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// manyRetries is the life of a recipient that was tried n times.
func manyRetries(n int) *life {
	l := newLife("m1", 0).then(store.EventAccepted, 0)
	for i := range n {
		kind := store.EventDeferred
		if i%10 == 3 {
			kind = store.EventWaiting
		}
		l.then(kind, 10+i)
	}
	return l
}

// A trail has the first and the newest retries, says how many are left out, and has
// every other event, in whatever order they were applied.
func TestManyRetries(t *testing.T) {
	l := manyRetries(400).then(store.EventDelivered, 7).then(store.EventLateHardBounced, 2000)
	want := slices.Concat(l.events[:1+firstRetries], l.events[401-newestRetries:])
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		h := &History{Store: new(memory.Store)}
		events := slices.Clone(l.events)
		if seed > 0 {
			r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		}
		for rest := events; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(30))
			put(t, h.Store, rest[:n]...)
			rest = rest[n:]
			if _, err := h.step(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		got := only(t, h, "m1")
		for i := range got.Events {
			got.Events[i].ID = ""
		}
		if got.LeftOut != 300 || !slices.Equal(got.Events, want) {
			t.Fatalf("seed %d: %d events, %d left out, want %d and 300", seed, len(got.Events), got.LeftOut, len(want))
		}
		list, err := h.Store.Recipients(t.Context(), "acme", "m1", store.RecipientFilter{})
		if err != nil || len(entriesOf(list[0].Trail)) > 250 {
			t.Errorf("seed %d: %d entries are stored, %v", seed, len(entriesOf(list[0].Trail)), err)
		}
	}
}

// The trail of a recipient that is tried for ever stays short, and counts what is left
// out. One that was erased in between stays empty.
func TestEndlessRetries(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	for i := range 3000 {
		e := newLife("m1", 0).then(store.EventDeferred, i).events[0]
		e.Attempt = i + 1
		put(t, h.Store, e)
		if _, err := h.step(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	list, err := h.Store.Recipients(t.Context(), "acme", "m1", store.RecipientFilter{})
	if err != nil || len(list[0].Trail) > 64<<10 {
		t.Errorf("the trail has %d bytes, %v", len(list[0].Trail), err)
	}
	got := only(t, h, "m1")
	if len(got.Events) != firstRetries+newestRetries || got.LeftOut != 2900 || got.Events[50].Attempt != 2951 || got.Attempt != 3000 {
		t.Errorf("%d events, %d left out, %+v", len(got.Events), got.LeftOut, got.Activity)
	}
	if _, err := h.Tenant("acme").Erase(t.Context(), "bob0@example.com"); err != nil {
		t.Fatal(err)
	}
	put(t, h.Store, newLife("m1", 0).then(store.EventWaiting, 9999).events...)
	activities(t, h, store.ActivityFilter{})
	if got := only(t, h, "m1"); len(got.Events) != 0 || got.LeftOut != 0 {
		t.Errorf("%+v", got)
	}
}

// What this version cannot read stays in a trail, and several marks are added up.
func TestShortenUnknown(t *testing.T) {
	var trail []byte
	for _, e := range manyRetries(150).events {
		trail = appendEntry(trail, appendEvent(nil, &e))
	}
	unknown := "\x02\x09x" + "\x00"
	marks := fmt.Sprintf("\x02%c\x05\x02%c\x07", trailMark, trailMark)
	short := shorten(unknown + string(trail) + marks)
	events, leftOut := eventsOf(&store.Activity{Trail: short})
	if short[:len(unknown)] != unknown || len(events) != 101 || leftOut != 62 || shorten(short) != short {
		t.Errorf("%d events, %d left out, %q", len(events), leftOut, short[:10])
	}
}

// Each event that shortens a trail asks for its activity; most events do not.
func TestShortens(t *testing.T) {
	n := 0
	for i := range 1000 {
		if shortens(&store.Event{Kind: store.EventDeferred, Attempt: i, Time: time.Now()}) {
			n++
		}
	}
	if n != 17 {
		t.Errorf("%d of 1000 attempts shorten the trail, want 17", n)
	}
}
