package store

import (
	"context"
	"io"
)

// A Contents keeps large message contents outside the tables of a [Spool]: in
// files, in object storage. A Spool that takes one gives each content a name of
// its own, keeps it before the mail and drops it after the mail. It belongs to
// one Spool, so that no other Spool drops what it does not know.
//
// A name is 1 to 64 digits and letters a to z. The caller never uses a name twice.
// Methods are safe for concurrent use, in any number of processes. A context that has
// already ended makes a method fail with its error.
type Contents interface {
	// Keep stores the size bytes of content under the name. When Keep returns
	// nil, the content is durable: it survives a crash and a power cut. An error
	// of content, and a content of another length, are errors of Keep. After an
	// error, or a crash, a part of the content may be left under the name until
	// Drop removes it. Keep never holds a large content in memory as a whole,
	// unless memory is where contents are kept.
	Keep(ctx context.Context, name string, content io.Reader, size int64) error

	// Open returns the content that was kept under the name, from its
	// beginning. The caller closes it. ErrNotFound: nothing is kept under the
	// name. If Drop removes the content meanwhile, reading continues or fails
	// with ErrNotFound. A reader that is an io.ReaderAt and an io.Seeker too, as
	// an *os.File is, ends where the content ends, and its ReadAt may be called
	// until it is closed, also after ctx has ended. A queue then sends the
	// content without copying it first.
	Open(ctx context.Context, name string) (io.ReadCloser, error)

	// Drop removes what is kept under the name. Nothing under the name is not
	// an error.
	Drop(ctx context.Context, name string) error
}
