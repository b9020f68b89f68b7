package relay_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

var errSecret = errors.New("secret detail")

// decide returns a policy function that decides by the local part of the address.
// Without an address it returns err.
func decide(err error) func(context.Context, *relay.PolicyRequest) error {
	return func(_ context.Context, r *relay.PolicyRequest) error {
		switch local, _, _ := strings.Cut(r.Address, "@"); local {
		case "":
			return err
		case "trouble":
			return errSecret
		case "odd":
			return &relay.ReplyError{Code: 250, Text: "secret detail"}
		case "panic":
			panic("secret detail")
		case "no":
			return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "not this one"}
		}
		return nil
	}
}

// AllowSender and AllowRecipient add to the rules: no address passes the exact
// domain rule because of them.
func TestPolicyFunctionsAdd(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.AllowSender, s.AllowRecipient = decide(nil), decide(nil) })
	c := login(t, r)
	for _, local := range []string{"trouble", "odd", "panic"} {
		c.cmd("MAIL FROM:<"+local+"@acme.example>", "451 4.3.0 not possible right now, try again later")
	}
	c.cmd("MAIL FROM:<no@acme.example>", "550 5.7.1 MAIL FROM: not this one")
	c.cmd("MAIL FROM:<yes@mail.acme.example>", "550 5.7.1 MAIL FROM: domain mail.acme.example is not allowed")
	c.cmd("MAIL FROM:<yes@acme.example>", "250")
	c.cmd("RCPT TO:<no@example.com>", "550 5.7.1 RCPT TO: not this one")
	c.cmd("RCPT TO:<panic@example.com>", "451 4.3.0")
	c.cmd("RCPT TO:<yes@example.com>", "250")
	c.cmd("DATA", "354")
	c.cmd("From: no@acme.example\r\n\r\n.", "550 5.7.1 From: not this one")
	c.cmd("MAIL FROM:<>", "250")
	c.cmd("RCPT TO:<yes@example.com>", "250")
	c.cmd("DATA", "354")
	c.cmd("From: yes@mail.acme.example\r\n\r\n.", "550 5.7.1 From: domain mail.acme.example is not allowed")
}

// ReplaceExactDomain alone decides on senders, and AllowSender adds to it too.
func TestReplaceExactDomain(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) {
		s.ReplaceExactDomain = func(context.Context, *relay.PolicyRequest) error { return nil }
		s.AllowSender = decide(nil)
	})
	c := login(t, r)
	c.cmd("MAIL FROM:<no@anything.example>", "550 5.7.1 MAIL FROM: not this one")
	c.cmd("MAIL FROM:<yes@anything.example>", "250")
}

// AllowUser is asked at MAIL, also for the null sender, and before the address.
func TestAllowUser(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "suspended: unpaid"}, "550 5.7.1 suspended: unpaid"},
		{&relay.ReplyError{Code: 452, Enhanced: "4.7.1", Text: "1000 recipients an hour"}, "452 4.7.1 1000 recipients an hour"},
		{errSecret, "451 4.3.0 not possible right now, try again later"},
	} {
		r := startRelay(t, func(s *relay.Server) { s.AllowUser = decide(test.err) })
		c := login(t, r)
		for _, from := range []string{"", "shop@acme.example", "shop@evil.example"} {
			c.cmd("MAIL FROM:<"+from+">", test.want)
		}
	}
}

