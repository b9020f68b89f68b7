package reencode_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/reencode"
)

// forward returns what a Forwarder makes of a content.
func forward(t *testing.T, content string) string {
	t.Helper()
	got := ""
	f := &reencode.Forwarder{TempDir: t.TempDir(), Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		if m.Author != "shop@acme.example" {
			t.Errorf("got author %q, want that of the message", m.Author)
		}
		b, err := io.ReadAll(m.Content())
		got = string(b)
		if m.Size() != int64(len(b)) {
			t.Errorf("got size %d, want %d", m.Size(), len(b))
		}
		return err
	})}
	m := (&relay.Message{ID: "1", Author: "shop@acme.example"}).WithContent(strings.NewReader(content), int64(len(content)))
	if err := f.Forward(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return got
}

var (
	long  = strings.Repeat("0123456789", 150)
	words = strings.Repeat("012345678 ", 150)
)

const author = "From: shop@acme.example\r\n"

// qp is the long line in quoted-printable.
func qp(prefix string) string {
	text, out := prefix+long, ""
	for len(text) > 75 {
		out += text[:75] + "=\r\n"
		text = text[75:]
	}
	return out + text
}

func b64(text string) string { return cut(base64.StdEncoding.EncodeToString([]byte(text)), 76, "\r\n") }

func TestForward(t *testing.T) {
	multipart := func(kind, parts string) string {
		return author + "MIME-Version: 1.0\r\nContent-Type: multipart/" + kind + "; boundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n" + parts + "\r\n--b 1--\r\nepilogue\r\n"
	}
	const text = "Content-Type: text/html; charset=utf-8\r\n"
	const quoted = "Content-Transfer-Encoding: quoted-printable\r\n"
	for _, test := range []struct{ name, content, want string }{
		{"short lines", author + "\r\n" + long[:998] + "\r\n", ""},
		{"no header fields of MIME", author + "\r\n" + long + "\r\n", author + "MIME-Version: 1.0\r\n" + quoted + "\r\n" + qp("") + "\r\n"},
		{"no line end", author + "\r\n" + long, author + "MIME-Version: 1.0\r\n" + quoted + "\r\n" + qp("")},
		{"no MIME, UTF-8", author + "\r\né\r\n" + long + "\r\n", author + "MIME-Version: 1.0\r\n" + quoted + "Content-Type: text/plain; charset=utf-8\r\n\r\n=C3=A9\r\n" + qp("") + "\r\n"},
		{"no MIME, Latin-1", author + "\r\n\xe9\r\n" + long + "\r\n", author + "MIME-Version: 1.0\r\n" + quoted + "Content-Type: text/plain; charset=unknown-8bit\r\n\r\n=E9\r\n" + qp("") + "\r\n"},
		{"text", author + "Mime-Version: 1.0\r\n" + text + "Content-Transfer-Encoding: 8bit\r\nX: y\r\n\r\n" + long + "\r\n", author + "Mime-Version: 1.0\r\n" + text + "X: y\r\n" + quoted + "\r\n" + qp("") + "\r\n"},
		{"a part", multipart("mixed", text+"\r\n"+long), multipart("mixed", text+quoted+"\r\n"+qp(""))},
		{"a part without a header", multipart("mixed", "\r\n"+long), multipart("mixed", quoted+"\r\n"+qp(""))},
		{"the other part", multipart("alternative", "\r\nshort\r\n--b 1\r\n"+text+"\r\n"+long), multipart("alternative", "\r\nshort\r\n--b 1\r\n"+text+quoted+"\r\n"+qp(""))},
		{"a part in a part", multipart("mixed", "Content-Type: multipart/related; boundary=c\r\n\r\n--c\r\n\r\n"+long+"\r\n--c--"), multipart("mixed", "Content-Type: multipart/related; boundary=c\r\n\r\n--c\r\n"+quoted+"\r\n"+qp("")+"\r\n--c--")},
		{"an inner multipart without an end", multipart("mixed", "Content-Type: multipart/related; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b 1\r\n\r\n"+long), multipart("mixed", "Content-Type: multipart/related; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--b 1\r\n"+quoted+"\r\n"+qp(""))},
		{"a part without an empty line", multipart("mixed", "Content-Type: text/plain\r\n--b 1\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\n"+long+"\r\n--c--"), ""},
		{"signed", multipart("signed", text+"\r\n"+long), ""},
		{"encrypted", multipart("encrypted", text+"\r\n"+long), ""},
		{"signed in mixed, a part behind", multipart("mixed", "Content-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\n"+long+"\r\n--c--\r\n--b 1\r\n\r\n"+long), multipart("mixed", "Content-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\n"+long+"\r\n--c--\r\n--b 1\r\n"+quoted+"\r\n"+qp(""))},
		{"an attached message", multipart("mixed", "Content-Type: message/rfc822\r\n\r\nFrom: a@example.com\r\n\r\n"+long), ""},
		{"an unknown encoding", author + "Content-Transfer-Encoding: x-uuencode\r\n\r\n" + long + "\r\n", ""},
		{"an unreadable type", author + "Content-Type: text\x01/x\r\n\r\n" + long + "\r\n", ""},
		{"a preamble and an epilogue", strings.NewReplacer("preamble", long, "epilogue", long).Replace(multipart("mixed", "\r\nx")), ""},
		{"a dashed line that is no boundary", multipart("mixed", "\r\n--b 12\r\n"+long), multipart("mixed", quoted+"\r\n--b 12\r\n"+qp(""))},
		{"base64", author + "Content-Transfer-Encoding: BASE64\r\n\r\n" + long[:1000] + "\r\nAAAA\r\n", author + "Content-Transfer-Encoding: BASE64\r\n\r\n" + cut(long[:1000], 76, "\r\n") + "\r\nAAAA\r\n"},
		{"quoted-printable", author + quoted + "\r\n" + strings.Repeat("=C3=A9", 200) + "\r\nx=\r\n", author + quoted + "\r\n" + cut(strings.Repeat("=C3=A9", 200), 75, "=\r\n") + "\r\nx=\r\n"},
		{"a binary part", multipart("mixed", "Content-Type: application/json\r\n\r\n\""+long+"\""), multipart("mixed", "Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\n"+b64("\""+long+"\"")+"\r\n")},
		{"a header line", author + "Subject: " + words + "\r\n\r\n", author + "Subject: " + fold(words, 989) + "\r\n\r\n"},
		{"a header line and a body", author + "X: " + words + "\r\n\r\n" + long + "\r\n", author + "X: " + fold(words, 989) + "\r\nMIME-Version: 1.0\r\n" + quoted + "\r\n" + qp("") + "\r\n"},
		{"a header line without white space", author + "X: " + long + "\r\n\r\n", author + "X:\r\n " + long + "\r\n\r\n"},
		{"a quoted name in From", "From: \"" + words + "\" <shop@acme.example>\r\n\r\n", "From:\r\n \"" + words + "\" <shop@acme.example>\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if want == "" {
				want = test.content
			}
			if got := forward(t, test.content); got != want {
				t.Errorf("got\n%q, want\n%q", got, want)
			}
		})
	}
}

