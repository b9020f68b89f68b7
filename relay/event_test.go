package relay_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// An eventLog collects what OnEvent gets.
type eventLog struct {
	mu     sync.Mutex
	events []relay.Event
}

func newEventLog() *eventLog { return new(eventLog) }

func (l *eventLog) add(e relay.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// ended reports whether a session has ended.
func (l *eventLog) ended() bool {
	return slices.ContainsFunc(l.all(), func(e relay.Event) bool { _, ok := e.(*relay.SessionEnded); return ok })
}

func (l *eventLog) all() []relay.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]relay.Event(nil), l.events...)
}

// The event about a wrong password names the user. The reply is the same as for an
// unknown username.
func TestLoginRefusedNamesTheUser(t *testing.T) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) { s.OnEvent = events.add })
	replies := make(map[string]bool)
	for _, username := range []string{r.Username, "smtpnobody"} {
		c := dial(t, r, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + username + "\x00wrong"))
		replies[c.cmd("AUTH PLAIN "+plain, "535 5.7.8")] = true
	}
	if len(replies) != 1 {
		t.Errorf("the replies differ: %v", replies)
	}
	id := credentials.Identity{Tenant: r.Tenant, Domain: r.Domain, Username: r.Username, Generation: 1}
	wrong, _ := events.all()[0].(*relay.LoginRefused)
	if wrong == nil || wrong.Identity != id || wrong.Cause != relay.CauseWrongPassword || wrong.Username != r.Username {
		t.Errorf("got event %+v, want a wrong password of %+v", wrong, id)
	}
	unknown, _ := events.all()[1].(*relay.LoginRefused)
	if unknown == nil || unknown.Identity != (credentials.Identity{}) || unknown.Cause != relay.CauseUnknownUser {
		t.Errorf("got event %+v, want an unknown user", unknown)
	}
}

// The event about a login before TLS names the user, if the client sent the username
// along. No event and no log line has the password. The Store is asked once a
// connection.
func TestLoginBeforeTLSNamesTheUser(t *testing.T) {
	for name, test := range map[string]struct {
		commands []string // the first gets the user named
		named    bool
	}{
		"PLAIN":       {[]string{"AUTH PLAIN %s"}, true},
		"LOGIN":       {[]string{"AUTH LOGIN %u"}, true},
		"twice":       {[]string{"AUTH PLAIN %s", "AUTH PLAIN %s"}, true},
		"no response": {[]string{"AUTH PLAIN"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			events := newEventLog()
			var log bytes.Buffer
			r := startRelay(t, func(s *relay.Server) {
				s.OnEvent = events.add
				s.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			c := dial(t, r, false)
			c.want("220")
			c.cmd("EHLO client.test", "250")
			encode := base64.StdEncoding.EncodeToString
			for _, command := range test.commands {
				command = strings.NewReplacer("%s", encode([]byte("\x00"+r.Username+"\x00"+r.Password)), "%u", encode([]byte(r.Username))).Replace(command)
				c.cmd(command, "538 5.7.11")
			}
			c.cmd("QUIT", "221")
			var named int
			for _, e := range events.all() {
				if e, ok := e.(*relay.LoginRefused); ok && e.Identity.Username == r.Username && e.Identity.Tenant == r.Tenant && e.Cause == relay.CauseNoTLS {
					named++
				}
			}
			if (named == 1) != test.named {
				t.Errorf("got %d events that name the user, want one: %v", named, test.named)
			}
			if strings.Contains(log.String(), r.Password) {
				t.Errorf("got the password in the log:\n%s", &log)
			}
		})
	}
}

func TestMessageAccepted(t *testing.T) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) { s.OnEvent = events.add })
	c := login(t, r)
	c.envelope()
	c.cmd("RCPT TO:<eve@example.com> NOTIFY=NEVER", "250")
	c.cmd("DATA", "354")
	c.cmd(hello+strings.Repeat("x", 999)+"\r\n"+strings.Repeat("x", 998)+"\r\n.", "250")
	m := r.Messages()[0]
	e, _ := events.all()[1].(*relay.MessageAccepted)
	if e == nil || e.LongLines != 1 || e.ID != m.ID || e.From != m.From || !reflect.DeepEqual(e.To, m.To) || e.Size != int64(len(m.Data)) || e.Identity != m.Identity {
		t.Errorf("got event %+v, want one of message %+v with %d bytes", e, m.Message, len(m.Data))
	}
	if e != nil && (e.Author != "shop@acme.example" || e.Subject != "hi" || e.MessageID != m.MessageID || e.MessageID == "") {
		t.Errorf("got author %q, subject %q and Message-ID %q, want shop@acme.example, hi and %q", e.Author, e.Subject, e.MessageID, m.MessageID)
	}
}

