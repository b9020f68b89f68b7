package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gatepost-mail/gatepost/relay"
)

const outboxDir = "outbox"

// An outbox is a [relay.Forwarder] that writes each message to a file. The file
// is complete or not there at all, and there for good when Forward returns nil:
// that is what the relay promises its client with 250.
type outbox struct{ dir string }

func openOutbox() (outbox, error) {
	return outbox{outboxDir}, os.MkdirAll(outboxDir, 0o700)
}

// path is where the message of this ID is.
func (o outbox) path(id string) string { return filepath.Join(o.dir, id+".eml") }

// Forward implements [relay.Forwarder].
func (o outbox) Forward(_ context.Context, m *relay.Message) error {
	temp := filepath.Join(o.dir, "."+m.ID+".tmp")
	err := writeFile(temp, 0o600, m.Content())
	if err == nil {
		err = os.Rename(temp, o.path(m.ID))
	}
	if err == nil {
		err = syncDir(o.dir)
	}
	if err != nil {
		os.Remove(temp)
		os.Remove(o.path(m.ID))
	}
	return err
}

// writeFile makes a file and returns when its content is on the disk.
func writeFile(path string, mode os.FileMode, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir returns when the names in a directory are on the disk, too.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // can't, and needn't
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
