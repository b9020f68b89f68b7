package relay_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// Helpers of the hostile tests.

// startRelay starts a relay. If change is not nil, it changes the server first.
func startRelay(t testing.TB, change func(*relay.Server)) *relaytest.Relay {
	t.Helper()
	r := relaytest.NewUnstartedRelay(t)
	if change != nil {
		change(r.Server)
	}
	r.Start()
	return r
}

// rest returns the lines that the server sends until it closes the connection. It
// fails the test if that takes more than ten seconds. If the connection is reset, rest
// returns the lines before that.
func (c *client) rest() []string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(c.r)
	if isTimeout(err) {
		c.t.Fatalf("got %q and then neither a reply nor the end of the connection", all)
	}
	return strings.Split(strings.TrimSuffix(string(all), "\r\n"), "\r\n")
}

// wantCodes checks that the server sends one reply for each of want, which is its
// beginning, and then closes the connection.
func (c *client) wantCodes(want ...string) {
	c.t.Helper()
	var got []string
	for _, line := range c.rest() {
		if len(line) < 4 || line[3] != '-' {
			got = append(got, line)
		}
	}
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		c.t.Fatalf("got the replies\n   %s\nwant\n   %s", strings.Join(got, "\n   "), strings.Join(want, "\n   "))
	}
}

// closeWrite closes the client's side of the connection, with TLS by close_notify.
func (c *client) closeWrite() {
	c.t.Helper()
	if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// wellFormed checks that a message holds no bare CR, no bare LF and no NUL.
func wellFormed(t testing.TB, data []byte) {
	t.Helper()
	lines := bytes.Split(data, []byte("\r\n"))
	for _, line := range lines {
		if i := bytes.IndexAny(line, "\r\n\x00"); i >= 0 {
			t.Errorf("got a bare %q in an accepted message: %.200q", line[i], line)
			return
		}
	}
}

// accepted checks that n messages were accepted and are well-formed. It returns their
// contents without the trace fields.
func accepted(t testing.TB, r *relaytest.Relay, n int) []string {
	t.Helper()
	messages := r.Messages()
	if len(messages) != n {
		t.Errorf("got %d accepted messages, want %d", len(messages), n)
		for _, m := range messages[:min(3, len(messages))] {
			t.Logf("accepted from %q to %v: %.300q", m.From, m.To, m.Data)
		}
	}
	var all []string
	for _, m := range messages {
		wellFormed(t, m.Data)
		all = append(all, string(withoutTrace(m.Data)))
	}
	return all
}

// stillServes checks that the relay accepts a message.
func stillServes(t testing.TB, r *relaytest.Relay) {
	t.Helper()
	before := len(r.Messages())
	c := login(t, r)
	c.deliver()
	c.cmd("QUIT", "221")
	if n := len(r.Messages()); n <= before {
		t.Errorf("got %d messages after a good one, want more than the %d before", n, before)
	}
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("got no %s in 20 seconds", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// loginPlain is login in the clear, on a server with InsecureAuth.
func loginPlain(t testing.TB, r *relaytest.Relay) *client {
	t.Helper()
	c := dial(t, r, false)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
	return c
}

// lines joins SMTP lines, with CRLF after each.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

// sendAnyway is send for text that the server may not read to its end.
func (c *client) sendAnyway(s string) {
	c.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c.conn, s)
}

// dialRaw is dial without the TLS handshake.
func dialRaw(t testing.TB, r *relaytest.Relay, implicitTLS bool) *client {
	t.Helper()
	addr := r.Addr
	if implicitTLS {
		addr = r.AddrTLS
	}
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return newClient(t, nc)
}

// errorLog returns a logger that writes errors to w, and nothing else.
func errorLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}
