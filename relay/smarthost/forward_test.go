package smarthost_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The upstream gets the envelope and the content as they are.
func TestForward(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up)
	m := message(hello, "b@example.com", "c@example.net")
	var delivered []relay.NextHop
	m.OnDelivered = func(d relay.NextHop) { delivered = append(delivered, d) }
	mustForward(t, f, m)
	if want := []relay.NextHop{{Host: "127.0.0.1", Reply: "250 2.0.0 Accepted", DSN: true}}; !reflect.DeepEqual(delivered, want) {
		t.Errorf("OnDelivered: %+v, want %+v", delivered, want)
	}
	mustForward(t, f, &relay.Message{To: []relay.Recipient{{Address: "d@example.com"}}}) // null reverse-path, no content

	got := up.Received()
	if len(got) != 2 {
		t.Fatalf("%d deliveries", len(got))
	}
	d := got[0]
	if d.From != "a@example.org" || len(d.To) != 2 || d.To[0].Address != "b@example.com" || d.To[1].Address != "c@example.net" {
		t.Errorf("envelope: %q %q", d.From, d.To)
	}
	if string(d.Content) != hello {
		t.Errorf("content: %q", d.Content)
	}
	if d.TLS == nil || d.Hello != "relay.example" {
		t.Errorf("TLS %v, EHLO %q", d.TLS != nil, d.Hello)
	}
	if got[1].From != "" || len(got[1].Content) != 0 {
		t.Errorf("second: %+v", got[1])
	}
}

// Every content arrives byte for byte, by DATA and by BDAT, except that a
// missing last line end is added.
func TestForwardContent(t *testing.T) {
	big := make([]byte, 0, 3<<20)
	for len(big) < 2<<20 {
		line := bytes.Repeat([]byte{byte('!' + rand.IntN(90))}, rand.IntN(900))
		big = append(append(big, bytes.Repeat([]byte("."), rand.IntN(3))...), line...)
		big = append(big, "\r\n"...)
	}
	contents := map[string]string{
		"empty":                  "",
		"a dot":                  ".",
		"a dot and a line end":   ".\r\n",
		"an end of data":         "a\r\n.\r\nb\r\n",
		"dots":                   "..\r\n...\r\n.a\r\nb.\r\n.\r\n.\r\n",
		"no line end":            "Subject: x\r\n\r\nend",
		"no line end, dot":       "x\r\n.",
		"only line ends":         "\r\n\r\n\r\n",
		"8-bit":                  "Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9fe \xff\xfe\r\n",
		"a long line":            strings.Repeat("x", 100_000) + "\r\n",
		"2 MB":                   string(big),
		"a CRLF across pieces":   strings.Repeat("x", 32<<10-1) + "\r\n.y\r\n",
		"a dot at a piece's end": strings.Repeat("x", 32<<10-2) + "\r\n.\r\n.z\r\n",
		"exactly one piece":      strings.Repeat("x", 32<<10-2) + "\r\n",
	}
	for _, how := range []string{"DATA", "BDAT", "DATA without PIPELINING"} {
		up := &relaytest.Upstream{}
		switch how {
		case "DATA":
			up.Extensions = without("CHUNKING")
		case "DATA without PIPELINING":
			up.Extensions = without("CHUNKING", "PIPELINING")
		}
		f := start(t, up)
		for name, content := range contents {
			t.Run(how+"/"+name, func(t *testing.T) {
				mustForward(t, f, message(content, "b@example.com"))
				got := up.Received()
				d := got[len(got)-1]
				want := content
				if want != "" && !strings.HasSuffix(want, "\r\n") {
					want += "\r\n"
				}
				if string(d.Content) != want {
					t.Errorf("%d bytes arrived, not the %d sent", len(d.Content), len(want))
				}
				if d.Chunked != (how == "BDAT") {
					t.Errorf("by BDAT: %v", d.Chunked)
				}
			})
		}
	}
}