// AllowLogin is asked when the password is right. A login that it refuses is not
// recorded.
func TestAllowLogin(t *testing.T) {
	for _, test := range []struct {
		err   error
		want  string
		cause relay.LoginCause
	}{
		{&relay.ReplyError{Code: 535, Enhanced: "5.7.8", Text: "suspended: unpaid"}, "535 5.7.8 suspended: unpaid", relay.CauseNotAllowed},
		{errSecret, "454 4.7.0 login is not possible right now, try again later", relay.CauseUnavailable},
		{&relay.ReplyError{Code: 250, Text: "secret detail"}, "454 4.7.0 login is not possible right now, try again later", relay.CauseUnavailable},
	} {
		events := newEventLog()
		r := startRelay(t, func(s *relay.Server) { s.AllowLogin, s.OnEvent = decide(test.err), events.add })
		c := dial(t, r, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		c.cmd("AUTH PLAIN AG5vYm9keQB3cm9uZw==", "535 5.7.8 username or password is wrong")
		c.cmd(expand(r, "AUTH PLAIN $plain"), test.want)
		c.cmd("MAIL FROM:<shop@acme.example>", "530")
		u, err := r.Credentials.Tenant(r.Tenant).User(t.Context(), r.Username)
		if err != nil || !u.LastConnection.IsZero() {
			t.Errorf("a refused login is on record: %v, %v", u.LastConnection, err)
		}
		e, _ := events.all()[1].(*relay.LoginRefused)
		if e == nil || e.Cause != test.cause || e.Identity.Username != r.Username {
			t.Errorf("got event %+v, want a LoginRefused by cause %q of %s", e, test.cause, r.Username)
		}
	}
}

// A request without an address or a user is refused.
func TestExactDomainOfNothing(t *testing.T) {
	if err := relay.ExactDomain(t.Context(), new(relay.PolicyRequest)); err == nil {
		t.Error("ExactDomain allows the zero PolicyRequest")
	}
}

func TestPolicyRequest(t *testing.T) {
	var mu sync.Mutex
	var got []relay.PolicyRequest
	keep := func(_ context.Context, r *relay.PolicyRequest) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, *r)
		return nil
	}
	r := startRelay(t, func(s *relay.Server) {
		s.AllowLogin, s.AllowUser, s.AllowSender, s.AllowRecipient = keep, keep, keep, keep
	})
	c := login(t, r)
	c.cmd("MAIL FROM:<Shop@ACME.Example> SIZE=1000", "250")
	c.cmd("RCPT TO:<Bob@MÜNCHEN.example>", "553")
	c.cmd("RCPT TO:<Bob@Example.COM>", "250")
	c.cmd("RCPT TO:<carol@[127.0.0.1]>", "250")
	c.cmd("DATA", "354")
	content := "From: Shop@acme.EXAMPLE\r\nSender: x@acme.example\r\n\r\nhi\r\n"
	c.cmd(content+".", "250")

	mu.Lock()
	defer mu.Unlock()
	id := credentials.Identity{Tenant: r.Tenant, Domain: r.Domain, Username: r.Username, Generation: 1}
	client := relay.Client{Session: got[0].Session, Remote: got[0].Remote, Identity: id}
	if len(client.Session) != 26 || !client.Remote.IsLoopback() {
		t.Errorf("got session %q from %v, want 26 characters and a loopback address", client.Session, client.Remote)
	}
	const tls = "TLS 1.3"
	from, size := "Shop@acme.example", int64(len(content))
	want := []relay.PolicyRequest{
		{Client: client, Field: relay.FieldAuth, TLS: tls},
		{Client: client, Field: relay.FieldMailFrom, Size: 1000, TLS: tls},
		{Client: client, Field: relay.FieldMailFrom, Address: "Shop@acme.example", From: from, Size: 1000, TLS: tls},
		{Client: client, Field: relay.FieldRcptTo, Address: "Bob@example.com", From: from, Size: 1000, TLS: tls},
		{Client: client, Field: relay.FieldRcptTo, Address: "carol@[127.0.0.1]", From: from, Recipients: 1, Size: 1000, TLS: tls},
		{Client: client, Field: relay.FieldFrom, Address: "Shop@acme.example", From: from, Recipients: 2, Size: size, TLS: tls},
		{Client: client, Field: relay.FieldSender, Address: "x@acme.example", From: from, Recipients: 2, Size: size, TLS: tls},
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("request %d differs: got\n%+v, want\n%+v", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}

// A policy function that waits for ctx is told after 30 seconds; its client gets
// the usual reply.
func TestPolicyFunctionTimesOut(t *testing.T) {
	inBubbleWith(t, func(s *relay.Server) {
		s.AllowUser = func(ctx context.Context, _ *relay.PolicyRequest) error {
			<-ctx.Done()
			return ctx.Err()
		}
	}, func(t *testing.T, c *pipeClient) {
		if got, want := c.cmd("MAIL FROM:<shop@acme.example>"), "451 4.3.0"; !strings.HasPrefix(got, want) {
			t.Errorf("the server answered %q, want %q", got, want)
		}
	})
}

// A panic in the store ends that session only. The log names the session.
func TestPanicInStore(t *testing.T) {
	for _, at := range []string{"AUTH", "MAIL"} {
		events := newEventLog()
		var mu sync.Mutex
		var log bytes.Buffer
		var panics atomic.Bool
		r := relaytest.NewUnstartedRelay(t)
		s := &watchedStore{Store: r.Credentials.Store}
		s.onLookup.Store(new(func(context.Context) {
			if panics.Load() {
				panic("the store's mistake")
			}
		}))
		r.Credentials = &credentials.Manager{Store: s, Cost: r.Credentials.Cost, Logger: r.Server.Logger}
		r.Server.Credentials, r.Server.OnEvent = r.Credentials, events.add
		r.Server.Logger = errorLog(lockedWriter{&mu, &log})
		r.Start()
		c := dial(t, r, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		if at == "MAIL" {
			c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
		}
		panics.Store(true)
		c.cmd(map[string]string{"AUTH": expand(r, "AUTH PLAIN $plain"), "MAIL": "MAIL FROM:<shop@acme.example>"}[at], "421 4.3.0")
		if got := c.readLine(); got != "EOF" {
			t.Errorf("%s: the session goes on with %q", at, got)
		}
		eventually(t, "the end of the session", events.ended)
		all := events.all()
		id := all[len(all)-1].(*relay.SessionEnded).Session
		mu.Lock()
		if !strings.Contains(log.String(), "session="+id) || !strings.Contains(log.String(), "the store's mistake") {
			t.Errorf("%s: the log does not hold the panic with session %s:\n%s", at, id, &log)
		}
		mu.Unlock()
	}
}
