package bounces_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

var quiet = slog.New(slog.DiscardHandler)

// neverBounced fails the test when it is called.
func neverBounced(t *testing.T) func(context.Context, store.TenantID, string, string, *relay.ReplyError) error {
	return func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
		t.Errorf("Bounced was called for mail %s of %s to %s: %v", mail, tenant, recipient, r)
		return nil
	}
}

// A returned is what a report is made of.
type returned struct {
	final, original  string // with their types
	action, status   string
	diagnostic       string
	envelope, header string // what comes back of the message
}

// write returns the report.
func (r returned) write() string {
	field := func(name, value string) string {
		if value == "" {
			return ""
		}
		return name + ": " + value + "\r\n"
	}
	return "From: MAILER-DAEMON@example.com\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=xx\r\n\r\n" +
		"--xx\r\n\r\nSorry.\r\n--xx\r\nContent-Type: message/delivery-status\r\n\r\n" +
		"Reporting-MTA: dns; mail.example.com\r\n" + field("Original-Envelope-Id", r.envelope) + "\r\n" +
		field("Original-Recipient", r.original) + field("Final-Recipient", r.final) +
		field("Action", r.action) + field("Status", r.status) + field("Diagnostic-Code", r.diagnostic) +
		"--xx\r\nContent-Type: text/rfc822-headers\r\n\r\n" + r.header + "--xx--\r\n"
}

// bounced gives a report to a Receiver, and returns the calls of Bounced.
func bounced(t *testing.T, address, report string, secrets ...credentials.Password) (calls []string) {
	t.Helper()
	r := &bounces.Receiver{Secrets: secrets, Logger: quiet, Bounced: func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
		calls = append(calls, fmt.Sprintf("%s %s %s %d %s", tenant, mail, recipient, r.Code, r.Enhanced))
		return nil
	}}
	if err := r.Receive(t.Context(), address, strings.NewReader(report)); err != nil {
		t.Errorf("Receive: %v", err)
	}
	return calls
}

