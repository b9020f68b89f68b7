package diagnose_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/diagnose"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// short is the timeout of tests in which something never comes.
const short = 150 * time.Millisecond

// secret is the password in tests with a scripted server.
const secret = "pass\tword &"

// A failing is a server at which a step fails.
type failing struct {
	name   string
	script string // as serve wants it
	cert   *tls.Certificate
	change func(*diagnose.Target)
	step   string // the last one
	detail string // what its Detail holds
	advice string // what its Advice holds
}

const (
	greets = "S:220 mail.test ready\n"
	hello  = "C:EHLO\nS:250-mail.test\nS:250-STARTTLS\nS:250 AUTH PLAIN\n"
	secure = greets + hello + "C:STARTTLS\nS:220 go\nTLS\n" + hello
	logsIn = secure + "C:AUTH PLAIN\nS:235 ok\n"
)

var failures = []failing{
	{name: "silent", script: "WAIT", step: "greeting", detail: "did not answer within 150ms", advice: "TLS from the first byte"},
	{name: "closed", script: "", step: "greeting", detail: "closed the connection", advice: "TLS from the first byte"},
	{name: "full", script: "S:421 too many connections\n", step: "greeting", detail: "421 too many connections", advice: "Wait a minute"},
	{name: "unwanted", script: "S:554 go away\n", step: "greeting", detail: "554 go away", advice: "Check the name"},
	{name: "a web server", script: "S:HTTP/1.1 400 Bad Request\n", step: "greeting", detail: "not a mail server", advice: "port"},
	{name: "an endless line", script: "S:220 " + strings.Repeat("x", 5000) + "\n", step: "greeting", detail: "not a mail server", advice: "port"},
	{name: "endless lines", script: strings.Repeat("S:220-x\n", 200), step: "greeting", detail: "not a mail server", advice: "port"},
	{name: "EHLO refused", script: greets + "C:EHLO\nS:502 what\n", step: "greeting", detail: "502 what", advice: "port"},

	{name: "no STARTTLS", script: greets + "C:EHLO\nS:250 mail.test\n", step: "tls", detail: "no STARTTLS", advice: "465"},
	{name: "STARTTLS refused", script: greets + hello + "C:STARTTLS\nS:454 not now\n", step: "tls", detail: "454 not now", advice: "Wait"},
	{name: "STARTTLS unanswered", script: greets + hello + "C:STARTTLS\nWAIT", step: "tls", detail: "did not answer", advice: "firewall"},
	{name: "closed in the handshake", script: greets + hello + "C:STARTTLS\nS:220 go\n", step: "tls", detail: "closed the connection", advice: "Try again"},
	{name: "silent in the handshake", script: greets + hello + "C:STARTTLS\nS:220 go\nWAIT", step: "tls", detail: "did not answer", advice: "firewall"},
	{name: "old TLS", script: greets + hello + "C:STARTTLS\nS:220 go\nOLD\n", step: "tls", detail: "do not agree on an encryption", advice: "TLS 1.2"},
	{name: "a plaintext port", script: "ANY\nS:220 mail.test ready\nWAIT", change: firstByte, step: "tls", detail: "does not speak TLS from the first byte", advice: "STARTTLS"},
	{name: "silent at 465", script: "WAIT", change: firstByte, step: "tls", detail: "did not answer", advice: "firewall"},

	{name: "another name", script: secure, cert: named("other.test"), step: "certificate", detail: "is for other.test, and not for localhost", advice: "name of the server exactly"},
	{name: "expired", script: secure, cert: dated(-48*time.Hour, -25*time.Hour), step: "certificate", detail: "has expired on", advice: "renew"},
	{name: "not yet valid", script: secure, cert: dated(time.Hour, 48*time.Hour), step: "certificate", detail: "is not valid before", advice: "clock"},
	{name: "unknown authority", script: secure, cert: selfSigned(), step: "certificate", detail: "not signed by an authority", advice: "whole chain"},

	{name: "no login offered", script: strings.ReplaceAll(secure, " AUTH PLAIN", " SIZE 5"), step: "auth", detail: "offers no login", advice: "may only receive"},
	{name: "no password", script: secure, change: func(t *diagnose.Target) { t.Password = credentials.Password{} }, step: "auth", detail: "No password is entered", advice: "reset it"},
	{name: "wrong password", script: secure + "C:AUTH PLAIN\nS:535 5.7.8 wrong\n", step: "auth", detail: "535 5.7.8 wrong", advice: "reset it"},
	{name: "busy", script: secure + "C:AUTH PLAIN\nS:454 4.7.0 busy\n", step: "auth", detail: "454", advice: "Wait a minute"},
	{name: "login impossible", script: secure + "C:AUTH PLAIN\nS:504 no\n", step: "auth", detail: "504", advice: "Check the username"},
	{name: "closed at the login", script: secure + "C:AUTH PLAIN\n", step: "auth", detail: "closed the connection", advice: "Try again"},
	{name: "silent at the login", script: secure + "C:AUTH PLAIN\nWAIT", step: "auth", detail: "did not answer", advice: "Try again"},
	{name: "the password comes back", script: secure + "C:AUTH PLAIN\nS:535 " + secret + " ECHO\n", step: "auth", detail: "[redacted]", advice: "reset it"},
	{name: "the password comes back where the reply is cut", script: secure + "C:AUTH PLAIN\nS:535 " + strings.Repeat("x", 385) + " " + secret + "\n", step: "auth", detail: "x [redacted]", advice: "reset it"},
	{name: "its base64 comes back where the reply is cut", script: secure + "C:AUTH PLAIN\nS:535 " + strings.Repeat("x", 385) + " " + encode(secret) + "\n", step: "auth", detail: "x [redacted]", advice: "reset it"},

	{name: "another domain", script: logsIn + "C:MAIL\nS:550 5.7.1 not yours\n", step: "mail", detail: "550 5.7.1 not yours", advice: "address at the domain"},
	{name: "login first", script: logsIn + "C:MAIL\nS:530 5.7.0 login\n", step: "mail", detail: "530", advice: "authentication"},
	{name: "malformed", script: logsIn + "C:MAIL\nS:501 5.1.7 what\n", step: "mail", detail: "501", advice: "typos"},
	{name: "later", script: logsIn + "C:MAIL\nS:451 later\n", step: "mail", detail: "451", advice: "Wait a minute"},
	{name: "closed at MAIL", script: logsIn + "C:MAIL\n", step: "mail", detail: "closed the connection", advice: "Try again"},
	{name: "two commands", script: logsIn, change: func(t *diagnose.Target) { t.From = "a@b.example>\r\nQUIT" }, step: "mail", detail: "not a plain address", advice: "without a name"},
}

