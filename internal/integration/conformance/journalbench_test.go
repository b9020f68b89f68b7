package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// BenchmarkRecord submits messages over 10 connections to a relay whose queue
// records what becomes of them. The yardstick is the same relay without Record. Each
// has a database of its own. With accept and deliver nothing applies the records; with
// derive a History does it meanwhile, and each turn lasts until it has applied all. The
// cpu-ratio includes the processor time of the database servers.
func BenchmarkRecord(b *testing.B) {
	cpu := func() time.Duration { return yardstick.CPUTime() + services.CPUTime() }
	for _, backend := range []backend{sqliteModernc, postgresPgx, mariadb} {
		for _, what := range []string{"accept", "deliver", "derive"} {
			b.Run(backend.dialect.String()+"/"+what, func(b *testing.B) {
				load := func(record bool) func(int) error {
					_, st := backend.pool(b)
					q := &queue.Queue{Spool: st, Next: discard, Logger: quiet, Record: record}
					if what == "accept" {
						return submit(b, st, q, 10)
					}
					deliverTo(b, newSink(b), q)
					delivers := settled(b, st, submit(b, st, q, 10))
					if record && what == "derive" {
						return derived(b, st, delivers)
					}
					return delivers
				}
				yardstick.CompareCPU(b, turn, cpu, load(false), load(true))
			})
		}
	}
}

// derived returns a load during which a History applies what is recorded. It ends when
// nothing is left to apply.
func derived(b *testing.B, st store.History, load func(int) error) func(int) error {
	return func(n int) error {
		h := &history.History{Store: st, Logger: quiet}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		err := load(n)
		if err == nil { // Run would pause for a second before it applies the last events
			_, err = h.Tenant("none").Erase(ctx, "nobody@example.org")
		}
		cancel()
		return errors.Join(err, <-done)
	}
}

