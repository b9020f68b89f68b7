package domains_test

import (
	"context"
	"errors"
	"net/textproto"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A real relay refuses the users of a domain at MAIL until it is proved, and signs its
// mail with the product's key from then on, also after that key was replaced.
func TestRelay(t *testing.T) {
	f := newFixture(t)
	r := relaytest.NewUnstartedRelay(t)
	f.creds = r.Credentials
	f.Manager.Domains = r.Credentials.Store
	f.Shared = []dkim.Key{sharedKey, otherKey}
	f.dns.set("*.gp2."+productZone, record(otherKey))
	var sent []string
	next := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		b := make([]byte, m.Size())
		_, err := m.Content().ReadAt(b, 0)
		sent = append(sent, string(b))
		return err
	})
	signer := &dkim.Signer{Keys: f.Keys, Next: next, LookupTXT: f.dns.resolver().LookupTXT}
	r.Server.Forwarder, r.Server.AllowUser = signer, f.AllowUser
	r.Start()

	const content = "From: shop@acme.example\n\nHello.\n"
	var reply *textproto.Error
	tenant := r.Tenant
	d := f.domain(tenant, "acme.example")
	err := r.Send("shop@acme.example", []string{"bob@example.net"}, content)
	want := "5.7.1 acme.example is not verified: gp1._domainkey.acme.example needs a CNAME record that points to " + d.Records[0].Value +
		"; gp2._domainkey.acme.example needs a CNAME record that points to " + d.Records[1].Value + "; the DNS was not asked yet"
	if !errors.As(err, &reply) || reply.Code != 550 || reply.Msg != want {
		t.Fatalf("got %v, want 550 %s", err, want)
	}
	f.publish(d)
	if d := f.check(tenant, "acme.example"); d.State != domains.Verified {
		t.Fatalf("got %+v", d)
	}
	if err := r.Send("shop@acme.example", []string{"bob@example.net"}, content); err != nil {
		t.Fatal(err)
	}
	found, err := msgauth.VerifyWithOptions(strings.NewReader(sent[0]), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		return f.dns.resolver().LookupTXT(t.Context(), name+".")
	}})
	if err != nil || len(found) != 2 {
		t.Fatalf("got %d signatures, %v, want two:\n%s", len(found), err, sent[0])
	}
	for _, v := range found {
		if v.Err != nil || v.Domain != "acme.example" {
			t.Errorf("signature of %s: %v", v.Domain, v.Err)
		}
	}
}
