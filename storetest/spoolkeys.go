package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	keyWords = "Unless m.Key is empty, Put keeps it for the Username in the same step, until KeyTime after m.Received, also when the mail is gone. " +
		"Until then a Put of another ID with that Username and Key changes nothing and returns a [*DuplicateError]."
	differsWords = "Its Differs says whether the Fingerprint is another one."
)

var keyPromises = []spoolPromise{
	{
		name:  "Put/Key",
		words: keyWords,
		check: func(t *spooler) {
			for i, size := range []int64{100, 1 << 20} {
				id, again := fmt.Sprintf("m%da", i), fmt.Sprintf("m%db", i)
				m := keyed(id, fmt.Sprint("k", i))
				m.Size = size
				t.ok(t.Put(t.Context(), m, newDeliveries(2), pattern(size)), "Put with a key")
				repeat := m
				repeat.ID = again
				t.duplicate(t.second(), repeat, id, false)
				t.gone(again)
				t.settle(done(t.lastOf(id)))
				d := t.lastOf(id)
				t.settle(done(d))
				t.gone(id)
				t.duplicate(t, repeat, id, false)
				t.gone(again)
			}
			t.put("m9a", 1) // mails without a key are not compared
			t.put("m9b", 1)
		},
	},
	{
		name:  "Put/KeyOfAnotherMail",
		words: differsWords,
		check: func(t *spooler) {
			t.putKeyed(keyed("m1", "k1"))
			other := keyed("m2", "k1")
			other.Fingerprint = "another"
			t.duplicate(t, other, "m1", true)
			t.gone("m2")
			t.duplicate(t, keyed("m3", "k1"), "m1", false)
		},
	},
	{
		name:  "Put/KeyOtherUser",
		words: keyWords,
		check: func(t *spooler) {
			t.putKeyed(keyed("m1", "k1"))
			other := keyed("m2", "k1")
			other.Username = "u2"
			t.putKeyed(other)
			t.putKeyed(keyed("m3", "K1"))
			t.putKeyed(keyed("m4", "k1 "))
			t.putKeyed(keyed("m5", strings.Repeat("k", 1024)))
			t.putKeyed(keyed("m6", strings.Repeat("k", 1023)+"\xff"))
			t.duplicate(t, keyed("m7", "k1"), "m1", false)
			t.deep(store.Depth{Deliveries: 6, Oldest: day})
		},
	},
	{
		name:  "Put/KeyTwice",
		words: "A Put of the same ID returns nil.",
		check: func(t *spooler) {
			m := keyed("m1", "k1")
			t.putKeyed(m)
			t.putKeyed(m) // by a caller that didn't hear of the first
			t.settle(done(t.lastOf("m1")))
			t.putKeyed(m)
			t.gone("m1")
		},
	},
	{
		name:  "Put/KeyOfAFailedPut",
		words: "A Put that fails keeps no Key.",
		check: func(t *spooler) {
			for _, size := range []int64{100, 1 << 20} {
				m := keyed("m1", "k1")
				m.Size = size
				if err := t.Put(t.Context(), m, newDeliveries(1), pattern(size-1)); err == nil {
					t.Error("Put of a short body: got no error")
				}
			}
			t.put("m2", 1)
			taken := keyed("m2", "k1")
			taken.From = "another@" + acmeDomain
			t.fails(t.Put(t.Context(), taken, newDeliveries(1), strings.NewReader(content("m2"))), store.ErrTaken, "Put of another mail with an ID that is taken")
			t.putKeyed(keyed("m3", "k1"))
		},
	},
	{
		name:  "Put/KeyAfterADay",
		words: "The time that counts is m.Received.",
		check: func(t *spooler) {
			t.putKeyed(keyed("m1", "k1"))
			later := keyed("m2", "k1")
			later.Received = day.Add(store.KeyTime - time.Microsecond)
			t.duplicate(t, later, "m1", false)
			later.Received = day.Add(store.KeyTime)
			t.putKeyed(later)
			again := keyed("m3", "k1")
			again.Received = day.Add(store.KeyTime + time.Hour)
			t.duplicate(t, again, "m2", false)
		},
	},
	{
		name:  "Put/KeyIsForPutOnly",
		words: "They are for Put only: what Lease and Deliveries return has neither.",
		check: func(t *spooler) {
			t.putKeyed(keyed("m1", "k1"))
			all := append(t.all(), t.lease(soon, 1)...)
			for _, l := range all {
				if l.Mail.Key != "" || l.Mail.Fingerprint != "" {
					t.Errorf("got the Key %q and the Fingerprint %q, want none", l.Mail.Key, l.Mail.Fingerprint)
				}
			}
		},
	},
	{
		name:  "Put/KeyRace",
		words: keyWords + " While the outcome of another such Put is not known, Put waits for it or fails.",
		check: func(t *spooler) {
			for i := range rounds {
				var kept atomic.Int32
				var winner atomic.Value
				first := make([]string, racers)
				t.race(func(st store.Spool, racer int) error {
					m := keyed(fmt.Sprintf("r%dm%d", i, racer), fmt.Sprintf("k%d", i))
					m.Size = int64(len(content(m.ID)))
					err := st.Put(t.Context(), m, newDeliveries(1), strings.NewReader(content(m.ID)))
					var dup *store.DuplicateError
					switch {
					case err == nil:
						kept.Add(1)
						winner.Store(m.ID)
					case errors.As(err, &dup) && !dup.Differs:
						first[racer] = dup.ID
						return nil
					}
					return err
				})
				if kept.Load() != 1 {
					t.Fatalf("%d of %d Puts with one key were kept, want 1", kept.Load(), racers)
				}
				for _, id := range first {
					if id != "" && id != winner.Load() {
						t.Errorf("got the first ID %q, want %q", id, winner.Load())
					}
				}
				t.deep(store.Depth{Deliveries: int64(i + 1), Oldest: day})
			}
		},
	},
}

// keyed returns a mail with a key and a fingerprint.
func keyed(id, key string) store.Mail {
	m := newMail(id)
	m.Key, m.Fingerprint = key, "the same"
	m.Size = int64(len(content(id)))
	return m
}

// putKeyed puts a mail of one recipient.
func (t *spooler) putKeyed(m store.Mail) {
	t.Helper()
	t.ok(t.Put(t.Context(), m, newDeliveries(1), strings.NewReader(content(m.ID))), "Put(%q) with the key %.20q", m.ID, m.Key)
}

// duplicate checks that a Put fails because of a mail that was put before.
func (t *spooler) duplicate(st store.Spool, m store.Mail, first string, differs bool) {
	t.Helper()
	var dup *store.DuplicateError
	err := st.Put(t.Context(), m, newDeliveries(1), pattern(m.Size))
	if !errors.As(err, &dup) || dup.ID != first || dup.Differs != differs {
		t.Errorf("Put(%q) with the key %.20q: got error %v, want a DuplicateError with the ID %q and Differs %v", m.ID, m.Key, err, first, differs)
	}
}