// A report of a failure is recorded if the token comes back in the header or as the
// envelope ID, for the recipient that it names.
func TestBounced(t *testing.T) {
	const mail = "acme 0123456789abcdefghjkmnpqrs "
	for name, test := range map[string]struct {
		to   string
		r    returned
		want string // what Bounced gets, or "" if it is not called
	}{
		"hard":               {"bob@example.com", returned{final: "rfc822; bob@example.com", status: "5.1.1"}, mail + "bob@example.com 550 5.1.1"},
		"soft":               {"bob@example.com", returned{final: "rfc822; bob@example.com", status: "4.4.7"}, mail + "bob@example.com 450 4.4.7"},
		"diagnostic":         {"bob@example.com", returned{final: "rfc822; bob@example.com", status: "5.0.0", diagnostic: "smtp; 552 5.2.2 full"}, mail + "bob@example.com 552 5.2.2"},
		"soft diagnostic":    {"bob@example.com", returned{final: "rfc822; bob@example.com", status: "5.0.0", diagnostic: "smtp; 451 4.3.0 later"}, mail + "bob@example.com 451 4.3.0"},
		"no status":          {"bob@example.com", returned{final: "rfc822; bob@example.com", diagnostic: "smtp; 550 no"}, mail + "bob@example.com 550 "},
		"no reason":          {"bob@example.com", returned{final: "rfc822; bob@example.com"}, mail + "bob@example.com 450 "},
		"case":               {"bob@example.com", returned{final: "RFC822;<BOB@EXAMPLE.COM>", action: "Failed", status: "5.1.1"}, mail + "BOB@example.com 550 5.1.1"},
		"another mailbox":    {"bob@example.com", returned{final: "rfc822; bob.smith@example.com", original: "rfc822; bob@example.com", status: "5.1.1"}, mail + "bob.smith@example.com 550 5.1.1"},
		"name of the host":   {"bob@example.com", returned{final: "rfc822; bob@mail.example.com", status: "5.1.1"}, mail + "bob@example.com 550 5.1.1"},
		"local name":         {"bob@example.com", returned{final: "local; bob", original: "rfc822; bob@example.com", status: "5.1.1"}, mail + "bob@example.com 550 5.1.1"},
		"A-labels":           {"bob@xn--bcher-kva.example", returned{final: "utf-8; bob@bücher.example", status: "5.1.1"}, mail + "bob@xn--bcher-kva.example 550 5.1.1"},
		"utf-8":              {"bücher@example.com", returned{final: `utf-8; b\x{FC}cher@example.com`, status: "5.1.1"}, mail + "bücher@example.com 550 5.1.1"},
		"quotes":             {`"john doe"@example.com`, returned{final: `rfc822; "john doe"@example.com`, status: "5.1.1"}, mail + `"john doe"@example.com 550 5.1.1`},
		"several recipients": {"bob@example.com, eve@example.com", returned{final: "rfc822; bob@example.com", status: "5.1.1"}, mail + "bob@example.com 550 5.1.1"},
		"several domains":    {"bob@example.com, eve@example.net", returned{final: "rfc822; bob@example.com", status: "5.1.1"}, mail + "bob@example.com 550 5.1.1"},

		"passed on":            {"bob@example.com", returned{final: "rfc822; eve@example.net", original: "rfc822; bob@example.com", status: "5.1.1"}, mail + "eve@example.net, to which mail for bob@example.com was passed on 550 5.1.1"},
		"passed on, forged":    {"bob@example.com", returned{final: "rfc822; eve@example.net", original: "rfc822; bob@example.org", status: "5.1.1"}, ""},
		"other, no domain":     {"bob@example.com", returned{final: "local; eve", original: "rfc822; bob@example.com", status: "5.1.1"}, ""},
		"of another domain":    {"eve@example.net", returned{final: "rfc822; bob@example.com", status: "5.1.1"}, ""},
		"no domain":            {"bob@example.com", returned{final: "local; bob", status: "5.1.1"}, ""},
		"delayed":              {"bob@example.com", returned{final: "rfc822; bob@example.com", action: "delayed", status: "4.4.1"}, ""},
		"delivered":            {"bob@example.com", returned{final: "rfc822; bob@example.com", action: "delivered", status: "2.0.0"}, ""},
		"relayed":              {"bob@example.com", returned{final: "rfc822; bob@example.com", action: "relayed", status: "2.0.0"}, ""},
		"expanded":             {"bob@example.com", returned{final: "rfc822; bob@example.com", action: "expanded (to a list)", status: "2.0.0"}, ""},
		"an action of its own": {"bob@example.com", returned{final: "rfc822; bob@example.com", action: "pondered", status: "5.0.0"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := rewrite(t, message("billing@acme.example", strings.Split(test.to, ", ")...), "bounces.acme.example")
			if test.r.action == "" {
				test.r.action = "failed"
			}
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			header, _, _ := strings.Cut(string(out.Data), "\r\n\r\n")
			inHeader, inEnvelope := test.r, test.r
			inHeader.header, inEnvelope.envelope = header+"\r\n", out.Options.EnvelopeID
			for place, r := range map[string]returned{"header": inHeader, "envelope ID": inEnvelope} {
				if got := bounced(t, out.From, r.write(), newSecret); !slices.Equal(got, want) {
					t.Errorf("token in the %s: got %q, want %q", place, got, want)
				}
				if got := bounced(t, out.From, strings.ReplaceAll(r.write(), "\r\n", "\n"), newSecret); !slices.Equal(got, want) {
					t.Errorf("token in the %s, LF: got %q, want %q", place, got, want)
				}
			}
			if got := bounced(t, out.From, test.r.write(), newSecret); got != nil {
				t.Errorf("without a token: got %q, want no call", got)
			}
		})
	}
}

