package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatepost-mail/gatepost/store"
)

var spoolRacePromises = []spoolPromise{
	{
		name:  "Race/NeverSharedByTwo",
		words: hiddenWords,
		check: func(t *spooler) {
			for i := range 20 {
				t.put(fmt.Sprintf("m%d", i), 20)
			}
			var mu sync.Mutex
			seen := make(map[string]int)
			t.race(func(st store.Spool, racer int) error {
				for range 400 {
					leased, err := st.Lease(t.Context(), store.LeaseRequest{Node: node, Now: soon, Limit: 7})
					if err != nil || len(leased) == 0 {
						return err
					}
					mu.Lock()
					for _, l := range leased {
						seen[l.Delivery.Key()]++
					}
					mu.Unlock()
				}
				return nil
			})
			// One that finds all locked may give up early; the last does not.
			for _, l := range t.lease(soon, 1000) {
				seen[l.Delivery.Key()]++
			}
			for key, n := range seen {
				if n > 1 {
					t.Errorf("%s was leased %d times", key, n)
				}
			}
			if len(seen) != 400 {
				t.Errorf("leased %d deliveries, want 400", len(seen))
			}
		},
	},
	{
		name:  "Race/SettledOnce",
		words: lostWords,
		check: func(t *spooler) {
			for i := range rounds {
				id := fmt.Sprintf("m%d", i)
				t.put(id, 2)
				l := t.take(soon, 2)
				var kept [2]atomic.Int32
				t.race(func(st store.Spool, racer int) error {
					outcomes := []store.Outcome{done(l[0]), later(l[1], soon.AddDate(1, 0, 0))}
					if racer%3 == 0 {
						slices.Reverse(outcomes)
					}
					lost, err := st.Settle(t.Context(), outcomes)
					for _, o := range outcomes {
						if !slices.Contains(lost, o) {
							kept[o.N].Add(1)
						}
					}
					return err
				})
				if a, b := kept[0].Load(), kept[1].Load(); a != 1 || b != 1 {
					t.Errorf("of %d outcomes each, %d and %d were not lost, want 1", racers, a, b)
				}
				t.deep(store.Depth{Deliveries: int64(i + 1), Oldest: day})
			}
		},
	},
	{
		name:  "Race/LastRecipients",
		words: "With the last delivery of a mail the mail and its content are removed.",
		check: func(t *spooler) {
			for i := range rounds {
				id := fmt.Sprintf("m%d", i)
				t.put(id, racers)
				l := t.take(soon, racers)
				t.race(func(st store.Spool, racer int) error {
					lost, err := st.Settle(t.Context(), []store.Outcome{done(l[racer])})
					if len(lost) > 0 {
						t.Errorf("Settle: lost %+v", lost)
					}
					return err
				})
				t.gone(id)
				t.deep(store.Depth{})
			}
		},
	},
	{
		name: "Race/OneMail",
		words: "If a mail of this ID exists, Put changes nothing. " +
			"It returns ErrTaken if that mail differs in a field of Mail, in the number of its deliveries, in a Recipient, or in its content.",
		check: func(t *spooler) {
			for i := range rounds {
				id := fmt.Sprintf("m%d", i)
				contentOf := func(racer int) string { return strings.Repeat(fmt.Sprint(racer), 1+100_000*(racer%3)*(racer%2)*i) }
				var kept atomic.Int32
				t.race(func(st store.Spool, racer int) error {
					racer /= 2 // so that each mail is put twice
					m := newMail(id)
					m.EnvelopeID, m.Size = fmt.Sprint(racer), int64(len(contentOf(racer)))
					err := st.Put(t.Context(), m, newDeliveries(racer+1), strings.NewReader(contentOf(racer)))
					if err == nil {
						kept.Add(1)
					} else if errors.Is(err, store.ErrTaken) {
						err = nil
					}
					return err
				})
				if kept.Load() != 2 {
					t.Errorf("%d Puts of one ID returned nil, want the two of one mail", kept.Load())
				}
				var winner int
				leased := t.lease(soon, 100)
				if len(leased) == 0 {
					t.Fatal("no Put kept the mail")
				}
				_, err := fmt.Sscan(leased[0].Mail.EnvelopeID, &winner)
				t.ok(err, "the envelope id")
				if len(leased) != winner+1 {
					t.Errorf("got %d deliveries, want %d", len(leased), winner+1)
				}
				t.has(id, contentOf(winner))
				var outcomes []store.Outcome
				for _, l := range leased {
					outcomes = append(outcomes, done(l.Delivery))
				}
				t.settle(outcomes...)
				t.gone(id)
			}
		},
	},
	{
		name:  "Race/PutAndSettle",
		words: "each method is atomic and safe for concurrent use",
		check: func(t *spooler) {
			t.race(func(st store.Spool, racer int) error {
				for i := range 3 * rounds {
					id := fmt.Sprintf("r%dm%d", racer, i)
					m, d := newMail(id), newDeliveries(1+i%3)
					for n := range d {
						d[n].Node, d[n].Lease = node, 1
					}
					if err := st.Put(t.Context(), m, d, strings.NewReader(content(id))); err != nil {
						return err
					}
					outcomes := []store.Outcome{{Mail: id, Lease: 2, Done: true}} // lost; the others aren't
					for _, d := range ofMail(id, d) {
						outcomes = append(outcomes, done(d))
					}
					lost, err := st.Settle(t.Context(), outcomes)
					if err != nil {
						return err
					}
					if !slices.Equal(lost, outcomes[:1]) {
						return fmt.Errorf("settling: got lost %+v, want %+v", lost, outcomes[:1])
					}
				}
				return nil
			})
			t.deep(store.Depth{})
		},
	},
	{
		name:  "Race/PutIsWhole",
		words: "each method is atomic and safe for concurrent use",
		check: func(t *spooler) {
			var writing atomic.Int32
			writing.Store(racers - 2)
			t.race(func(st store.Spool, racer int) error {
				if racer < 2 { // who reads
					for writing.Load() > 0 {
						if err := t.whole(st, 3); err != nil {
							return err
						}
					}
					return nil
				}
				defer writing.Add(-1)
				for i := range rounds {
					m := newMail(fmt.Sprintf("r%dm%d", racer, i))
					m.Size = int64(1 + i*40_000)
					if err := st.Put(t.Context(), m, newDeliveries(3), pattern(m.Size)); err != nil {
						return err
					}
				}
				return nil
			})
			t.ok(t.whole(t, 3), "when all is done")
		},
	},
	{
		name:  "Race/OneBadCall",
		words: "each method is atomic and safe for concurrent use",
		check: func(t *spooler) {
			// If a call fails, no other call fails with it, even if both share a
			// commit.
			for i := range rounds {
				var good atomic.Int32
				t.race(func(st store.Spool, racer int) error {
					m := newMail(fmt.Sprintf("m%dr%d", i, racer))
					if racer%4 == 3 {
						m.From = strings.Repeat("x", 1<<20)
					}
					err := st.Put(t.Context(), m, newDeliveries(1), strings.NewReader(content(m.ID)))
					if racer%4 == 3 {
						return nil
					}
					if err == nil {
						good.Add(1)
					}
					return err
				})
				if good.Load() != racers/4*3 {
					t.Errorf("%d Puts succeeded, want %d", good.Load(), racers/4*3)
				}
			}
		},
	},
}

