package credentials_test

import (
	"errors"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// TestFind finds a user and a domain without the name of a tenant.
func TestFind(t *testing.T) {
	m := &credentials.Manager{Store: new(memory.Store), ClaimDomains: true}
	for _, tenant := range []store.TenantID{"b", "a"} {
		if _, err := m.Tenant(tenant).AddDomain(t.Context(), "mail.example.org"); err != nil {
			t.Fatal(err)
		}
	}
	added, _, err := m.Tenant("b").AddUser(t.Context(), "mail.example.org", "billing")
	if err != nil {
		t.Fatal(err)
	}
	if u, err := m.FindUser(t.Context(), added.Username); err != nil || u.Tenant != "b" || u.Name != "billing" {
		t.Errorf("FindUser: got %+v, %v, want the user of b", u, err)
	}
	for _, username := range []string{"", "nobody", added.Username + "x", "a b", "\xff"} {
		if _, err := m.FindUser(t.Context(), username); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("FindUser(%q): got error %v, want ErrNotFound", username, err)
		}
	}
	list, err := m.FindDomains(t.Context(), "MAIL.example.org.")
	if err != nil || len(list) != 2 || list[0].Tenant != "a" || list[1].Tenant != "b" || list[1].Users != 1 {
		t.Errorf("FindDomains: got %+v, %v, want those of a and b", list, err)
	}
	if list, err := m.FindDomains(t.Context(), "other.example.org"); err != nil || len(list) > 0 {
		t.Errorf("FindDomains of a name that no tenant has: got %+v, %v", list, err)
	}
	var invalid *credentials.InvalidError
	if _, err := m.FindDomains(t.Context(), "no domain"); !errors.As(err, &invalid) {
		t.Errorf("FindDomains of no name: got error %v, want an InvalidError", err)
	}
}