// A report changes nothing if its token was signed for another mail, tenant, sender
// or domain, or by another secret.
func TestForgedReport(t *testing.T) {
	out := rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example")
	ours := out.Options.EnvelopeID
	report := func(token string) string {
		return returned{final: "rfc822; bob@example.com", action: "failed", status: "5.1.1", envelope: token}.write()
	}
	if got := bounced(t, out.From, report(ours), newSecret); len(got) != 1 {
		t.Fatalf("the right token: got %q", got)
	}
	other := message("billing@acme.example", "bob@example.com")
	other.Identity.Tenant = "evil"
	foreign := rewrite(t, other, "bounces.acme.example").Options.EnvelopeID
	mac := func(token string) string { return token[strings.LastIndexByte(token, '.'):] }
	for name, token := range map[string]string{
		"none":            "",
		"of another mail": strings.Replace(ours, "0", "1", 1),
		"tenant changed":  strings.Replace(ours, ".acme.", ".evil.", 1),
		"tenant armoured": strings.Replace(ours, ".acme.", ".~!.", 1),
		"their signature": strings.TrimSuffix(ours, mac(ours)) + mac(foreign),
		"parts shifted":   strings.Replace(ours, "s.acme.", ".sacme.", 1),
		"cut":             ours[:len(ours)-1],
		"signature gone":  strings.TrimSuffix(ours, mac(ours)) + ".",
		"of a domain":     rewrite(t, message("billing@acme.example", "bob@example.net"), "bounces.acme.example").Options.EnvelopeID,
		"of a sender":     rewrite(t, message("sales@acme.example", "bob@example.com"), "bounces.acme.example").Options.EnvelopeID,
		"of a secret":     rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example", oldSecret).Options.EnvelopeID,
		"an address":      out.From,
	} {
		if got := bounced(t, out.From, report(token), newSecret); got != nil {
			t.Errorf("%s: got %q, want no call", name, got)
		}
	}
	if got := bounced(t, out.From, report(ours), oldSecret, newSecret); len(got) != 1 {
		t.Errorf("the right token, with two secrets: got %q", got)
	}
	if got := bounced(t, out.From, report(foreign), newSecret); len(got) != 1 || !strings.HasPrefix(got[0], "evil ") {
		t.Errorf("a token of another tenant: got %q, want a call for that tenant", got)
	}
}

// A tenant's ID may have any characters.
func TestTenantInToken(t *testing.T) {
	for _, tenant := range []string{"", "a.b", "~", "müller & co", strings.Repeat("x", 300)} {
		m := message("billing@acme.example", "bob@example.com")
		m.Identity.Tenant = store.TenantID(tenant)
		out := rewrite(t, m, "bounces.acme.example")
		header, _, _ := strings.Cut(string(out.Data), "From:")
		r := returned{final: "rfc822; bob@example.com", action: "failed", status: "5.1.1", header: header}
		if got := bounced(t, out.From, r.write(), newSecret); len(got) != 1 || !strings.HasPrefix(got[0], tenant+" "+m.ID) {
			t.Errorf("tenant %q: got %q", tenant, got)
		}
		if len(out.Options.EnvelopeID) > 100 {
			t.Errorf("tenant %q: the envelope ID has %d characters", tenant, len(out.Options.EnvelopeID))
		}
	}
}

