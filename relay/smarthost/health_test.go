package smarthost_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
)

// afterMessages returns a script that answers a command so on each connection
// that has carried n messages.
func afterMessages(n int, at string, a relaytest.Answer) func(relaytest.Command) relaytest.Answer {
	var mu sync.Mutex
	carried := make(map[int]int)
	return func(c relaytest.Command) relaytest.Answer {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case carried[c.Conn] >= n && c.Verb == at:
			return a
		case c.Verb == relaytest.EndOfData:
			carried[c.Conn]++
		}
		return relaytest.Answer{}
	}
}

// A kept connection that takes no more messages is closed, and the message goes
// over a fresh one.
func TestKeptConnectionThatRefuses(t *testing.T) {
	for _, at := range []string{"MAIL", "RCPT", "DATA"} {
		for _, reply := range []string{
			"452 4.5.3 too many messages", "421 4.7.0 too many messages", "451 4.3.0 later",
			"503 5.5.1 bad sequence", "550 5.7.0 Too many messages on this connection", "554 too many mails",
		} {
			t.Run(at+" "+reply, func(t *testing.T) {
				up := &relaytest.Upstream{
					Extensions: without("CHUNKING"), Script: afterMessages(10, at, relaytest.Answer{Text: reply}),
				}
				f := start(t, up)
				for range 35 {
					mustForward(t, f, message(hello, "b@example.com"))
				}
				if n := made(up); n != 4 {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// One fresh connection is enough: what it says counts.
func TestFreshConnectionThatRefuses(t *testing.T) {
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" && strings.Contains(c.Line, "blocked@") {
			return relaytest.Answer{Text: "550 5.7.1 blocked"}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	mustForward(t, f, message(hello, "b@example.com"))
	m := message(hello, "b@example.com")
	m.From = "blocked@example.org"
	wantReply(t, forward(t, f, m), 550, "5.7.1")
	if n := made(up); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// An unknown recipient does not discredit the connection.
func TestUnknownRecipientOnKeptConnection(t *testing.T) {
	up := &relaytest.Upstream{Script: on("RCPT TO:<nobody@", relaytest.Answer{Text: "550 5.1.1 unknown"})}
	f := start(t, up)
	mustForward(t, f, message(hello, "b@example.com"))
	wantRefused(t, forward(t, f, message(hello, "nobody@example.com")), "nobody@example.com")
	if n := made(up); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// After several refusals in a row a connection is not kept.
func TestConnectionWithRefusalsIsNotKept(t *testing.T) {
	up := &relaytest.Upstream{Script: on("RCPT TO:<nobody@", relaytest.Answer{Text: "550 5.1.1 unknown"})}
	f := start(t, up)
	for range 10 {
		wantRefused(t, forward(t, f, message(hello, "nobody@example.com")), "nobody@example.com")
	}
	if n := made(up); n != 2 {
		t.Errorf("%d connections", n)
	}
	mustForward(t, f, message(hello, "b@example.com"))
	if n := made(up); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// The server's LIMITS hold for messages too (RFC 9422).
func TestMailMax(t *testing.T) {
	rec := &recorder{}
	up := &relaytest.Upstream{Extensions: append(without(), "LIMITS MAILMAX=3"), Script: rec.script}
	f := start(t, up)
	for range 7 {
		mustForward(t, f, message(hello, "b@example.com"))
	}
	if n, quits := made(up), len(rec.lines("QUIT")); n != 3 || quits != 2 {
		t.Errorf("%d connections, %d QUITs", n, quits)
	}
}

func TestMaxMessagesDefault(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up)
	for range 150 {
		mustForward(t, f, message(hello, "b@example.com"))
	}
	if n := made(up); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A server that allows fewer connections than MaxConns gets the mail over those
// that it allows, and no message fails for it.
func TestConnectionLimitIsLearned(t *testing.T) {
	for name, a := range map[string]relaytest.Answer{
		"421":    {Text: "421 4.7.0 too many connections\r\n", Close: true},
		"450":    {Text: "450 4.7.0 too many connections\r\n", Close: true},
		"closed": {Close: true},
	} {
		t.Run(name, func(t *testing.T) {
			var up *relaytest.Upstream
			var turned atomic.Int32
			up = &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
				if c.Verb == relaytest.Greeting && open(up) > 3 {
					turned.Add(1)
					return a
				}
				return relaytest.Answer{}
			}}
			f := start(t, up)
			var wg sync.WaitGroup
			for i := range 500 {
				wg.Go(func() {
					if err := forward(t, f, message(hello, fmt.Sprintf("r%d@example.com", i))); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := len(up.Received()); n != 500 {
				t.Errorf("%d messages", n)
			}
			if n := turned.Load(); n > 20 {
				t.Errorf("%d connections were turned away", n)
			}
		})
	}
}

// A login works with the forms of AUTH that upstreams have.
func TestAuthVariants(t *testing.T) {
	ehlo := func(auth string) func(relaytest.Command) relaytest.Answer {
		return on("EHLO", relaytest.Answer{Text: "250-x\r\n250-" + strings.ReplaceAll(auth, "250 ", "250-") + "\r\n250 HELP"})
	}
	for name, up := range map[string]*relaytest.Upstream{
		"AUTH=":              {Script: ehlo("AUTH=PLAIN LOGIN")},
		"AUTH= LOGIN":        {Script: ehlo("AUTH=LOGIN")},
		"two lines":          {Script: ehlo("AUTH LOGIN\r\n250 AUTH CRAM-MD5")},
		"old and new line":   {Script: ehlo("AUTH LOGIN PLAIN\r\n250 AUTH=LOGIN PLAIN")},
		"PLAIN without IR":   {Script: emptyChallenge},
		"PLAIN refused, 504": {Script: on("AUTH PLAIN", relaytest.Answer{Text: "504 5.5.4 no"})},
		"PLAIN refused, 534": {Script: on("AUTH PLAIN", relaytest.Answer{Text: "534 5.7.9 too weak"})},
		"PLAIN refused, 535": {Script: on("AUTH PLAIN", relaytest.Answer{Text: "535 5.7.8 no"})},
	} {
		t.Run(name, func(t *testing.T) {
			up.NoTLS, up.Username, up.Password = true, "relay", secret
			f := start(t, up)
			f.TLS = smarthost.NoTLS
			f.Username, f.Password = "relay", credentials.NewPassword(secret)
			mustForward(t, f, message(hello, "b@example.com"))
		})
	}
}

// emptyChallenge asks for the response again that came with AUTH PLAIN.
func emptyChallenge(c relaytest.Command) relaytest.Answer {
	switch {
	case strings.HasPrefix(c.Line, "AUTH PLAIN "):
		return relaytest.Answer{Text: "334 "}
	case c.Line == base64.StdEncoding.EncodeToString([]byte("\x00relay\x00"+secret)):
		return relaytest.Answer{Text: "235 2.7.0 welcome"}
	}
	return relaytest.Answer{}
}

// A server that offers CHUNKING and doesn't know BDAT gets DATA, on a connection
// that has seen no content, from then on.
func TestChunkingThatDoesNotWork(t *testing.T) {
	for _, reply := range []string{"500 5.5.1 what?", "502 5.5.1 not here", "503 5.5.1 bad sequence"} {
		for name, content := range map[string]string{"small": hello, "large": hello + strings.Repeat("0123456789\r\n", 1<<17)} {
			t.Run(reply[:3]+" "+name, func(t *testing.T) {
				rec := &recorder{then: on("BDAT", relaytest.Answer{Text: reply})}
				up := &relaytest.Upstream{Script: rec.script}
				f := start(t, up)
				for range 3 {
					mustForward(t, f, message(content, "b@example.com"))
				}
				if d := up.Received(); len(d) != 3 || d[0].Chunked || string(d[0].Content) != content {
					t.Errorf("%d messages arrived", len(d))
				}
				if n := len(rec.lines("BDAT")); n != 1 {
					t.Errorf("BDAT was tried %d times", n)
				}
			})
		}
	}
}

func TestNoChunking(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up)
	f.NoChunking = true
	mustForward(t, f, message(hello, "b@example.com"))
	if up.Received()[0].Chunked {
		t.Error("it came by BDAT")
	}
}

// A message with NoWait gets an error at once if all connections are in use, and
// is told when one is free.
func TestBusy(t *testing.T) {
	release := make(chan struct{})
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if strings.HasPrefix(c.Line, "RCPT TO:<slow@") {
			<-release
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	f.MaxConns = 1
	slow := make(chan error)
	go func() { slow <- f.Forward(t.Context(), message(hello, "slow@example.com")) }()
	eventually(t, "the slow one is being sent", func() bool { return made(up) == 1 })

	m := message(hello, "b@example.com")
	m.NoWait = true
	err := forward(t, f, m)
	busy := wantBusy(t, err)
	if busy.Site != f.Addr || busy.Wait != 0 {
		t.Errorf("%+v", busy)
	}
	select {
	case <-busy.Free:
		t.Error("free too early")
	default:
	}
	close(release)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	<-busy.Free
	mustForward(t, f, m)
}

func wantBusy(t *testing.T, err error) *relay.BusyError {
	t.Helper()
	var busy *relay.BusyError
	if !errors.As(err, &busy) {
		t.Fatalf("not busy: %v", err)
	}
	if !relay.Temporary(err) || relay.Unreachable(err) {
		t.Errorf("temporary %v, unreachable %v: %v", relay.Temporary(err), relay.Unreachable(err), err)
	}
	return busy
}

// An upstream that refuses the mail of one tenant refuses that tenant. If it refuses
// the mail of every tenant, it refuses this relay, and mail waits.
func TestUpstreamThatRefusesEveryTenant(t *testing.T) {
	var blocked atomic.Bool
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "MAIL" && (blocked.Load() || strings.Contains(c.Line, "<bad@")) {
			return relaytest.Answer{Text: "550 5.7.1 blocked"}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	var log bytes.Buffer
	f.Logger = slog.New(slog.NewTextHandler(&log, nil))
	send := func(tenant, from string) error {
		m := message(hello, "b@example.com")
		m.Identity.Tenant, m.From = store.TenantID(tenant), from
		return forward(t, f, m)
	}
	for range 5 {
		wantReply(t, send("one", "bad@example.org"), 550, "5.7.1")
	}
	for _, tenant := range []string{"two", "three", "four"} { // each after one that is taken
		wantReply(t, send(tenant, "bad@example.org"), 550, "5.7.1")
		if err := send("one", "a@example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	blocked.Store(true)
	for _, tenant := range []string{"one", "two"} {
		wantReply(t, send(tenant, "a@example.org"), 550, "5.7.1")
	}
	for _, tenant := range []string{"three", "one", "four"} {
		err := send(tenant, "a@example.org")
		wantTemporary(t, err, "refuses MAIL of every tenant", "550 5.7.1 blocked")
		if !relay.Unreachable(err) || errors.As(err, new(*relay.ReplyError)) {
			t.Errorf("%v", err)
		}
	}
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("logged: %s", &log)
	}
	blocked.Store(false)
	if err := send("one", "a@example.org"); err != nil {
		t.Error(err)
	}
	blocked.Store(true)
	wantReply(t, send("one", "a@example.org"), 550, "5.7.1")
}
