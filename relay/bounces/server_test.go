package bounces_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// address is one of the Rewriter's.
const address = "b-fx2tnyzz-billing@bounces.acme.example"

// startServer starts a Server until the end of the test, and returns its address.
func startServer(t *testing.T, s *bounces.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Hostname, s.Logger = "mx.product.example", quiet
	s.Receiver.Logger, s.Receiver.Secrets = quiet, []credentials.Password{newSecret}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, bounces.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return l.Addr().String()
}

func neverCalled(context.Context, store.TenantID, string, string, *relay.ReplyError) error {
	return nil
}

// The server takes a report for an address of the Receiver, over TLS as well.
func TestServer(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		calls := make(chan string, 1)
		var out relaytest.Recorder
		s := &bounces.Server{Receiver: &bounces.Receiver{Forwarder: &out, Bounced: func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
			calls <- fmt.Sprint(tenant, " ", mail, " ", recipient, " ", r.Code)
			return nil
		}}}
		with := "with ESMTP id"
		if withTLS {
			s.TLSConfig, with = &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}}, "with ESMTPS id"
		}
		c, err := smtp.Dial(startServer(t, s))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if withTLS {
			if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
				t.Fatal(err)
			}
		}
		if err := send(c, address, string(reports(t)["postfix-3.7.11-hard"])); err != nil {
			t.Fatal(err)
		}
		if got, want := <-calls, "acme 0123456789abcdefghjkmnpqrs gone@backend.example 550"; got != want {
			t.Errorf("Bounced: got %s, want %s", got, want)
		}
		m := out.Messages()[0]
		if field, _, _ := strings.Cut(string(m.Data), ";"); !strings.HasPrefix(field, "Received: from localhost ([127.0.0.1])") || !strings.Contains(field, with) {
			t.Errorf("got the field %q", field)
		}
	}
}

// send sends a message from the null reverse-path.
func send(c *smtp.Client, to, content string) error {
	if err := c.Mail(""); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, content)
	return w.Close()
}

// A dialogue sends lines and returns the first three characters of each reply.
func dialogue(t *testing.T, addr string, lines ...string) (codes string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(nc)
	for i := -1; i < len(lines); i++ {
		if i >= 0 {
			fmt.Fprintf(nc, "%s\r\n", lines[i])
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return codes + " end"
			}
			if len(line) < 4 || line[3] != '-' {
				codes += " " + line[:3]
				break
			}
		}
	}
	return codes
}

// The server takes nothing that is not for the Receiver.
func TestServerRefuses(t *testing.T) {
	addr := startServer(t, &bounces.Server{Receiver: &bounces.Receiver{Bounced: neverCalled}})
	rcpt := "RCPT TO:<" + address + ">"
	for _, test := range []struct {
		name, want string
		lines      []string
	}{
		{"another recipient", " 220 250 250 550 550 550 502", []string{"EHLO c", "MAIL FROM:<>", "RCPT TO:<bob@example.com>", "RCPT TO:<postmaster@bounces.acme.example>", "RCPT TO:<x" + address + ">", "DATA"}},
		{"login", " 220 250 523", []string{"EHLO c", "AUTH PLAIN AGEAYg=="}},
		{"a second recipient", " 220 250 250 250 452", []string{"EHLO c", "MAIL FROM:<>", rcpt, rcpt}},
		{"too large", " 220 250 552", []string{"EHLO c", "MAIL FROM:<> SIZE=60000000"}},
		{"any sender", " 220 250 250 250 354 250", []string{"EHLO c", "MAIL FROM:<mailer-daemon@example.com>", rcpt, "DATA", "Subject: x\r\n\r\nx\r\n."}},
		{"a loop", " 220 250 250 250 354 554", []string{"EHLO c", "MAIL FROM:<>", rcpt, "DATA", strings.Repeat("Received: x\r\n", 101) + "\r\nx\r\n."}},
	} {
		if got := dialogue(t, addr, test.lines...); got != test.want {
			t.Errorf("%s: got%s, want%s", test.name, got, test.want)
		}
	}
	guesses := []string{"EHLO c", "MAIL FROM:<>"}
	for i := range 20 {
		guesses = append(guesses, fmt.Sprintf("RCPT TO:<b-aaaaaaa%c-billing@bounces.acme.example>", 'a'+i))
	}
	if got, want := dialogue(t, addr, guesses...), " 220 250 250"+strings.Repeat(" 550", 9)+" 421"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " end") {
		t.Errorf("guesses: got%s, want%s and the end of the connection", got, want)
	}
}

