package dkim_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
)

var rsaKey, edKey = func() (crypto.Signer, crypto.Signer) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return r, e
}()

// dns publishes the keys for acme.example.
func dns(name string) ([]string, error) {
	switch name {
	case "r._domainkey.acme.example":
		der, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
		return []string{"v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)}, err
	case "p._domainkey.provider.example":
		return dns("r._domainkey.acme.example")
	case "e._domainkey.acme.example":
		return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edKey.Public().(ed25519.PublicKey))}, nil
	}
	return nil, fmt.Errorf("no such host %s", name)
}

func lookup(_ context.Context, name string) ([]string, error) { return dns(name) }

func both(_ context.Context, _ *relay.Message, domain string) ([]dkim.Key, error) {
	if domain != "acme.example" {
		return nil, nil
	}
	return []dkim.Key{{Selector: "r", Signer: rsaKey}, {Selector: "e", Signer: edKey}}, nil
}

// sink records the content of what it takes.
type sink struct {
	mu   sync.Mutex
	data []string
}

func (s *sink) Forward(_ context.Context, m *relay.Message) error {
	data, err := io.ReadAll(m.Content())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, string(data))
	return nil
}

func message(id, content string) *relay.Message {
	m := &relay.Message{ID: id}
	m = m.WithContent(strings.NewReader(content), int64(len(content)))
	return m
}

func verify(t *testing.T, data string) []*msgauth.Verification {
	t.Helper()
	found, err := msgauth.VerifyWithOptions(strings.NewReader(data+"\r\n"), &msgauth.VerifyOptions{LookupTXT: dns})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSignaturesHold(t *testing.T) {
	for name, content := range map[string]string{
		"usual":          "From: Shop <shop@acme.example>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nhello\r\n",
		"no body":        "From: shop@acme.example\r\n\r\n",
		"header only":    "From: shop@acme.example\r\n",
		"no last CRLF":   "From: shop@acme.example\r\n\r\nhello",
		"trailing lines": "From: shop@acme.example\r\n\r\nhello  \t \r\n\r\n\r\n",
		"8-bit, dots":    "From: =?iso-8859-15?q?B=FCro?= <shop@ACME.example>\r\nSubject: f\u00fcr\r\n\r\n.\r\n..\r\n\u00e4\xff\r\n",
		"odd colons":     "From: shop@acme.example\r\nTo: a@example.com\r\nTo \t: b@example.com\r\nSUBJECT : hi\r\n\r\nhello\r\n",
		"blank lines":    "From: shop@acme.example\r\n\r\n\r\n\r\na\r\n\r\n b  c\r\n \r\n",
		"only blanks":    "From: shop@acme.example\r\nSubject:\r\nTo: \r\n\r\n \t\r\n\r\n",
		"large":          "From: shop@acme.example\r\n\r\n" + strings.Repeat("a  b\t\r\n\r\n", 20_000),
		"folded":         "From:\r\n shop@acme.example\r\nSubject: a\r\n\tb\r\n\r\n" + strings.Repeat("x", 5000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var next sink
			s := &dkim.Signer{Keys: both, Next: &next, Logger: slog.New(slog.DiscardHandler)}
			if err := s.Forward(t.Context(), message("1", content)); err != nil {
				t.Fatal(err)
			}
			got := next.data[0]
			if !strings.HasSuffix(got, content) {
				t.Errorf("got a message that does not end in the original:\n%q", got)
			}
			found := verify(t, got)
			if len(found) != 2 {
				t.Fatalf("got %d signatures, want 2:\n%s", len(found), got)
			}
			for _, v := range found {
				if v.Err != nil || v.Domain != "acme.example" {
					t.Errorf("signature of %s: %v", v.Domain, v.Err)
				}
			}
			for _, name := range []string{"From", "Subject", "To", "Cc", "Date", "Reply-To", "Content-Type", "MIME-Version"} {
				for _, v := range verify(t, name+": evil@evil.example\r\n"+got) {
					if v.Err == nil {
						t.Errorf("the signature holds with another %s in front", name)
					}
				}
			}
		})
	}
}

// White space before the colon and other case do not keep a field out of a signature.
func TestOddlyWrittenFieldsAreSigned(t *testing.T) {
	var next sink
	s := &dkim.Signer{Keys: both, Next: &next}
	content := "From: shop@acme.example\r\nTo: a@example.com\r\nto\t: b@example.com\r\nSubject : hi\r\nFEEDBACK-ID: a:b:c:d\r\nX: y\r\n\r\nhello\r\n"
	if err := s.Forward(t.Context(), message("1", content)); err != nil {
		t.Fatal(err)
	}
	found := verify(t, next.data[0])
	if len(found) != 2 {
		t.Errorf("got %d signatures, want 2", len(found))
	}
	const want = "From:From:Reply-To:To:To:To:Cc:Subject:Subject:Date:MIME-Version:Content-Type:Feedback-ID"
	for _, v := range found {
		if got := strings.Join(v.HeaderKeys, ":"); v.Err != nil || got != want {
			t.Errorf("got signed fields %s and error %v, want %s", got, v.Err, want)
		}
	}
}

