package storetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

var spoolTextPromises = []spoolPromise{
	{
		name:  "Text/AnyBytes",
		words: "All other text but ids may hold any bytes (what remote servers say often isn't UTF-8) and comes back as it went in.",
		check: func(t *spooler) {
			for i, text := range []string{
				"", " ", "a ", "A", "Grüße, 🦄", "caf\xe9 \xff\xfe", "nul \x00 byte", "\x00", "it's \"quoted\" `so` \\ \\x41 \\000",
				"'; DROP TABLE mails; --", "%s ? $1 :a @b {deliveries}", "line\r\nline\tline", "\u202eback", "NULL",
			} {
				m := newMail("m" + string(rune('a'+i)))
				m.Domain, m.Username, m.From, m.Body, m.Return, m.EnvelopeID = text, text, text, text, text, text
				d := newDeliveries(2)
				d[0] = store.Delivery{Recipient: text, Notify: text, OriginalRecipient: text, Next: due, Reason: text}
				put := t.putAs(m, d, text)
				t.holds(m, put, text)
				leased := t.lease(soon, 2)
				if leased[0].Mail != m {
					m.Size = leased[0].Mail.Size
				}
				o := later(leased[1].Delivery, soon)
				o.Reason = text
				t.settle(o, done(leased[0].Delivery))
				left := deliveriesOf(t.all())
				if len(left) != 1 || left[0].Reason != text {
					t.Errorf("after Settle: got %+v, want the reason %q", left, text)
				}
				t.settle(done(left[0]))
			}
		},
	},
	{
		name:  "Text/Tenants",
		words: "Tenants are as in a Store. Tenants, domain names and usernames compare and sort byte by byte: case, accents and trailing spaces count.",
		check: func(t *spooler) {
			tenants := []store.TenantID{"acme", "Acme", "acme ", "acmé", "acme%", store.TenantID(strings.Repeat("t", 255))}
			for i, tenant := range tenants {
				m := newMail("m" + string(rune('a'+i)))
				m.Tenant = tenant
				t.putAs(m, newDeliveries(1), "x")
			}
			for i, tenant := range tenants {
				list, err := t.Deliveries(t.Context(), store.Filter{Tenant: tenant}, store.Page{})
				t.ok(err, "Deliveries(%q)", tenant)
				if got, want := mails(list), []string{"m" + string(rune('a'+i))}; !slices.Equal(got, want) || list[0].Mail.Tenant != tenant {
					t.Errorf("Deliveries(%q): got %q, want %q", tenant, got, want)
				}
			}
		},
	},
	{
		name: "Text/Long",
		words: "Texts of up to 1,024 bytes, and a Reason of up to 16,384, are stored. " +
			"An adapter may refuse longer ones with an error of its own, but never cuts them.",
		check: func(t *spooler) {
			long := strings.Repeat("é", 512)
			reason := strings.Repeat("\xff", 16_384)
			id := strings.Repeat("m", 64)
			m := newMail(id)
			m.Domain, m.Username, m.From, m.EnvelopeID = long, long, long, long
			d := []store.Delivery{{Recipient: long, OriginalRecipient: long, Destination: strings.Repeat("d", 255), Next: due, Reason: reason}}
			put := t.putAs(m, d, "x")
			t.holds(m, put, "x")

			longer := m
			longer.ID, longer.From, longer.Size = "n", long+"x", 1
			if t.Put(t.Context(), longer, d, strings.NewReader("x")) == nil {
				t.holds(longer, ofMail("n", d), "x")
			}
			o := later(deliveriesOf(t.all())[0], due)
			o.Reason = strings.Repeat("r", 100_000)
			if _, err := t.Settle(t.Context(), []store.Outcome{o}); err == nil {
				if got := deliveriesOf(t.all())[0].Reason; got != o.Reason {
					t.Errorf("Settle: kept %d of %d bytes of the reason", len(got), len(o.Reason))
				}
			} else {
				t.holds(m, put, "x")
			}
		},
	},
	{
		name:  "Text/Addresses",
		words: "Everything else of them is kept as given.",
		check: func(t *spooler) {
			for i, from := range []netip.Addr{
				{}, addr4, addr6, netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("fe80::1%eth0"), netip.IPv4Unspecified(),
			} {
				m := newMail("m" + string(rune('a'+i)))
				m.Remote = from
				t.holds(m, t.putAs(m, newDeliveries(1), "x"), "x")
			}
		},
	},
}

