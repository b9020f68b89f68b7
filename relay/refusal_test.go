package relay_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// Where a refusal's dialogue begins.
type stage int

const (
	greeted   stage = iota // TLS, before EHLO
	connected              // in the clear, after EHLO
	secured                // TLS, after EHLO
	loggedIn               // TLS, after login
	insecure               // in the clear, after login, on a server with InsecureAuth
)

// A refusal is a dialogue of which at least one reply refuses something.
type refusal struct {
	name   string
	stage  stage
	change func(*relay.Server)
	send   string // what the client sends
	want   []relay.Event
}

var (
	nobody = []relay.Event{&relay.LoginRefused{Username: "nobody", Mechanism: "PLAIN", Cause: relay.CauseUnknownUser, Code: 535}}
	onData = func(code int) []relay.Event {
		return []relay.Event{&relay.MessageRefused{Field: relay.FieldData, From: "shop@acme.example", To: []string{"bob@example.com"}, Code: code}}
	}
	atMail = func(code int, from string) []relay.Event {
		return []relay.Event{&relay.MessageRefused{Field: relay.FieldMailFrom, From: from, Code: code}}
	}
	atRcpt = func(code int, to string) []relay.Event {
		return []relay.Event{&relay.MessageRefused{Field: relay.FieldRcptTo, From: "shop@acme.example", To: []string{to}, Code: code}}
	}
	atAuth = func(code int, mechanism string, cause relay.LoginCause) []relay.Event {
		return []relay.Event{&relay.LoginRefused{Mechanism: mechanism, Cause: cause, Code: code}}
	}
	command = func(code int, verb string) []relay.Event {
		return []relay.Event{&relay.CommandRefused{Command: verb, Code: code}}
	}
)

func manyParams() string {
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, " P%d", i)
	}
	return b.String()
}

const data = envelope + "DATA\r\n"

