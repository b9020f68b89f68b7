package history

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// result is all that a test compares.
type result struct {
	activities map[activityKey]string
	counts     map[countKey]store.Count
}

// applied records events in parts, and applies each part by itself.
func applied(t *testing.T, parts [][]store.Event) result {
	t.Helper()
	h := &History{Store: new(memory.Store)}
	keys := make(map[activityKey]bool)
	tenants := make(map[store.TenantID]bool)
	for _, part := range parts {
		if err := h.Store.Record(t.Context(), part); err != nil {
			t.Fatal(err)
		}
		if n, err := h.step(t.Context(), batch); n != len(part) || err != nil {
			t.Fatalf("step applied %d events of %d: %v", n, len(part), err)
		}
		for i := range part {
			keys[keyOf(&part[i])] = true
			tenants[part[i].Tenant] = true
		}
	}
	return resultOf(t, h.Store, slices.Collect(maps.Keys(keys)), slices.Collect(maps.Keys(tenants)))
}

func keyOf(e *store.Event) activityKey {
	if isRefusal(e.Kind) {
		return activityKey{e.Tenant, refusalID(e), 0}
	}
	return activityKey{e.Tenant, e.Mail, e.N}
}

func resultOf(t *testing.T, st store.History, keys []activityKey, tenants []store.TenantID) result {
	t.Helper()
	r := result{make(map[activityKey]string), make(map[countKey]store.Count)}
	for _, key := range keys {
		list, err := st.Recipients(t.Context(), key.tenant, key.mail, store.RecipientFilter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			events, leftOut := eventsOf(&a)
			for i := range events {
				events[i].ID = ""
			}
			a.Trail = fmt.Sprint(leftOut, events)
			r.activities[activityKey{a.Tenant, a.Mail, a.N}] = fmt.Sprintf("%+v", a)
		}
	}
	for _, tenant := range tenants {
		counts, err := st.Counts(t.Context(), tenant, store.CountFilter{From: noon.AddDate(-1, 0, 0), Until: noon.AddDate(1, 0, 0), By: store.ByUser})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range counts {
			r.counts[countKey{tenant, 0, c.Domain, c.Username}] = c
		}
	}
	return r
}

// The rules, one by one: each list of events leads to this state and these counts,
// applied together, one by one, and one by one backwards.
func TestRules(t *testing.T) {
	const (
		accepted, waiting, deferred = store.EventAccepted, store.EventWaiting, store.EventDeferred
		delivered, soft, hard       = store.EventDelivered, store.EventSoftBounced, store.EventHardBounced
		canceled, lateSoft, late    = store.EventCanceled, store.EventLateSoftBounced, store.EventLateHardBounced
		reported                    = store.EventReported
	)
	for _, test := range []struct {
		name   string
		kinds  []store.EventKind
		state  store.ActivityState
		counts store.Count
	}{
		{"accepted", []store.EventKind{accepted}, store.ActivityAccepted, store.Count{}},
		{"waiting", []store.EventKind{accepted, waiting}, store.ActivityPending, store.Count{}},
		{"deferred", []store.EventKind{accepted, waiting, deferred, deferred}, store.ActivityDeferred, store.Count{Deferred: 2}},
		{"waiting again", []store.EventKind{accepted, deferred, waiting}, store.ActivityPending, store.Count{Deferred: 1}},
		{"delivered", []store.EventKind{accepted, deferred, delivered}, store.ActivityDelivered, store.Count{Deferred: 1, Delivered: 1}},
		{"soft", []store.EventKind{accepted, deferred, soft}, store.ActivitySoftBounced, store.Count{Deferred: 1, SoftBounced: 1}},
		{"hard", []store.EventKind{accepted, hard}, store.ActivityHardBounced, store.Count{HardBounced: 1}},
		{"canceled", []store.EventKind{accepted, waiting, canceled}, store.ActivityCanceled, store.Count{Canceled: 1}},
		{"late hard", []store.EventKind{accepted, delivered, late}, store.ActivityHardBounced, store.Count{HardBounced: 1}},
		{"late soft", []store.EventKind{accepted, delivered, lateSoft}, store.ActivitySoftBounced, store.Count{SoftBounced: 1}},
		{"late twice", []store.EventKind{accepted, delivered, late, late}, store.ActivityHardBounced, store.Count{HardBounced: 1}},
		{"late soft, then hard", []store.EventKind{accepted, delivered, lateSoft, late}, store.ActivityHardBounced, store.Count{HardBounced: 1}},
		{"late after a bounce", []store.EventKind{accepted, soft, late}, store.ActivityHardBounced, store.Count{HardBounced: 1}},
		{"late after canceled", []store.EventKind{accepted, canceled, late}, store.ActivityHardBounced, store.Count{HardBounced: 1}},
		{"reported", []store.EventKind{accepted, delivered, reported}, store.ActivityDelivered, store.Count{Delivered: 1}},
		{"a kind of a later version", []store.EventKind{accepted, delivered, 99}, store.ActivityDelivered, store.Count{Delivered: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLife("m1", 0)
			for i, k := range test.kinds {
				l.then(k, i)
			}
			together := applied(t, [][]store.Event{l.events})
			var single [][]store.Event
			for _, e := range l.events {
				single = append(single, []store.Event{e})
			}
			compare(t, "one by one", applied(t, single), together)
			slices.Reverse(single)
			compare(t, "backwards", applied(t, single), together)

			h := &History{Store: new(memory.Store)}
			h.Store.Record(t.Context(), l.events)
			h.step(t.Context(), batch)
			if list, err := h.Store.Recipients(t.Context(), "acme", "m1", store.RecipientFilter{}); err != nil || list[0].State != test.state {
				t.Errorf("%v, state %d, want %d", err, list[0].State, test.state)
			}
			want := test.counts
			want.Tenant, want.Domain, want.Username, want.Accepted, want.Bytes = "acme", "acme.example", "u1", 1, 100
			if got := together.counts[countKey{"acme", 0, "acme.example", "u1"}]; got != want {
				t.Errorf("counts\n%+v, want\n%+v", got, want)
			}
		})
	}
}

