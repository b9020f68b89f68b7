package history

import (
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func TestFormsOf(t *testing.T) {
	for address, want := range map[string][]string{
		"bob@bücher.example":          {"bob@xn--bcher-kva.example"},
		"bob@xn--bcher-kva.example":   {"bob@bücher.example"},
		"bob@BÜCHER.example":          {"bob@xn--bcher-kva.example", "bob@bücher.example"},
		`"a@b"@XN--BCHER-KVA.example`: {`"a@b"@xn--bcher-kva.example`, `"a@b"@bücher.example`},
		"bob@Example.com":             nil,
		"bob@[192.0.2.1]":             nil,
		"bob@\xff.example":            nil,
		"bob@xn--no\x00.example":      nil,
		"bob@xn--zzzzzzzz--.example":  nil,
		"bücher.example":              nil,
		"":                            nil,
	} {
		if got := formsOf(address); !slices.Equal(got, want) {
			t.Errorf("formsOf(%q) = %q, want %q", address, got, want)
		}
	}
}

// An address is found, reported as bounced and erased in whichever form of its domain a
// message was sent to it.
func TestFormsOfADomain(t *testing.T) {
	forms := []string{"bob@bücher.example", "Bob@XN--BCHER-KVA.example"}
	for _, asked := range append(forms, "bob@BÜCHER.example") {
		h := &History{Store: new(memory.Store)}
		for i, form := range forms {
			l := newLife([]string{"m1", "m2"}[i], 0)
			l.base.Recipient = form
			put(t, h.Store, l.then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
		}
		bounced(t, h, asked, noSuchUser)
		if got := only(t, h, "m1"); got.State != store.ActivityHardBounced {
			t.Errorf("after a report about %s the state of m1 is %v", asked, got.State)
		}
		acme := h.Tenant("acme")
		page, err := acme.Activities(t.Context(), store.ActivityFilter{Recipient: asked})
		if err != nil || len(page.List) != 2 {
			t.Errorf("the search for %s found %+v, %v, want both", asked, page.List, err)
		}
		if n, err := acme.Erase(t.Context(), asked); err != nil || n != 2 {
			t.Errorf("Erase(%s) = %d, %v, want 2", asked, n, err)
		}
	}
}
