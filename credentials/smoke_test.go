package credentials

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/gatepost-mail/gatepost/store/memory"
)

func TestSmoke(t *testing.T) {
	ctx := t.Context()
	m := &Manager{Store: new(memory.Store)}
	acme := m.Tenant("acme")
	if _, err := acme.AddDomain(ctx, "acme.example"); err != nil {
		t.Fatal(err)
	}
	u, p, err := acme.AddUser(ctx, "acme.example", "billing")
	if err != nil {
		t.Fatal(err)
	}
	from := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		id, err := m.Authenticate(ctx, u.Username, p, from)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Validate(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Authenticate(ctx, u.Username, NewPassword("no"), from); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	if _, err := acme.ResetPassword(ctx, u.Username); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Authenticate(ctx, u.Username, p, from); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	t.Log(u.Username, p.Reveal(), m.hashes.Load())
}
