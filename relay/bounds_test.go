package relay_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The largest value of a limit switches the limit off.
func TestLargestLimits(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) {
		s.MaxMessageBytes, s.MaxTempBytes = math.MaxInt64, math.MaxInt64
		s.MaxRecipients, s.MaxConns, s.MaxConnsPerAddr, s.MaxConnsPerUser = math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt
		s.MaxAuthTries, s.MinBodyRate = math.MaxInt, 1
		s.LoginTimeout, s.IdleTimeout, s.MessageTimeout = math.MaxInt64, math.MaxInt64, math.MaxInt64
	})
	c := login(t, r)
	for _, way := range ways[:3] {
		c.cmd("MAIL FROM:<shop@acme.example> SIZE=9223372036854775807", "552")
		c.cmd("MAIL FROM:<shop@acme.example> SIZE=1000000000", "250")
		c.cmd("RCPT TO:<bob@example.com>", "250")
		c.send(way.send(sized(300_000)))
		last := c.reply()
		for strings.HasPrefix(last, "354") || strings.HasSuffix(last, "chunk received") {
			last = c.reply()
		}
		if !strings.HasPrefix(last, "250 2.0.0 accepted") {
			t.Errorf("%s: got %q, want 250", way.name, last)
		}
	}
	accepted(t, r, 3)
}

// If a Forwarder calls runtime.Goexit, as t.FailNow does, the client gets a reply.
func TestForwarderGoexit(t *testing.T) {
	exit := true
	logged := new(syncBuilder)
	r := startRelay(t, func(s *relay.Server) {
		s.Logger = errorLog(logged)
		s.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error {
			if exit {
				runtime.Goexit()
			}
			return nil
		})
	})
	c := login(t, r)
	c.envelope()
	c.cmd("DATA", "354")
	c.cmd(hello+".", "451 4.3.0")
	c.envelope()
	c.send(chunk(hello, true))
	c.want("451 4.3.0")
	c.envelope()
	c.send(chunk(hello, false))
	c.want("250 2.0.0")
	c.send(chunk("", true))
	c.want("451 4.3.0")
	if got := strings.Count(logged.String(), "runtime.Goexit"); got != 3 {
		t.Errorf("got %d log lines about runtime.Goexit, want 3: %s", got, logged)
	}
	exit = false
	c.deliver()
}

// Large messages are kept in files in TempDir, which hold at most MaxTempBytes.
func TestTempFiles(t *testing.T) {
	dir := t.TempDir()
	forwarding, release := make(chan struct{}), make(chan struct{})
	r := startRelay(t, func(s *relay.Server) {
		s.TempDir, s.MaxTempBytes, s.MaxMessageBytes = dir, 500_000, 450_000
		s.Forwarder = relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			if m.Size() > 300_000 {
				forwarding <- struct{}{}
				<-release
			}
			return nil
		})
	})
	send := func(n int, want string) {
		c := login(t, r)
		c.envelope()
		c.cmd("DATA", "354")
		c.cmd(sized(n)+".", want)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		send(400_000, "250 2.0.0 accepted")
	}()
	<-forwarding
	if runtime.GOOS == "linux" && !holdsFile(t, dir) {
		t.Errorf("no open file in %s, want the message", dir)
	}
	send(400_000, "452 4.3.1 out of storage")
	send(200_000, "250 2.0.0 accepted") // in memory
	close(release)
	<-done
	go func() { <-forwarding }()
	send(400_000, "250 2.0.0 accepted")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		t.Errorf("got %v in TempDir, %v; want nothing", files, err)
	}
}

