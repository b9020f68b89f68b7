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

// What the hostile tests share.

// startRelay starts a relay after change was made to its server.
func startRelay(t testing.TB, change func(*relay.Server)) *relaytest.Relay {
	t.Helper()
	r := relaytest.NewUnstartedRelay(t)
	if change != nil {
		change(r.Server)
	}
	r.Start()
	return r
}

// rest returns every line the server still sends until it closes, which it has
// to do soon. A line that was reset instead of closed holds what came before.
func (c *client) rest() []string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(c.r)
	if isTimeout(err) {
		c.t.Fatalf("the server neither answers nor closes; so far it said %q", all)
	}
	return strings.Split(strings.TrimSuffix(string(all), "\r\n"), "\r\n")
}

// wantCodes wants the server to send replies that begin with exactly these, and
// to close then.
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
		c.t.Fatalf("the server answered\n   %s\nwant\n   %s", strings.Join(got, "\n   "), strings.Join(want, "\n   "))
	}
}

// closeWrite ends the client's side of the line, in TLS by close_notify.
func (c *client) closeWrite() {
	c.t.Helper()
	if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// wellFormed checks what no accepted message may ever hold.
func wellFormed(t testing.TB, data []byte) {
	t.Helper()
	lines := bytes.Split(data, []byte("\r\n"))
	for _, line := range lines {
		if i := bytes.IndexAny(line, "\r\n\x00"); i >= 0 {
			t.Errorf("an accepted message holds a bare %q: %.200q", line[i], line)
			return
		}
	}
}

// accepted wants n messages, all well formed, and returns them without trace.
func accepted(t testing.TB, r *relaytest.Relay, n int) []string {
	t.Helper()
	messages := r.Messages()
	if len(messages) != n {
		t.Errorf("%d messages were accepted, want %d", len(messages), n)
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

// stillServes sends one good message.
func stillServes(t testing.TB, r *relaytest.Relay) {
	t.Helper()
	before := len(r.Messages())
	c := login(t, r)
	c.deliver()
	c.cmd("QUIT", "221")
	if n := len(r.Messages()); n <= before {
		t.Errorf("%d messages after a good one was sent, before it were %d", n, before)
	}
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// loginPlain is as login, in the clear, on a server with InsecureAuth.
func loginPlain(t testing.TB, r *relaytest.Relay) *client {
	t.Helper()
	c := dial(t, r, false)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
	return c
}

// lines joins SMTP lines, each ended by CRLF.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

// sendAnyway sends what the server may not want to read to its end.
func (c *client) sendAnyway(s string) {
	c.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c.conn, s)
}

// dialRaw is as dial, without the TLS handshake.
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

// errorLog returns a logger that writes what is logged as an error to w.
func errorLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}
