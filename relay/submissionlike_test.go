package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A submission is a message that is sent by SMTP and by Submit. The zero fields are
// those of an ordinary message.
type submission struct {
	name    string
	change  func(*relay.Server)
	from    string // "<>" is the null reverse-path
	to      []string
	options relay.Options
	params  string // the options as the client writes them
	content string
	want    string // how the reply begins
	submit  string // the text of the error of Submit, if it is another one
}

func sends(content, want string) submission {
	return submission{name: content, content: content, want: want}
}

var submissions = []submission{
	{name: "ordinary", want: "250"},
	{name: "null reverse-path", from: "<>", want: "250"},
	{name: "addresses in other forms", from: `"shop"@ACME.example.`, to: []string{"bob@EXAMPLE.com", "bob@example.com.", "postmaster", `"a b"@example.com`}, want: "250"},
	{name: "options", options: relay.Options{Body: "8BITMIME", UTF8: true, RequireTLS: true, Return: "HDRS", EnvelopeID: "a+b =c"},
		params: " BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb+20+3Dc", from: "büro@acme.example", to: []string{"jörg@bücher.example"}, want: "250"},
	{name: "fields that are removed and added", content: "Bcc: eve@example.com\nFrom: shop@acme.example\nReturn-Path: <x@example.com>\nMessage-ID: <1@acme.example>\nSubject: hi\n\n.\n..x\n", want: "250"},
	{name: "a header only", content: "From: shop@acme.example\n", want: "250"},
	{name: "large", content: sized(700_000), want: "250"},

	{name: "malformed sender", submit: "Submission.From is not an address such as shop@acme.example", from: "shop", want: "501 5.1.7"},
	{name: "malformed sender address", submit: "Submission.From is not an address such as shop@acme.example", from: "shop@acme_.exa mple", want: "501 5.1.7"},
	{name: "sender beyond ASCII", submit: "an address beyond ASCII needs Submission.Options.UTF8", from: "büro@acme.example", want: "553 5.6.7"},
	{name: "long sender", from: strings.Repeat("x", 300) + "@acme.example", want: "501 5.1.7"},
	{name: "foreign sender", submit: "Submission.From: domain other.example is not allowed, this user sends from acme.example only", from: "shop@other.example", want: "550 5.7.1 MAIL FROM:"},
	{name: "BODY", submit: "Submission.Options.Body is not 7BIT or 8BITMIME", options: relay.Options{Body: "BINARYMIME"}, params: " BODY=BINARYMIME", want: "501 5.5.4"},
	{name: "RET", submit: "Submission.Options.Return is not FULL or HDRS", options: relay.Options{Return: "ALL"}, params: " RET=ALL", want: "501 5.5.4"},
	{name: "ENVID", submit: "Submission.Options.EnvelopeID is not printable ASCII of at most 100 characters as xtext", options: relay.Options{EnvelopeID: "\n"}, params: " ENVID=+0A", want: "501 5.5.4"},
	{name: "long ENVID", submit: "Submission.Options.EnvelopeID is not printable ASCII of at most 100 characters as xtext", options: relay.Options{EnvelopeID: strings.Repeat("x", 101)}, params: " ENVID=" + strings.Repeat("x", 101), want: "501 5.5.4"},
	{name: "AllowUser", change: func(s *relay.Server) {
		s.AllowUser = decide(&relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "suspended"})
	}, want: "550 5.7.1 suspended"},
	{name: "AllowUser fails", change: func(s *relay.Server) { s.AllowUser = decide(errSecret) }, want: "451 4.3.0"},
	{name: "AllowSender", submit: "Submission.From: not this one", change: func(s *relay.Server) { s.AllowSender = decide(nil) }, from: "no@acme.example", want: "550 5.7.1 MAIL FROM:"},
	{name: "AllowSender panics", change: func(s *relay.Server) { s.AllowSender = decide(nil) }, from: "panic@acme.example", want: "451 4.3.0"},
	{name: "ReplaceExactDomain", submit: "Submission.From: not this one", change: func(s *relay.Server) { s.ReplaceExactDomain = decide(nil) }, from: "no@other.example", want: "550 5.7.1 MAIL FROM:"},

	{name: "no recipient", submit: "Submission.To is empty", to: []string{}, want: "503 5.5.1"},
	{name: "malformed recipient", submit: "the recipient is not an address such as bob@example.com", to: []string{"bob@@example.com"}, want: "501 5.1.3"},
	{name: "empty recipient", submit: "the recipient is not an address such as bob@example.com", to: []string{""}, want: "501 5.1.3"},
	{name: "recipient beyond ASCII", submit: "an address beyond ASCII needs Submission.Options.UTF8", to: []string{"jörg@example.com"}, want: "553 5.6.7"},
	{name: "too many recipients", change: func(s *relay.Server) { s.MaxRecipients = 1 }, to: []string{"bob@example.com", "eve@example.com"}, want: "452 4.5.3"},
	{name: "AllowRecipient", submit: "Submission.To: not this one", change: func(s *relay.Server) { s.AllowRecipient = decide(nil) }, to: []string{"bob@example.com", "no@example.com"}, want: "550 5.7.1 RCPT TO:"},

	{name: "too large", change: func(s *relay.Server) { s.MaxMessageBytes = 100 }, content: sized(200), want: "552 5.3.4"},
	{name: "large header", content: strings.Repeat("X: "+filler, 300<<10/len(filler)) + "\n", want: "552 5.3.4"},
	{name: "long line", content: "From: shop@acme.example\n\n" + strings.Repeat("x", 70<<10) + "\n", want: "550 5.6.0"},
	{name: "loop", content: strings.Repeat("Received: x\n", 101) + hello, want: "554 5.4.6"},
	{name: "foreign From", content: "From: x@evil.example\n\n", want: "550 5.7.1 From:"},
	{name: "foreign Sender", content: "From: shop@acme.example\nSender: x@evil.example\n\n", want: "550 5.7.1 Sender:"},
	sends("Subject: hi\n\n", "550 5.6.0 the message has no From field"),
	sends("From: shop@acme.example\n\na\rb\n", "550 5.6.0"),
	sends("From: shop@acme.example\n\na\x00b\n", "550 5.6.0"),
	{name: "Forwarder fails", change: forwardError(errSecret), want: "451 4.3.0"},
	{name: "Forwarder gives up", change: forwardError(finalError{errSecret}), want: "554 5.3.0"},
	{name: "Forwarder times out", change: forwardError(context.DeadlineExceeded), want: "451 4.4.1"},
	{name: "Forwarder replies", change: forwardError(&relay.ReplyError{Code: 452, Enhanced: "4.3.1", Text: "full\r\nup"}), want: "452 4.3.1 full"},
	{name: "Forwarder panics", change: func(s *relay.Server) {
		s.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error { panic("secret") })
	}, want: "451 4.3.0"},
	{name: "Forwarder refuses recipients", change: forwardError(&relay.RefusedError{Recipients: []relay.RefusedRecipient{
		{Address: "bob@example.com", Err: &relay.ReplyError{Code: 450, Text: "later"}}, {Address: "eve@example.com", Err: &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "no such user"}},
	}}), to: []string{"bob@example.com", "eve@example.com"}, want: "550 5.1.1 <eve@example.com> (and 1 more): no such user"},
	{name: "Credentials panic", change: func(s *relay.Server) {
		s.Credentials = &credentials.Manager{Store: &watchedStore{Store: s.Credentials.Store}, Cost: s.Credentials.Cost, Logger: s.Logger}
	}, want: "421 4.3.0"},
	{name: "revoked elsewhere", submit: "the password was reset or the user deleted after Submission.Identity was made, make it again of the user as it is now", want: "421 4.7.0"},
}