// A Content that panics leaves no temporary file, and no bytes of one in the count.
func TestTempFilesAfterPanic(t *testing.T) {
	dir := t.TempDir()
	r := startRelay(t, func(s *relay.Server) { s.TempDir, s.MaxTempBytes, s.MaxMessageBytes = dir, 500_000, 450_000 })
	submit := func(content io.Reader) error {
		_, err := r.Server.Submit(t.Context(), relay.Submission{
			Identity: identity(t, r), From: "shop@acme.example", To: []string{"bob@example.com"}, Content: content,
		})
		return err
	}
	for range 3 {
		var re *relay.ReplyError
		if err := submit(io.MultiReader(strings.NewReader(sized(400_000)), panicReader{})); !errors.As(err, &re) || re.Code != 421 {
			t.Errorf("got the error %v, want 421", err)
		}
	}
	if runtime.GOOS == "linux" && holdsFile(t, dir) {
		t.Errorf("a file in %s is still open", dir)
	}
	if err := submit(strings.NewReader(sized(400_000))); err != nil {
		t.Errorf("after the panics: %v", err)
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("the embedder's mistake") }

// holdsFile reports whether this process has a file of dir open.
func holdsFile(t *testing.T, dir string) bool {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range open {
		if name, _ := os.Readlink("/proc/self/fd/" + f.Name()); strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

func TestTempFieldsAreChecked(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, test := range []struct {
		field  string
		change func(*relay.Server)
	}{
		{"Server.TempDir", func(s *relay.Server) { s.TempDir = missing }},
		{"Server.MaxTempBytes", func(s *relay.Server) { s.MaxTempBytes = 1000 }},
	} {
		r := relaytest.NewUnstartedRelay(t)
		test.change(r.Server)
		err := r.Server.ListenAndServe("127.0.0.1:0")
		if err == nil || !strings.Contains(err.Error(), test.field) {
			t.Errorf("ListenAndServe: got %v, want an error about %s", err, test.field)
		}
	}
}

// The longest envelope takes at most 2 KiB per recipient before the data, and each of
// its texts fits into a spool.
func TestEnvelopeMemory(t *testing.T) {
	const conns, recipients, perRecipient, maxText = 20, 1000, 2 << 10, 1024
	r := startRelay(t, func(s *relay.Server) { s.MaxConnsPerAddr = conns })
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + strings.Repeat("s", 241) + "@acme.example> ENVID=" + strings.Repeat("e", 100) + " AUTH=" + strings.Repeat("a", 11000) + "\r\n")
	for i := range recipients {
		to := "<" + strings.Repeat("r", 230) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + "@example.com>"
		b.WriteString("RCPT TO:" + to + " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;" + strings.Repeat("o", 493) + "\r\n")
	}
	clients := make([]*client, conns)
	for i := range clients {
		clients[i] = login(t, r)
	}
	before := heap()
	for _, c := range clients {
		go c.sendAnyway(b.String())
		for range 1 + recipients {
			c.want("250")
		}
	}
	got := (int64(heap()) - int64(before)) / conns
	t.Logf("%d bytes a connection, %d a recipient", got, got/recipients)
	if got > recipients*perRecipient {
		t.Errorf("got %d bytes a connection, want at most %d", got, recipients*perRecipient)
	}
	c := clients[0]
	c.cmd("DATA", "354")
	c.cmd(hello+".", "250")
	m := r.Messages()[0]
	for _, text := range []string{m.From, m.Options.EnvelopeID, m.To[999].Address, m.To[999].OriginalRecipient} {
		if len(text) < 100 || len(text) > maxText {
			t.Errorf("got a text of %d bytes, want 100 to %d: %.20s...", len(text), maxText, text)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A command of 12 KiB is accepted. A longer one is refused, and one above 64 KiB ends
// the session.
func TestCommandLength(t *testing.T) {
	const limit = 12 << 10
	r := startRelay(t, nil)
	for _, test := range []struct {
		size int
		want string
	}{{limit, "250 2.0.0"}, {limit + 1, "500 5.5.2 the line is longer than 12288 bytes"}, {60_000, "500 5.5.2"}} {
		c := login(t, r)
		c.cmd("NOOP "+strings.Repeat("x", test.size-len("NOOP \r\n")), test.want)
		c.cmd("MAIL FROM:<shop@acme.example> AUTH="+strings.Repeat("x", test.size-len("MAIL FROM:<shop@acme.example> AUTH=\r\n")), test.want[:2])
		c.cmd("RSET", "250")
		c.deliver()
	}
	c := login(t, r)
	c.sendAnyway("NOOP " + strings.Repeat("x", 65<<10) + "\r\nNOOP\r\n")
	c.wantCodes("421 4.5.2 the line is too long")
}

// A client that sends a bare LF gets the reply at once, not after IdleTimeout.
func TestBareLFInCommands(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.IdleTimeout = time.Hour })
	for _, send := range []string{
		"NOOP\n", "\n", "NOOP\nNOOP\r\n", "MAIL FROM:<shop@acme.example>\nRCPT TO:<bob@example.com>\r\n", "NOOP\n\r\n", "AUTH LOGIN\r\nAAAA\n",
		envelope + "DATA\n" + hello + ".\n", envelope + "BDAT 5\nNOOP\n",
	} {
		c := dial(t, r, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		if !strings.HasPrefix(send, "AUTH") {
			c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
		}
		io.WriteString(c.conn, send)
		lines := c.rest()
		if got := lines[len(lines)-1]; !strings.HasPrefix(got, "421 4.5.2 a command holds a bare LF") {
			t.Errorf("%q: got %q, want 421 4.5.2", send, got)
		}
	}
	accepted(t, r, 0)
}
