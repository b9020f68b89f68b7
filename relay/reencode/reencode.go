// Package reencode wraps the long lines of messages on their way out. A line may
// have 998 bytes (RFC 5322 section 2.1.1). The relay accepts longer ones, because
// many tools send a page of HTML as one line, but receivers may refuse them, or
// break them, which also breaks a DKIM signature.
//
// A [Forwarder] wraps the next one. It belongs in front of the DKIM signer:
//
//	signer := &dkim.Signer{Keys: keys, Next: upstream}
//	srv.Forwarder = &reencode.Forwarder{Next: &queue.Queue{Spool: st, Next: signer}}
//
// Without this package the content of a message never changes.
package reencode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gatepost-mail/gatepost/relay"
)

// A Forwarder re-encodes the parts of a message that have a line over 998 bytes,
// and hands the message to Next. A message without such a line goes on as it is.
//
//   - A text part becomes quoted-printable, any other part base64 (RFC 2045
//     section 6). Both decode to the bytes that were sent.
//   - A part that is in base64 or quoted-printable already gets shorter lines.
//   - A header line is folded at white space.
//
// A multipart/signed or multipart/encrypted part never changes, and neither does
// an attached message (message/rfc822), whose encoding is fixed. Lines also stay
// as they are in a part with an unknown encoding, between the parts of a
// multipart, and in a field without white space.
//
// A signature (DKIM-Signature) that the message came with does not match changed
// parts. The fields must not be changed after the first Forward.
type Forwarder struct {
	// Next takes the message. Required.
	Next relay.Forwarder

	// TempDir is the directory for the content of large messages. A content up
	// to 256 KiB stays in memory. Empty means os.TempDir().
	TempDir string
}

// maxLine is the most bytes of a line without its CRLF.
const maxLine = 998

// maxMemory is the size up to which a new content stays in memory.
const maxMemory = 256 << 10

// Check returns what is wrong with the fields of the Forwarder or of Next.
func (f *Forwarder) Check() error {
	if f.Next == nil {
		return errNext
	}
	return relay.CheckForwarder(f.Next)
}

var errNext = errors.New("reencode: Forwarder.Next is required")

// Forward re-encodes the message if it has to, and forwards it. It returns the
// errors of Next; an error of its own is temporary. See [relay.Forwarder].
func (f *Forwarder) Forward(ctx context.Context, m *relay.Message) error {
	if f.Next == nil {
		return errNext
	}
	edits, err := scan(m.Content())
	if err != nil {
		return ownError{fmt.Errorf("reencode: message %s: %w", m.ID, err)}
	}
	if len(edits) == 0 {
		return f.Next.Forward(ctx, m)
	}
	out := &buffer{dir: f.TempDir}
	defer out.close()
	if err := apply(out, m.Content(), edits); err != nil {
		return ownError{fmt.Errorf("reencode: message %s: %w", m.ID, err)}
	}
	return f.Next.Forward(ctx, m.WithContent(out.content(), out.size))
}

// An ownError is an error about this message, which leaves Next reachable.
type ownError struct{ error }

func (e ownError) Unwrap() error   { return e.error }
func (ownError) Unreachable() bool { return false }

// An edit replaces the bytes of a content from start to just before end.
type edit struct {
	start, end int64
	write      func(w io.Writer, old io.Reader) error
}

// apply writes the content with its edits, which are in order.
func apply(w io.Writer, content io.ReaderAt, edits []edit) error {
	at := int64(0)
	for _, e := range edits {
		if _, err := io.Copy(w, io.NewSectionReader(content, at, e.start-at)); err != nil {
			return err
		}
		if err := e.write(w, io.NewSectionReader(content, e.start, e.end-e.start)); err != nil {
			return err
		}
		at = e.end
	}
	_, err := io.Copy(w, io.NewSectionReader(content, at, 1<<62))
	return err
}

// A buffer is a new content: in memory until it is large, then in a file.
type buffer struct {
	dir    string
	memory []byte
	file   *os.File
	size   int64
}

func (b *buffer) Write(p []byte) (int, error) {
	if b.file == nil && len(b.memory)+len(p) > maxMemory {
		f, err := os.CreateTemp(b.dir, "gatepost-*")
		if err != nil {
			return 0, err
		}
		b.file = f
		os.Remove(f.Name()) // on Unix the file is gone even after a crash
		if _, err := f.Write(b.memory); err != nil {
			return 0, err
		}
		b.memory = nil
	}
	b.size += int64(len(p))
	if b.file != nil {
		return b.file.Write(p)
	}
	b.memory = append(b.memory, p...)
	return len(p), nil
}

func (b *buffer) content() io.ReaderAt {
	if b.file != nil {
		return b.file
	}
	return bytes.NewReader(b.memory)
}

func (b *buffer) close() {
	if b.file != nil {
		b.file.Close()
		os.Remove(b.file.Name()) // where an open file cannot be removed
	}
}
