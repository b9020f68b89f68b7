// Package filestore keeps the contents of large mails as files in a directory.
//
// It is for a spool whose tables are better kept small, such as a SQLite file:
//
//	st := sqlstore.New(db, sqlstore.SQLite)
//	st.Contents = &filestore.Contents{Dir: "/var/lib/product/contents"}
//
// Several processes on one machine may share a directory. Processes on several
// machines need a file system that keeps what fsync has confirmed and shows it
// to all of them.
package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/gatepost-mail/gatepost/store"
)

// Contents is a [store.Contents] in a directory, one file for each content. Set
// Dir before the first use and do not change it afterwards. Contents must not be
// copied after its first use.
type Contents struct {
	// Dir is the directory. Keep creates it, readable by its owner only, if it
	// does not exist; its parent must exist. Required.
	Dir string

	made sync.Mutex // held while the directory is created
}

var _ store.Contents = (*Contents)(nil)

// Keep implements [store.Contents]. It syncs the file and the directory.
func (c *Contents) Keep(ctx context.Context, name string, content io.Reader, size int64) error {
	err := c.keep(ctx, name, content, size)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	if err != nil {
		return fmt.Errorf("filestore: keep content %q: %w", name, err)
	}
	return nil
}

func (c *Contents) keep(ctx context.Context, name string, content io.Reader, size int64) error {
	path, err := c.path(ctx, name)
	if err != nil {
		return err
	}
	f, err := c.create(path)
	if err != nil {
		return err
	}
	err = errors.Join(write(ctx, f, content, size), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncDir(c.Dir)
}

// create creates the file, and the directory if it does not exist.
func (c *Contents) create(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, flags, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	c.made.Lock()
	defer c.made.Unlock()
	if err := os.Mkdir(c.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncDir(filepath.Dir(c.Dir)); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flags, 0o600)
}

// write copies exactly size bytes of content to the file and syncs it.
func write(ctx context.Context, f *os.File, content io.Reader, size int64) error {
	n, err := io.Copy(f, &limited{ctx: ctx, r: content, left: size})
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("the content ends after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	if n, err := io.ReadFull(content, make([]byte, 1)); n > 0 {
		return fmt.Errorf("the content continues after %d bytes", size)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return f.Sync()
}

// limited reads at most left bytes, while ctx lasts.
type limited struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left <= 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// Open implements [store.Contents].
func (c *Contents) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	path, err := c.path(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("filestore: open content %q: %w", name, err)
	}
	f, err := os.Open(path)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		// A directory that is missing is a mistake in the set-up, and the
		// content may be somewhere else.
		if _, missing := os.Stat(c.Dir); missing == nil {
			err = store.ErrNotFound
		}
	}
	return nil, fmt.Errorf("filestore: open content %q: %w", name, err)
}

// Drop implements [store.Contents]. It does not sync the directory. If a
// power cut brings a dropped file back, the file has no mail, and the spool drops it
// again.
func (c *Contents) Drop(ctx context.Context, name string) error {
	path, err := c.path(ctx, name)
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("filestore: drop content %q: %w", name, err)
}

// path returns the name of the file.
func (c *Contents) path(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if c.Dir == "" {
		return "", errors.New("Contents.Dir is required")
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, notInName) {
		return "", errors.New("the name is not 1 to 64 digits and letters a to z")
	}
	return filepath.Join(c.Dir, name), nil
}

func notInName(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z')
}

// syncDir makes the names in a directory durable. Windows has no such call for
// directories.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
