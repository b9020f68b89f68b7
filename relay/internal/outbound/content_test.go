package outbound

import (
	"bytes"
	"strings"
	"testing"
)

// encode sends content through an encoder in parts of n bytes.
func encodeParts(content string, stuff bool, n int) (string, error) {
	e := encoder{stuff: stuff, begin: true}
	var out []byte
	var err error
	for len(content) > 0 {
		k := min(n, len(content))
		if out, err = e.append(out, []byte(content[:k])); err != nil {
			return "", err
		}
		content = content[k:]
	}
	out, err = e.finish(out)
	return string(out), err
}

// received returns the content that a server decodes from the bytes sent after DATA
// (RFC 5321 section 4.5.2), and the bytes after the content.
func received(sent string) (content, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(sent, ".\r\n"); ok {
		return "", rest, true
	}
	content, rest, ok = strings.Cut(sent, "\r\n.\r\n")
	content = strings.ReplaceAll("\r\n"+content+"\r\n", "\r\n.", "\r\n")
	return content[2:], rest, ok
}

// A server receives exactly the content, or the content is refused, for any division
// into parts.
func FuzzEncoder(f *testing.F) {
	for _, s := range []string{"", ".", "\r\n", "a\r\n.\r\nb", "..\r\n.", "a\n.\n", "a\r.\r\n", "\x00", "a\r\n.", "\r\n\r\n.\r\n.\r\n"} {
		f.Add(s, 1)
		f.Add(s, 100)
	}
	f.Fuzz(func(t *testing.T, content string, n int) {
		n = max(1, n)
		lines := strings.ReplaceAll(content, "\r\n", "")
		sent, err := encodeParts(content, true, n)
		if (err != nil) != strings.ContainsAny(lines, "\r\n\x00") {
			t.Fatalf("%q: %v", content, err)
		}
		if err != nil {
			return
		}
		want := content
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got, rest, ok := received(sent); !ok || got != want || rest != "" {
			t.Errorf("%q was sent as %q, received as %q, %q", content, sent, got, rest)
		}
		if sent, err := encodeParts(content, false, n); err != nil || sent != want {
			t.Errorf("%q as a chunk: %q, %v", content, sent, err)
		}
	})
}

func BenchmarkEncoder(b *testing.B) {
	content := bytes.Repeat([]byte(strings.Repeat("x", 76)+"\r\n"), 400)
	var out []byte
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		e := encoder{stuff: true, begin: true}
		out, _ = e.append(out[:0], content)
	}
}