// The last event of a connection says how it ended and what it was used for.
func TestSessionEnded(t *testing.T) {
	for _, test := range []struct {
		name   string
		play   func(*testing.T, *relaytest.Relay, *client)
		code   int
		reason string
		change func(*relay.Server)
	}{
		{"QUIT", func(_ *testing.T, _ *relaytest.Relay, c *client) { c.cmd("QUIT", "221") }, 221, "closing the connection", nil},
		{"closed by the client", func(_ *testing.T, _ *relaytest.Relay, c *client) { c.conn.Close() }, 0, "the client closed the connection", nil},
		{"closed in the middle of a message", func(_ *testing.T, _ *relaytest.Relay, c *client) {
			c.envelope()
			c.cmd("DATA", "354")
			c.send("From: shop@acme.example\r\n")
			c.conn.Close()
		}, 0, "the client closed the connection", nil},
		{"closed in the middle of a chunk", func(_ *testing.T, _ *relaytest.Relay, c *client) {
			c.envelope()
			c.send("BDAT 1000\r\nFrom: ")
			c.conn.Close()
		}, 0, "the client closed the connection", nil},
		{"Shutdown", func(t *testing.T, r *relaytest.Relay, c *client) {
			r.Server.Shutdown(t.Context())
			c.want("421")
		}, 421, "closing the connection, try again later", nil},
		{"Close", func(t *testing.T, r *relaytest.Relay, c *client) { r.Server.Close() }, 0, "the server was closed", nil},
		{"too slow", func(t *testing.T, r *relaytest.Relay, c *client) { c.want("421") }, 421, "idle for too long", func(s *relay.Server) {
			s.IdleTimeout = 200 * time.Millisecond
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			events := newEventLog()
			r := startRelay(t, func(s *relay.Server) {
				s.OnEvent = events.add
				if test.change != nil {
					test.change(s)
				}
			})
			c := login(t, r)
			c.deliver()
			test.play(t, r, c)
			eventually(t, "the end of the session", events.ended)
			all := events.all()
			e, _ := all[len(all)-1].(*relay.SessionEnded)
			if e == nil {
				t.Fatalf("the last event is\n   %s, want a SessionEnded", list(all[len(all)-1:]))
			}
			if e.Code != test.code || e.Reason != test.reason {
				t.Errorf("the session ended with %d %q, want %d %q", e.Code, e.Reason, test.code, test.reason)
			}
			if e.Identity.Username != r.Username || e.TLS != "TLS 1.3" || e.Commands < 5 || e.Received < 200 || e.Accepted != 1 || e.Duration <= 0 {
				t.Errorf("got %+v, want one message of %s, TLS 1.3, at least 5 commands and 200 bytes", e, r.Username)
			}
			sameSession(t, all)
		})
	}
}

// sameSession wants all events to be of one session, and one of them to end it.
func sameSession(t *testing.T, events []relay.Event) {
	t.Helper()
	sessions := make(map[string]int)
	for _, e := range events {
		client := reflect.ValueOf(e).Elem().FieldByName("Client").Interface().(relay.Client)
		switch e.(type) {
		case *relay.SessionEnded, *relay.ConnRefused:
			sessions[client.Session]++
		default:
			sessions[client.Session] += 0
		}
	}
	if len(sessions) != 1 || sessions[""] != 0 {
		t.Errorf("the events are of the sessions %v, want one", sessions)
	}
	for id, ends := range sessions {
		if ends != 1 {
			t.Errorf("session %s ended %d times, want once", id, ends)
		}
	}
}

// STARTTLS does not begin another session.
func TestSessionGoesOnAfterSTARTTLS(t *testing.T) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) { s.OnEvent = events.add })
	c := dial(t, r, false)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	c.cmd("MAIL FROM:<shop@acme.example>", "530")
	c.cmd("STARTTLS", "220")
	c.startTLS()
	c.cmd("EHLO client.test", "250")
	c.cmd("MAIL FROM:<shop@acme.example>", "530")
	c.cmd("QUIT", "221")
	eventually(t, "the end of the session", events.ended)
	all := events.all()
	sameSession(t, all)
	e := all[len(all)-1].(*relay.SessionEnded)
	if e.Commands != 6 || e.Refused != 2 || e.TLS != "TLS 1.3" {
		t.Errorf("got %+v, want 6 commands, 2 refused messages and TLS 1.3", e)
	}
}