// Every message is passed on to the original sender, from the null reverse-path,
// with line ends that may be sent.
func TestPassOn(t *testing.T) {
	address := rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example").From
	for in, want := range map[string]string{
		"Subject: away\r\n\r\nUntil Monday.\r\n": "Subject: away\r\n\r\nUntil Monday.\r\n",
		"Subject: away\n\nUntil\x00 Mon\rday.":   "Subject: away\r\n\r\nUntil Monday.\r\n",
		"":                                       "",
	} {
		var out relaytest.Recorder
		r := &bounces.Receiver{Secrets: []credentials.Password{newSecret}, Bounced: neverBounced(t), Forwarder: &out}
		if err := r.Receive(t.Context(), address, strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		m := out.Messages()[0]
		if string(m.Data) != want || m.From != "" || m.To[0].Address != "billing@acme.example" || m.To[0].Notify[0] != "NEVER" || m.Identity.Domain != "acme.example" {
			t.Errorf("%q: got %q from %q to %v of %v, want %q", in, m.Data, m.From, m.To, m.Identity, want)
		}
	}
}

// A message that is too long is cut, and what is behind is not read.
func TestLongReport(t *testing.T) {
	address := rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example").From
	var out relaytest.Recorder
	r := &bounces.Receiver{Secrets: []credentials.Password{newSecret}, Bounced: neverBounced(t), Forwarder: &out}
	long := strings.NewReader(strings.Repeat("X-Field: x\r\n", 1<<20))
	if err := r.Receive(t.Context(), address, long); err != nil {
		t.Fatal(err)
	}
	if read, size := long.Size()-int64(long.Len()), out.Messages()[0].Size(); read > 1<<20 || size > 1<<20+2 {
		t.Errorf("%d bytes were read and %d passed on, want at most 1 MiB", read, size)
	}
}

// A failure that may pass is temporary, and a loop is not.
func TestReceiveErrors(t *testing.T) {
	out := rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example")
	report := returned{final: "rfc822; bob@example.com", action: "failed", status: "5.1.1", envelope: out.Options.EnvelopeID}.write()
	fails := errors.New("no database")
	for name, test := range map[string]struct {
		content   io.Reader
		change    func(*bounces.Receiver)
		want      string
		temporary bool
	}{
		"Bounced fails": {strings.NewReader(report), func(r *bounces.Receiver) {
			r.Bounced = func(context.Context, store.TenantID, string, string, *relay.ReplyError) error { return fails }
		}, "no database", true},
		"Forwarder fails": {strings.NewReader(report), func(r *bounces.Receiver) {
			r.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error { return fails })
		}, "no database", true},
		"content fails": {io.MultiReader(strings.NewReader(report), failing{fails}), nil, "no database", true},
		"a loop":        {strings.NewReader(strings.Repeat("Received: from a\r\n", 101) + report), nil, "too many servers", false},
		"no Bounced":    {strings.NewReader(report), func(r *bounces.Receiver) { r.Bounced = nil }, "Bounced is required", true},
		"no Secrets":    {strings.NewReader(report), func(r *bounces.Receiver) { r.Secrets = nil }, "Secrets is required", true},
	} {
		r := &bounces.Receiver{
			Secrets: []credentials.Password{newSecret}, Logger: quiet,
			Bounced: func(context.Context, store.TenantID, string, string, *relay.ReplyError) error { return nil },
		}
		if test.change != nil {
			test.change(r)
		}
		err := r.Receive(t.Context(), out.From, test.content)
		if err == nil || !strings.Contains(err.Error(), test.want) || relay.Temporary(err) != test.temporary {
			t.Errorf("%s: got %v, want an error with %q, temporary %t", name, err, test.want, test.temporary)
		}
	}
}

// A report about a mail that is not in the history is passed on. Nothing would change if
// the other server sent it again.
func TestReportOfUnknownMail(t *testing.T) {
	out := rewrite(t, message("billing@acme.example", "bob@example.com"), "bounces.acme.example")
	report := returned{final: "rfc822; bob@example.com", action: "failed", status: "5.1.1", envelope: out.Options.EnvelopeID}.write()
	var log strings.Builder
	var passedOn relaytest.Recorder
	r := &bounces.Receiver{
		Secrets: []credentials.Password{newSecret}, Forwarder: &passedOn, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Bounced: (&history.History{Store: new(memory.Store)}).Bounced,
	}
	if err := r.Receive(t.Context(), out.From, strings.NewReader(report)); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Stats(), (bounces.ReceiverStats{Messages: 1, NotFound: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := len(passedOn.Messages()); n != 1 || !strings.Contains(log.String(), "a mail that is not in the history") {
		t.Errorf("%d messages were passed on, want 1; the log:\n%s", n, &log)
	}
}

// A failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
