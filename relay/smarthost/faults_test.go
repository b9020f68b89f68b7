package smarthost_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// An upstream that fails in whatever way gives a temporary error that names it
// and the step, and never a second copy of the message.
func TestUpstreamFails(t *testing.T) {
	drop := relaytest.Answer{Close: true}
	bye := relaytest.Answer{Text: "421 4.3.2 Shutting down\r\n", Close: true}
	half := relaytest.Answer{Text: "250-half a rep", Close: true}
	endless := relaytest.Answer{Text: strings.Repeat("250-on and on\r\n", 10_000) + "250 done"}
	type test struct {
		name string
		at   string
		a    relaytest.Answer
		want string
	}
	tests := []test{
		{"greeting, 10 MB", relaytest.Greeting, relaytest.Answer{Text: strings.Repeat("x", 10<<20)}, "greeting: the server sent a reply that is too long"},
		{"greeting, 10 MB of lines", relaytest.Greeting, relaytest.Answer{Text: strings.Repeat("220-x\r\n", 10<<20/7)}, "greeting: the server sent a reply that is too long"},
		{"greeting, nonsense", relaytest.Greeting, relaytest.Answer{Text: "SSH-2.0-OpenSSH_9.6"}, `greeting: the server sent a malformed reply: "SSH-2.0-OpenSSH_9.6"`},
		{"greeting, no service", relaytest.Greeting, relaytest.Answer{Text: "554 5.7.1 Your address is on a list"}, "greeting: the server replied 554 5.7.1 Your address is on a list"},
		{"greeting, too many", relaytest.Greeting, bye, "greeting: the server replied 421 4.3.2 Shutting down"},
		{"two codes", "MAIL", relaytest.Answer{Text: "250-a\r\n550 b"}, "MAIL: the server sent a malformed reply"},
		{"reply of another kind", "MAIL", relaytest.Answer{Text: "354 what?"}, "MAIL: unexpected reply 354"},
	}
	for _, at := range []string{relaytest.Greeting, "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "BDAT", relaytest.Content, relaytest.EndOfData} {
		step := at
		if at == relaytest.Content || at == "BDAT" {
			step = relaytest.EndOfData // small: content and end are one write
		}
		step = "127.0.0.1: " + step + ": "
		tests = append(tests, test{at + ", dropped", at, drop, step}, test{at + ", 421", at, bye, step}, test{at + ", half a reply", at, half, step})
		if at != relaytest.Greeting && at != relaytest.Content && at != "BDAT" {
			tests = append(tests, test{at + ", 10,000 lines", at, endless, step + "the server sent a reply that is too long"})
		}
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			up := &relaytest.Upstream{Script: on(tc.at, tc.a)}
			if tc.at == "DATA" {
				up.Extensions = without("CHUNKING")
			}
			f := start(t, up)
			err := forward(t, f, message(hello, "b@example.com"))
			wantTemporary(t, err, tc.want)
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if tc.at == relaytest.EndOfData && tc.a != bye {
				wantWords(t, err, "whether the message was taken is unknown")
			} else if tc.a == bye && strings.Contains(err.Error(), "unknown") {
				t.Errorf("it said that it didn't take the message: %v", err)
			}
			before := slices.Contains([]string{relaytest.Greeting, "EHLO", "STARTTLS"}, tc.at)
			var u interface{ Unreachable() bool }
			if !errors.As(err, &u) || u.Unreachable() != before {
				t.Errorf("unreachable should be %v: %v", before, err)
			}
			if made, _ := up.Connections(); made != 1 {
				t.Errorf("%d connections", made)
			}
		})
	}
}

// A reply that is about us, or about the connection, is nothing that could become
// the answer to a client.
func TestRepliesThatAreNoAnswers(t *testing.T) {
	for at, reply := range map[string]string{
		relaytest.Greeting: "535 5.7.8 no", "EHLO": "535 5.7.8 no", "STARTTLS": "535 5.7.8 no",
		"MAIL": "530 5.7.0 log in", "RCPT": "530 5.7.0 log in", "BDAT": "421 4.3.2 later", relaytest.EndOfData: "421 4.3.2 later",
	} {
		f := start(t, &relaytest.Upstream{Script: on(at, relaytest.Answer{Text: reply})})
		var log bytes.Buffer
		f.Logger = slog.New(slog.NewTextHandler(&log, nil))
		err := forward(t, f, message(hello, "b@example.com"))
		var re *relay.ReplyError
		if err == nil || !relay.Temporary(err) || !strings.Contains(err.Error(), reply) || errors.As(err, &re) {
			t.Errorf("%s: %v", at, err)
		}
		if strings.HasPrefix(reply, "530") && !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%s: logged: %s", at, &log)
		}
	}
}

func TestUpstreamDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f := &smarthost.Forwarder{Addr: l.Addr().String()}
	wantTemporary(t, forward(t, f, message(hello, "b@example.com")), "127.0.0.1: connecting: ", "refused")
}

func TestAddrIsChecked(t *testing.T) {
	for _, addr := range []string{"", "smtp.example.net", "smtp.example.net:", ":587", "a:b:c"} {
		var log bytes.Buffer
		f := &smarthost.Forwarder{Addr: addr, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		err := forward(t, f, message(hello, "b@example.com"))
		wantTemporary(t, err, strconv.Quote(addr), "Forwarder.Addr must be host:port")
		var u interface{ Unreachable() bool }
		if !errors.As(err, &u) || !u.Unreachable() {
			t.Errorf("%q: taken for a failure of one message", addr)
		}
		if !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("%q: logged: %s", addr, &log)
		}
	}
}

