package suppress_test

import (
	"errors"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A text that is not an address is told apart from a failure of the store.
func TestNotAnAddress(t *testing.T) {
	sup := &suppress.List{Store: new(memory.Store)}
	for _, text := range []string{"", "bob", "@example.net", "bob@", "bob@exa mple.net", "bob\x00@example.net"} {
		_, getErr := sup.Get(t.Context(), "acme", text)
		for call, err := range map[string]error{
			"Add":    sup.Add(t.Context(), "acme", text, store.SuppressedByPerson, ""),
			"Remove": sup.Remove(t.Context(), "acme", text),
			"Get":    getErr,
		} {
			if !errors.Is(err, suppress.ErrAddress) {
				t.Errorf("%s of %q returns %v, want ErrAddress", call, text, err)
			}
		}
	}
	if err := sup.Remove(t.Context(), "acme", "bob@example.net"); !errors.Is(err, store.ErrNotFound) || errors.Is(err, suppress.ErrAddress) {
		t.Errorf("Remove of an address that is not on the list returns %v, want ErrNotFound", err)
	}
}