// Bytes that some servers take for a line end, or the end of a message, are never sent.
func TestForwardNeverSendsBareLineEnds(t *testing.T) {
	for _, extensions := range [][]string{nil, without("CHUNKING")} {
		up := &relaytest.Upstream{Extensions: extensions}
		f := start(t, up)
		for _, content := range []string{
			"a\n", "a\n.\n", "a\n.\r\nMAIL FROM:<x@y>\r\n", "a\r.\r\n", "a\r", "\r", "\n", "a\r\r\n", "a\x00b\r\n",
			strings.Repeat("x", 32<<10-1) + "\r", strings.Repeat("x", 32<<10-1) + "\ry\r\n",
			strings.Repeat("x\r\n", 50_000) + "a\n.\n",
		} {
			err := forward(t, f, message(content, "b@example.com"))
			wantReply(t, err, 550, "5.6.0")
		}
		mustForward(t, f, message(hello, "b@example.com"))
		if n := len(up.Received()); n != 1 {
			t.Errorf("%d deliveries", n)
		}
	}
}

// One round trip for the envelope; a server that can't do that gets one command
// at a time.
func TestForwardPipelines(t *testing.T) {
	for _, tc := range []struct {
		extensions []string
		to         []string
		want       string // a + after commands that had the next in their wake
	}{
		{nil, []string{"b@x.example"}, "MAIL+ RCPT BDAT+ content+ end of data"},
		{nil, []string{"b@x.example", "c@x.example"}, "MAIL+ RCPT+ RCPT BDAT+ content+ end of data"},
		{without("CHUNKING"), []string{"b@x.example"}, "MAIL+ RCPT+ DATA content end of data"},
		{without("CHUNKING"), []string{"b@x.example", "c@x.example"}, "MAIL+ RCPT+ RCPT DATA content end of data"},
		{without("CHUNKING", "PIPELINING"), []string{"b@x.example", "c@x.example"}, "MAIL RCPT RCPT DATA content end of data"},
		{without("PIPELINING"), []string{"b@x.example"}, "MAIL RCPT BDAT+ content+ end of data"},
	} {
		rec := &recorder{}
		up := &relaytest.Upstream{Extensions: tc.extensions, Script: rec.script}
		f := start(t, up)
		mustForward(t, f, message(hello, tc.to...))
		var got []string
		for _, c := range rec.commands {
			if c.Verb == "MAIL" || len(got) > 0 {
				if c.More {
					c.Verb += "+"
				}
				got = append(got, c.Verb)
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("got  %s\nwant %s", s, tc.want)
		}
	}
}

// Thousands of recipients, and long replies to them, don't make both sides wait.
func TestForwardManyRecipients(t *testing.T) {
	long := "250 2.1.5 " + strings.Repeat("welcome ", 50)
	up := &relaytest.Upstream{Script: on("RCPT", relaytest.Answer{Text: long})}
	f := start(t, up)
	m := message(hello)
	for i := range 10_000 {
		m.To = append(m.To, relay.Recipient{Address: fmt.Sprintf("user%d@example.com", i)})
	}
	mustForward(t, f, m)
	if d := up.Received(); len(d) != 1 || len(d[0].To) != 10_000 {
		t.Errorf("%d deliveries", len(d))
	}
}

// Any refused recipient: nothing is sent, the error names those, the connection
// is good for the next message.
func TestForwardRefusedRecipients(t *testing.T) {
	script := func(c relaytest.Command) relaytest.Answer {
		switch c.Line {
		case "RCPT TO:<nobody@example.com>":
			return relaytest.Answer{Text: "550-5.1.1 No such user:\r\n550 5.1.1 go \x1b[31maway\xff"}
		case "RCPT TO:<later@example.com>":
			return relaytest.Answer{Text: "450 4.2.1 Come back"}
		case "RCPT TO:<many@example.com>":
			return relaytest.Answer{Text: "552 Too many recipients"}
		}
		return relaytest.Answer{}
	}
	for _, extensions := range [][]string{nil, without("CHUNKING"), without("PIPELINING"), without("PIPELINING", "CHUNKING")} {
		t.Run(fmt.Sprint(extensions), func(t *testing.T) {
			rec := &recorder{then: script}
			up := &relaytest.Upstream{Extensions: extensions, Script: rec.script}
			f := start(t, up)

			err := forward(t, f, message(hello, "b@example.com", "nobody@example.com", "later@example.com", "many@example.com"))
			refused := wantRefused(t, err, "nobody@example.com", "later@example.com", "many@example.com")
			want := relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "No such user: go ?[31maway?", Host: "127.0.0.1"}
			if re := wantReply(t, refused[0].Err, 550, "5.1.1"); *re != want {
				t.Errorf("got  %+v\nwant %+v", *re, want)
			}
			wantReply(t, refused[1].Err, 450, "4.2.1")
			wantReply(t, refused[2].Err, 452, "4.5.3")
			if v := rec.verbs(); v != "MAIL RCPT RCPT RCPT RCPT RSET" {
				t.Errorf("commands: %s", v)
			}

			wantRefused(t, forward(t, f, message(hello, "nobody@example.com")), "nobody@example.com")
			mustForward(t, f, message(hello, "b@example.com"))
			if made, _ := up.Connections(); made != 1 {
				t.Errorf("%d connections", made)
			}
			if n := len(up.Received()); n != 1 {
				t.Errorf("%d deliveries", n)
			}
		})
	}
}