func TestHandshakeFailed(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		events := newEventLog()
		r := startRelay(t, func(s *relay.Server) { s.OnEvent = events.add })
		c := dialRaw(t, r, implicit)
		if !implicit {
			c.want("220")
			c.cmd("EHLO client.test", "250")
			c.cmd("STARTTLS", "220")
		}
		c.send("this is not TLS\r\n")
		eventually(t, "the end of the session", events.ended)
		all := events.all()
		sameSession(t, all)
		failed, _ := all[0].(*relay.HandshakeFailed)
		ended, _ := all[1].(*relay.SessionEnded)
		if failed == nil || failed.Reason == "" || ended == nil || ended.Code != 0 || ended.Reason != "the TLS handshake failed" {
			t.Errorf("implicit=%v: got\n   %s\nwant a HandshakeFailed and a SessionEnded", implicit, list(all))
		}
	}
}

// A login beyond MaxConnsPerUser is refused although the password is right.
func TestTooManyConnsOfUser(t *testing.T) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) { s.OnEvent, s.MaxConnsPerUser = events.add, 1 })
	login(t, r)
	c := dial(t, r, true)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	reply := c.cmd(expand(r, "AUTH PLAIN $plain"), "4")
	e, _ := events.all()[1].(*relay.LoginRefused)
	if e == nil || e.Cause != relay.CauseTooManyConns || e.Identity.Username != r.Username || !strings.HasPrefix(reply, strconv.Itoa(e.Code)) {
		t.Errorf("got event %+v for the reply %q, want too many connections of %s", e, reply, r.Username)
	}
}

// A login from a network that is not allowed gets the reply to a wrong password. Only
// the event tells the difference.
func TestLoginFromElsewhere(t *testing.T) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) { s.OnEvent = events.add })
	elsewhere := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if err := r.Credentials.Tenant(r.Tenant).SetNetworks(t.Context(), r.Username, elsewhere); err != nil {
		t.Fatal(err)
	}
	c := dial(t, r, true)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	right := c.cmd(expand(r, "AUTH PLAIN $plain"), "535")
	wrong := c.cmd("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+r.Username+"\x00wrong")), "535")
	if right != wrong {
		t.Errorf("got %q for the right password, and %q for a wrong one", right, wrong)
	}
	for i, want := range []relay.LoginCause{relay.CauseNetwork, relay.CauseWrongPassword} {
		e, _ := events.all()[i].(*relay.LoginRefused)
		if e == nil || e.Cause != want || e.Identity.Username != r.Username || e.Code != 535 {
			t.Errorf("got event %+v, want the cause %q", e, want)
		}
	}
}

// A refused connection makes one event, and one warning a minute.
func TestConnRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*relay.Server)
		reason string
	}{
		{"MaxConnsPerAddr", func(s *relay.Server) { s.MaxConnsPerAddr = 1 }, "too many connections from your address, try again later"},
		{"MaxConns", func(s *relay.Server) { s.MaxConns = 1 }, "too many connections, try again later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			events := newEventLog()
			var mu sync.Mutex
			var log bytes.Buffer
			r := startRelay(t, func(s *relay.Server) {
				s.OnEvent = events.add
				s.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
				test.change(s)
			})
			first := login(t, r)
			first.envelope()
			first.cmd("DATA", "354") // so that no newcomer takes its place
			for range 3 {
				c := dial(t, r, false)
				c.want("421")
			}
			var refused []relay.Event
			for _, e := range events.all() {
				if e, ok := e.(*relay.ConnRefused); ok {
					refused = append(refused, e)
					if e.Code != 421 || e.Reason != test.reason || len(e.Session) != 26 {
						t.Errorf("got %+v, want 421 %q", e, test.reason)
					}
				}
			}
			if len(refused) != 3 || len(refused)+1 != len(events.all()) {
				t.Errorf("got\n   %s\nwant one LoggedIn and three ConnRefused", list(events.all()))
			}
			mu.Lock()
			defer mu.Unlock()
			if n := strings.Count(log.String(), `level=WARN msg="relay: refusing connections"`); n != 1 {
				t.Errorf("got %d warnings, want 1:\n%s", n, &log)
			}
		})
	}
}