// A message makes the same Message, the same events and the same reply, whether it
// comes by SMTP or by Submit. Only the error of Submit says what to do in Go.
func TestSubmitIsLikeSMTP(t *testing.T) {
	for _, test := range submissions {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bySMTP, bySubmit := test.outcome(t, test.bySMTP), test.outcome(t, test.bySubmit)
			if !strings.HasPrefix(bySMTP.reply, test.want) {
				t.Errorf("by SMTP: got the reply\n   %.300q, want\n   %.300q", bySMTP.reply, test.want)
			}
			want := bySMTP.reply
			if test.submit != "" {
				want = want[:len("550 5.7.1 ")] + test.submit
			}
			if want != bySubmit.reply {
				t.Errorf("by Submit: got the reply\n   %.300q, want\n   %.300q", bySubmit.reply, want)
			}
			if !reflect.DeepEqual(bySMTP.events, bySubmit.events) {
				t.Errorf("by Submit: got the events\n   %.1000s, want\n   %.1000s", list(bySubmit.events), list(bySMTP.events))
			}
			if len(bySMTP.events) != 1 || len(bySMTP.messages) > 1 || (len(bySMTP.messages) == 1) != (test.want == "250") {
				t.Errorf("got %d events and %d messages", len(bySMTP.events), len(bySMTP.messages))
			}
			for _, m := range bySMTP.messages {
				if len(bySubmit.messages) != 1 || !reflect.DeepEqual(m, bySubmit.messages[0]) {
					t.Errorf("by Submit: got\n   %+v, want\n   %+v", bySubmit.messages, m)
				}
			}
			if !reflect.DeepEqual(bySMTP.stats, bySubmit.stats) {
				t.Errorf("by Submit: got the stats\n   %+v, want\n   %+v", bySubmit.stats, bySMTP.stats)
			}
		})
	}
}

// A sent is a message as the Forwarder got it, in a form that can be compared.
type sent struct {
	From, Author, Subject, MessageID string
	To                               []relay.Recipient
	Options                          relay.Options
	Identity                         string // its domain
	Remote                           netip.Addr
	Data                             string
}

type outcome struct {
	reply    string
	events   []relay.Event
	messages []sent
	stats    relay.Stats
}

