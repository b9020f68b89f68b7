package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing/iotest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var putPromises = []spoolPromise{
	{
		name: "Put/AsGiven",
		words: "Put keeps a mail, its content (the m.Size bytes of body) and its deliveries: at least one and at most MaxDeliveries, " +
			"which Put numbers from 0 in the order given, whatever their Mail and N say. Everything else of them is kept as given.",
		check: func(t *spooler) {
			plain := store.Mail{ID: "m0", Tenant: acme, Received: day}
			one := []store.Delivery{{Mail: "other", N: 7, Recipient: "bob@example.net"}}
			t.holds(plain, t.putAs(plain, one, ""), "")

			many := newDeliveries(3)
			many[1] = store.Delivery{
				Recipient: "carol@example.net", Notify: "NEVER", OriginalRecipient: "rfc822;c@example.net",
				Destination: "example.net", Node: "n7", Lease: 5, Next: due, Tried: day, Attempts: 4, Deaths: 3, Delayed: true, Idle: 90 * time.Minute, Reason: "550 no",
			}
			many[2].Held = true
			t.holds(newMail("m1"), t.putAs(newMail("m1"), many, "to all"), "to all")
			t.holds(plain, ofMail("m0", one), "")
		},
	},
	{
		name: "Put/Deliveries",
		words: "Put keeps a mail, its content (the m.Size bytes of body) and its deliveries: at least one and at most MaxDeliveries, " +
			"which Put numbers from 0 in the order given, whatever their Mail and N say.",
		check: func(t *spooler) {
			for _, n := range []int{0, store.MaxDeliveries + 1} {
				if err := t.Put(t.Context(), newMail("m1"), newDeliveries(n), strings.NewReader(content("m1"))); err == nil {
					t.Errorf("Put with %d deliveries: got no error", n)
				}
				t.gone("m1")
			}
		},
	},
	{
		name:  "Put/Leased",
		words: "So a delivery with a Node is leased to that node from the start.",
		check: func(t *spooler) {
			two := newDeliveries(2)
			two[0].Node, two[0].Lease = node, 1
			put := t.putAs(newMail("m1"), two, "x")
			got := t.lease(soon, 10)
			if len(got) != 1 || got[0].Delivery.N != 1 {
				t.Fatalf("Lease: got %+v, want only the delivery that isn't leased", got)
			}
			t.settle(done(put[0]), done(got[0].Delivery))
			t.gone("m1")
		},
	},
	{
		name: "Put/Twice",
		words: "If a mail of this ID exists, Put changes nothing. " +
			"It returns nil if that mail is the same, so a Put whose outcome is unknown may be repeated.",
		check: func(t *spooler) {
			put := t.put("m1", 2)
			again := newDeliveries(2)
			again[0].Node, again[1].Next = "n9", soon // what happens to it isn't what it is
			t.ok(t.Put(t.Context(), newMail("m1"), again, strings.NewReader(content("m1"))), "the same Put again")
			t.holds(newMail("m1"), put, content("m1"))

			leased := t.lease(soon, 1)
			t.settle(done(leased[0].Delivery))
			t.put("m1", 2) // by a caller that didn't hear of the first
			t.holds(newMail("m1"), put[1:], content("m1"))

			for _, size := range []int64{100_000, 3 << 20} {
				large := newMail("m2")
				large.Size = size
				for range 2 {
					t.ok(t.Put(t.Context(), large, newDeliveries(1), pattern(size)), "Put of %d bytes", size)
				}
				t.settle(done(t.lastOf("m2")))
			}
		},
	},
	{
		name: "Put/AnotherMail",
		words: "If a mail of this ID exists, Put changes nothing. " +
			"It returns ErrTaken if that mail differs in a field of Mail, in the number of its deliveries, in a Recipient, or in its content.",
		check: func(t *spooler) {
			put := t.put("m1", 2)
			different := func(what string, m store.Mail, ds []store.Delivery, body string) {
				t.Helper()
				m.Size = int64(len(body))
				t.fails(t.Put(t.Context(), m, ds, strings.NewReader(body)), store.ErrTaken, "Put of a mail with another %s", what)
				t.holds(newMail("m1"), put, content("m1"))
			}
			for what, change := range map[string]func(*store.Mail){
				"Tenant": func(m *store.Mail) { m.Tenant = rival }, "Domain": func(m *store.Mail) { m.Domain = rivalDomain },
				"Username": func(m *store.Mail) { m.Username = "u2" }, "From": func(m *store.Mail) { m.From = "" },
				"Remote": func(m *store.Mail) { m.Remote = addr4 }, "Received": func(m *store.Mail) { m.Received = day.Add(time.Microsecond) },
				"Body": func(m *store.Mail) { m.Body = "7BIT" }, "UTF8": func(m *store.Mail) { m.UTF8 = false },
				"RequireTLS": func(m *store.Mail) { m.RequireTLS = false }, "Return": func(m *store.Mail) { m.Return = "FULL" },
				"EnvelopeID": func(m *store.Mail) { m.EnvelopeID = "" }, "Notice": func(m *store.Mail) { m.Notice = true },
			} {
				m := newMail("m1")
				change(&m)
				different(what, m, newDeliveries(2), content("m1"))
			}
			other := newDeliveries(2)
			other[1].Recipient = "someone@example.org"
			different("Recipient", newMail("m1"), other, content("m1"))
			different("number of deliveries", newMail("m1"), newDeliveries(3), content("m1"))
			different("size", newMail("m1"), newDeliveries(2), content("m1")+"x")
			different("content", newMail("m1"), newDeliveries(2), strings.ToUpper(content("m1")))
			different("large content", newMail("m1"), newDeliveries(2), strings.Repeat("x", 1<<20))
		},
	},
	{
		name:  "Put/Notice",
		words: "If a mail has Notice, only Notice is compared.",
		check: func(t *spooler) {
			m := newMail("m1")
			m.Notice = true
			put := t.putAs(m, newDeliveries(1), "the first")
			again := m
			again.Received, again.Size = soon, int64(len("the second"))
			t.ok(t.Put(t.Context(), again, newDeliveries(1), strings.NewReader("the second")), "Put of the notice with other words")
			t.holds(m, put, "the first")
			again.Notice = false
			t.fails(t.Put(t.Context(), again, newDeliveries(1), strings.NewReader("the second")), store.ErrTaken, "Put without Notice")
		},
	},
	{
		name:  "Put/BodyFails",
		words: "An error of body, and a body of another length, are errors of Put, and nothing is kept.",
		check: func(t *spooler) {
			broken := errors.New("broken")
			for _, size := range []int64{0, 100, 100_000, 3 << 20} {
				m := newMail("m1")
				m.Size = size
				body := io.MultiReader(pattern(size/2), iotest.ErrReader(broken))
				t.fails(t.Put(t.Context(), m, newDeliveries(2), body), broken, "Put of %d bytes from a reader that fails half-way", size)
				t.gone("m1")
				t.ok(t.Put(t.Context(), m, newDeliveries(1), pattern(size)), "Put after that")
				t.settle(done(t.take(soon, 1)[0]))
				t.gone("m1")
			}
		},
	},
	{
		name:  "Put/BodyOfAnotherLength",
		words: "An error of body, and a body of another length, are errors of Put, and nothing is kept.",
		check: func(t *spooler) {
			for _, size := range []int64{-1, 0, 1, 100_000, 3 << 20} {
				for _, length := range []int64{0, size - 1, size + 1, size + 100_000} {
					if length == size || length < 0 {
						continue
					}
					m := newMail("m1")
					m.Size = size
					if err := t.Put(t.Context(), m, newDeliveries(2), pattern(length)); err == nil {
						t.Errorf("Put with Size %d and %d bytes of body: got no error", size, length)
					}
					t.gone("m1")
				}
			}
			t.put("m1", 1)
		},
	},
	{
		name:  "Put/Cancelled",
		words: "If Put fails, it has kept everything or nothing.",
		check: func(t *spooler) {
			for i, size := range []int64{100, 100_000, 3 << 20} {
				for j := range 10 {
					m := newMail(fmt.Sprintf("m%d%d", i, j))
					m.Size = size
					ctx, cancel := context.WithCancel(t.Context())
					body := io.MultiReader(pattern(size), &onRead{func() { time.AfterFunc(time.Duration(j*j)*50*time.Microsecond, cancel) }})
					err := t.Put(ctx, m, newDeliveries(20), body)
					cancel()
					t.everythingOrNothing(m, err)
				}
			}
		},
	},
	{
		name:  "Put/CancelledHalfWay",
		words: "If Put fails, it has kept everything or nothing.",
		check: func(t *spooler) {
			for i, size := range []int64{100, 100_000, 3 << 20} {
				m := newMail(fmt.Sprintf("m%d", i))
				m.Size = size
				ctx, cancel := context.WithCancel(t.Context())
				whole := pattern(size)
				body := io.MultiReader(io.LimitReader(whole, size/2), &onRead{cancel}, whole)
				t.everythingOrNothing(m, t.Put(ctx, m, newDeliveries(20), body))
			}
		},
	},
	{
		name:  "Put/10000Recipients",
		words: "A Spool keeps accepted mail until every recipient of it is settled.",
		check: func(t *spooler) {
			const recipients = 10_000
			put := t.put("m1", recipients)
			t.put("m2", 1)
			t.holds(newMail("m1"), put, content("m1"))
			seen := 0
			for batch := t.lease(soon, 3000); len(batch) > 0; batch = t.lease(soon, 3000) {
				var outcomes []store.Outcome
				for _, l := range batch {
					if l.Delivery.Mail == "m1" {
						t.has("m1", content("m1"))
						break
					}
				}
				for _, l := range batch {
					outcomes = append(outcomes, done(l.Delivery))
				}
				t.settle(outcomes...)
				seen += len(batch)
			}
			if seen != recipients+1 {
				t.Errorf("leased %d deliveries, want %d", seen, recipients+1)
			}
			t.gone("m1")
			t.gone("m2")
		},
	},
}