func TestValidSignatureIsLeftAlone(t *testing.T) {
	var next sink
	s := &dkim.Signer{Keys: both, Next: &next, LookupTXT: lookup}
	if err := s.Forward(t.Context(), message("1", "From: shop@acme.example\r\n\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
	signed := next.data[0]
	if err := s.Forward(t.Context(), message("2", signed)); err != nil {
		t.Fatal(err)
	}
	if next.data[1] != signed {
		t.Errorf("got a changed message, want it as it came:\n%s", next.data[1])
	}
	broken := strings.Replace(signed, "hello", "goodbye", 1)
	if err := s.Forward(t.Context(), message("3", broken)); err != nil {
		t.Fatal(err)
	}
	valid := 0
	for _, v := range verify(t, next.data[2]) {
		if v.Err == nil {
			valid++
		}
	}
	if valid != 2 {
		t.Errorf("got %d valid signatures beside the broken ones, want 2", valid)
	}
}

// A signature whose key is being tested does not replace ours.
func TestSignatureOfAKeyThatIsBeingTested(t *testing.T) {
	for flags, want := range map[string]int{"; t=y": 4, ";t = s : y;": 4, "; t=s": 2, "; n=t=y": 2} {
		var next sink
		s := &dkim.Signer{Keys: both, Next: &next, LookupTXT: func(_ context.Context, name string) ([]string, error) {
			txts, err := dns(name)
			for i := range txts {
				txts[i] += flags
			}
			return txts, err
		}}
		if err := s.Forward(t.Context(), message("1", "From: shop@acme.example\r\n\r\nhello\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := s.Forward(t.Context(), message("2", next.data[0])); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(next.data[1], "DKIM-Signature:"); n != want {
			t.Errorf("flags %q: got %d signatures, want %d", flags, n, want)
		}
	}
}

// A signature is not verified if it cannot replace ours, or is expensive to verify.
func TestSignaturesThatAreNotVerified(t *testing.T) {
	from := "From: shop@acme.example\r\n"
	for name, test := range map[string]struct{ fields, from string }{
		"another domain's":           {"", "From: shop@other.example\r\n"},
		"one that names 1000 fields": {strings.Repeat("Cc:\r\n", 1000), from},
	} {
		t.Run(name, func(t *testing.T) {
			var next sink
			s := &dkim.Signer{Next: &next, Keys: func(ctx context.Context, m *relay.Message, _ string) ([]dkim.Key, error) {
				return both(ctx, m, "acme.example")
			}}
			if err := s.Forward(t.Context(), message("1", from+test.fields+"\r\nhello\r\n")); err != nil {
				t.Fatal(err)
			}
			s.LookupTXT = func(_ context.Context, name string) ([]string, error) {
				t.Errorf("got a look-up of %s, want none", name)
				return dns(name)
			}
			again := strings.Replace(next.data[0], from, test.from, 1)
			if err := s.Forward(t.Context(), message("2", again)); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(next.data[1], "DKIM-Signature:"); n != 4 {
				t.Errorf("got %d signatures, want 4", n)
			}
		})
	}
}

// A message goes on unsigned only if its author's domain has no keys.
func TestNoKeys(t *testing.T) {
	for _, from := range []string{"a@other.example", "a@localhost", "a@[192.0.2.1]"} {
		var next sink
		s := &dkim.Signer{Keys: both, Next: &next, Logger: slog.New(slog.DiscardHandler)}
		content := "From: " + from + "\r\n\r\nhello\r\n"
		if err := s.Forward(t.Context(), message("1", content)); err != nil {
			t.Fatal(err)
		}
		if next.data[0] != content {
			t.Errorf("got message %q, want %q", next.data[0], content)
		}
	}
}

func TestMessageThatCannotBeSigned(t *testing.T) {
	for _, test := range []struct{ content, want string }{
		{"Subject: hi\r\n\r\nhello\r\n", "the message has no From field"},
		{"this is no header\r\n\r\nhello\r\n", "the message has no From field"},
		{"From: shop@acme.example\r\nFrom: shop@acme.example\r\n\r\n", "the message has more than one From field"},
		{"From : shop@acme.example\r\n\r\n", "there is white space between From and the colon"},
		{"From: shop@acme.example <other@acme.example>\r\n\r\n", "the From field holds no address that can be read"},
		{"From: shop@acme.example\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "its header is larger than 1048576 bytes"},
	} {
		var next sink
		s := &dkim.Signer{Keys: both, Next: &next}
		err := s.Forward(t.Context(), message("1", test.content))
		if err == nil || relay.Temporary(err) || !strings.Contains(err.Error(), test.want) || len(next.data) > 0 {
			t.Errorf("%.60q: got error %v and %d messages sent, want a permanent error %q and none", test.content, err, len(next.data), test.want)
		}
	}
}

// The relay's own parser finds the author, so every message that it accepts is
// signed.
func TestAuthorIsThatOfThePolicy(t *testing.T) {
	for _, from := range []string{
		"shop@acme.example <shop@acme.example>", "=?UTF-8?B??= <shop@acme.example>", "< shop@acme.example >",
		"=?utf-8?q?Caf=C3=A9,_Inc.?= <shop@acme.example>", "Shops: shop@acme.example, b@other.example;", "!#$%&'*+/=?^@ACME.example",
	} {
		var next sink
		s := &dkim.Signer{Keys: both, Next: &next}
		if err := s.Forward(t.Context(), message("1", "From: "+from+"\r\n\r\nhello\r\n")); err != nil {
			t.Fatal(err)
		}
		if found := verify(t, next.data[0]); len(found) != 2 || found[0].Err != nil || found[1].Err != nil {
			t.Errorf("From: %s: got signatures %+v, want two valid ones", from, found)
		}
	}
}

// Lines of a signature field stay short, however many fields it names.
func TestSignatureIsFolded(t *testing.T) {
	var next sink
	s := &dkim.Signer{Keys: both, Next: &next}
	content := "From: shop@acme.example\r\n" + strings.Repeat("List-Unsubscribe-Post: x\r\n", 900) + "\r\nhello\r\n"
	if err := s.Forward(t.Context(), message("1", content)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.TrimSuffix(next.data[0], content)) {
		if len(line) > 80 {
			t.Errorf("got a line of %d bytes, want at most 80: %q", len(line), line)
		}
	}
	for _, v := range verify(t, next.data[0]) {
		if v.Err != nil || len(v.HeaderKeys) < 900 {
			t.Errorf("got error %v and %d signed fields, want a valid signature of over 900", v.Err, len(v.HeaderKeys))
		}
	}
}

// A key with a Domain makes a second signature, of a provider.
func TestProviderSignature(t *testing.T) {
	keys := []dkim.Key{{Selector: "r", Signer: rsaKey}, {Selector: "p", Signer: rsaKey, Domain: "Provider.example."}}
	var next sink
	s := &dkim.Signer{Next: &next, LookupTXT: lookup, Keys: func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return keys, nil }}
	if err := s.Forward(t.Context(), message("1", "From: shop@acme.example\r\n\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
	checkSignatures(t, next.data[0], "acme.example", "provider.example")
	if keys[0].Domain != "" || keys[1].Domain != "Provider.example." {
		t.Errorf("got keys %+v, want them unchanged", keys)
	}
	own := next.data[0][strings.LastIndex(next.data[0], "From: "):]
	s.Keys = func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return keys[:1], nil }
	if err := s.Forward(t.Context(), message("2", own)); err != nil {
		t.Fatal(err)
	}
	s.Keys = func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return keys, nil }
	if err := s.Forward(t.Context(), message("3", next.data[1])); err != nil {
		t.Fatal(err)
	}
	checkSignatures(t, next.data[2], "provider.example", "acme.example")
}

// checkSignatures wants valid signatures of exactly these domains, in order.
func checkSignatures(t *testing.T, data string, domains ...string) {
	t.Helper()
	var got []string
	for _, v := range verify(t, data) {
		got = append(got, v.Domain)
		if v.Err != nil {
			t.Errorf("signature of %s: %v", v.Domain, v.Err)
		}
	}
	if !slices.Equal(got, domains) {
		t.Errorf("got signatures of %q, want %q", got, domains)
	}
}

func ExampleSigner() {
	signer := &dkim.Signer{
		Keys: func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
			return []dkim.Key{{Selector: "e", Signer: edKey}}, nil
		},
		Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			line, _, _ := bytes.Cut(must(io.ReadAll(m.Content())), []byte(":"))
			fmt.Printf("%s\n", line)
			return nil
		}),
	}
	if err := signer.Forward(context.Background(), message("1", "From: shop@acme.example\r\n\r\nhello\r\n")); err != nil {
		fmt.Println(err)
	}
	// Output: DKIM-Signature
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