// To wait for a greeting of a server that waits for TLS is a common mistake.
func TestUpstreamThatWaitsForTLS(t *testing.T) {
	var log bytes.Buffer
	f := start(t, &relaytest.Upstream{ImplicitTLS: true})
	f.Timeout, f.Logger = 100*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
	wantTemporary(t, forward(t, f, message(hello, "b@example.com")), "greeting: no answer within 100ms")
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "set TLS to ImplicitTLS") {
		t.Errorf("logged: %s", &log)
	}
}

func TestHostnameIsChecked(t *testing.T) {
	f := start(t, &relaytest.Upstream{})
	f.Hostname = "a\r\nRSET"
	wantTemporary(t, forward(t, f, message(hello, "b@example.com")), "the Hostname for EHLO is not a host name")

	up := &relaytest.Upstream{}
	f = start(t, up)
	f.Hostname = ""
	mustForward(t, f, message(hello, "b@example.com"))
	if name := up.Received()[0].Hello; !strings.Contains(name, ".") {
		t.Errorf("EHLO %q", name)
	}
}

// A server that says why it stops reading is heard: the reason is final if it
// says so.
func TestUpstreamRefusesInTheMiddle(t *testing.T) {
	for _, extensions := range [][]string{nil, without("CHUNKING")} {
		up := &relaytest.Upstream{
			Extensions: extensions,
			Script:     on(relaytest.Content, relaytest.Answer{Text: "552 5.3.4 Too big\r\n", Close: true}),
		}
		f := start(t, up)
		content := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 200_000)
		wantReply(t, forward(t, f, message(content, "b@example.com")), 552, "5.3.4")
	}
}

// stalls are all the steps at which an upstream may fall silent.
func stalls() map[string]*relaytest.Upstream {
	tests := map[string]*relaytest.Upstream{}
	for _, at := range []string{relaytest.Greeting, "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", relaytest.Content, relaytest.EndOfData} {
		up := &relaytest.Upstream{Script: on(at, relaytest.Answer{Wait: time.Minute})}
		switch at {
		case "AUTH":
			up.Username = "relay"
		case "DATA":
			up.Extensions = without("CHUNKING")
		case "RSET":
			stall := up.Script
			up.Script = func(c relaytest.Command) relaytest.Answer {
				if c.Verb == "RCPT" {
					return relaytest.Answer{Text: "450 4.2.1 later"}
				}
				return stall(c)
			}
		}
		tests[at] = up
	}
	return tests
}

// The context is honoured at every step, by its deadline and by its end.
func TestContext(t *testing.T) {
	t.Parallel()
	content := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 200_000)
	for at, up := range stalls() {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			f := start(t, up)
			if up.Username != "" {
				f.Username = up.Username
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(2*time.Second, cancel)
			checkEnded(t, f, ctx, context.Canceled, content, at)

			ctx, cancel = context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			checkEnded(t, f, ctx, context.DeadlineExceeded, content, at)
			if n := len(up.Received()); n != 0 {
				t.Errorf("%d deliveries", n)
			}
		})
	}
	t.Run("before", func(t *testing.T) {
		f := start(t, &relaytest.Upstream{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		checkEnded(t, f, ctx, context.Canceled, content, "")
	})
}

func checkEnded(t *testing.T, f *smarthost.Forwarder, ctx context.Context, want error, content, at string) {
	t.Helper()
	begin := time.Now()
	err := f.Forward(ctx, message(content, "b@example.com"))
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
	if at == "RSET" { // the refusal is known by then
		wantRefused(t, err, "b@example.com")
		return
	}
	if !errors.Is(err, want) || !relay.Temporary(err) {
		t.Errorf("%v, not %v", err, want)
	}
}

// A silent upstream is given up after Timeout, or after EndTimeout if it has the
// message.
func TestTimeout(t *testing.T) {
	for at, up := range stalls() {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			f := start(t, up)
			f.Username = up.Username
			f.Timeout, f.EndTimeout = 500*time.Millisecond, 700*time.Millisecond
			begin := time.Now()
			err := forward(t, f, message(hello, "b@example.com"))
			if d := time.Since(begin); d < 500*time.Millisecond || d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			switch at {
			case "RSET":
				wantRefused(t, err, "b@example.com")
			case relaytest.Content, relaytest.EndOfData:
				wantTemporary(t, err, "127.0.0.1: end of data: no answer within 700ms", "unknown")
			default:
				wantTemporary(t, err, "127.0.0.1: "+at+": no answer within 500ms")
			}
		})
	}
}

// A slow upstream is not a dead one: the time is for a step, not for the whole.
func TestSlowUpstream(t *testing.T) {
	t.Parallel()
	up := &relaytest.Upstream{Script: func(relaytest.Command) relaytest.Answer {
		return relaytest.Answer{Wait: 300 * time.Millisecond}
	}}
	f := start(t, up)
	f.Timeout = 1600 * time.Millisecond
	mustForward(t, f, message(hello, "b@example.com"))
}