// refusals holds a dialogue for every reply with which the server refuses
// something. TestEveryRefusalIsInTheTable says which reply is missing.
var refusalTable = []refusal{
	// Logins.
	{"AUTH before TLS", connected, nil, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n", []relay.Event{
		&relay.LoginRefused{Username: "nobody", Mechanism: "PLAIN", Cause: relay.CauseNoTLS, Code: 538}}},
	{"AUTH LOGIN before TLS", connected, nil, "AUTH LOGIN bm9ib2R5\r\n", []relay.Event{
		&relay.LoginRefused{Username: "nobody", Mechanism: "LOGIN", Cause: relay.CauseNoTLS, Code: 538}}},
	{"password as username before TLS", connected, nil, "AUTH LOGIN U2VjcmV0ISE=\r\n", []relay.Event{
		&relay.LoginRefused{Username: "(no username)", Mechanism: "LOGIN", Cause: relay.CauseNoTLS, Code: 538}}},
	{"unknown user", secured, nil, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n", nobody},
	{"foreign identity", secured, nil, "AUTH PLAIN Ym9zcwBub2JvZHkAc2VjcmV0\r\n", []relay.Event{
		&relay.LoginRefused{Username: "nobody", Mechanism: "PLAIN", Cause: relay.CauseForeignIdentity, Code: 535}}},
	{"unknown mechanism", secured, nil, "AUTH CRAM-MD5\r\n", atAuth(504, "", relay.CauseProtocol)},
	{"no mechanism", secured, nil, "AUTH\r\n", atAuth(501, "", relay.CauseProtocol)},
	{"malformed base64", secured, nil, "AUTH PLAIN !secret\r\n", atAuth(501, "PLAIN", relay.CauseProtocol)},
	{"malformed response", secured, nil, "AUTH PLAIN c2VjcmV0\r\n", atAuth(501, "PLAIN", relay.CauseProtocol)},
	{"canceled", secured, nil, "AUTH LOGIN\r\n*\r\n", atAuth(501, "LOGIN", relay.CauseProtocol)},
	{"AUTH after login", loggedIn, nil, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n", atAuth(503, "PLAIN", relay.CauseProtocol)},
	{"too many tries", secured, func(s *relay.Server) { s.MaxAuthTries = 1 }, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n",
		slices.Concat(nobody, []relay.Event{&relay.SessionEnded{Code: 421}})},
	{"store fails at login", secured, failingStore, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n", []relay.Event{
		&relay.LoginRefused{Username: "nobody", Mechanism: "PLAIN", Cause: relay.CauseUnavailable, Code: 454}}},

	{"busy", secured, busyStore, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n", []relay.Event{
		&relay.LoginRefused{Username: "nobody", Mechanism: "PLAIN", Cause: relay.CauseBusy, Code: 454}}},

	// MAIL.
	{"MAIL before EHLO", greeted, nil, "MAIL FROM:<shop@acme.example>\r\n", atMail(503, "shop@acme.example")},
	{"MAIL before TLS", connected, nil, "MAIL FROM:<shop@acme.example>\r\n", atMail(530, "shop@acme.example")},
	{"MAIL before login", secured, nil, "MAIL FROM:<shop@acme.example>\r\n", atMail(530, "shop@acme.example")},
	{"too large by SIZE", loggedIn, nil, "MAIL FROM:<shop@acme.example> SIZE=26214401\r\n", atMail(552, "shop@acme.example")},
	{"far too large by SIZE", loggedIn, nil, "MAIL FROM:<shop@acme.example> SIZE=99999999999\r\n", atMail(552, "shop@acme.example")},
	{"MAIL without FROM", loggedIn, nil, "MAIL shop@acme.example\r\n", atMail(501, "shop@acme.example")},
	{"malformed sender", loggedIn, nil, "MAIL FROM:<shop@acme..example>\r\n", atMail(501, "shop@acme..example")},
	{"sender without brackets' end", loggedIn, nil, "MAIL FROM:<shop@acme.example\r\n", atMail(501, "<shop@acme.example")},
	{"sender in UTF-8", loggedIn, nil, "MAIL FROM:<sh\u00f6p@acme.example>\r\n", atMail(553, "sh?p@acme.example")},
	{"foreign sender", loggedIn, nil, "MAIL FROM:<x@evil.example>\r\n", atMail(550, "x@evil.example")},
	{"unknown MAIL parameter", loggedIn, nil, "MAIL FROM:<shop@acme.example> X=1\r\n", atMail(555, "shop@acme.example")},
	{"malformed MAIL parameter", loggedIn, nil, "MAIL FROM:<shop@acme.example> RET=ALL\r\n", atMail(501, "shop@acme.example")},
	{"MAIL parameter twice", loggedIn, nil, "MAIL FROM:<shop@acme.example> RET=FULL RET=HDRS\r\n", atMail(501, "shop@acme.example")},
	{"too many MAIL parameters", loggedIn, nil, "MAIL FROM:<shop@acme.example>" + manyParams() + "\r\n", atMail(501, "shop@acme.example")},
	{"second MAIL", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nMAIL FROM:<b@acme.example>\r\n", atMail(503, "b@acme.example")},
	{"REQUIRETLS in the clear", insecure, nil, "MAIL FROM:<shop@acme.example> REQUIRETLS\r\n", atMail(530, "shop@acme.example")},
	{"AllowUser fails", loggedIn, func(s *relay.Server) { s.AllowUser = decide(errSecret) }, "MAIL FROM:<shop@acme.example>\r\n", atMail(451, "shop@acme.example")},
	{"revoked elsewhere", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\n", append(
		atMail(421, "shop@acme.example"), &relay.SessionEnded{Code: 421})},

	// RCPT.
	{"RCPT before MAIL", loggedIn, nil, "RCPT TO:<bob@example.com>\r\n", []relay.Event{
		&relay.MessageRefused{Field: relay.FieldRcptTo, To: []string{"bob@example.com"}, Code: 503}}},
	{"RCPT without TO", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nRCPT bob@example.com\r\n", atRcpt(501, "bob@example.com")},
	{"malformed recipient", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@exa mple.com>\r\n", atRcpt(501, "bob@exa mple.com")},
	{"long recipient", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<" + strings.Repeat("b", 250) + "@example.com>\r\n",
		atRcpt(501, strings.Repeat("b", 250)+"@...")},
	{"malformed domain of a recipient", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@ex&mple.com>\r\n", atRcpt(501, "bob@ex&mple.com")},
	{"unknown RCPT parameter", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@example.com> X=1\r\n", atRcpt(555, "bob@example.com")},
	{"malformed RCPT parameter", loggedIn, nil, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<bob@example.com> NOTIFY=X\r\n", atRcpt(501, "bob@example.com")},
	{"too many recipients", loggedIn, func(s *relay.Server) { s.MaxRecipients = 1 }, envelope + "RCPT TO:<eve@example.com>\r\n", atRcpt(452, "eve@example.com")},
	{"AllowRecipient", loggedIn, func(s *relay.Server) { s.AllowRecipient = decide(nil) }, "MAIL FROM:<shop@acme.example>\r\nRCPT TO:<no@example.com>\r\n", atRcpt(550, "no@example.com")},

	// Data.
	{"DATA before RCPT", loggedIn, nil, "DATA\r\n", []relay.Event{&relay.MessageRefused{Field: relay.FieldData, Code: 503}}},
	{"DATA with an argument", loggedIn, nil, envelope + "DATA now\r\n", onData(501)},
	{"chunk beyond the limit", loggedIn, func(s *relay.Server) { s.MaxMessageBytes = 100 }, envelope + chunk(sized(200), false), onData(552)},
	{"second chunk beyond the limit", loggedIn, func(s *relay.Server) { s.MaxMessageBytes = 100 },
		envelope + chunk(hello, false) + chunk(sized(200), true), onData(552)},
	{"chunk far beyond the limit", loggedIn, nil, envelope + "BDAT 4000000000\r\n", append(onData(552), &relay.SessionEnded{Code: 552})},
	{"DATA after BDAT", loggedIn, nil, envelope + chunk(hello, false) + "DATA\r\n" + chunk("", true), onData(503)},
	{"MAIL after BDAT", loggedIn, nil, envelope + chunk(hello, false) + "MAIL FROM:<shop@acme.example>\r\n" + chunk("", true), atMail(503, "shop@acme.example")},
	{"RCPT after BDAT", loggedIn, nil, envelope + chunk(hello, false) + "RCPT TO:<eve@example.com>\r\n" + chunk("", true), atRcpt(503, "eve@example.com")},
	{"BDAT without a size", loggedIn, nil, envelope + "BDAT\r\n", append(onData(421), &relay.SessionEnded{Code: 421})},
	{"too large", loggedIn, func(s *relay.Server) { s.MaxMessageBytes = 100 }, data + sized(200) + ".\r\n", onData(552)},
	{"large header", loggedIn, nil, data + strings.Repeat("X: "+filler, 300<<10/len(filler)) + ".\r\n", onData(552)},
	{"long line", loggedIn, nil, data + "From: shop@acme.example\r\n\r\n" + strings.Repeat("x", 70<<10) + "\r\n.\r\n", onData(550)},
	{"no From", loggedIn, nil, data + "Subject: hi\r\n\r\n.\r\n", onData(550)},
	{"loop", loggedIn, nil, data + strings.Repeat("Received: from x\r\n", 101) + hello + ".\r\n", onData(554)},
	{"foreign From", loggedIn, nil, data + "From: x@evil.example\r\n\r\n.\r\n", []relay.Event{
		&relay.MessageRefused{Field: relay.FieldFrom, From: "shop@acme.example", To: []string{"bob@example.com"}, Code: 550, Author: "x@evil.example"}}},
	{"loop", loggedIn, nil, data + strings.Repeat("Received: x\r\n", 101) + hello + ".\r\n", onData(554)},
	{"bare CR", loggedIn, nil, data + "From: shop@acme.example\r\n\r\na\rb\r\n.\r\n", onData(550)},
	{"NUL", loggedIn, nil, data + "From: shop@acme.example\r\n\r\na\x00b\r\n.\r\n", onData(550)},
	{"Forwarder fails", loggedIn, forwardError(errSecret), data + hello + ".\r\n", onData(451)},
	{"Forwarder gives up", loggedIn, forwardError(finalError{errSecret}), data + hello + ".\r\n", onData(554)},
	{"Forwarder times out", loggedIn, forwardError(context.DeadlineExceeded), data + hello + ".\r\n", onData(451)},
	{"Forwarder refuses recipients", loggedIn, forwardError(&relay.RefusedError{Recipients: []relay.RefusedRecipient{
		{Address: "a@example.com", Err: errSecret}, {Address: "b@example.com", Err: errSecret},
	}}), data + hello + ".\r\n", []relay.Event{&relay.MessageRefused{
		Field: relay.FieldRcptTo, From: "shop@acme.example", To: []string{"a@example.com", "b@example.com"}, Code: 451}}},
	{"key of another message", loggedIn, forwardError(&relay.TakenError{ID: "m1", Differs: true}), data + hello + ".\r\n", onData(550)},
	{"two keys", loggedIn, keyHeader, data + "Key: a\r\nKey: a\r\n" + hello + ".\r\n", onData(550)},
	{"malformed key", loggedIn, keyHeader, data + "Key:\r\n" + hello + ".\r\n", onData(550)},
	{"abandoned", loggedIn, nil, envelope + chunk(hello, false) + "RSET\r\n", onData(451)}, // no reply says so

	// Other commands.
	{"unknown command", loggedIn, nil, "U2VjcmV0\r\n", command(500, "")},
	{"long command", loggedIn, nil, "NOOP " + strings.Repeat("x", 12<<10) + "\r\n", command(500, "NOOP")},
	{"bare LF", loggedIn, nil, "NOOP\nNOOP\r\n", []relay.Event{&relay.SessionEnded{Code: 421}}},
	{"short command", loggedIn, nil, "X\r\n", command(500, "")},
	{"EXPN", loggedIn, nil, "EXPN all\r\n", command(502, "EXPN")},
	{"STARTTLS after TLS", secured, nil, "STARTTLS\r\n", command(503, "STARTTLS")},
	{"EHLO without a name", loggedIn, nil, "EHLO\r\n", command(501, "EHLO")},
	{"too many errors", secured, nil, strings.Repeat("secret\r\n", 4), slices.Concat(
		command(500, ""), command(500, ""), command(500, ""), command(500, ""), []relay.Event{&relay.SessionEnded{Code: 421}})},
	{"long command", loggedIn, nil, "NOOP " + strings.Repeat("x", 70<<10) + "\r\n", []relay.Event{&relay.SessionEnded{Code: 421}}},
	{"command sent along with STARTTLS", connected, nil, "STARTTLS\r\nNOOP\r\n", []relay.Event{&relay.SessionEnded{Code: 421}}},
}

// Every reply of the 4yz and 5yz class makes one event, and no event holds what may
// be a password.
func TestEveryRefusalMakesAnEvent(t *testing.T) {
	for _, test := range refusalTable {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			replies, events := test.play(t)
			got := refusalsOf(events)
			if len(got) != len(test.want) {
				t.Fatalf("got %d events, want %d; the server answered\n   %s\nand the events are\n   %s",
					len(got), len(test.want), strings.Join(replies, "\n   "), list(got))
			}
			for i := range got {
				if !like(got[i], test.want[i]) {
					t.Errorf("event %d is\n   %s, want\n   %s", i, list(got[i:i+1]), list(test.want[i:i+1]))
				}
			}
			wantCodesOf(t, replies, got)
		})
	}
}

// play plays the dialogue and returns the server's replies, and its events.
func (test *refusal) play(t *testing.T) ([]string, []relay.Event) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) {
		s.InsecureAuth = test.stage == insecure
		if test.change != nil {
			test.change(s)
		}
		s.OnEvent = events.add
	})
	c := dial(t, r, test.stage != connected && test.stage != insecure)
	c.want("220")
	if test.stage != greeted {
		c.cmd("EHLO client.test", "250")
	}
	if test.stage == loggedIn || test.stage == insecure {
		c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
	}
	if test.name == "revoked elsewhere" {
		other := &credentials.Manager{Store: r.Credentials.Store, Cost: r.Credentials.Cost}
		if _, err := other.Tenant(r.Tenant).ResetPassword(t.Context(), r.Username); err != nil {
			t.Fatal(err)
		}
	}
	go c.sendAnyway(test.send + "QUIT\r\n")
	replies := c.rest()
	if err := r.Server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, e := range events.all() {
		if text := fmt.Sprintf("%+v", e); regexp.MustCompile(`(?i)secret|U2VjcmV0|c2VjcmV0`).MatchString(text) {
			t.Errorf("an event holds what the client sent: %s", text)
		}
	}
	for _, e := range events.all() {
		code, enhanced := enhancedOf(e)
		if test.name == "abandoned" { // which gets no reply
			break
		}
		if begins := fmt.Sprintf("%d %s ", code, enhanced); code != 0 && !slices.ContainsFunc(replies, func(r string) bool { return strings.HasPrefix(r, begins) }) {
			t.Errorf("the event %+v has the enhanced code %q, which is of no reply: %q", e, enhanced, replies)
		}
	}
	return replies, events.all()
}

