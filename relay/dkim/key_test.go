package dkim_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/store"
)

var ecdsaKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))

// weakKey cannot sign; only its size is looked at.
var weakKey = &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 511), E: 65537}}

func (failingKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is locked")
}

func TestPEM(t *testing.T) {
	generated := must(dkim.GenerateRSA())
	if bits := generated.N.BitLen(); bits != 2048 {
		t.Errorf("got a key of %d bits, want 2048", bits)
	}
	for _, key := range []crypto.Signer{generated, rsaKey, edKey} {
		text, err := dkim.MarshalPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dkim.ParsePEM(text)
		if err != nil || !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
			t.Errorf("got key %T and error %v, want the same %T", got, err, key)
		}
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(generated)})
	if got, err := dkim.ParsePEM(append([]byte("a comment\n"), pkcs1...)); err != nil || !generated.Equal(got) {
		t.Errorf("got error %v, want the key in PKCS #1", err)
	}
}

func TestBadPEM(t *testing.T) {
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, test := range []struct {
		text []byte
		want string
	}{
		{nil, "dkim: no PEM block found"},
		{[]byte("no key"), "dkim: no PEM block found"},
		{block("CERTIFICATE", nil), `dkim: PEM block of type "CERTIFICATE", want PRIVATE KEY or RSA PRIVATE KEY`},
		{block("PRIVATE KEY", []byte("x")), "dkim: "},
		{block("RSA PRIVATE KEY", []byte("x")), "dkim: "},
		{block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(ecdsaKey))), "dkim: key of type *ecdsa.PublicKey, want RSA or Ed25519"},
	} {
		if got, err := dkim.ParsePEM(test.text); err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Count(err.Error(), "dkim: ") > 1 {
			t.Errorf("%.40q: got %T and error %v, want error %q", test.text, got, err, test.want)
		}
	}
	for _, key := range []crypto.Signer{nil, ecdsaKey, weakKey} {
		if _, err := dkim.MarshalPEM(key); err == nil {
			t.Errorf("MarshalPEM(%T): got no error", key)
		}
		if _, err := (dkim.Key{Signer: key}).Record(); err == nil {
			t.Errorf("Record of a %T: got no error", key)
		}
	}
}

func TestRecord(t *testing.T) {
	for _, test := range []struct {
		key     dkim.Key
		domain  string
		strings int
		name    string
	}{
		{dkim.Key{Selector: "r", Signer: rsaKey}, "acme.example", 2, "r._domainkey.acme.example"},
		{dkim.Key{Selector: "e", Signer: edKey}, "acme.example", 1, "e._domainkey.acme.example"},
		{dkim.Key{Selector: "p", Signer: rsaKey, Domain: "provider.example"}, "acme.example", 2, "p._domainkey.provider.example"},
	} {
		record, err := test.key.Record()
		if err != nil || len(record) != test.strings {
			t.Errorf("%s: got %d strings and error %v, want %d", test.name, len(record), err, test.strings)
		}
		for _, s := range record {
			if len(s) > 255 {
				t.Errorf("%s: got a string of %d bytes, want at most 255", test.name, len(s))
			}
		}
		if got := test.key.RecordName(test.domain); got != test.name {
			t.Errorf("got name %q, want %q", got, test.name)
		}
		want, err := dns(test.name)
		if got := strings.Join(record, ""); err != nil || got != want[0] {
			t.Errorf("got record %q, want %q", got, want)
		}
	}
}

