package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var suppressionListPromises = []suppressionsPromise{
	{
		name:  "ListSuppressions/Pages",
		words: "ListSuppressions lists the suppressions of a tenant that match the filter, by address. page.After is an address.",
		check: func(t *suppressor) {
			var list []store.Suppression
			for i := range 1200 {
				s := newSuppression(acme, fmt.Sprintf("u%04d@x.example", i))
				if i%300 == 299 {
					s.Source = store.SuppressedByComplaint
				}
				list = append(list, s)
			}
			t.suppress(newSuppression(rival, "u0500@x.example"))
			list = append(t.suppress(list[600:]...), t.suppress(list[:600]...)...)
			list = slices.Concat(list[600:], list[:600])
			t.lists(acme, store.SuppressionFilter{}, store.Page{}, list[:100]...)
			t.lists(acme, store.SuppressionFilter{}, store.Page{After: list[99].Address, Limit: 1000}, list[100:1100]...)
			t.lists(acme, store.SuppressionFilter{}, store.Page{After: "u1198"}, list[1198:]...)
			complaints := store.SuppressionFilter{Source: store.SuppressedByComplaint}
			t.lists(acme, complaints, store.Page{Limit: 3}, list[299], list[599], list[899])
			t.lists(acme, complaints, store.Page{Limit: 3, After: list[899].Address}, list[1199])
			t.lists("unknown", store.SuppressionFilter{}, store.Page{})
		},
	},
	{
		name:  "ListSuppressions/Search",
		words: "page.Search is a part of the address, and the letters A to Z match in either case.",
		check: func(t *suppressor) {
			all := t.suppress(newSuppression(acme, "a_b@x.example"), newSuppression(acme, "acb@x.example"), newSuppression(acme, "Bob@y.example"))
			slices.SortFunc(all, func(a, b store.Suppression) int { return strings.Compare(a.Address, b.Address) })
			t.lists(acme, store.SuppressionFilter{}, store.Page{Search: "BOB@"}, all[0])
			t.lists(acme, store.SuppressionFilter{}, store.Page{Search: "a_b"}, all[1])
			t.lists(acme, store.SuppressionFilter{}, store.Page{Search: "x.exam"}, all[1:]...)
		},
	},
	{
		name: "ListSuppressions/Filter",
		words: "A suppression matches if it matches every field that is not zero; the zero filter matches all. " +
			"its Site, or the domain of its Address a part of its Reason; the letters A to Z match in either case " +
			"its Since is at From or later, and before Until",
		check: func(t *suppressor) {
			list := []store.Suppression{newSuppression(acme, "a@x.example"), newSuppression(acme, "b@site.example"), newSuppression(acme, "c@y.example"), newSuppression(acme, "d@y.example")}
			list[1].Site, list[1].Source, list[1].Until = "", store.SuppressedByPerson, time.Time{}
			list[2].Site, list[2].Reason, list[2].Since = "other.example", "550 Mailbox \xff unknown", day.Add(time.Hour)
			list[3].Site, list[3].Source, list[3].Since = "", 0, time.Time{}
			all := t.suppress(list...)
			for _, test := range []struct {
				f    store.SuppressionFilter
				want []store.Suppression
			}{
				{store.SuppressionFilter{}, all},
				{store.SuppressionFilter{Site: "site.example"}, all[:2]},
				{store.SuppressionFilter{Site: "y.example"}, all[2:]},
				{store.SuppressionFilter{Site: "example"}, nil},
				{store.SuppressionFilter{Reason: "mailBOX \xff"}, all[2:3]},
				{store.SuppressionFilter{Reason: "%"}, nil},
				{store.SuppressionFilter{Source: store.SuppressedByPerson}, all[1:2]},
				{store.SuppressionFilter{From: day}, all[:3]},
				{store.SuppressionFilter{From: day.Add(time.Microsecond)}, all[2:3]},
				{store.SuppressionFilter{From: day, Until: day.Add(time.Hour)}, all[:2]},
				{store.SuppressionFilter{At: day}, all[:3]},
				{store.SuppressionFilter{At: day.Add(720 * time.Hour)}, all[1:2]},
				{store.SuppressionFilter{Site: "site.example", Source: store.SuppressedByReply}, all[:1]},
			} {
				t.lists(acme, test.f, store.Page{}, test.want...)
			}
		},
	},
	{
		name: "SuppressionsSince/InOrder",
		words: "SuppressionsSince lists the suppressions of a tenant whose Changed is at the given time or later, in the order of Changed: " +
			"the first of them, at most limit.",
		check: func(t *suppressor) {
			at := func(tenant store.TenantID, address string, after time.Duration) store.Suppression {
				s := newSuppression(tenant, address)
				s.Changed = day.Add(after)
				return s
			}
			all := t.suppress(at(acme, "c@x.example", 1000), at(acme, "a@x.example", 3000), at(acme, "b@x.example", 2000), at(rival, "b@x.example", 2000))
			since := func(changed time.Time, limit int, want ...store.Suppression) {
				t.Helper()
				got, err := t.SuppressionsSince(t.Context(), acme, changed, limit)
				t.ok(err, "SuppressionsSince")
				if !slices.Equal(got, want) {
					t.Errorf("SuppressionsSince(%v, %d):\n got %+v\nwant %+v", changed, limit, got, want)
				}
			}
			since(day, 9, all[0], all[2], all[1])
			since(day, 2, all[0], all[2])
			since(all[2].Changed, 9, all[2], all[1])
			since(all[1].Changed.Add(time.Microsecond), 9)
			all[0].Changed = day.Add(time.Hour)
			all[0] = t.suppress(all[0])[0]
			since(all[2].Changed, 9, all[2], all[1], all[0])
		},
	},
}

