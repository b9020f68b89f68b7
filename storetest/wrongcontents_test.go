package storetest_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/filestore"
	"github.com/gatepost-mail/gatepost/storetest"
)

// wrongContents are ways to write a Contents wrongly.
var wrongContents = map[string]struct {
	make        func(store.Contents) store.Contents
	name, words string
}{
	"a content is cut at 4 MiB": {
		make:  func(c store.Contents) store.Contents { return cutContents{c} },
		name:  "Keep/EverySize",
		words: "Keep stores the size bytes of content under the name.",
	},
	"the first reader gets the content": {
		make:  func(c store.Contents) store.Contents { return &onceContents{Contents: c} },
		name:  "Keep/EverySize",
		words: "Open returns the content that was kept under the name, from its beginning.",
	},
	"names are cut to 63 characters": {
		make:  func(c store.Contents) store.Contents { return shortNames{c} },
		name:  "Keep/EveryName",
		words: "A name is 1 to 64 digits and letters a to z.",
	},
	"the size is not checked": {
		make:  func(c store.Contents) store.Contents { return unchecked{c} },
		name:  "Keep/Length",
		words: "a content of another length, are errors of Keep",
	},
	"what is missing is empty": {
		make:  func(c store.Contents) store.Contents { return emptyContents{c} },
		name:  "Open/NotFound",
		words: "ErrNotFound: nothing is kept under the name.",
	},
	"reading a dropped content ends early": {
		make:  func(c store.Contents) store.Contents { return &endsEarly{Contents: c} },
		name:  "Open/DroppedMeanwhile",
		words: "reading continues or fails with ErrNotFound",
	},
	"a file has something behind the content": {
		make:  func(c store.Contents) store.Contents { return padded{c} },
		name:  "Open/ReaderAt",
		words: "ends where the content ends",
	},
	"a second drop is an error": {
		make:  func(c store.Contents) store.Contents { return strictDrop{c} },
		name:  "Drop/Again",
		words: "Nothing under the name is not an error.",
	},
	"the context is ignored": {
		make:  func(c store.Contents) store.Contents { return noContext{c} },
		name:  "Contents/Context",
		words: "A context that has already ended makes a method fail with its error.",
	},
	"one Keep at a time": {
		make:  func(c store.Contents) store.Contents { return &oneAtATime{Contents: c} },
		name:  "Contents/Concurrent",
		words: "Methods are safe for concurrent use, in any number of processes.",
	},
}

type cutContents struct{ store.Contents }

func (c cutContents) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := c.Contents.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return readCloser{io.LimitReader(r, 4<<20), r}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

type onceContents struct {
	store.Contents
	open sync.Map
}

func (c *onceContents) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if _, again := c.open.LoadOrStore(name, true); again {
		return io.NopCloser(new(bytes.Reader)), nil
	}
	return c.Contents.Open(ctx, name)
}

type shortNames struct{ store.Contents }

func short(name string) string { return name[:min(len(name), 63)] }

func (c shortNames) Keep(ctx context.Context, name string, content io.Reader, size int64) error {
	c.Contents.Drop(ctx, short(name))
	return c.Contents.Keep(ctx, short(name), content, size)
}

func (c shortNames) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.Contents.Open(ctx, short(name))
}

type unchecked struct{ store.Contents }

func (c unchecked) Keep(ctx context.Context, name string, content io.Reader, _ int64) error {
	b, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	return c.Contents.Keep(ctx, name, bytes.NewReader(b), int64(len(b)))
}

type emptyContents struct{ store.Contents }

func (c emptyContents) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := c.Contents.Open(ctx, name)
	if err != nil {
		return io.NopCloser(new(bytes.Reader)), nil
	}
	return r, nil
}

// endsEarly ends every reader of a content that was dropped, without an error.
type endsEarly struct {
	store.Contents
	dropped sync.Map
}

func (c *endsEarly) Drop(ctx context.Context, name string) error {
	c.dropped.Store(name, true)
	return c.Contents.Drop(ctx, name)
}

func (c *endsEarly) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := c.Contents.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return readCloser{readerFunc(func(p []byte) (int, error) {
		if _, ok := c.dropped.Load(name); ok {
			return 0, io.EOF
		}
		return r.Read(p)
	}), r}, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// padded offers readers whose end is a byte too far.
type padded struct{ store.Contents }

func (c padded) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := c.Contents.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return paddedFile{r.(*os.File)}, nil
}

type paddedFile struct{ *os.File }

func (f paddedFile) Seek(offset int64, whence int) (int64, error) {
	n, err := f.File.Seek(offset, whence)
	if whence == io.SeekEnd {
		n++
	}
	return n, err
}

type strictDrop struct{ store.Contents }

func (c strictDrop) Drop(ctx context.Context, name string) error {
	r, err := c.Contents.Open(ctx, name)
	if err != nil {
		return err
	}
	r.Close()
	return c.Contents.Drop(ctx, name)
}

type noContext struct{ store.Contents }

func (c noContext) Drop(ctx context.Context, name string) error {
	return c.Contents.Drop(context.WithoutCancel(ctx), name)
}

// oneAtATime loses a content if another Keep runs at the same time.
type oneAtATime struct {
	store.Contents
	running atomic.Int32
}

func (c *oneAtATime) Keep(ctx context.Context, name string, content io.Reader, size int64) error {
	c.running.Add(1)
	defer c.running.Add(-1)
	if size == 100_000 || size == 100_001 { // of the concurrent case
		time.Sleep(50 * time.Millisecond)
	}
	alone := c.running.Load() == 1
	err := c.Contents.Keep(ctx, name, content, size)
	if !alone {
		c.Contents.Drop(ctx, name)
	}
	return err
}

func TestContentsMistakes(t *testing.T) {
	for name, m := range wrongContents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongContents", name, m.name, m.words)
		})
	}
}

// TestWrongContents is run by TestContentsMistakes, in a process of its own.
func TestWrongContents(t *testing.T) {
	m, ok := wrongContents[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestContentsMistakes runs this")
	}
	storetest.RunContents(t, func(t *testing.T) func() store.Contents {
		wrong := m.make(&filestore.Contents{Dir: t.TempDir()})
		return func() store.Contents { return wrong }
	})
}