// enhancedOf returns the code and the enhanced code of an event of a refusal, or 0.
func enhancedOf(e relay.Event) (code int, enhanced string) {
	switch e := e.(type) {
	case *relay.LoginRefused:
		return e.Code, e.Enhanced
	case *relay.MessageRefused:
		return e.Code, e.Enhanced
	case *relay.CommandRefused:
		return e.Code, e.Enhanced
	}
	return 0, ""
}

// refusalOf returns the code and the text with which an event says that something
// was refused, or 0.
func refusalOf(e relay.Event) (code int, reason string) {
	switch e := e.(type) {
	case *relay.LoginRefused:
		return e.Code, e.Reason
	case *relay.MessageRefused:
		return e.Code, e.Reason
	case *relay.CommandRefused:
		return e.Code, e.Reason
	case *relay.ConnRefused:
		return e.Code, e.Reason
	case *relay.SessionEnded:
		if e.Code >= 400 {
			return e.Code, e.Reason
		}
	}
	return 0, ""
}

func refusalsOf(events []relay.Event) (refusals []relay.Event) {
	for _, e := range events {
		if code, _ := refusalOf(e); code != 0 {
			refusals = append(refusals, e)
		}
	}
	return refusals
}

// like reports whether an event has the fields that are wanted of it.
func like(got, want relay.Event) bool {
	switch got := got.(type) {
	case *relay.LoginRefused:
		want, ok := want.(*relay.LoginRefused)
		return ok && got.Username == want.Username && got.Mechanism == want.Mechanism && got.Cause == want.Cause && got.Code == want.Code && described(got.Client, got.Reason)
	case *relay.MessageRefused:
		want, ok := want.(*relay.MessageRefused)
		return ok && got.Field == want.Field && got.From == want.From && slices.Equal(got.To, want.To) && got.Code == want.Code && (want.Author == "" || got.Author == want.Author) && described(got.Client, got.Reason)
	case *relay.CommandRefused:
		want, ok := want.(*relay.CommandRefused)
		return ok && got.Command == want.Command && got.Code == want.Code && described(got.Client, got.Reason)
	case *relay.SessionEnded:
		want, ok := want.(*relay.SessionEnded)
		return ok && got.Code == want.Code && described(got.Client, got.Reason)
	}
	return false
}