// whole reports a mail in the spool of which something is missing: one of its n
// recipients, or of its content, which is as pattern makes it.
func (t *spooler) whole(st store.Spool, n int) error {
	list, err := st.Deliveries(t.Context(), store.Filter{}, store.Page{Limit: 20_000})
	if err != nil {
		return err
	}
	recipients := make(map[store.Mail]int)
	for _, l := range list {
		recipients[l.Mail]++
	}
	for m, got := range recipients {
		if got != n {
			return fmt.Errorf("%s has %d recipients, want %d", m.ID, got, n)
		}
		body, err := st.Body(t.Context(), m.ID)
		if err != nil {
			return fmt.Errorf("%s is there, but its content: %w", m.ID, err)
		}
		err = equalStreams(body, pattern(m.Size))
		body.Close()
		if err != nil {
			return fmt.Errorf("the content of %s: %w", m.ID, err)
		}
	}
	return nil
}

// race calls f for every racer at once, on two handles in turn. An error ends
// the case.
func (t *spooler) race(f func(st store.Spool, racer int) error) {
	t.Helper()
	handles := []store.Spool{t.Spool, t.second()}
	errs := make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for racer := range racers {
		wg.Go(func() {
			<-start
			errs[racer] = f(handles[racer%2], racer)
		})
	}
	close(start)
	wg.Wait()
	for racer, err := range errs {
		if err != nil {
			t.Fatalf("racer %d: %v", racer, err)
		}
	}
}
