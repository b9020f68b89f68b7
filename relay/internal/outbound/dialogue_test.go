package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
)

// A tape is a connection on which the server says the same whatever it hears.
type tape struct {
	net.Conn // nil: what isn't below isn't called
	says     *bytes.Reader
	heard    bytes.Buffer
}

func (s *tape) Read(b []byte) (int, error)  { return s.says.Read(b) }
func (s *tape) Write(b []byte) (int, error) { return s.heard.Write(b) }
func (s *tape) Close() error                { return nil }
func (s *tape) SetDeadline(time.Time) error { return nil }
func (s *tape) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

// converse logs in and sends a message to a server that says the given things.
func converse(mode TLSMode, says []byte) (heard string, err error) {
	d := &Dialer{TLS: mode, Username: "user", Password: credentials.NewPassword("secret"), Hostname: "relay.example"}
	return deliver(d, says, letter(fuzzContent, "b@example.com", "c@example.com"))
}

// deliver is converse for any message.
func deliver(d *Dialer, says []byte, m *relay.Message) (heard string, err error) {
	s := &tape{says: bytes.NewReader(says)}
	c := newConn(s, "host", timeouts{})
	c.begin(context.Background())
	err = c.setup(d)
	c.end()
	if err == nil {
		_, err = c.Send(context.Background(), m)
	}
	c.Close()
	return s.heard.String(), err
}

// letter makes a message from a@example.org.
func letter(content string, to ...string) *relay.Message {
	m := &relay.Message{From: "a@example.org"}
	for _, addr := range to {
		m.To = append(m.To, relay.Recipient{Address: addr})
	}
	m = m.WithContent(strings.NewReader(content), int64(len(content)))
	return m
}

const fuzzContent = "Subject: x\r\n\r\n.the content\r\n"

// For any replies of a server, the client comes to an end, and to the right one: nil
// only if the whole message was sent.
func FuzzDialogue(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-host\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n235 ok\r\n250 a\r\n250 b\r\n250 c\r\n354 go\r\n250 done\r\n221 bye\r\n",
		"220 hi\r\n250-host\r\n250-CHUNKING\r\n250 AUTH LOGIN\r\n334 x\r\n334 y\r\n235 ok\r\n250 a\r\n250 b\r\n250 c\r\n250 done\r\n221 bye\r\n",
		"220 hi\r\n502 what\r\n250 host\r\n", "421 no\r\n", "220-", "",
		"220 hi\r\n250-host\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n235 ok\r\n250 a\r\n550 b\r\n250 c\r\n250 reset\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		heard, err := converse(None, says)
		whole := strings.Contains(heard, "\r\n..the content\r\n.\r\n") || strings.Contains(heard, " LAST\r\n"+fuzzContent)
		if err == nil && !whole {
			t.Errorf("taken, but never sent: %q", heard)
		}
		var e *Error
		var refused *relay.RefusedError
		var re *relay.ReplyError
		if err != nil && !errors.As(err, &e) && !errors.As(err, &refused) && !errors.As(err, &re) {
			t.Errorf("an error of a strange kind: %v", err)
		}
		if errors.As(err, &refused) && strings.Contains(heard, "the content") {
			t.Errorf("sent in spite of a refusal: %q", heard)
		}
	})
}

func TestConverse(t *testing.T) {
	heard, err := converse(None, []byte("220 hi\r\n250-host\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n235 ok\r\n"+
		"250 a\r\n250 b\r\n250 c\r\n354 go\r\n250 done\r\n221 bye\r\n"))
	want := "EHLO relay.example\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\n" +
		"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n" +
		"Subject: x\r\n\r\n..the content\r\n.\r\nQUIT\r\n"
	if err != nil || heard != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, heard, want)
	}
}

// If STARTTLS is stripped from the server's reply, no password is sent, even when the
// policy allows plaintext.
func TestNoPasswordWithoutTLS(t *testing.T) {
	heard, err := converse(Opportunistic, []byte("220 hi\r\n250-host\r\n250 AUTH PLAIN LOGIN\r\n235 ok\r\n"))
	if err == nil || heard != "EHLO relay.example\r\n" {
		t.Errorf("%v, %q", err, heard)
	}
}

// A server that refuses a recipient and hangs up has refused the recipient: the
// reply isn't forgotten for the end that follows it.
func TestRefusedAndHungUp(t *testing.T) {
	const (
		oneByOne  = "220 hi\r\n250 host\r\n250 sender\r\n"
		pipelined = "220 hi\r\n250-host\r\n250 PIPELINING\r\n250 sender\r\n"
		nobody    = "550 5.1.1 no such user\r\n"
		bye       = "421 4.7.0 bye\r\n"
	)
	for _, says := range []string{
		oneByOne + nobody, oneByOne + nobody + bye, oneByOne + "250 b\r\n" + nobody,
		pipelined + nobody, pipelined + nobody + bye, pipelined + "250 b\r\n" + nobody,
	} {
		for _, to := range [][]string{{"b@example.com"}, {"b@example.com", "c@example.com", "d@example.com"}} {
			if len(to) == 1 && strings.Contains(says, "250 b") {
				continue
			}
			_, err := deliver(&Dialer{TLS: None, Hostname: "relay.example"}, []byte(says), letter(fuzzContent, to...))
			var refused *relay.RefusedError
			if !errors.As(err, &refused) || len(refused.Recipients) != 1 || relay.Temporary(err) {
				t.Errorf("%q, %d recipients: %v", says, len(to), err)
			}
		}
	}
}

// HELO is for servers that don't know EHLO, not for those that are busy: without
// extensions mail would be refused that the server takes.
func TestHELO(t *testing.T) {
	for reply, helo := range map[string]bool{
		"502 what?": true, "550 go away": true, "451 4.3.0 busy": false, "450 4.7.1 greylisted": false, "354 what?": false,
	} {
		says := "220 hi\r\n" + reply + "\r\n250 host\r\n"
		heard, err := deliver(&Dialer{TLS: Opportunistic, Hostname: "relay.example"}, []byte(says), letter(fuzzContent, "b@example.com"))
		if strings.Contains(heard, "HELO") != helo || strings.Contains(heard, "MAIL") != helo || !relay.Temporary(err) {
			t.Errorf("%s: %v, heard %q", reply, err, heard)
		}
	}
}

// A message is read before it is sent only for a server to which it can't go with
// every content.
func TestContentIsReadOnce(t *testing.T) {
	content := strings.Repeat("a: b\r\n", 10_000)
	for offers, want := range map[string]int{"8BITMIME": 1, "8BITMIME\r\n250-SMTPUTF8": 1, "SMTPUTF8": 2, "SIZE": 2} {
		src := &countingReader{ReaderAt: strings.NewReader(content)}
		m := letter("", "b@example.com")
		m = m.WithContent(src, int64(len(content)))
		says := "220 hi\r\n250-host\r\n250-" + offers + "\r\n250 X\r\n250 a\r\n250 b\r\n354 go\r\n250 taken\r\n"
		if _, err := deliver(&Dialer{TLS: None, Hostname: "relay.example"}, []byte(says), m); err != nil {
			t.Errorf("%s: %v", offers, err)
		}
		if times := (src.n + len(content)/2) / len(content); times != want {
			t.Errorf("%s: read %d times", offers, times)
		}
	}
}

// A countingReader knows how much was read.
type countingReader struct {
	io.ReaderAt
	n int
}

func (r *countingReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, off)
	r.n += n
	return n, err
}