func described(c relay.Client, reason string) bool {
	return len(c.Session) == 26 && c.Remote.IsLoopback() && reason != ""
}

func list(events []relay.Event) string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%T %+v", e, e))
	}
	return strings.Join(lines, "\n   ")
}

// wantCodesOf wants one event for each reply that refuses something. A 421 may be
// the reply to a command and the end of the session: both events say so.
func wantCodesOf(t *testing.T, replies []string, events []relay.Event) {
	t.Helper()
	var got, want []int
	for _, line := range replies {
		if code, _ := strconv.Atoi(line[:min(3, len(line))]); code >= 400 {
			want = append(want, code)
		}
	}
	for i, e := range events {
		code, reason := refusalOf(e)
		if reason == "the client abandoned the message" {
			continue // without a reply
		}
		if _, ended := e.(*relay.SessionEnded); ended && i > 0 && len(got) == len(want) {
			continue
		}
		got = append(got, code)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the events have the codes %v, want those of the replies, %v:\n   %s", got, want, strings.Join(replies, "\n   "))
	}
}

func failingStore(s *relay.Server) {
	s.Credentials = &credentials.Manager{Store: awayStore{s.Credentials.Store, errors.New("the store is away")}, Cost: s.Credentials.Cost, Logger: s.Logger}
}

func busyStore(s *relay.Server) {
	s.Credentials = &credentials.Manager{Store: awayStore{s.Credentials.Store, credentials.ErrBusy}, Cost: s.Credentials.Cost, Logger: s.Logger}
}

// An awayStore fails every login.
type awayStore struct {
	store.Store
	err error
}

func (s awayStore) Lookup(context.Context, string) (store.User, string, string, error) {
	return store.User{}, "", "", s.err
}

func keyHeader(s *relay.Server) { s.KeyHeader = "Key" }

func forwardError(err error) func(*relay.Server) {
	return func(s *relay.Server) {
		s.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error { return err })
	}
}
