package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// FuzzDialogue logs in to a real server and sends it random input. The server neither
// panics nor stops. It sends 250 only for messages that were forwarded. Every forwarded
// message is well-formed and from the user's domain.
func FuzzDialogue(f *testing.F) {
	for _, end := range endsOfData {
		body := "From: shop@acme.example\r\n\r\nfirst" + end + smuggled
		f.Add([]byte(envelope + "DATA\r\n" + body + ".\r\nQUIT\r\n"))
		f.Add([]byte(envelope + chunk(body, true) + "QUIT\r\n"))
	}
	for _, s := range []string{
		envelope + chunk("", false) + "RSET\r\n" + envelope + chunk(hello, true),
		envelope + chunk(hello, false) + "DATA\r\n" + chunk("", true),
		envelope + "DATA\r\n" + hello + ".\r\n" + envelope + chunk(hello, true) + "QUIT\r\nMAIL FROM:<>\r\n",
		envelope + "BDAT 500 LAST\r\n" + hello,
		envelope + "BDAT 5000000000 LAST\r\n" + hello,
		"RCPT TO:<\"a> b\"@example.com>\r\nMAIL FROM:<\"a\x01\"@acme.example> SIZE=1 BODY=8BITMIME RET=FULL ENVID=a+2Bb\r\n",
		"EHLO " + strings.Repeat("x", 5000) + "\r\n" + strings.Repeat("NOOP\r\n", 10) + "STARTTLS\r\n",
	} {
		f.Add([]byte(s))
	}
	s := newFuzzServer(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s.play(t, data)
	})
}

// A fuzzServer is a relay that forgets its messages after each run.
type fuzzServer struct {
	r    *relaytest.Relay
	logs syncBuilder
	mu   sync.Mutex
	got  [][]byte
}

func newFuzzServer(f *testing.F) *fuzzServer {
	s := &fuzzServer{r: relaytest.NewUnstartedRelay(f)}
	s.r.Server.InsecureAuth = true
	s.r.Server.IdleTimeout = 5 * time.Second
	s.r.Server.MaxMessageBytes = 1 << 20
	s.r.Server.Logger = errorLog(&s.logs)
	s.r.Server.Forwarder = relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		data, err := io.ReadAll(m.Content())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, data)
		return err
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	s.r.Addr = l.Addr().String()
	go func() {
		if err := s.r.Server.Serve(l); !errors.Is(err, relay.ErrServerClosed) {
			f.Error(err)
		}
	}()
	f.Cleanup(func() { s.r.Server.Close() })
	return s
}

func (s *fuzzServer) play(t *testing.T, data []byte) {
	c := loginPlain(t, s.r)
	defer c.conn.Close()
	c.sendAnyway(string(data))
	c.conn.(*net.TCPConn).CloseWrite()
	answers := strings.Join(c.rest(), "\n")

	s.mu.Lock()
	got := s.got
	s.got = nil
	s.mu.Unlock()
	if n := strings.Count(answers, "accepted as"); n > len(got) {
		t.Errorf("got 250 for %d messages, want at most the %d that were forwarded", n, len(got))
	}
	for _, m := range got {
		wellFormed(t, m)
		if err := authors(m); err != nil {
			t.Error(err)
		}
		if !bytes.HasPrefix(m, []byte("Received: from [127.0.0.1]\r\n\tby relay.test with ESMTPA id ")) {
			t.Errorf("got no Received line: %.300q", m)
		}
	}
	if l := s.logs.String(); l != "" {
		t.Errorf("got the error log %.1000s, want none for what a client sends", l)
	}
}