// everythingOrNothing checks what is left of a Put that was cancelled, and
// that it can be repeated.
func (t *spooler) everythingOrNothing(m store.Mail, err error) {
	t.Helper()
	const recipients = 20
	count, body, bodyErr := t.look(m.ID)
	for range 100 {
		if (count == 0) == (bodyErr != nil) {
			break
		}
		// A commit whose caller has left may have ended between the looks.
		time.Sleep(10 * time.Millisecond)
		count, body, bodyErr = t.look(m.ID)
	}
	switch {
	case err == nil && count == 0:
		t.Errorf("Put returned nil and kept nothing")
	case count == 0:
		t.fails(bodyErr, store.ErrNotFound, "Body of a mail without deliveries")
	case count != recipients:
		t.Errorf("Put kept %d of %d deliveries", count, recipients)
	}
	if bodyErr == nil {
		t.ok(equalStreams(body, pattern(m.Size)), "the body")
		t.ok(body.Close(), "Close")
	}
	t.ok(t.Put(t.Context(), m, newDeliveries(recipients), pattern(m.Size)), "Put again")
	var outcomes []store.Outcome
	for _, l := range t.lease(soon, 2*recipients) {
		outcomes = append(outcomes, done(l.Delivery))
	}
	if len(outcomes) != recipients {
		t.Errorf("after Put again there are %d deliveries, want %d", len(outcomes), recipients)
	}
	t.settle(outcomes...)
	t.gone(m.ID)
}

// lastOf returns the last delivery of a mail.
func (t *spooler) lastOf(id string) store.Delivery {
	t.Helper()
	var last store.Delivery
	for _, d := range deliveriesOf(t.all()) {
		if d.Mail == id {
			last = d
		}
	}
	return last
}

// look returns how many deliveries of a mail there are, and its content.
func (t *spooler) look(id string) (deliveries int, body io.ReadCloser, err error) {
	t.Helper()
	for _, l := range t.all() {
		if l.Delivery.Mail == id {
			deliveries++
		}
	}
	body, err = t.Body(t.Context(), id)
	return deliveries, body, err
}

// onRead calls a function when it is first read, and ends.
type onRead struct{ f func() }

func (r *onRead) Read([]byte) (int, error) {
	r.f()
	return 0, io.EOF
}
