package dkim_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/reencode"
)

// A task is a signed message for the verifiers, as they read it.
type task struct {
	Message    []byte            `json:"message"`
	Records    map[string]string `json:"records"`
	Signatures int               `json:"signatures"`
	want       []string          // the results; nil means any but pass
}

func TestPython(t *testing.T) {
	for _, python := range []string{services.Program(t, "python3"), "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import dkim, nacl").Run() == nil {
			check(t, true, python, filepath.Join("testdata", "verify.py"))
			return
		}
	}
	services.Missing(t, fmt.Errorf("Python lacks the package dkim or nacl"))
}

func TestPerl(t *testing.T) {
	perl := services.Program(t, "perl")
	if out, err := exec.Command(perl, "-MMail::DKIM::Verifier", "-e", "1").CombinedOutput(); err != nil {
		services.Missing(t, fmt.Errorf("perl lacks Mail::DKIM: %s", out))
	}
	check(t, false, perl, filepath.Join("testdata", "verify.pl")) // Debian 12 has a version without Ed25519
}

// check has a program verify signed messages, with or without signatures of
// Ed25519.
func check(t *testing.T, withEd25519 bool, program, script string) {
	t.Helper()
	tasks := makeTasks(t, withEd25519)
	var in bytes.Buffer
	for _, task := range tasks {
		json.NewEncoder(&in).Encode(task)
	}
	cmd := exec.CommandContext(t.Context(), program, script)
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.Bytes())
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(tasks) {
		t.Fatalf("got %d answers, want %d", len(answers), len(tasks))
	}
	for i, task := range tasks {
		var got []string
		if err := json.Unmarshal([]byte(answers[i]), &got); err != nil {
			t.Fatal(err)
		}
		if task.want == nil && slices.Contains(got, "pass") {
			t.Errorf("message %d was changed: got %q, want no pass\n%.2000s", i, got, task.Message)
		} else if task.want != nil && !slices.Equal(got, task.want) {
			t.Errorf("message %d: got %q, want %q\n%.2000s", i, got, task.want, task.Message)
		}
	}
}

// makeTasks signs messages with a few keys, and changes some of them afterwards.
func makeTasks(t *testing.T, withEd25519 bool) (tasks []task) {
	t.Helper()
	keys := []dkim.Key{{Selector: "r", Signer: newRSA(t)}, {Selector: "p", Signer: newRSA(t), Domain: "provider.example"}}
	pass := []string{"pass", "pass"}
	if withEd25519 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys, pass = append(keys, dkim.Key{Selector: "e", Signer: key}), append(pass, "pass")
	}
	records := make(map[string]string)
	for _, key := range keys {
		record, err := key.Record()
		if err != nil {
			t.Fatal(err)
		}
		records[key.RecordName("acme.example")] = strings.Join(record, "")
	}
	for _, content := range contents {
		signed := sign(t, keys, content)
		tasks = append(tasks, task{[]byte(signed), records, len(keys), pass})
		for _, name := range []string{"From", "Subject", "To", "Cc", "Date", "Reply-To", "Content-Type", "MIME-Version"} {
			tasks = append(tasks, task{[]byte(name + ": x@evil.example\r\n" + signed), records, len(keys), nil})
		}
		tasks = append(tasks, task{[]byte(signed + "x\r\n"), records, len(keys), nil})
	}
	return tasks
}

func newRSA(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := dkim.GenerateRSA()
	if err != nil {
		t.Fatal(err)
	}
	text, err := dkim.MarshalPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := dkim.ParsePEM(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func sign(t *testing.T, keys []dkim.Key, content string) (signed string) {
	t.Helper()
	s := &dkim.Signer{
		Keys: func(context.Context, *relay.Message, string) ([]dkim.Key, error) { return keys, nil },
		Next: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			b, err := io.ReadAll(m.Content())
			signed = string(b)
			return err
		}),
	}
	first := &reencode.Forwarder{Next: s} // for the content with a long line
	if err := first.Forward(t.Context(), new(relay.Message).WithContent(strings.NewReader(content), int64(len(content)))); err != nil {
		t.Fatal(err)
	}
	return signed
}

var contents = []string{
	"From: Shop <shop@acme.example>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nhello\r\n",
	"From: shop@acme.example\r\n\r\n",
	"From: shop@acme.example\r\n\r\n\r\n\r\n",
	"From: shop@acme.example\r\n\r\n \t\r\n\r\na  b \t c\t\r\n\r\n\r\n d\r\n\t\r\n",
	"From: =?iso-8859-15?q?B=FCro?= <shop@ACME.example>\r\nSubject: f\u00fcr\r\n\r\n.\r\n..\r\n\u00e4\xff\r\n",
	"FROM:\r\n shop@acme.example\r\nSubject: a\r\n\tb  c \r\nTo:\r\nCc: a@example.com,\r\n\tb@example.com\r\n\r\n" + strings.Repeat("x", 5000) + "\r\n",
	"From: shop@acme.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nFeedback-ID: a:b:c:d\r\nList-Id: <x.acme.example>\r\n" +
		strings.Repeat("List-Unsubscribe: <https://acme.example/>\r\n", 100) + "\r\nhello\r\n",
	"Received: from a\r\n\tby b; Mon, 23 Nov 2026 12:00:00 +0000\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\n" +
		"From: shop@acme.example\r\nReply-To: help@acme.example\r\nX: y\r\n\r\n" + strings.Repeat("a  b\t\r\n\r\n", 5000) + "end\r\n",
}