const sharedWords = "Like a [Store] it may be shared by any number of processes, each method is atomic and safe for concurrent use, " +
	"and what a method that returned nil has done is durable: it survives a crash and a power cut."

var spoolHandlePromises = []spoolPromise{
	{
		name:  "Handles/SeeEachOther",
		words: sharedWords,
		check: func(t *spooler) {
			first, second := t.Spool, t.second()
			look := func(st store.Spool) *spooler { return &spooler{T: t.T, Spool: st, open: t.open} }
			put := look(first).put("m1", 2)
			look(second).holds(newMail("m1"), put, content("m1"))
			leased := look(second).lease(soon, 2)
			if got := look(first).lease(soon, 2); len(leased) != 2 || len(got) > 0 {
				t.Errorf("Lease by two handles: got %d and %d, want 2 and 0", len(leased), len(got))
			}
			look(first).settle(done(leased[0].Delivery))
			look(second).deep(store.Depth{Deliveries: 1, Oldest: day})
			look(second).settle(done(leased[1].Delivery))
			look(first).gone("m1")
			look(first).deep(store.Depth{})
			look(t.open()).gone("m1")
		},
	},
	{
		name: "Context/Ended",
		words: "A context that has already ended makes a method fail with its error and change nothing; " +
			"one that ends while the method runs leaves the outcome unknown.",
		check: func(t *spooler) {
			t.put("m1", 2)
			d := t.take(soon, 1)
			t.ok(t.Suspend(t.Context(), store.Suspension{Tenant: rival}), "Suspend")
			before := t.all()
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			for name, call := range map[string]func() error{
				"Put": func() error {
					return t.Put(ended, newMail("m2"), newDeliveries(1), strings.NewReader(content("m2")))
				},
				"Put of a large mail": func() error {
					m := newMail("m3")
					m.Size = 3 << 20
					return t.Put(ended, m, newDeliveries(1), pattern(m.Size))
				},
				"Body": func() error { _, err := t.Body(ended, "m1"); return err },
				"Lease": func() error {
					_, err := t.Lease(ended, store.LeaseRequest{Node: node, Now: soon, Limit: 1})
					return err
				},
				"Join":        func() error { return t.Join(ended, store.Node{ID: "n2", Name: "two"}) },
				"Renew":       func() error { _, err := t.Renew(ended, node); return err },
				"Nodes":       func() error { _, err := t.Nodes(ended); return err },
				"Remove":      func() error { return t.Remove(ended, store.Node{ID: node}) },
				"Suspend":     func() error { return t.Suspend(ended, store.Suspension{Tenant: acme}) },
				"Resume":      func() error { return t.Resume(ended, store.Suspension{Tenant: rival, Version: 1}) },
				"Suspensions": func() error { _, err := t.Suspensions(ended); return err },
				"Backlogs":    func() error { _, err := t.Backlogs(ended); return err },
				"Settle":      func() error { _, err := t.Settle(ended, []store.Outcome{done(d[0])}); return err },
				"Deliveries":  func() error { _, err := t.Deliveries(ended, store.Filter{}, store.Page{}); return err },
				"Depth":       func() error { _, err := t.Depth(ended); return err },
			} {
				if err := call(); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: got error %v, want %q", name, err, context.Canceled)
				}
			}
			if got := t.all(); !slices.Equal(got, before) {
				t.Errorf("Deliveries: got\n%+v, want\n%+v", got, before)
			}
			t.gone("m2")
			t.gone("m3")
			if nodes, err := t.Nodes(t.Context()); err != nil || len(nodes) != 1 {
				t.Errorf("Nodes: got %+v, %v, want only the one that has leased something", nodes, err)
			}
			if list, err := t.Suspensions(t.Context()); err != nil || len(list) != 1 || list[0].Tenant != rival {
				t.Errorf("Suspensions: got %+v, %v, want that of %s", list, err, rival)
			}
		},
	},
}
