package conformance_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
)

// BenchmarkLog submits messages to a relay that makes them durable and does
// nothing else. It appends their contents to a file, with one sync for all callers
// that wait (group commit). A message could not be found or removed again. The
// yardstick is the relay that discards, as in BenchmarkAccept. The two benchmarks
// side by side show how much of the cost is SQLite's, and how much the disk's.
func BenchmarkLog(b *testing.B) {
	for _, conns := range []int{10, 100} {
		b.Run(fmt.Sprintf("%d", conns), func(b *testing.B) {
			_, st := sqliteModernc.pool(b)
			f, err := os.Create(filepath.Join(b.TempDir(), "log"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			l := &bareLog{file: f}
			yardstick.CompareFor(b, turn, submit(b, st, discard, conns), submit(b, st, l, conns))
		})
	}
}

// A bareLog is a Forwarder that appends contents to a file.
type bareLog struct {
	writing sync.Mutex // held while writing
	file    *os.File
	size    int

	mu   sync.Mutex
	next *logged // the group that forms; nil if no caller waits
}

// A logged is a group of contents that are written together.
type logged struct {
	content []byte
	err     error
	done    chan struct{}
}

func (l *bareLog) Forward(_ context.Context, m *relay.Message) error {
	content, err := io.ReadAll(m.Content())
	if err != nil {
		return err
	}
	l.mu.Lock()
	g, first := l.next, l.next == nil
	if first {
		g = &logged{done: make(chan struct{})}
		l.next = g
	}
	g.content = append(g.content, content...)
	l.mu.Unlock()
	if first {
		l.writing.Lock()
		for range 10 { // as sqlstore does: more callers come by then
			runtime.Gosched()
		}
		l.mu.Lock()
		l.next = nil
		l.mu.Unlock()
		g.err = l.write(g.content)
		l.writing.Unlock()
		close(g.done)
	}
	<-g.done
	return g.err
}

// write starts at the beginning again after 32 MB, as SQLite's log does.
func (l *bareLog) write(content []byte) error {
	if l.size += len(content); l.size > 32<<20 {
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		l.size = len(content)
	}
	if _, err := l.file.Write(content); err != nil {
		return err
	}
	return l.file.Sync()
}
