package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

func TestOutbox(t *testing.T) {
	t.Chdir(t.TempDir())
	box, err := openOutbox()
	if err != nil {
		t.Fatal(err)
	}
	const text = "From: a@mycompany.example\r\n\r\nhello\r\n"
	m := &relay.Message{ID: "whole"}
	m = m.WithContent(strings.NewReader(text), int64(len(text)))
	if err := box.Forward(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("outbox/whole.eml"); err != nil || string(got) != text {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if names := ls(t, "outbox"); names != "whole.eml" {
		t.Errorf("the outbox holds %s", names)
	}
}

// What can't be written whole must not be there at all: the client is told that
// the message was not accepted.
func TestOutboxFailure(t *testing.T) {
	t.Run("reading", func(t *testing.T) {
		t.Chdir(t.TempDir())
		box, err := openOutbox()
		if err != nil {
			t.Fatal(err)
		}
		m := &relay.Message{ID: "broken"}
		m = m.WithContent(brokenReader{}, 1<<20)
		if err := box.Forward(t.Context(), m); !errors.Is(err, errBroken) {
			t.Errorf("the error is %v", err)
		}
		if names := ls(t, "outbox"); names != "" {
			t.Errorf("the outbox holds %s", names)
		}
	})
	t.Run("renaming", func(t *testing.T) {
		t.Chdir(t.TempDir())
		box, err := openOutbox()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("outbox/taken.eml/dir", 0o700); err != nil {
			t.Fatal(err)
		}
		m := &relay.Message{ID: "taken"}
		m = m.WithContent(strings.NewReader("x"), 1)
		if err := box.Forward(t.Context(), m); err == nil {
			t.Error("no error")
		}
		if names := ls(t, "outbox"); names != "taken.eml" {
			t.Errorf("the outbox holds %s", names)
		}
	})
}

var errBroken = errors.New("broken")

// brokenReader fails after 1,000 bytes.
type brokenReader struct{}

func (brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 1000 {
		return int(max(0, 1000-off)), errBroken
	}
	return len(p), nil
}

func ls(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