func wantRefused(t *testing.T, err error, addrs ...string) []relay.RefusedRecipient {
	t.Helper()
	var refused *relay.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("no RefusedError: %v", err)
	}
	var got []string
	for _, r := range refused.Recipients {
		got = append(got, r.Address)
	}
	if !slices.Equal(got, addrs) {
		t.Fatalf("refused: %q, not %q", got, addrs)
	}
	return refused.Recipients
}

// A server that wants the content although it refused the only recipient gets
// none, not even an empty one.
func TestForwardRefusedButAskedForContent(t *testing.T) {
	up := &relaytest.Upstream{Extensions: without("CHUNKING"), Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Conn == 1 && c.Verb == "RCPT":
			return relaytest.Answer{Text: "550 5.1.1 No such user"}
		case c.Conn == 1 && c.Verb == "DATA":
			return relaytest.Answer{Text: "354 Go ahead anyway"}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	wantRefused(t, forward(t, f, message(hello, "b@example.com")), "b@example.com")
	mustForward(t, f, message(hello, "c@example.com"))
	if d := up.Received(); len(d) != 1 || d[0].To[0].Address != "c@example.com" {
		t.Errorf("delivered: %+v", d)
	}
}

// A refused message is an error of the upstream's code, whatever was refused.
func TestForwardRefusedMessage(t *testing.T) {
	for _, extensions := range [][]string{nil, without("CHUNKING"), without("PIPELINING", "CHUNKING")} {
		for _, at := range []string{"MAIL", "DATA", relaytest.EndOfData} {
			if at == "DATA" && extensions == nil {
				continue
			}
			for _, text := range []string{"554 5.7.1 We don't want this", "451 4.7.1 We don't want this"} {
				t.Run(fmt.Sprint(at, len(extensions), text), func(t *testing.T) {
					refuse := true
					up := &relaytest.Upstream{Extensions: extensions, Script: func(c relaytest.Command) relaytest.Answer {
						if c.Verb == at && refuse {
							refuse = false
							return relaytest.Answer{Text: text}
						}
						return relaytest.Answer{}
					}}
					f := start(t, up)
					err := forward(t, f, message(hello, "b@example.com", "c@example.com"))
					var code int
					fmt.Sscan(text, &code)
					re := wantReply(t, err, code, text[4:9])
					if re.Text != "We don't want this" || re.Host != "127.0.0.1" {
						t.Errorf("%+v", re)
					}
					wantWords(t, err, "127.0.0.1", at, "We don't want this")
					mustForward(t, f, message(hello, "b@example.com"))
					if made, _ := up.Connections(); made != 1 || len(up.Received()) != 1 {
						t.Errorf("%d connections, %d deliveries", made, len(up.Received()))
					}
				})
			}
		}
	}
}

// A message that can't be read to its end is never finished.
func TestForwardUnreadableContent(t *testing.T) {
	for _, extensions := range [][]string{nil, without("CHUNKING")} {
		up := &relaytest.Upstream{Extensions: extensions}
		f := start(t, up)
		for _, size := range []int64{100, 100_000} {
			m := message("", "b@example.com")
			m = m.WithContent(brokenReader{}, size)
			wantTemporary(t, forward(t, f, m), "content", "reading the message: the disk is gone")
			m = m.WithContent(strings.NewReader("too short\r\n"), size)
			wantTemporary(t, forward(t, f, m), "content", "reading the message")
		}
		mustForward(t, f, message(hello, "b@example.com"))
		if n := len(up.Received()); n != 1 {
			t.Errorf("%d deliveries", n)
		}
	}
}

type brokenReader struct{}

func (brokenReader) ReadAt(b []byte, off int64) (int, error) {
	if off > 40_000 || off+int64(len(b)) <= 100 {
		return 0, errors.New("the disk is gone")
	}
	return copy(b, bytes.Repeat([]byte("x"), len(b))), nil
}
