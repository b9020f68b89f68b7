package relay

import (
	"bytes"
	"io"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
)

// FuzzReceive reads a content in pieces of any size. The result does not depend on
// the pieces: the content with CRLF for every bare LF, or a refusal.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		"", "\r\n", "\n", "\r", "a\r\nb\nc\r\n", "a\r\r\n", "a\n\r\n", "a\n\r", "\n\n.\n", "a\x00b", "a\r\x00\n", "\r\n.\r\n", "a\r", "\xff\r\n\xfe\n",
		strings.Repeat("x", 600) + "\n", strings.Repeat("\n", 300),
	} {
		f.Add([]byte(s), uint8(1), uint8(2))
		f.Add([]byte(s), uint8(0), uint8(255))
	}
	const limit = 500
	f.Fuzz(func(t *testing.T, data []byte, first, then uint8) {
		want := bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		bad := bytes.ContainsRune(data, 0) || bytes.ContainsRune(bytes.ReplaceAll(data, []byte("\r\n"), nil), '\r') || len(want) > limit
		for _, r := range []io.Reader{bytes.NewReader(data), &pieces{data, int(first), int(then)}} {
			c, err := receive(r, limit, int64(then), &tempSpace{limit: limit})
			if (err != nil) != bad {
				t.Fatalf("got the error %v for %q, want one only for a bad content", err, data)
			}
			if err != nil {
				c.Close()
				continue
			}
			got := contentBytes(t, c)
			c.Close()
			if !bytes.Equal(got, want) || c.size != int64(len(want)) {
				t.Fatalf("%q: got %q (%d bytes), want %q", data, got, c.size, want)
			}
			if i := bytes.Index(want, []byte("\r\n\r\n")); i >= 0 && !bytes.HasPrefix(want, []byte("\r\n")) && len(c.header) != i+4 {
				t.Fatalf("%q: got the header %q", want, c.header)
			}
		}
	})
}

// pieces reads data in pieces, the first few bytes of another size.
type pieces struct {
	data        []byte
	first, then int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(len(p.data), max(1, p.first))])
	p.data, p.first = p.data[n:], p.then
	return n, nil
}

func contentBytes(t testing.TB, c *content) []byte {
	rest, err := io.ReadAll(io.NewSectionReader(c.rest, 0, c.restSize))
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(c.header), rest...)
}

var anyFrom = regexp.MustCompile(`(?im)^(from|sender|(?:resent-)?bcc|return-path)[ \t]*:`)

// FuzzHeader has net/mail read what would be forwarded. It finds only authors that
// were checked, and none of the fields that are removed.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"From: a@acme.example\r\n\r\n", "from : A <a@acme.example>,\r\n\tb@acme.example\r\nSender: a@acme.example\r\n", "From: G: a@b.c, d@e.f;\r\n",
		"Bcc: x@y.z\r\n more\r\nFrom: a@b.c\r\nReturn-Path: <x>\r\nBCC:\r\n", "From: \"a@b\" <a@b.c> (x (y))\r\n", "From: =?utf-8?q?a?= <a@b.c>\r\n",
		"From:\r\n a@b.c\r\n", "Subject: x\r\n From: a@b.c\r\nFrom: d@e.f\r\n", "From a@b.c\r\nFrom: a@b.c\r\n", "From: <@a.b:c@d.e>\r\n",
		"From: a@[1.2.3.4]\r\n", "From: \"\\\"\"@b.c\r\n", "Date: x\r\nMessage-ID: <a@b>\r\nFrom: b\xc3\xbc@b.c", "From: (x)a(y)@(z)b.c\r\n", "\xef\xbb\xbfFrom: a@b.c\r\n",
	} {
		f.Add([]byte(s))
	}
	srv := &Server{host: "relay.test"}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := receive(bytes.NewReader(data), maxHeader, 0, new(tempSpace))
		if err != nil {
			return
		}
		h, err := mailheader.Parse(in.header)
		if err != nil {
			return
		}
		m := &Message{ID: "id", Received: time.Unix(0, 0)}
		m = m.WithContent(in.rest, in.restSize)
		m.prefix = srv.complete(m, h, protocol(false, true))
		if author, err := mailheader.Author(m.prefix); err != nil || author != h.From[0] {
			t.Fatalf("got the author %q and error %v from a signer, want one of %q", author, err, h.From)
		}
		if !bytes.HasSuffix(m.prefix, []byte("\r\n")) || bytes.Contains(bytes.ReplaceAll(m.prefix, []byte("\r\n"), nil), []byte("\n")) {
			t.Fatalf("got the header %q, want lines that end in CR LF", m.prefix)
		}
		for _, field := range anyFrom.FindAllString(string(m.prefix), -1) {
			if name := strings.ToLower(strings.TrimRight(field, " \t:")); strings.HasSuffix(name, "bcc") || name == "return-path" {
				t.Fatalf("got the field %q in %q, want it removed", field, m.prefix)
			}
		}
		read, err := mail.ReadMessage(io.MultiReader(m.Content(), strings.NewReader("\r\n\r\n")))
		if err != nil {
			return // other programs cannot read it either
		}
		for _, test := range []struct {
			field   string
			checked []string
		}{{"From", h.From}, {"Sender", h.Sender}} {
			field, checked := test.field, test.checked
			for _, value := range read.Header[field] {
				list, _ := mail.ParseAddressList(value)
				for _, a := range list {
					if !slices.Contains(checked, a.Address) && !slices.Contains(checked, a.String()[1:len(a.String())-1]) {
						t.Fatalf("%s: net/mail got %q, want one of the checked %q", field, a.Address, checked)
					}
				}
			}
		}
	})
}

// FuzzUnstuff removes the dots from a message in pieces of any size, from one buffer to
// another and in place.
func FuzzUnstuff(f *testing.F) {
	for _, s := range []string{
		"", ".", "..", ".\r", "..\r\n", "a\r\n..\r\n.b\r\n", "\r\n.", "\r.\r\n", "\n.\n", "\r\r\n..\r\n", "a\r\n.\r", "a\r\n.\rb\r\n..c",
		strings.Repeat(".\r", 50), strings.Repeat("..\r\n", 50),
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		data = append(data, "\r\n.\r\n and more"...)
		want, next, _ := bytes.Cut(append([]byte("\r\n"), data...), []byte("\r\n.\r\n"))
		want = bytes.ReplaceAll(append(bytes.Clone(want), "\r\n"...), []byte("\r\n."), []byte("\r\n"))[2:]
		for _, inPlace := range []bool{false, true} {
			var u unstuffer
			var got []byte
			rest, chunk := data, []byte(nil)
			for end := false; !end; {
				k := min(len(rest), int(size)+1)
				chunk, rest = append(chunk, rest[:k]...), rest[k:]
				dst := chunk
				if !inPlace {
					dst = make([]byte, len(chunk))
				}
				var n, used int
				n, used, end = u.unstuff(dst, chunk)
				got = append(got, dst[:n]...)
				chunk = append([]byte(nil), chunk[used:]...)
				if k == 0 && !end {
					t.Fatalf("%q: got no end", data)
				}
			}
			if left := append(chunk, rest...); !bytes.Equal(got, want) || !bytes.Equal(left, next) {
				t.Fatalf("%q: got %q and %q, want %q and %q (in place: %v)", data, got, left, want, next, inPlace)
			}
		}
	})
}