// The client sends a report again if it could not be recorded.
func TestServerFails(t *testing.T) {
	s := &bounces.Server{Receiver: &bounces.Receiver{Bounced: func(context.Context, store.TenantID, string, string, *relay.ReplyError) error {
		return errors.New("no database")
	}}}
	c, err := smtp.Dial(startServer(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = send(c, address, string(reports(t)["postfix-3.7.11-hard"]))
	if err == nil || !strings.HasPrefix(err.Error(), "451 ") || strings.Contains(err.Error(), "database") {
		t.Errorf("got %v, want 451 without the reason", err)
	}
}

// Stats count what becomes of connections, messages and the recipients of reports.
func TestStats(t *testing.T) {
	fails := true
	s := &bounces.Server{MaxConns: 1, Receiver: &bounces.Receiver{Bounced: func(context.Context, store.TenantID, string, string, *relay.ReplyError) error {
		if fails {
			return errors.New("no database")
		}
		return nil
	}}}
	addr := startServer(t, s)
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dialogue(t, addr, "NOOP") // 421
	report := string(reports(t)["postfix-3.7.11-hard"])
	errs := []error{send(c, address, report)}
	fails = false
	errs = append(errs, send(c, address, report), send(c, address, "Subject: vacation\r\n\r\nI am away.\r\n"),
		send(c, address, strings.ReplaceAll(report, "t3epjifx", "t3epjify")), send(c, address, strings.Repeat("Received: x\r\n", 101)+"\r\nx\r\n"), send(c, "x"+address, report))
	want := bounces.ReceiverStats{Messages: 3, Refused: 1, Failed: 1, Recorded: 1, Unsigned: 1}
	if got := s.Receiver.Stats(); got != want {
		t.Errorf("%+v, want %+v; the replies: %v", got, want, errs)
	}
	if got, want := s.Stats(), (bounces.ServerStats{Conns: 1, ConnsRefused: 1, RecipientsRefused: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Connections above a limit get 421, and make room when they end.
func TestServerLimits(t *testing.T) {
	for name, s := range map[string]*bounces.Server{"MaxConns": {MaxConns: 2}, "MaxConnsPerAddr": {MaxConnsPerAddr: 2}} {
		s.Receiver = &bounces.Receiver{Bounced: neverCalled}
		addr := startServer(t, s)
		var open []*smtp.Client
		for range 2 {
			c, err := smtp.Dial(addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			open = append(open, c)
		}
		if got := dialogue(t, addr, "NOOP"); got != " 421 end" {
			t.Errorf("%s: got%s, want 421 and the end", name, got)
		}
		if err := open[0].Quit(); err != nil {
			t.Fatal(err)
		}
		got := ""
		for range 1000 { // until the server has seen the end
			if got = dialogue(t, addr, "NOOP"); got == " 220 250" {
				break
			}
		}
		if got != " 220 250" {
			t.Errorf("%s: after one has ended: got%s, want 220 and 250", name, got)
		}
	}
}

// Shutdown waits for connections until its context ends.
func TestServerShutdown(t *testing.T) {
	s := &bounces.Server{Receiver: &bounces.Receiver{Bounced: neverCalled}}
	c, err := smtp.Dial(startServer(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	if err := send(c, address, "Subject: x\r\n\r\nx\r\n"); err != nil {
		t.Errorf("a message of a connection that was there: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: got %v", err)
	}
}

// A Server that lacks a field says so.
func TestServerErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s bounces.Server
	if err := s.Serve(l); err == nil || !strings.Contains(err.Error(), "Receiver are required") {
		t.Errorf("got %v", err)
	}
	s.Hostname, s.Receiver = "mx.product.example", &bounces.Receiver{Bounced: neverCalled}
	if err := s.Serve(l); err == nil || !strings.Contains(err.Error(), "Receiver.Secrets is required") {
		t.Errorf("a Receiver without secrets: got %v", err)
	}
	if err := s.ListenAndServe("127.0.0.1:-1"); err == nil {
		t.Error("an impossible address: got no error")
	}
}
