package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/gatepost-mail/gatepost/store"
)

// RunContents runs every case of the contract of [store.Contents] as a subtest
// of t. fresh is as for [Run]. The largest content has 64 MiB.
func RunContents(t *testing.T, fresh func(t *testing.T) (open func() store.Contents)) {
	t.Helper()
	for _, p := range contentsPromises {
		t.Run(p.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %q", p.words)
				}
			})
			open := fresh(t)
			c := open()
			if c == nil {
				t.Fatal("the function that fresh returned opened nil")
			}
			p.check(&keeper{T: t, Contents: c, open: open})
		})
	}
}

// A contentsPromise is one case, as a promise is for Run.
type contentsPromise struct {
	name  string
	words string
	check func(*keeper)
}

// A keeper is the Contents of one case.
type keeper struct {
	*testing.T
	store.Contents
	open func() store.Contents
}

var contentsPromises = []contentsPromise{
	{
		name: "Keep/EverySize",
		words: "Keep stores the size bytes of content under the name. " +
			"Open returns the content that was kept under the name, from its beginning.",
		check: func(t *keeper) {
			for i, size := range []int64{0, 1, 512, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 5_000_000, 64 << 20} {
				name := fmt.Sprintf("c%d", i)
				t.keep(name, iotest.DataErrReader(pattern(size)), size)
				t.has(t.open(), name, size)
				t.has(t.open(), name, size) // once more, from the beginning
				t.drop(name)
			}
		},
	},
	{
		name:  "Keep/EveryName",
		words: "A name is 1 to 64 digits and letters a to z.",
		check: func(t *keeper) {
			names := []string{"0", "a", "z9", strings.Repeat("n", 64), strings.Repeat("n", 63) + "0"}
			for i, name := range names {
				t.keep(name, pattern(int64(i)), int64(i))
			}
			for i, name := range names {
				t.has(t.Contents, name, int64(i))
			}
		},
	},
	{
		name:  "Keep/Length",
		words: "An error of content, and a content of another length, are errors of Keep.",
		check: func(t *keeper) {
			failure := errors.New("the disk failed")
			for name, content := range map[string]io.Reader{
				"short":  pattern(99_999),
				"long":   pattern(100_001),
				"empty":  strings.NewReader(""),
				"broken": io.MultiReader(pattern(50_000), iotest.ErrReader(failure)),
			} {
				err := t.Keep(t.Context(), name, content, 100_000)
				if err == nil {
					t.Errorf("Keep of a content that is %s: got no error", name)
				}
				if name == "broken" && !errors.Is(err, failure) {
					t.Errorf("Keep of a content that fails: got %v, want %v", err, failure)
				}
				t.drop(name)
				t.missing(name)
			}
		},
	},
	{
		name:  "Open/NotFound",
		words: "ErrNotFound: nothing is kept under the name.",
		check: func(t *keeper) {
			t.keep("other", pattern(10), 10)
			t.missing("missing")
			t.keep("c1", pattern(10), 10)
			t.drop("c1")
			t.missing("c1")
			t.has(t.Contents, "other", 10)
		},
	},
	{
		name: "Open/ReaderAt",
		words: "A reader that is an io.ReaderAt and an io.Seeker too, as an *os.File is, ends where the content ends, " +
			"and its ReadAt may be called until it is closed, also after ctx has ended.",
		check: func(t *keeper) {
			const size = 100_000
			t.keep("c1", pattern(size), size)
			ctx, cancel := context.WithCancel(t.Context())
			r, err := t.Open(ctx, "c1")
			cancel()
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			defer r.Close()
			f, ok := r.(interface {
				io.ReaderAt
				io.Seeker
			})
			if !ok {
				return
			}
			if end, err := f.Seek(0, io.SeekEnd); err != nil || end != size {
				t.Errorf("Seek to the end: got %d, %v, want %d", end, err, size)
			}
			for range 2 {
				if err := equalStreams(io.NewSectionReader(f, 0, size+1), pattern(size)); err != nil {
					t.Errorf("ReadAt: %v", err)
				}
			}
		},
	},
	{
		name:  "Open/DroppedMeanwhile",
		words: "If Drop removes the content meanwhile, reading continues or fails with ErrNotFound.",
		check: func(t *keeper) {
			const size = 5 << 20
			t.keep("c1", pattern(size), size)
			r, err := t.Open(t.Context(), "c1")
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			defer r.Close()
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				t.Fatalf("reading the first bytes: %v", err)
			}
			t.drop("c1")
			n, err := io.Copy(io.Discard, r)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("reading a dropped content: got %v, want ErrNotFound or nil", err)
			}
			if err == nil && n != size-10 {
				t.Errorf("reading a dropped content: got %d more bytes and no error, want %d or an error", n, size-10)
			}
		},
	},
	{
		name: "Drop/Again",
		words: "Drop removes what is kept under the name. Nothing under the name is not an error. " +
			"After an error, or a crash, a part of the content may be left under the name until Drop removes it.",
		check: func(t *keeper) {
			t.drop("missing")
			t.keep("c1", pattern(10), 10)
			t.drop("c1")
			t.drop("c1")
			t.missing("c1")
		},
	},
	{
		name:  "Contents/Context",
		words: "A context that has already ended makes a method fail with its error.",
		check: func(t *keeper) {
			t.keep("c1", pattern(10), 10)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := t.Keep(ctx, "c2", pattern(10), 10); !errors.Is(err, context.Canceled) {
				t.Errorf("Keep: got %v, want %v", err, context.Canceled)
			}
			if _, err := t.Open(ctx, "c1"); !errors.Is(err, context.Canceled) {
				t.Errorf("Open: got %v, want %v", err, context.Canceled)
			}
			if err := t.Drop(ctx, "c1"); !errors.Is(err, context.Canceled) {
				t.Errorf("Drop: got %v, want %v", err, context.Canceled)
			}
			t.has(t.Contents, "c1", 10)
		},
	},
	{
		name:  "Contents/Concurrent",
		words: "Methods are safe for concurrent use, in any number of processes.",
		check: func(t *keeper) {
			handles := []store.Contents{t.Contents, t.open()}
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					c, size := handles[i%2], int64(100_000+i)
					for try := range 5 {
						name := fmt.Sprintf("c%dn%d", i, try)
						if err := c.Keep(t.Context(), name, pattern(size), size); err != nil {
							t.Errorf("Keep: %v", err)
						}
						t.has(handles[(i+1)%2], name, size)
						if err := c.Drop(t.Context(), name); err != nil {
							t.Errorf("Drop: %v", err)
						}
					}
				})
			}
			wg.Wait()
		},
	},
}

func (t *keeper) keep(name string, content io.Reader, size int64) {
	t.Helper()
	if err := t.Keep(t.Context(), name, content, size); err != nil {
		t.Fatalf("Keep(%q) of %d bytes: %v", name, size, err)
	}
}

// has reports a content that differs from the pattern of the size.
func (t *keeper) has(c store.Contents, name string, size int64) {
	t.Helper()
	r, err := c.Open(t.Context(), name)
	if err != nil {
		t.Errorf("Open(%q): %v", name, err)
		return
	}
	if err := equalStreams(r, pattern(size)); err != nil {
		t.Errorf("content %q of %d bytes: %v", name, size, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close of %q: %v", name, err)
	}
}

func (t *keeper) drop(name string) {
	t.Helper()
	if err := t.Drop(t.Context(), name); err != nil {
		t.Errorf("Drop(%q): %v", name, err)
	}
}

// missing reports a name under which something is kept.
func (t *keeper) missing(name string) {
	t.Helper()
	r, err := t.Open(t.Context(), name)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Open(%q): got %v, want ErrNotFound", name, err)
	}
}