// cut puts a line break behind every n bytes, without cutting an encoded byte.
func cut(text string, n int, lineBreak string) (out string) {
	for len(text) > n+1 {
		k := n
		for lineBreak == "=\r\n" && text[k] != '=' {
			k--
		}
		out += text[:k] + lineBreak
		text = text[k:]
	}
	return out + text
}

func fold(words string, n int) string {
	n = strings.LastIndex(words[:n+1], " ")
	return words[:n] + "\r\n" + words[n:]
}

func TestLargeMessages(t *testing.T) {
	line := strings.Repeat("é\t", 200_000) // no piece of a reader's buffer ends where the line does
	for name, encoding := range map[string]string{"text": "8bit", "quoted-printable": "quoted-printable", "base64": "base64"} {
		got := forward(t, author+"Content-Type: text/plain\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"+line+"\r\n")
		for l := range strings.Lines(got) {
			if len(l) > 1000 {
				t.Fatalf("%s: got a line of %d bytes, want 1000 at most", name, len(l))
			}
		}
	}
}

// failing is a content that cannot be read.
type failing struct{ io.ReaderAt }

func (failing) ReadAt([]byte, int64) (int, error) {
	return 0, &net.OpError{Op: "read", Err: errors.New("input/output error")}
}

func TestErrors(t *testing.T) {
	sent := 0
	next := relay.ForwarderFunc(func(context.Context, *relay.Message) error { sent++; return nil })
	content := author + "\r\n" + strings.Repeat(long, 300) + "\r\n"
	m := (&relay.Message{ID: "1"}).WithContent(strings.NewReader(content), int64(len(content)))
	for _, test := range []struct {
		name string
		f    *reencode.Forwarder
		m    *relay.Message
		want string
	}{
		{"no Next", &reencode.Forwarder{}, m, "reencode: Forwarder.Next is required"},
		{"no directory", &reencode.Forwarder{Next: next, TempDir: t.TempDir() + "/missing"}, m, "reencode: message 1: open"},
		{"unreadable content", &reencode.Forwarder{Next: next}, m.WithContent(failing{}, 100), "reencode: message 1: read: input/output error"},
	} {
		err := test.f.Forward(t.Context(), test.m)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || !relay.Temporary(err) || relay.Unreachable(err) {
			t.Errorf("%s: got error %v, want a temporary %q that does not say that Next is unreachable", test.name, err, test.want)
		}
	}
	for _, f := range []*reencode.Forwarder{new(reencode.Forwarder), {Next: new(reencode.Forwarder)}} {
		if err := relay.CheckForwarder(f); err == nil || err.Error() != "reencode: Forwarder.Next is required" {
			t.Errorf("CheckForwarder returned %v, want an error about Next", err)
		}
	}
	if sent != 0 {
		t.Errorf("got %d messages sent, want none", sent)
	}
}

func TestNoFileIsLeft(t *testing.T) {
	dir := t.TempDir()
	content := author + "\r\n" + strings.Repeat(long, 300) + "\r\n"
	f := &reencode.Forwarder{TempDir: dir, Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return errors.New("busy") })}
	m := (&relay.Message{ID: "1"}).WithContent(strings.NewReader(content), int64(len(content)))
	if err := f.Forward(t.Context(), m); err == nil || err.Error() != "busy" {
		t.Errorf("got error %v, want that of Next", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("got files %v and error %v, want none", files, err)
	}
}

func ExampleForwarder() {
	f := &reencode.Forwarder{Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		content, err := io.ReadAll(m.Content())
		longest := 0
		for line := range bytes.Lines(content) {
			longest = max(longest, len(line))
		}
		fmt.Println("the longest line has", longest, "bytes")
		return err
	})}
	content := "From: shop@acme.example\r\n\r\n<p>" + strings.Repeat("a long page ", 500) + "</p>\r\n"
	m := new(relay.Message).WithContent(strings.NewReader(content), int64(len(content)))
	if err := f.Forward(context.Background(), m); err != nil {
		fmt.Println(err)
	}
	// Output: the longest line has 78 bytes
}