func firstByte(t *diagnose.Target) { t.TLS = true }

// Each step can fail. It is then the last, and says what was seen and what to do.
func TestFailures(t *testing.T) {
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			target := target(serve(t, test.script, test.cert))
			target.Username, target.Password, target.From = "user", credentials.NewPassword(secret), "shop@acme.example"
			target.Timeout = 10 * time.Second
			if strings.HasSuffix(test.script, "WAIT") {
				target.Timeout = short
			}
			if test.change != nil {
				test.change(&target)
			}
			steps := diagnose.Check(t.Context(), target)
			last := wantFailed(t, steps, test.step)
			if !strings.Contains(last.Detail, test.detail) || !strings.Contains(last.Advice, test.advice) {
				t.Errorf("got the step\n   %+v, want %q in Detail and %q in Advice", last, test.detail, test.advice)
			}
			wantNoSecret(t, steps)
		})
	}
}

// wantFailed checks that all steps succeeded except the last.
func wantFailed(t *testing.T, steps []diagnose.Step, name string) diagnose.Step {
	t.Helper()
	for i, s := range steps {
		if s.OK != (i < len(steps)-1) || s.Took < 0 || s.Detail == "" || !strings.HasSuffix(strings.TrimRight(s.Detail, " "), ".") && !strings.Contains(s.Detail, ":") {
			t.Errorf("got the step %+v", s)
		}
	}
	last := steps[len(steps)-1]
	if last.Name != name || last.Advice == "" {
		t.Fatalf("the last step is\n   %+v, want %q, failed with an Advice; all are\n   %+v", last, name, steps)
	}
	return last
}

// wantNoSecret checks that no step holds the password.
func wantNoSecret(t *testing.T, steps []diagnose.Step) {
	t.Helper()
	text := fmt.Sprintf("%+v", steps)
	for _, form := range forms(secret) {
		if strings.Contains(text, form) {
			t.Errorf("a step holds the password as %q: %s", form, text)
		}
	}
}

func target(addr net.Addr) diagnose.Target {
	config := relaytest.ClientTLS()
	config.RootCAs = roots()
	config.ServerName = ""
	return diagnose.Target{Host: "localhost", Port: addr.(*net.TCPAddr).Port, TLSConfig: config}
}

