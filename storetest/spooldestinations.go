package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/gatepost-mail/gatepost/store"
)

var destinationPromises = []spoolPromise{
	{
		name:  "Deliveries/OfADestination",
		words: listWords + " page.After is a Delivery's Key.",
		check: func(t *spooler) {
			t.crowd()
			for _, f := range []store.Filter{
				{Destination: "big.example"}, {Destination: "example.net"}, {Destination: "big"}, {ToDestination: true},
				{Destination: "big.example", State: store.StateWaiting}, {Destination: "big.example", State: store.StateHeld},
				{Destination: "big.example", State: store.StateLeased}, {Destination: "big.example", Tenant: "t07"},
				{Destination: "big.example", Tenant: "t06", State: store.StateHeld}, {State: store.StateHeld}, {State: store.StateHeld, Tenant: "t06"},
				{Destination: "big.example", Username: "u1", Recipient: "to1@example.net"}, {Destination: "big.example", Tenant: "t0"},
			} {
				var want []string
				for _, l := range t.all() {
					if f.Match(&l) {
						want = append(want, l.Delivery.Key())
					}
				}
				for _, limit := range []int{7, 60, 1000} {
					t.listsBy(limit, f, want)
				}
			}
		},
	},
	{
		name:  "Race/OfADestination",
		words: "each method is atomic and safe for concurrent use",
		check: func(t *spooler) {
			const tenants = 4
			for i := range tenants {
				m := newMail(fmt.Sprintf("m%d", i))
				m.Tenant = store.TenantID(m.ID)
				t.putAs(m, newDeliveries(1), "x")
			}
			var reading atomic.Int32
			reading.Store(2)
			t.race(func(st store.Spool, racer int) error {
				if racer >= 4 {
					return nil
				}
				if racer >= 2 { // lease, and give back
					for reading.Load() > 0 {
						if err := t.giveBack(st); err != nil {
							return err
						}
					}
					return nil
				}
				defer reading.Add(-1)
				for range 10 * rounds {
					list, err := st.Deliveries(t.Context(), store.Filter{Destination: "example.net"}, store.Page{})
					if err == nil && len(list) != tenants {
						err = fmt.Errorf("got %d deliveries to the destination, want %d", len(list), tenants)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	},
}

// giveBack leases what is due and settles it to be tried again at once.
func (t *spooler) giveBack(st store.Spool) error {
	leased, err := st.Lease(t.Context(), store.LeaseRequest{Node: node, Now: soon, Limit: 9})
	if err != nil || len(leased) == 0 {
		return err
	}
	var outcomes []store.Outcome
	for _, l := range leased {
		outcomes = append(outcomes, later(l.Delivery, due))
	}
	_, err = st.Settle(t.Context(), outcomes)
	return err
}

// crowd puts two mails of each of 60 tenants, in turns. Each has deliveries to two
// destinations. Some are held, some are leased, and a node died with some.
func (t *spooler) crowd() {
	t.Helper()
	for i := range 120 {
		m := newMail(fmt.Sprintf("m%03d", i))
		m.Tenant = store.TenantID(fmt.Sprintf("t%02d", (i*7)%60))
		d := newDeliveries(3)
		d[0].Destination, d[1].Destination = "big.example", "big.example"
		d[1].Held = i%6 == 0
		if i%11 == 0 {
			d[0].Node = node
		}
		d[1].Deaths = i % 13 / 12
		t.putAs(m, d, "x")
	}
}

// listsBy checks what Deliveries returns in pages.
func (t *spooler) listsBy(limit int, f store.Filter, want []string) {
	t.Helper()
	var got []string
	for page := (store.Page{Limit: limit}); ; page.After = got[len(got)-1] {
		list, err := t.Deliveries(t.Context(), f, page)
		t.ok(err, "Deliveries(%+v)", f)
		for _, l := range list {
			got = append(got, l.Delivery.Key())
		}
		if len(list) < limit || len(got) > len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Deliveries(%+v) by %d:\n got %q\nwant %q", f, limit, got, want)
	}
}