func TestPublished(t *testing.T) {
	rsaRecord := strings.Join(must(dkim.Key{Signer: rsaKey}.Record()), "")
	edRecord := strings.Join(must(dkim.Key{Signer: edKey}.Record()), "")
	other := strings.Join(must(dkim.Key{Signer: must(dkim.GenerateRSA())}.Record()), "")
	pkcs1 := "p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(rsaKey.Public().(*rsa.PublicKey)))
	outage := &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	for _, test := range []struct {
		name    string
		records []string
		err     error
		key     crypto.Signer
		want    error
	}{
		{"RSA", []string{rsaRecord}, nil, rsaKey, nil},
		{"Ed25519", []string{edRecord}, nil, edKey, nil},
		{"without the version and type", []string{strings.TrimPrefix(rsaRecord, "v=DKIM1; k=rsa; ")}, nil, rsaKey, nil},
		{"PKCS #1", []string{pkcs1}, nil, rsaKey, nil},
		{"white space", []string{strings.ReplaceAll(rsaRecord, "A", "A ") + " ; t=s ; h=sha1:sha256; s=email; n=x"}, nil, rsaKey, nil},
		{"no such name", nil, &net.DNSError{Err: "no such host", IsNotFound: true}, rsaKey, dkim.ErrNotPublished},
		{"no record", nil, nil, rsaKey, dkim.ErrNotPublished},
		{"outage", nil, outage, rsaKey, outage},
		{"two records", []string{rsaRecord, rsaRecord}, nil, rsaKey, dkim.ErrSeveralRecords},
		{"another key", []string{other}, nil, rsaKey, dkim.ErrOtherKey},
		{"another type", []string{edRecord}, nil, rsaKey, dkim.ErrOtherKey},
		{"the other type", []string{rsaRecord}, nil, edKey, dkim.ErrOtherKey},
		{"RSA that is cut", []string{rsaRecord[:255]}, nil, rsaKey, nil},
		{"SPF", []string{"v=spf1 -all"}, nil, rsaKey, dkim.ErrUnusable},
		{"empty", []string{""}, nil, rsaKey, dkim.ErrUnusable},
		{"revoked", []string{"v=DKIM1; p="}, nil, rsaKey, dkim.ErrUnusable},
		{"not base64", []string{"v=DKIM1; p=!"}, nil, rsaKey, dkim.ErrUnusable},
		{"tested", []string{rsaRecord + "; t=y:s"}, nil, rsaKey, dkim.ErrUnusable},
		{"another hash", []string{rsaRecord + "; h=sha1"}, nil, rsaKey, dkim.ErrUnusable},
		{"another service", []string{rsaRecord + "; s=tlsrpt"}, nil, rsaKey, dkim.ErrUnusable},
	} {
		lookup := func(_ context.Context, name string) ([]string, error) {
			if name != "s._domainkey.acme.example" {
				t.Errorf("got name %q, want s._domainkey.acme.example", name)
			}
			return test.records, test.err
		}
		err := dkim.Published(t.Context(), lookup, "acme.example", dkim.Key{Selector: "s", Signer: test.key})
		if test.name == "RSA that is cut" {
			if !errors.Is(err, dkim.ErrUnusable) && !errors.Is(err, dkim.ErrOtherKey) {
				t.Errorf("%s: got error %v, want ErrUnusable or ErrOtherKey", test.name, err)
			}
			continue
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", test.name, err, test.want)
		}
	}
	if err := dkim.Published(t.Context(), nil, "acme.example", dkim.Key{Selector: "s"}); err == nil {
		t.Error("without a key: got no error")
	}
}

func ExampleKey_Record() {
	text := []byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n")
	signer, err := dkim.ParsePEM(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	key := dkim.Key{Selector: "2026a", Signer: signer}
	record, err := key.Record()
	fmt.Println(key.RecordName("acme.example"), err)
	fmt.Printf("%q\n", record)
	// Output:
	// 2026a._domainkey.acme.example <nil>
	// ["v=DKIM1; k=ed25519; p=A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="]
}

// The keys may depend on who sent the message.
func TestKeysOfSender(t *testing.T) {
	var next sink
	s := &dkim.Signer{Next: &next, Keys: func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
		if m.Identity.Tenant != "acme" {
			return nil, nil
		}
		return both(ctx, m, domain)
	}}
	for i, tenant := range []store.TenantID{"acme", "rival"} {
		m := message(fmt.Sprint(i), "From: shop@acme.example\r\n\r\nhello\r\n")
		m.Identity.Tenant = tenant
		if err := s.Forward(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if signed := strings.Contains(next.data[i], "DKIM-Signature:"); signed != (tenant == "acme") {
			t.Errorf("mail of %s: got signed %t:\n%s", tenant, signed, next.data[i])
		}
	}
}