var suppressionTextPromises = []suppressionsPromise{
	{
		name:  "Text/AsGiven",
		words: "Times come from the caller, in UTC and whole microseconds, and are returned as they were given. Other texts hold any bytes.",
		check: func(t *suppressor) {
			for i, text := range []string{"", " ", "a ", "Grüße, 🦄", "caf\xe9 \xff\xfe", "nul \x00 byte", "'; DROP TABLE x; --", "%s ? $1 {suppressions}"} {
				s := newSuppression(acme, fmt.Sprintf("u%d@x.example", i))
				s.Reason, s.Site, s.Event = text, text, text
				t.has(t.suppress(s)...)
			}
			s := store.Suppression{Tenant: acme, Address: "zero@x.example"}
			t.has(t.suppress(s)...)
			s = newSuppression(acme, "times@x.example")
			for i, at := range []*time.Time{&s.Since, &s.Until, &s.Struck, &s.Cleared, &s.Changed} {
				*at = time.Date(9999-i, time.December, 31, 23, 59, 59, 999_999_000, time.UTC)
			}
			t.has(t.suppress(s)...)
		},
	},
	{
		name: "Text/ByteByByte",
		words: "Tenants and addresses are as the names of a [Store]: valid UTF-8 without U+0000, of up to 255 bytes, that compare and sort byte by byte. " +
			"Site and Event have up to 1,024 bytes, and Reason has up to 16,384. An adapter may refuse longer texts with an error of its own, but never cuts them.",
		check: func(t *suppressor) {
			addresses := []string{"A@x.example", "a", "a ", "a@x.example", "b@x.example", "á@x.example", strings.Repeat("ü", 127) + "x"}
			var all []store.Suppression
			for i, address := range addresses {
				s := newSuppression(acme, address)
				s.Strikes = i
				all = append(all, t.suppress(s)...)
			}
			t.lists(acme, store.SuppressionFilter{}, store.Page{}, all...)
			for _, tenant := range []store.TenantID{"Acme", "acme ", "acmé", store.TenantID(strings.Repeat("t", 255))} {
				t.lists(tenant, store.SuppressionFilter{}, store.Page{})
				t.has(t.suppress(newSuppression(tenant, "a"))...)
			}
			for _, size := range []int{1024, 1 << 20} {
				s := newSuppression(rival, fmt.Sprintf("%d@x.example", size))
				s.Site, s.Event, s.Reason = strings.Repeat("s", size), strings.Repeat("e", size), strings.Repeat("r", 16*size)
				if _, err := t.Suppress(t.Context(), []store.Suppression{s}); err != nil && size > 1024 {
					continue // refused, and not cut
				}
				s.Version = 1
				t.has(s)
			}
		},
	},
	{
		name:  "Handles/SeeEachOther",
		words: "When a method has returned nil, its change is durable, and every later call by any process sees it.",
		check: func(t *suppressor) {
			s := newSuppression(acme, "a@x.example")
			t.has(t.suppress(s)...) // has reads through both handles, which may then have cached it
			s.Version, s.Reason = 1, "changed"
			t.has(t.suppress(s)...)
			if n, err := t.ExpireSuppressions(t.Context(), s.Until, 9); n != 1 || err != nil {
				t.Errorf("ExpireSuppressions: got %d, %v, want 1", n, err)
			}
			t.lists(acme, store.SuppressionFilter{}, store.Page{})
			s.Version = 0
			if lost, err := t.second().Suppress(t.Context(), []store.Suppression{s}); err != nil || len(lost) > 0 {
				t.Errorf("Suppress of one that the other handle expired: lost %+v, %v", lost, err)
			}
		},
	},
}
