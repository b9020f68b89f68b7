package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// due checks what DueSetups returns.
func (t *setupper) due(now, until time.Time, limit int, want ...store.Setup) {
	t.Helper()
	got, err := t.DueSetups(t.Context(), now, until, limit)
	if err != nil {
		t.Fatalf("DueSetups: %v", err)
	}
	for i := range want {
		want[i].Next = until
	}
	if !slices.Equal(got, want) {
		t.Errorf("DueSetups(%v, %v, %d):\n got %+v\nwant %+v", now, until, limit, got, want)
	}
}

// dueAt adds a setup that is due after a time.
func (t *setupper) dueAt(domain string, after time.Duration) store.Setup {
	s := newSetup(acme, domain)
	s.Next = day.Add(after)
	return t.set(s)
}

var dueSetupPromises = []setupsPromise{
	{
		name:  "Due/LongestFirst",
		words: "DueSetups returns setups whose Next is not after now, at most limit, those that are due longest first, and sets their Next to until.",
		check: func(t *setupper) {
			a, b, c, d := t.dueAt("a.example", 3000), t.dueAt("b.example", 1000), t.dueAt("c.example", 2000), t.dueAt("d.example", 4000)
			now, until := day.Add(3000), day.Add(time.Hour)
			t.due(day, until, 9)
			t.due(now, until, 0)
			t.due(now, until, 2, b, c)
			t.due(now, until, 2, a)
			t.due(now, until, 2)
			t.due(day.Add(4000), until, 9, d)
		},
	},
	{
		name:  "Due/HiddenUntil",
		words: "No other call returns one of them meanwhile. Their Versions stay. They are returned with the new Next.",
		check: func(t *setupper) {
			a, until := t.dueAt("a.example", 0), day.Add(time.Hour)
			t.due(day, until, 9, a)
			a.Next = until
			t.has(a)
			t.due(until.Add(-time.Microsecond), until, 9)
			a.State = "failed" // with the Version that was returned
			a = t.set(a)
			t.due(until, until.Add(time.Hour), 9, a)
		},
	},
	{
		name:  "Due/OneCallerEach",
		words: "Each method is atomic and safe for concurrent use, in any number of processes.",
		check: func(t *setupper) {
			const n = 200
			for i := range n {
				t.dueAt(fmt.Sprintf("%03d.example", i), time.Duration(i%7)*time.Microsecond)
			}
			var mu sync.Mutex
			seen := make(map[string]int)
			var wg sync.WaitGroup
			for racer := range racers {
				wg.Go(func() {
					s := []store.Setups{t.Setups, t.second()}[racer%2]
					for range n {
						list, err := s.DueSetups(t.Context(), day.Add(time.Second), day.Add(time.Hour), 20)
						if err != nil {
							t.Errorf("DueSetups: %v", err)
							return
						}
						mu.Lock()
						for _, su := range list {
							seen[su.Domain]++
						}
						all := len(seen) == n
						mu.Unlock()
						if all {
							return
						}
					}
				})
			}
			wg.Wait()
			for domain, times := range seen {
				if times != 1 {
					t.Errorf("%s was returned %d times, want once", domain, times)
				}
			}
			if len(seen) != n {
				t.Errorf("%d setups were returned, want %d", len(seen), n)
			}
		},
	},
}
