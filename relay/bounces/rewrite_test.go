package bounces_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

var (
	oldSecret = credentials.NewPassword("the secret of last year")
	newSecret = credentials.NewPassword("the secret of this year")
)

const content = "From: billing@acme.example\r\n\r\nHello.\r\n"

// message returns a message of tenant acme.
func message(from string, to ...string) *relay.Message {
	m := &relay.Message{ID: "0123456789abcdefghjkmnpqrs", From: from}
	m.Identity.Tenant = "acme"
	for _, addr := range to {
		m.To = append(m.To, relay.Recipient{Address: addr})
	}
	return m.WithContent(strings.NewReader(content), int64(len(content)))
}

// rewrite returns what leaves a Rewriter that sends reports to domain.
func rewrite(t *testing.T, m *relay.Message, domain string, secrets ...credentials.Password) relaytest.Message {
	t.Helper()
	var out relaytest.Recorder
	if secrets == nil {
		secrets = []credentials.Password{newSecret}
	}
	w := &bounces.Rewriter{Next: &out, Secrets: secrets, Domain: func(context.Context, string) (string, error) { return domain, nil }}
	if err := w.Forward(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return out.Messages()[0]
}

// forwarded gives a message without a report to a Receiver and returns whom the
// Receiver passes it on to.
func forwarded(t *testing.T, address string, secrets ...credentials.Password) string {
	t.Helper()
	var out relaytest.Recorder
	r := &bounces.Receiver{Secrets: secrets, Bounced: neverBounced(t), Forwarder: &out}
	if !r.Accepts(address) {
		return ""
	}
	if err := r.Receive(t.Context(), address, strings.NewReader("Subject: I am away\r\n\r\nUntil Monday.\r\n")); err != nil {
		t.Fatal(err)
	}
	return out.Messages()[0].To[0].Address
}

// The original sender can be told from the address, whatever its form.
func TestAddress(t *testing.T) {
	long := strings.Repeat("x", 53)
	for _, test := range []struct{ from, domain, want string }{
		{"billing@acme.example", "bounces.acme.example", "b-????????-billing@bounces.acme.example"},
		{"billing@acme.example", "Bounces.ACME.example.", "b-????????-billing@bounces.acme.example"},
		{"billing@acme.example", "bounces.example.net", "b-????????=billing=acme.example@bounces.example.net"},
		{"billing@acme.example", "a.b.acme.example", "b-????????=billing=acme.example@a.b.acme.example"},
		{"billing@acme.example", "acme.example", "b-????????=billing=acme.example@acme.example"},
		{"Billing+x=y-z@acme.example", "bounces.example.net", "b-????????=Billing+x=y-z=acme.example@bounces.example.net"},
		{"=@acme.example", "bounces.example.net", "b-????????===acme.example@bounces.example.net"},
		{`"john doe"@acme.example`, "bounces.acme.example", `"b-????????-john doe"@bounces.acme.example`},
		{`"a\"b\\c"@acme.example`, "bounces.example.net", `"b-????????=a\"b\\c=acme.example"@bounces.example.net`},
		{`".dot"@acme.example`, "bounces.acme.example", `b-????????-.dot@bounces.acme.example`},
		{"bücher@xn--bcher-kva.example", "bounces.example.net", "b-????????=bücher=xn--bcher-kva.example@bounces.example.net"},
		{long + "@acme.example", "bounces.acme.example", "b-????????-" + long + "@bounces.acme.example"},
		{long + "x@acme.example", "bounces.acme.example", long + "x@acme.example"},
		{long + "@acme.example", "bounces.example.net", long + "@acme.example"},
		{`"` + strings.Repeat("x", 50) + ` "@acme.example`, "bounces.acme.example", `"b-????????-` + strings.Repeat("x", 50) + ` "@bounces.acme.example`},
		{`"` + strings.Repeat("x", 51) + ` "@acme.example`, "bounces.acme.example", `"` + strings.Repeat("x", 51) + ` "@acme.example`},
		{"x@acme.example", strings.Repeat("y.", 115) + "example", "x@acme.example"},
		{"", "bounces.acme.example", ""},
		{"billing@acme.example", "", "billing@acme.example"},
	} {
		got := rewrite(t, message(test.from, "bob@example.com"), test.domain).From
		if !matches(got, test.want) {
			t.Errorf("sender of %q with %s: got %q, want %q", test.from, test.domain, got, test.want)
			continue
		}
		if got == test.from {
			continue
		}
		if to := forwarded(t, got, newSecret); to != test.from {
			t.Errorf("%s: got the original sender %q, want %q", got, to, test.from)
		}
		if to := forwarded(t, upper(got), newSecret); !strings.EqualFold(to, test.from) {
			t.Errorf("%s in upper case: got the original sender %q, want %q", got, to, test.from)
		}
		local, domain, _ := strings.Cut(got, "@")
		if to := forwarded(t, strings.NewReplacer(`"`, "", `\`, "").Replace(local)+"@"+domain, newSecret); to != test.from && !strings.Contains(local, `\`) {
			t.Errorf("%s without quotes: got the original sender %q, want %q", got, to, test.from)
		}
	}
}

// matches reports whether s is the pattern, in which ? stands for any character.
func matches(s, pattern string) bool {
	if len(s) != len(pattern) {
		return false
	}
	for i := range s {
		if pattern[i] != '?' && pattern[i] != s[i] {
			return false
		}
	}
	return true
}

// upper changes the letters a to z.
func upper(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// A message that keeps its sender keeps everything.
func TestUnchanged(t *testing.T) {
	for _, m := range []*relay.Message{message("", "bob@example.com"), message(strings.Repeat("x", 60)+"@acme.example", "bob@example.com")} {
		got := rewrite(t, m, "bounces.acme.example")
		if string(got.Data) != content || got.Options.EnvelopeID != "" {
			t.Errorf("sender %q: got the content %q and the envelope ID %q", m.From, got.Data, got.Options.EnvelopeID)
		}
	}
}

// The address is the same for every message of a sender, so that greylisting
// happens once.
func TestAddressIsStable(t *testing.T) {
	a := message("billing@acme.example", "bob@example.com")
	b := message("billing@acme.example", "alice@example.net")
	b.ID = "z123456789abcdefghjkmnpqrs"
	first, second := rewrite(t, a, "bounces.acme.example"), rewrite(t, b, "bounces.acme.example")
	if first.From != second.From {
		t.Errorf("got %s and %s, want the same", first.From, second.From)
	}
	if other := rewrite(t, message("sales@acme.example", "bob@example.com"), "bounces.acme.example"); other.From[:10] == first.From[:10] {
		t.Errorf("another sender got the same signature, %s", other.From)
	}
}

// No address is accepted that was not made with a secret that the Receiver has.
func TestForgedAddress(t *testing.T) {
	address := rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example").From
	r := &bounces.Receiver{Secrets: []credentials.Password{newSecret}, Bounced: neverBounced(t)}
	if !r.Accepts(address) {
		t.Fatalf("%s is not accepted", address)
	}
	forged := []string{
		"", "@", "b-", "b-@x", "billing@acme.example", "b-aaaaaaaa-billing@bounces.acme.example", "b-aaaaaaaa@acme.example", "b-aaaaaaaa-@acme.example",
		"b-aaaaaaaa=@acme.example", "b-aaaaaaaa==@acme.example", "b-aaaaaaaa=x=@acme.example", "b-aaaaaaaa-x@example", "b-aaaaaaaa-x",
		strings.Replace(address, "billing", "sales", 1), strings.Replace(address, "acme", "other", 1), strings.Replace(address, "billing", "", 1),
		strings.Replace(address, "-billing", "=billing=other.example", 1), strings.Repeat("x", 10000) + address,
	}
	for i := range len("b-xxxxxxxx") {
		b := []byte(address)
		b[i] ^= 1
		forged = append(forged, string(b))
	}
	for _, f := range forged {
		if r.Accepts(f) {
			t.Errorf("%.100q is accepted", f)
		}
		var reply *relay.ReplyError
		if err := r.Receive(t.Context(), f, strings.NewReader("")); !errors.As(err, &reply) || reply.Code != 550 {
			t.Errorf("Receive for %.100q: got %v, want a reply 550", f, err)
		}
	}
}

// Older secrets are accepted, and only the first one signs.
func TestRotation(t *testing.T) {
	m := message("billing@acme.example", "bob@example.com")
	before := rewrite(t, m, "bounces.acme.example", oldSecret).From
	after := rewrite(t, m, "bounces.acme.example", newSecret, oldSecret).From
	if before == after {
		t.Error("the new secret does not sign")
	}
	for _, address := range []string{before, after} {
		if got := forwarded(t, address, newSecret, oldSecret); got != "billing@acme.example" {
			t.Errorf("%s: got the original sender %q", address, got)
		}
	}
	if got := forwarded(t, before, newSecret); got != "" {
		t.Errorf("an address of a secret that is gone: got the original sender %q", got)
	}
}

// The token is in the header and, if the client set none, in the envelope ID.
func TestToken(t *testing.T) {
	m := message("billing@acme.example", "bob@example.com")
	got := rewrite(t, m, "bounces.acme.example")
	field, rest, _ := strings.Cut(string(got.Data), "\r\n")
	if rest != content || field != "X-Bounce-Token: "+got.Options.EnvelopeID || !strings.Contains(field, ": "+m.ID+".acme.") {
		t.Errorf("got the content %q and the envelope ID %q", got.Data, got.Options.EnvelopeID)
	}
	if m.From != "billing@acme.example" || m.Options.EnvelopeID != "" || m.Size() != int64(len(content)) {
		t.Error("the message that was given was changed")
	}
	m.Options.EnvelopeID = "theirs"
	if got := rewrite(t, m, "bounces.acme.example"); got.Options.EnvelopeID != "theirs" || !strings.HasPrefix(string(got.Data), field) {
		t.Errorf("with an envelope ID: got the content %q and the envelope ID %q", got.Data, got.Options.EnvelopeID)
	}
}

// An error names the field that is wrong. A Domain that fails is asked again later.
func TestRewriterErrors(t *testing.T) {
	ok := bounces.Rewriter{
		Next: &relaytest.Recorder{}, Secrets: []credentials.Password{newSecret},
		Domain: func(context.Context, string) (string, error) { return "bounces.acme.example", nil },
	}
	for want, change := range map[string]func(*bounces.Rewriter){
		"Next is required":    func(w *bounces.Rewriter) { w.Next = nil },
		"Domain is required":  func(w *bounces.Rewriter) { w.Domain = nil },
		"Secrets is required": func(w *bounces.Rewriter) { w.Secrets = nil },
		"at least 16 bytes":   func(w *bounces.Rewriter) { w.Secrets = append(w.Secrets[:1:1], credentials.NewPassword("short")) },
		"not a host name": func(w *bounces.Rewriter) {
			w.Domain = func(context.Context, string) (string, error) { return "a b", nil }
		},
		"no database": func(w *bounces.Rewriter) {
			w.Domain = func(context.Context, string) (string, error) { return "", fmt.Errorf("no database") }
		},
	} {
		w := ok
		change(&w)
		err := w.Forward(t.Context(), message("billing@acme.example", "bob@example.com"))
		if err == nil || !strings.Contains(err.Error(), want) || !relay.Temporary(err) || relay.Unreachable(err) {
			t.Errorf("got %v, want a temporary error with %q", err, want)
		}
		if c := relay.CheckForwarder(&w); c != nil && c.Error() != err.Error() || c == nil && strings.Contains(want, "required") {
			t.Errorf("CheckForwarder returned %v, want %v if a field is missing", c, err)
		}
	}
}
