package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/filestore"
)

// outside is where contents above 64 KiB go when that is not a table.
//
// The name of such a content is in the column upload of its mail. Before the
// content is kept, and again in the step that removes its mail, the name is in
// the table of uploads. So sweep finds what a crash has left outside.
type outside struct {
	mu       sync.Mutex
	known    bool           // contents is set
	contents store.Contents // nil: the table
	dropped  []string       // names whose rows in the table of uploads can be deleted

	registered   []string // names in the table of uploads that no content has yet
	registeredAt time.Time
}

// largeContents returns the store for large contents. Nil means the table.
func (s *Store) largeContents(ctx context.Context) (store.Contents, error) {
	if s.Contents != nil || s.dialect != SQLite {
		return s.Contents, nil
	}
	o := &s.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known {
		return o.contents, nil
	}
	st, err := s.prepared(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`)
	if err != nil {
		return nil, err
	}
	var file string
	if err := st.QueryRowContext(ctx).Scan(&file); err != nil {
		return nil, err
	}
	if file != "" {
		o.contents = &filestore.Contents{Dir: file + "-contents"}
	}
	o.known = true
	return o.contents, nil
}

// newUpload returns a new name for a large content of the mail.
func (s *Store) newUpload(ctx context.Context, mail string) (string, error) {
	contents, err := s.largeContents(ctx)
	if err != nil {
		return "", err
	}
	if contents == nil {
		return mail + "." + rand.Text(), nil
	}
	return s.registeredName(ctx)
}

// Names for contents outside are put into the table of uploads several at a time,
// so that not each content waits for a commit of its own. Those that no content
// gets in time are left to sweep.
const (
	namesAtATime = 16
	nameAge      = time.Hour
)

// registeredName returns a new name that is in the table of uploads.
func (s *Store) registeredName(ctx context.Context) (string, error) {
	if name, ok := s.outside.takeRegistered(); ok {
		return name, nil
	}
	now := time.Now()
	names := make([]string, namesAtATime)
	var args []any
	for i := range names {
		names[i] = strings.ToLower(rand.Text())
		args = append(args, names[i], now.UnixMicro())
	}
	_, err := s.exec(ctx, `INSERT INTO {uploads} (upload, started) VALUES (?, ?)`+strings.Repeat(`, (?, ?)`, namesAtATime-1), args...)
	if err != nil {
		return "", err
	}
	o := &s.outside
	o.mu.Lock()
	defer o.mu.Unlock()
	o.registered, o.registeredAt = names[1:], now
	return names[0], nil
}

// takeRegistered takes one of the registered names, unless they are too old.
func (o *outside) takeRegistered() (name string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if age := time.Since(o.registeredAt); len(o.registered) == 0 || age > nameAge {
		return "", false
	}
	name, o.registered = o.registered[0], o.registered[1:]
	return name, true
}

// isOutside reports whether the content of the name is not in the table. Names
// of the table have a dot.
func isOutside(name string) bool { return name != "" && !strings.Contains(name, ".") }

// keepOutside keeps a content of exactly size bytes.
func (s *Store) keepOutside(ctx context.Context, name string, body io.Reader, size int64) error {
	contents, err := s.outsideContents(ctx, name)
	if err != nil {
		return err
	}
	return contents.Keep(ctx, name, body, size)
}

// openOutside returns a content of exactly size bytes.
func (s *Store) openOutside(ctx context.Context, name string, size int64) (io.ReadCloser, error) {
	contents, err := s.outsideContents(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := contents.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	whole := &wholeReader{ReadCloser: r, ctx: ctx, left: size}
	f, ok := r.(file)
	if !ok {
		return whole, nil
	}
	if err := checkLength(f, size); err != nil {
		r.Close()
		return nil, err
	}
	return struct {
		*wholeReader
		io.ReaderAt
	}{whole, f}, nil
}

// A file is a content whose length is known and that can be read anywhere.
type file interface {
	io.ReaderAt
	io.Seeker
}

// checkLength fails if the file has another length, and leaves it at its beginning.
func checkLength(f file, size int64) error {
	n, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil && n != size {
		err = fmt.Errorf("the content has %d bytes, not %d: %w", n, size, store.ErrNotFound)
	}
	return err
}

// dropOutside drops a content.
func (s *Store) dropOutside(ctx context.Context, name string) error {
	contents, err := s.outsideContents(ctx, name)
	if err != nil {
		return err
	}
	return contents.Drop(ctx, name)
}

// outsideContents returns where the content of the name is kept.
func (s *Store) outsideContents(ctx context.Context, name string) (store.Contents, error) {
	contents, err := s.largeContents(ctx)
	if err == nil && contents == nil {
		err = fmt.Errorf("the content %s is not in the database: set Store.Contents to where it was kept", name)
	}
	return contents, err
}

// dropSettled drops contents whose mails are gone. The rest is left to sweep.
func (s *Store) dropSettled(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardTime)
	defer cancel()
	for _, name := range names {
		if s.dropOutside(ctx, name) == nil {
			s.outside.mu.Lock()
			s.outside.dropped = append(s.outside.dropped, name)
			s.outside.mu.Unlock()
		}
	}
}

// takeDropped returns up to maxRows names that dropSettled has dropped, each
// once, as rows of a query.
func (o *outside) takeDropped() (rows [][]any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.dropped), maxRows)
	for _, name := range o.dropped[:n] {
		rows = append(rows, []any{name})
	}
	o.dropped = o.dropped[n:]
	return rows
}

// A wholeReader reads a content of exactly left bytes, while ctx lasts.
type wholeReader struct {
	io.ReadCloser
	ctx  context.Context
	left int64
}

func (r *wholeReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, failed("read content", err)
	}
	n, err := r.ReadCloser.Read(p)
	r.left -= int64(n)
	switch {
	case err == io.EOF && r.left > 0:
		err = failed("read content", fmt.Errorf("%d bytes are missing: %w", r.left, store.ErrNotFound))
	case r.left < 0:
		err = failed("read content", fmt.Errorf("there are %d bytes too many: %w", -r.left, store.ErrNotFound))
	}
	return n, err
}
