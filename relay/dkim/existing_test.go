package dkim_test

import (
	"bytes"
	"context"
	"crypto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
)

// signedElsewhere returns a message with a signature that another program made.
func signedElsewhere(t *testing.T, change func(*msgauth.SignOptions)) string {
	t.Helper()
	options := &msgauth.SignOptions{Domain: "acme.example", Selector: "r", Signer: rsaKey}
	change(options)
	var signed bytes.Buffer
	if err := msgauth.Sign(&signed, strings.NewReader("From: shop@acme.example\r\n\r\nhello\r\n"), options); err != nil {
		t.Fatal(err)
	}
	return signed.String()
}

func byEd25519(o *msgauth.SignOptions)    { o.Selector, o.Signer = "e", edKey }
func byRSA(*msgauth.SignOptions)          {}
func forSubdomain(o *msgauth.SignOptions) { o.Identifier = "@shop.acme.example" }

// A signature that a message came with stands in for ours only if receivers will
// accept it in the place of ours.
func TestExistingSignature(t *testing.T) {
	rsaOnly := []dkim.Key{{Selector: "r", Signer: rsaKey}}
	edOnly := []dkim.Key{{Selector: "e", Signer: edKey}}
	bothKeys := append(rsaOnly[:1:1], edOnly...)
	for _, test := range []struct {
		name  string
		came  func(*msgauth.SignOptions)
		flags string // added to the record
		keys  []dkim.Key
		want  string // the algorithms of the signatures that are added
	}{
		{"RSA", byRSA, "", bothKeys, ""},
		{"RSA, our key is Ed25519", byRSA, "", edOnly, ""},
		{"Ed25519", byEd25519, "", bothKeys, "rsa"},
		{"Ed25519, our key is RSA", byEd25519, "", rsaOnly, "rsa"},
		{"Ed25519, as our key", byEd25519, "", edOnly, ""},
		{"for a subdomain", forSubdomain, "", rsaOnly, ""},
		{"for a subdomain, which the key forbids", forSubdomain, "; t=s", rsaOnly, "rsa"},
		{"for the domain, and the key forbids subdomains", byRSA, "; t=s", rsaOnly, ""},
		{"the key is being tested", byRSA, "; t=s:y", rsaOnly, "rsa"},
		{"expired", func(o *msgauth.SignOptions) { o.Expiration = time.Now().Add(-time.Hour) }, "", rsaOnly, "rsa"},
		{"of another domain", func(o *msgauth.SignOptions) { o.Domain = "provider.example"; o.Selector = "p" }, "", rsaOnly, "rsa"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var next sink
			s := &dkim.Signer{
				Next: &next,
				Keys: func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return test.keys, nil },
				LookupTXT: func(_ context.Context, name string) ([]string, error) {
					records, err := dns(name)
					for i := range records {
						records[i] += test.flags
					}
					return records, err
				},
			}
			came := signedElsewhere(t, test.came)
			if err := s.Forward(t.Context(), message("1", came)); err != nil {
				t.Fatal(err)
			}
			added, ok := strings.CutSuffix(next.data[0], came)
			var got []string
			for _, algorithm := range []string{"rsa", "ed25519"} {
				if strings.Contains(added, "a="+algorithm+"-sha256") {
					got = append(got, algorithm)
				}
			}
			if strings.Join(got, ",") != test.want || !ok || strings.Count(added, "DKIM-Signature") != len(got) {
				t.Errorf("got added %q, want signatures of %q", added, test.want)
			}
		})
	}
}

// The Signer decides again about a message when its first decision no longer holds.
func TestOutcomeIsForgotten(t *testing.T) {
	plain := func(*testing.T) string { return "From: shop@acme.example\r\n\r\nhello\r\n" }
	rsaKeys := []dkim.Key{{Selector: "r", Signer: rsaKey}}
	edKeys := []dkim.Key{{Selector: "e", Signer: edKey}}
	for _, test := range []struct {
		name         string
		content      func(*testing.T) string
		first, later []dkim.Key
		wait         time.Duration
		want         string // the signatures that the second try adds
	}{
		{"no keys at first", plain, nil, rsaKeys, 0, "s=r;"},
		{"a new key soon", plain, rsaKeys, edKeys, 59 * time.Minute, "s=r;"},
		{"a new key after an hour", plain, rsaKeys, edKeys, time.Hour, "s=e;"},
		{"a signature that expires", func(t *testing.T) string {
			return signedElsewhere(t, func(o *msgauth.SignOptions) { o.Expiration = time.Now().Add(10 * time.Minute) })
		}, rsaKeys, rsaKeys, 11 * time.Minute, "s=r;"},
		{"a signature that has not expired", func(t *testing.T) string {
			return signedElsewhere(t, func(o *msgauth.SignOptions) { o.Expiration = time.Now().Add(10 * time.Minute) })
		}, rsaKeys, rsaKeys, 9 * time.Minute, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var next sink
				keys := test.first
				s := &dkim.Signer{Next: &next, LookupTXT: lookup, Keys: func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return keys, nil }}
				content := test.content(t)
				m := message("1", content)
				for range 2 {
					if err := s.Forward(t.Context(), m); err != nil {
						t.Fatal(err)
					}
					time.Sleep(test.wait)
					keys = test.later
				}
				added, _ := strings.CutSuffix(next.data[1], content)
				if !strings.Contains(added, test.want) || (added == "") != (test.want == "") {
					t.Errorf("got added %q, want one with %q", added, test.want)
				}
			})
		})
	}
}

// A key that cannot sign is an error that names it, not an unsigned message.
func TestUnusableKeys(t *testing.T) {
	for _, test := range []struct {
		key  dkim.Key
		want string
	}{
		{dkim.Key{Selector: "x"}, `selector "x" of acme.example: no key`},
		{dkim.Key{Selector: "x", Signer: ecdsaKey}, `selector "x" of acme.example: key of type *ecdsa.PublicKey, want RSA or Ed25519`},
		{dkim.Key{Selector: "x", Signer: weakKey}, `selector "x" of acme.example: RSA key of 512 bits, want at least 1024`},
		{dkim.Key{Selector: "x", Signer: rsaKey, Domain: "a b"}, `selector "x" of acme.example: credentials: `},
		{dkim.Key{Selector: "x", Signer: failingKey{rsaKey}}, `selector "x" of acme.example: the key is locked`},
	} {
		var next sink
		s := &dkim.Signer{Next: &next, Keys: func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return []dkim.Key{test.key}, nil }}
		err := s.Forward(t.Context(), message("1", "From: shop@acme.example\r\n\r\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) || len(next.data) > 0 {
			t.Errorf("got error %v and %d messages sent, want error %q and none", err, len(next.data), test.want)
		}
	}
}

type failingKey struct{ crypto.Signer }