func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := target(l.Addr())
	l.Close()
	last := wantFailed(t, diagnose.Check(t.Context(), closed), "connect")
	if !strings.Contains(last.Detail, "Nothing answers at port") || !strings.Contains(last.Advice, "587") {
		t.Errorf("got %+v", last)
	}
	wantFailed(t, diagnose.Check(t.Context(), diagnose.Target{}), "resolve")
	wantFailed(t, diagnose.Check(t.Context(), diagnose.Target{Host: "no-such-host.invalid", Timeout: 2 * time.Second}), "resolve")
}

func TestContextEnds(t *testing.T) {
	target := target(serve(t, "WAIT", nil))
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	began := time.Now()
	last := wantFailed(t, diagnose.Check(ctx, target), "greeting")
	if took := time.Since(began); took > 5*time.Second || !strings.Contains(last.Detail, "stopped") {
		t.Errorf("after %v: got %+v", took, last)
	}
}

// LOGIN is used where PLAIN is not offered. A certificate that expires soon is said.
func TestOtherServers(t *testing.T) {
	script := strings.ReplaceAll(secure, "AUTH PLAIN", "AUTH CRAM-MD5 LOGIN") +
		"C:AUTH LOGIN\nS:334 VXNlcm5hbWU6\nC:" + encode("user") + "\nS:334 UGFzc3dvcmQ6\nC:" + encode(secret) + "\nS:235 ok\nC:MAIL FROM:<shop@acme.example>\nS:250 ok\nC:RSET\nS:250 ok\nC:QUIT\nS:221 bye\n"
	target := target(serve(t, script, dated(-time.Hour, 5*24*time.Hour+time.Hour)))
	target.Username, target.Password, target.From = "user", credentials.NewPassword(secret), "shop@acme.example"
	steps := diagnose.Check(t.Context(), target)
	if got := namesOf(steps); got != "resolve connect greeting tls certificate auth mail" {
		t.Fatalf("got the steps %s: %+v", got, steps)
	}
	if c := steps[4]; !c.OK || !strings.Contains(c.Detail, "5 days") || !strings.Contains(c.Advice, "renewed soon") {
		t.Errorf("got %+v, want 5 days and that it is to be renewed", c)
	}
	wantNoSecret(t, steps)
}

func namesOf(steps []diagnose.Step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// Against a relay, with STARTTLS and with TLS from the first byte. Nothing is sent.
func TestRelay(t *testing.T) {
	r := relaytest.NewRelay(t)
	for _, test := range []struct {
		addr, want, last string
		ok               bool
		change           func(*diagnose.Target)
	}{
		{r.Addr, "resolve connect greeting tls certificate auth mail", "", true, nil},
		{r.AddrTLS, "resolve connect tls certificate greeting auth mail", "", true, firstByte},
		{r.Addr, "resolve connect greeting tls certificate auth", "", true, func(t *diagnose.Target) { t.From = "" }},
		{r.Addr, "resolve connect greeting tls certificate", "", true, func(t *diagnose.Target) { t.Username = "" }},
		{r.Addr, "resolve connect greeting tls certificate auth", "535 5.7.8", false, func(t *diagnose.Target) { t.Password = credentials.NewPassword("wrong") }},
		{r.Addr, "resolve connect greeting tls certificate auth mail", "domain other.example is not allowed", false, func(t *diagnose.Target) { t.From = "shop@other.example" }},
		{r.Addr, "resolve connect tls", "does not speak TLS from the first byte", false, firstByte},
		{r.AddrTLS, "resolve connect greeting", "did not answer", false, func(t *diagnose.Target) { t.Timeout = short }},
	} {
		addr, err := net.ResolveTCPAddr("tcp", test.addr)
		if err != nil {
			t.Fatal(err)
		}
		target := target(addr)
		target.Username, target.Password, target.From = r.Username, credentials.NewPassword(r.Password), "shop@acme.example"
		target.TLSConfig = relaytest.ClientTLS()
		if test.change != nil {
			test.change(&target)
		}
		steps := diagnose.Check(t.Context(), target)
		last := steps[len(steps)-1]
		if namesOf(steps) != test.want || last.OK != test.ok || !strings.Contains(last.Detail, test.last) {
			t.Errorf("got %+v, want the steps %s, and %q in the last", steps, test.want, test.last)
		}
	}
	if n := len(r.Messages()); n > 0 {
		t.Errorf("the relay got %d messages", n)
	}
}
