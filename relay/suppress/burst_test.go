package suppress_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A site that refuses all its recipients teaches nothing, and what it taught before that
// was noticed is forgotten. Other sites teach as before.
func TestBurst(t *testing.T) {
	for name, bounce := range map[string]func(l *list, i int) store.Event{
		"one domain": func(l *list, i int) store.Event {
			return l.event(store.EventHardBounced, fmt.Sprintf("u%d@big.example", i), fmt.Sprintf("mx%d.hosts%d.example", i, i), noSuchUser)
		},
		"one host of many domains": func(l *list, i int) store.Event {
			return l.event(store.EventHardBounced, fmt.Sprintf("bob@d%d.example", i), fmt.Sprintf("mx%d.big.example", i), noSuchUser)
		},
		"one address literal": func(l *list, i int) store.Event {
			return l.event(store.EventHardBounced, fmt.Sprintf("bob@d%d.example", i), "192.0.2.1", noSuchUser)
		},
		"the relay's own resolver": func(l *list, i int) store.Event {
			return l.event(store.EventHardBounced, fmt.Sprintf("bob@d%d.example", i), "", "550 5.1.2 the domain doesn't exist")
		},
		"late bounces": func(l *list, i int) store.Event {
			to := fmt.Sprintf("u%d@big.example", i)
			l.History = make(past)
			l.learn(l.event(store.EventDelivered, to, "smtp.upstream.example", "250 ok"))
			return l.event(store.EventLateHardBounced, to, "mx.big.example", noSuchUser)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newList(t)
				var log bytes.Buffer
				l.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
				var all []string
				var first store.Event
				for i := range 40 {
					e := bounce(l, i)
					l.learn(e)
					if all = append(all, e.Recipient); i == 0 {
						first = e
					}
					if i == 18 {
						l.refused(all...)
					}
					time.Sleep(time.Minute)
				}
				l.allowed(all...)
				if n := strings.Count(log.String(), "a site refuses most recipients"); n != 1 {
					t.Errorf("%d warnings, want one:\n%s", n, log.String())
				}
				l.learn(first) // it comes again
				l.allowed(all...)
				l.learn(l.event(store.EventHardBounced, "bob@other.example", "mx.other.example", noSuchUser))
				l.refused("bob@other.example")
				time.Sleep(time.Hour)
				e := bounce(l, 99)
				l.learn(e)
				l.refused(e.Recipient)
			})
		})
	}
}

// All of a burst may be in one call.
func TestBurstInOneCall(t *testing.T) {
	l := newList(t)
	var events []store.Event
	for i := range 100 {
		events = append(events, l.bounced(fmt.Sprintf("u%d@example.net", i), noSuchUser))
	}
	l.learn(events...)
	for _, e := range events {
		l.allowed(e.Recipient)
	}
}

// A list with dead addresses is not a burst, nor is one address that is tried often.
func TestNoBurst(t *testing.T) {
	l := newList(t)
	for i := range 100 {
		l.learn(l.delivered(fmt.Sprintf("ok%d@example.net", i)))
	}
	for i := range 100 {
		l.learn(l.bounced(fmt.Sprintf("u%d@example.net", i), noSuchUser))
	}
	for i := range 100 {
		l.refused(fmt.Sprintf("u%d@example.net", i))
	}

	l = newList(t)
	for range 100 {
		l.learn(l.bounced("bob@example.net", noSuchUser))
	}
	l.refused("bob@example.net")
}

// A burst forgets only what its own refusals have taught.
func TestBurstLeavesWhatWasLearnedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		l.learn(l.bounced("u5@example.net", noSuchUser))
		time.Sleep(2 * time.Hour)
		for i := range 40 {
			l.learn(l.bounced(fmt.Sprintf("u%d@example.net", i), noSuchUser))
		}
		l.refused("u5@example.net")
		l.allowed("u4@example.net", "u6@example.net")
	})
}

// A burst does not undo an entry that a person has changed.
func TestBurstLeavesWhatPeopleAdded(t *testing.T) {
	l := newList(t)
	for i := range 40 {
		l.learn(l.bounced(fmt.Sprintf("u%d@example.net", i), noSuchUser))
		if i == 10 {
			if err := l.Add(t.Context(), "acme", "u5@example.net", store.SuppressedByPerson, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.refused("u5@example.net")
	l.allowed("u4@example.net", "u6@example.net")
}