// BenchmarkApply applies activities, as they come of 1,000 tenants that send to
// 100,000 recipients, to a table that has so many already. It reports how long one
// takes.
func BenchmarkApply(b *testing.B) {
	for _, backend := range []backend{sqliteModernc, postgresPgx, mariadb} {
		b.Run(backend.dialect.String(), func(b *testing.B) {
			_, st := backend.pool(b)
			at := apply(b, st, now, 100_000, 1000)
			n := 0
			start := time.Now()
			for b.Loop() {
				at = apply(b, st, at, 10_000, 1000)
				n += 10_000
			}
			b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), "us/activity")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// applyAtOnce is how many activities one call of Apply changes.
const applyAtOnce = 2000

var applied atomic.Int64

// apply applies n activities, one each 2.5 ms from a time on, in the states in which
// they end, and returns when the last was received.
func apply(t testing.TB, st store.History, at time.Time, n, tenants int) time.Time {
	t.Helper()
	for n > 0 {
		var c store.Changes
		counts := make(map[string]*store.Count)
		for range min(n, applyAtOnce) {
			i := applied.Add(1)
			at = at.Add(2500 * time.Microsecond)
			a := store.Activity{
				Tenant: tenantNumber(rand.IntN(tenants)), Mail: fmt.Sprintf("0%09x%016x", at.UnixMilli(), i), Domain: "acme.example", Username: "u1",
				From: "shop@acme.example", Author: "anna@acme.example", Recipient: fmt.Sprintf("someone%d@example.net", rand.IntN(100_000)),
				Subject: fmt.Sprintf("Your order %d", i), MessageID: fmt.Sprintf("<%d@acme.example>", i), Received: at, Size: 4096,
				State: store.ActivityDelivered, Order: 4<<56 | at.UnixMicro(), Updated: at.Add(time.Second), Attempt: 1,
				Reply: store.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued", Host: "mx.example.net"}, Trail: string(fourKiB[:100]),
			}
			if i%50 == 0 {
				a.State, a.Reply.Code = store.ActivityHardBounced, 550
			}
			c.Activities = append(c.Activities, store.ActivityChange{Activity: a, Begins: true})
			key := string(a.Tenant)
			if counts[key] == nil {
				counts[key] = &store.Count{Tenant: a.Tenant, Hour: at.Truncate(time.Hour), Domain: a.Domain, Username: a.Username}
			}
			counts[key].Accepted++
		}
		for _, count := range counts {
			c.Counts = append(c.Counts, *count)
		}
		if err := st.Apply(t.Context(), nil, c); err != nil {
			t.Fatal(err)
		}
		n -= len(c.Activities)
	}
	return at
}

func tenantNumber(i int) store.TenantID { return store.TenantID(fmt.Sprintf("tenant%04d", i)) }

// rowsVariable is how many activities TestActivitiesAreQuick lists. Without it the test
// is skipped: filling tables takes minutes, and what it measures needs an idle machine.
const rowsVariable = "CONFORMANCE_ACTIVITIES"

// A page of activities takes at most 20 ms, however many there are.
func TestActivitiesAreQuick(t *testing.T) {
	var rows int
	if text := os.Getenv(rowsVariable); text == "" {
		t.Skip("it measures; " + rowsVariable + "=1000000 runs it")
	} else if _, err := fmt.Sscan(text, &rows); err != nil {
		t.Fatal(err)
	}
	for _, b := range databases() {
		t.Run(b.name, func(t *testing.T) {
			st := b.open(t, b.create(t))
			start := time.Now()
			end := apply(t, st, now, rows, 200)
			t.Logf("%d activities took %v, %.1f us each", rows, time.Since(start).Round(time.Second), float64(time.Since(start).Microseconds())/float64(rows))
			last := tenantNumber(7)
			page, err := st.Activities(t.Context(), last, store.ActivityFilter{Limit: 50})
			if err != nil || len(page.List) != 50 {
				t.Fatalf("Activities: got %d, %v", len(page.List), err)
			}
			some := page.List[10]
			for name, f := range map[string]store.ActivityFilter{
				"the first page":         {Limit: 50},
				"the second page":        {Limit: 50, After: page.Next},
				"a page of the past":     {Limit: 50, Until: now.Add(end.Sub(now) / 2)},
				"a recipient":            {Limit: 50, Recipient: some.Recipient},
				"a recipient of 30 days": {Limit: 50, Recipient: some.Recipient, From: end.AddDate(0, 0, -30)},
				"an unknown recipient":   {Limit: 50, Recipient: "nobody@example.org"},
				"bounces":                {Limit: 50, States: []store.ActivityState{store.ActivityHardBounced}},
				"none of a state":        {Limit: 50, States: []store.ActivityState{store.ActivityCanceled}},
				"an unknown text":        {Limit: 50, Contains: "no such text"},
			} {
				quick(t, name, func() error {
					_, err := st.Activities(t.Context(), last, f)
					return err
				})
			}
			quick(t, "the recipients of a mail", func() error {
				_, err := st.Recipients(t.Context(), last, some.Mail, store.RecipientFilter{})
				return err
			})
			largeMail(t, st, end)
			quick(t, "counts by hour", func() error {
				_, err := st.Counts(t.Context(), last, store.CountFilter{By: store.ByHour, From: end.AddDate(0, 0, -30)})
				return err
			})
			quick(t, "nothing to expire", func() error {
				_, err := st.Expire(t.Context(), now.AddDate(0, 0, -1), now.AddDate(0, 0, -1), 1000)
				return err
			})
		})
	}
}

// largeMail measures pages of a mail with 100,000 recipients, one of which bounced. All
// of them are looked at to find that one, or to count their states.
func largeMail(t *testing.T, st store.History, at time.Time) {
	t.Helper()
	var c store.Changes
	for n := range 100_000 {
		a := store.Activity{
			Tenant: "large", Mail: "large", N: n, Domain: "acme.example", Username: "u1", From: "shop@acme.example",
			Recipient: fmt.Sprintf("someone%d@example.net", n), Subject: "Your order", MessageID: "<1@acme.example>", Received: at, Size: 4096,
			State: store.ActivityDelivered, Order: 1, Updated: at, Attempt: 1, Reply: store.Reply{Code: 250, Text: "Ok: queued"}, Trail: string(fourKiB[:100]),
		}
		if n == 77_777 {
			a.State = store.ActivityHardBounced
		}
		c.Activities = append(c.Activities, store.ActivityChange{Activity: a, Begins: true})
		if len(c.Activities) == applyAtOnce {
			if err := st.Apply(t.Context(), nil, c); err != nil {
				t.Fatal(err)
			}
			c.Activities = nil
		}
	}
	for name, f := range map[string]store.RecipientFilter{
		"100 of 100,000 recipients": {}, "the last of 100,000": {From: 99_900}, "one of 100,000 by state": {States: []store.ActivityState{store.ActivityHardBounced}},
	} {
		quick(t, name, func() error {
			_, err := st.Recipients(t.Context(), "large", "large", f)
			return err
		})
	}
	quick(t, "states of 100,000", func() error {
		_, err := st.RecipientStates(t.Context(), "large", "large")
		return err
	})
}

// quick fails the test if a call takes more than 20 ms, the fastest of ten. A filter
// for a text, and one for the state in a large mail, read what they search, and may take
// ten times as long.
func quick(t *testing.T, name string, call func() error) {
	t.Helper()
	best := time.Hour
	for range 10 {
		start := time.Now()
		if err := call(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		best = min(best, time.Since(start))
	}
	t.Logf("%-25s %v", name, best.Round(10*time.Microsecond))
	limit := 20 * time.Millisecond
	if name == "an unknown text" || strings.Contains(name, "state") && strings.Contains(name, "100,000") {
		limit *= 10
	}
	if best > limit {
		t.Errorf("%s takes %v, want at most %v", name, best, limit)
	}
}
