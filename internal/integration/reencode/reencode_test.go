package reencode_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/reencode"
)

var seed = flag.Uint64("seed", 1, "seed of the messages")

// TestPythonDecodesTheSame makes messages with long lines and re-encodes them.
// Python finds the same parts, fields and decoded bodies in both, and no line over
// 998 bytes unless a part that must not change has one.
func TestPythonDecodesTheSame(t *testing.T) {
	python := services.Program(t, "python3")
	rng := rand.New(rand.NewPCG(*seed, 0))
	var in bytes.Buffer
	var messages []message
	for range 400 {
		m := makeMessage(rng)
		after, err := reencoded(t.Context(), m.text)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
		json.NewEncoder(&in).Encode([2][]byte{[]byte(m.text), after})
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "compare.py"))
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	changed, n := 0, 0
	for ; lines.Scan(); n++ {
		var answer struct {
			Before, After json.RawMessage
			Same          bool
			Longest       [2]int
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if !answer.Same {
			got, want := firstDifference(answer.After, answer.Before)
			t.Fatalf("seed %d, message %d: got …%s, want …%s", *seed, n, got, want)
		}
		if answer.Longest[1] > 998 && !messages[n].fixed {
			t.Errorf("seed %d, message %d: got a line of %d bytes, want at most 998:\n%.3000q", *seed, n, answer.Longest[1], messages[n].text)
		}
		if answer.Longest[0] != answer.Longest[1] {
			changed++
		}
	}
	if n != len(messages) || changed < n/4 {
		t.Errorf("got %d answers, %d messages re-encoded, want %d and at least a quarter of them", n, changed, len(messages))
	}
}

// firstDifference returns the text around the first byte in which a and b differ.
func firstDifference(a, b []byte) (string, string) {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	n = max(0, n-100)
	return string(a[n:min(len(a), n+300)]), string(b[n:min(len(b), n+300)])
}

func reencoded(ctx context.Context, content string) (out []byte, err error) {
	f := &reencode.Forwarder{Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		out, err = io.ReadAll(m.Content())
		return err
	})}
	return out, f.Forward(ctx, new(relay.Message).WithContent(strings.NewReader(content), int64(len(content))))
}

// A message is a content. fixed means that a part with a long line must not change.
type message struct {
	text  string
	fixed bool
}

func makeMessage(rng *rand.Rand) message {
	var m message
	m.text = "From: shop@acme.example\r\nSubject: " + strings.Repeat("words ", rng.IntN(3)*rng.IntN(200)) + "end\r\n" +
		"MIME-Version: 1.0\r\n" + m.part(rng, 0, false) + "\r\n"
	return m
}

// part returns the rest of a header and a body.
func (m *message) part(rng *rand.Rand, depth int, fixed bool) string {
	if depth < 3 && rng.IntN(2) == 0 {
		return m.multipart(rng, depth, fixed)
	}
	body, long := makeBody(rng)
	kind := []string{"text/plain; charset=utf-8", "text/html; charset=\"utf-8\"", "application/json", "application/octet-stream; name=\"a b\""}[rng.IntN(4)]
	encoding := []string{"", "7bit", "8bit", "binary", "base64", "quoted-printable"}[rng.IntN(6)]
	switch encoding {
	case "base64":
		body = base64.StdEncoding.EncodeToString([]byte(body))
	case "quoted-printable":
		body = strings.ReplaceAll(strings.ReplaceAll(body, "=", "=3D"), "é", "=C3=A9")
	}
	header := "Content-Type: " + kind + "\r\n"
	if encoding != "" {
		header += "Content-Transfer-Encoding: " + encoding + "\r\n"
	}
	if rng.IntN(6) == 0 {
		header = ""
	}
	if rng.IntN(6) == 0 {
		header += "Content-Description: " + strings.Repeat("description ", 100) + "end\r\n"
		long = true
	}
	m.fixed = m.fixed || fixed && (long || len(body) > 998)
	return header + "\r\n" + body
}

func (m *message) multipart(rng *rand.Rand, depth int, fixed bool) string {
	kind := []string{"mixed", "alternative", "related", "signed", "encrypted"}[rng.IntN(5)]
	fixed = fixed || kind == "signed" || kind == "encrypted"
	boundary := fmt.Sprintf("=_%d.%d", depth, rng.IntN(1000))
	text := "Content-Type: multipart/" + kind + "; boundary=\"" + boundary + "\"\r\n\r\n"
	for range 1 + rng.IntN(3) {
		text += "--" + boundary + "\r\n" + m.part(rng, depth+1, fixed) + "\r\n"
	}
	if depth == 0 || rng.IntN(8) > 0 { // programs disagree on a body that the end of the message ends
		text += "--" + boundary + "--"
	}
	return text
}

// makeBody returns lines, of which some are long.
func makeBody(rng *rand.Rand) (body string, long bool) {
	var text strings.Builder
	for range rng.IntN(4) {
		n := rng.IntN(80)
		if rng.IntN(3) == 0 {
			n, long = 1000+rng.IntN(3000), true
		}
		pieces := []string{"a", "=", " ", "é", ".", "-", "\t", "=3D", "<"}
		for range n {
			text.WriteString(pieces[rng.IntN(len(pieces))])
		}
		text.WriteString("x\r\n")
	}
	return text.String() + "end", long
}