// outcome sends the message to a fresh relay and returns what came of it.
func (test submission) outcome(t *testing.T, send func(*testing.T, *relaytest.Relay) string) (o outcome) {
	log := newEventLog()
	r := startRelay(t, func(s *relay.Server) {
		s.OnEvent = log.add
		if test.change != nil {
			test.change(s)
		}
	})
	o.reply = send(t, r)
	for _, m := range r.Messages() {
		o.messages = append(o.messages, sent{
			m.From, m.Author, m.Subject, m.MessageID, m.To, m.Options, m.Identity.Domain, m.Remote, string(m.Data),
		})
	}
	for _, e := range log.all() {
		switch e := e.(type) {
		case *relay.MessageAccepted:
			c := *e
			c.Client, c.ID, c.Took = relay.Client{Remote: e.Remote}, "", 0
			o.events = append(o.events, &c)
		case *relay.MessageRefused:
			c := *e
			c.Client, c.ID = relay.Client{Remote: e.Remote}, ""
			o.events = append(o.events, &c)
		}
	}
	stats := r.Server.Stats()
	o.stats = relay.Stats{Messages: stats.Messages, Recipients: stats.Recipients, MessagesRefused: stats.MessagesRefused}
	o.normalize()
	return o
}

// normalize removes what differs between any two messages, and the protocol.
func (o *outcome) normalize() {
	id := regexp.MustCompile(`[0-9a-z]{26}`)
	received := regexp.MustCompile(`( with [A-Z0-9]+)? id ID;\r\n\t[^\r]*`)
	date := regexp.MustCompile(`\r\nDate: [^\r]*`)
	for i := range o.messages {
		m := &o.messages[i]
		m.MessageID = id.ReplaceAllString(m.MessageID, "ID")
		m.Data = date.ReplaceAllString(received.ReplaceAllString(id.ReplaceAllString(m.Data, "ID"), ""), "")
	}
	for _, e := range o.events {
		switch e := e.(type) {
		case *relay.MessageAccepted:
			e.Size, e.MessageID = 0, id.ReplaceAllString(e.MessageID, "ID")
		case *relay.MessageRefused:
			e.Size, e.MessageID = 0, id.ReplaceAllString(e.MessageID, "ID")
		}
	}
	o.reply = id.ReplaceAllString(o.reply, "ID")
}

func (test submission) fill() submission {
	if test.from == "" {
		test.from = "shop@acme.example"
	}
	if test.from == "<>" {
		test.from = ""
	}
	if test.to == nil {
		test.to = []string{"bob@example.com"}
	}
	if test.content == "" {
		test.content = hello
	}
	return test
}

// bySMTP returns the first reply that refuses something, or the last.
func (test submission) bySMTP(t *testing.T, r *relaytest.Relay) string {
	test = test.fill()
	c := login(t, r)
	test.revoke(t, r)
	c.send("MAIL FROM:<" + test.from + ">" + test.params + "\r\n")
	if got := c.reply(); got[0] != '2' {
		return got
	}
	refused := ""
	for _, to := range test.to {
		c.send("RCPT TO:<" + to + ">\r\n")
		if got := c.reply(); got[0] != '2' && refused == "" {
			refused = got
		}
	}
	if refused != "" {
		return refused
	}
	c.send("DATA\r\n")
	if got := c.reply(); got[0] != '3' {
		return got
	}
	lines := strings.ReplaceAll(strings.ReplaceAll(test.content, "\r\n", "\n"), "\n", "\r\n")
	c.send(strings.ReplaceAll("\r\n"+lines, "\r\n.", "\r\n..")[2:] + ".\r\n")
	return c.reply()
}

// bySubmit returns the reply that the error has, or what a client is told.
func (test submission) bySubmit(t *testing.T, r *relaytest.Relay) string {
	test = test.fill()
	sub := relay.Submission{
		Identity: identity(t, r), From: test.from, To: test.to, Options: test.options,
		Content: strings.NewReader(test.content), Remote: netip.MustParseAddr("127.0.0.1"),
	}
	test.revoke(t, r)
	id, err := r.Server.Submit(t.Context(), sub)
	if err == nil {
		return "250 2.0.0 accepted as " + id
	}
	var re *relay.ReplyError
	if !errors.As(err, &re) || id != "" {
		t.Fatalf("Submit: got the ID %q and the error %v, want one with a reply", id, err)
	}
	return fmt.Sprintf("%d %s %s", re.Code, re.Enhanced, re.Text)
}

// revoke resets the password on another node, if that is the test, or breaks the
// store.
func (test submission) revoke(t *testing.T, r *relaytest.Relay) {
	if s, ok := r.Server.Credentials.Store.(*watchedStore); ok {
		onLookup := func(context.Context) { panic("secret") }
		s.onLookup.Store(&onLookup)
	}
	if test.name != "revoked elsewhere" {
		return
	}
	other := &credentials.Manager{Store: r.Credentials.Store, Cost: r.Credentials.Cost}
	if _, err := other.Tenant(r.Tenant).ResetPassword(t.Context(), r.Username); err != nil {
		t.Fatal(err)
	}
}

func identity(t testing.TB, r *relaytest.Relay) credentials.Identity {
	t.Helper()
	u, err := r.Credentials.Tenant(r.Tenant).User(t.Context(), r.Username)
	if err != nil {
		t.Fatal(err)
	}
	return credentials.IdentityOf(u)
}