func only(t *testing.T, h *History, mail string) Recipient {
	t.Helper()
	page, err := h.Tenant("acme").Mail(t.Context(), mail, store.RecipientFilter{})
	if err != nil || len(page.Recipients) != 1 || page.Next != 0 {
		t.Fatalf("%d recipients, next %d, %v, want 1", len(page.Recipients), page.Next, err)
	}
	return page.Recipients[0]
}

func compare(t *testing.T, what string, got, want result) {
	t.Helper()
	for key := range want.activities {
		if got.activities[key] != want.activities[key] {
			t.Errorf("%s: activity %v is\n%s, want\n%s", what, key, got.activities[key], want.activities[key])
		}
	}
	if !maps.Equal(got.counts, want.counts) {
		t.Errorf("%s: counts are\n%+v, want\n%+v", what, got.counts, want.counts)
	}
}

// Any order and any batches of the same events give the same activities and counts.
// In the end each count is the number of activities with that state.
func TestAnyOrder(t *testing.T) {
	seeds := uint64(60)
	if os.Getenv("GATEPOST_LONG") != "" {
		seeds = 1000
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		var events []store.Event
		for m := range 1 + r.IntN(3) {
			for n := range 1 + r.IntN(3) {
				events = append(events, someLife(r, fmt.Sprintf("m%d", m), n)...)
			}
		}
		events = append(events, someRefusals(r)...)
		want := applied(t, [][]store.Event{events})
		for range 4 {
			r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
			var parts [][]store.Event
			for rest := events; len(rest) > 0; {
				n := 1 + r.IntN(min(len(rest), 6))
				parts = append(parts, rest[:n])
				rest = rest[n:]
			}
			compare(t, fmt.Sprintf("seed %d", seed), applied(t, parts), want)
		}
		checkCounts(t, seed, events, want)
		if t.Failed() {
			return
		}
	}
}

// checkCounts compares counts with what the events say, each recipient by itself.
func checkCounts(t *testing.T, seed uint64, events []store.Event, r result) {
	t.Helper()
	want := make(map[countKey]store.Count)
	last := make(map[activityKey]*store.Event)
	for i := range events {
		e := &events[i]
		key := countKey{e.Tenant, 0, e.Domain, e.Username}
		c := want[key]
		c.Tenant, c.Domain, c.Username = e.Tenant, e.Domain, e.Username
		switch e.Kind {
		case store.EventAccepted:
			c.Accepted++
			c.Bytes += e.Size
		case store.EventDeferred:
			c.Deferred++
		case store.EventRefused:
			c.Rejected += int64(max(1, e.Times))
		}
		if c.Accepted+c.Deferred+c.Rejected > 0 {
			want[key] = c
		}
		if was := last[keyOf(e)]; stateOf(e.Kind) != 0 && (was == nil || orderOf(was) < orderOf(e)) {
			last[keyOf(e)] = e
		}
	}
	for _, e := range last {
		key := countKey{e.Tenant, 0, e.Domain, e.Username}
		c := want[key]
		add(&c, stateOf(e.Kind), 1)
		if !isRefusal(e.Kind) {
			want[key] = c
		}
	}
	if !maps.Equal(r.counts, want) {
		t.Errorf("seed %d: counts are\n%+v, want\n%+v", seed, r.counts, want)
	}
}

// Two events in the same microsecond lead to the same state in either order.
func TestSameTime(t *testing.T) {
	l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDeferred, 5).then(store.EventWaiting, 5)
	a, b, c := l.events[:1], l.events[1:2], l.events[2:]
	compare(t, "the other order", applied(t, [][]store.Event{a, c, b}), applied(t, [][]store.Event{a, b, c}))
}

// If the clocks of two nodes make two attempts look as if they had happened in the same
// microsecond, the trail has them in the order of their numbers all the same, and the state
// is that of the last.
func TestSameTimeOfAttempts(t *testing.T) {
	l := newLife("m1", 0).then(store.EventAccepted, 0).then(store.EventDeferred, 5).then(store.EventDeferred, 5)
	a, b, c := l.events[:1], l.events[1:2], l.events[2:]
	for name, parts := range map[string][][]store.Event{
		"in order": {a, b, c}, "the other order": {a, c, b}, "together": {{a[0], c[0], b[0]}},
	} {
		h := &History{Store: new(memory.Store)}
		for _, part := range parts {
			if err := h.Store.Record(t.Context(), part); err != nil {
				t.Fatal(err)
			}
			if _, err := h.step(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		got := only(t, h, "m1")
		if got.Attempt != 2 || !got.NextAttempt.Equal(c[0].NextAttempt) {
			t.Errorf("%s: the state is that of attempt %d, next %v", name, got.Attempt, got.NextAttempt)
		}
		for i, e := range got.Events {
			if e.Attempt != i {
				t.Errorf("%s: event %d of the trail is attempt %d", name, i, e.Attempt)
			}
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	var events []store.Event
	for i := range batch / 2 {
		events = append(events, newLife(fmt.Sprintf("m%d", i), 0).then(store.EventAccepted, 0).then(store.EventDelivered, 1).events...)
	}
	b.ReportAllocs()
	for b.Loop() {
		derive(sorted([]store.Record{{Events: events}}), nil)
	}
	b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "events/s")
}
