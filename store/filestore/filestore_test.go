package filestore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/filestore"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestContents(t *testing.T) {
	storetest.RunContents(t, func(t *testing.T) func() store.Contents {
		dir := filepath.Join(t.TempDir(), "contents")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return func() store.Contents { return &filestore.Contents{Dir: dir} }
	})
}

// A name never leaves the directory.
func TestNames(t *testing.T) {
	c := &filestore.Contents{Dir: t.TempDir()}
	for _, name := range []string{"", ".", "..", "a/b", "../a", `a\b`, "a.b", "A", "é", "a\x00", strings.Repeat("n", 65)} {
		if err := c.Keep(t.Context(), name, strings.NewReader(""), 0); err == nil {
			t.Errorf("Keep(%q): got no error", name)
		}
		if _, err := c.Open(t.Context(), name); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("Open(%q): got %v, want an error about the name", name, err)
		}
		if err := c.Drop(t.Context(), name); err == nil {
			t.Errorf("Drop(%q): got no error", name)
		}
	}
	if err := new(filestore.Contents).Keep(t.Context(), "a", strings.NewReader(""), 0); err == nil || !strings.Contains(err.Error(), "Dir is required") {
		t.Errorf("Keep without Dir: got %v, want that Dir is required", err)
	}
}

// A directory that is not there is a mistake in the set-up. ErrNotFound would
// mean that the content is gone for good.
func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "contents")
	c := &filestore.Contents{Dir: dir}
	if _, err := c.Open(t.Context(), "a"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open without the directory: got %v, want another error than ErrNotFound", err)
	}
	if err := c.Keep(t.Context(), "a", strings.NewReader("hello"), 5); err != nil {
		t.Fatalf("Keep without the directory: %v", err)
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, "a"): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want && os.PathSeparator == '/' {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
	}
	nowhere := &filestore.Contents{Dir: filepath.Join(dir, "b", "c")}
	if err := nowhere.Keep(t.Context(), "a", strings.NewReader(""), 0); err == nil {
		t.Error("Keep without the parent of the directory: got no error")
	}
}
