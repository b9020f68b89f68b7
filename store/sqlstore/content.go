package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// pieceSize is the size of all pieces of a large content but the last.
const pieceSize = 512 << 10

// upload keeps a large content under the name that its mail will have.
func (s *Store) upload(ctx context.Context, name string, m store.Mail, body io.Reader) error {
	if isOutside(name) {
		return s.keepOutside(ctx, name, body, m.Size)
	}
	// A mail may be old already; its upload is not, whichever clock is right.
	started := max(m.Received.UnixMicro(), time.Now().UnixMicro())
	if _, err := s.exec(ctx, `INSERT INTO {uploads} (upload, started) VALUES (?, ?)`, name, started); err != nil {
		return err
	}
	piece := make([]byte, pieceSize)
	for n, at := 0, int64(0); at < m.Size; n++ {
		piece = piece[:min(m.Size-at, pieceSize)]
		if err := readFull(body, piece, at, m.Size); err != nil {
			return err
		}
		// Each piece is a transaction, so that other callers can write between.
		if _, err := s.exec(ctx, `INSERT INTO {contents} (upload, n, content) VALUES (?, ?, ?)`, name, n, piece); err != nil {
			return err
		}
		s.written(len(piece))
		s.checkpoint(ctx)
		at += int64(len(piece))
	}
	return atEnd(body, m.Size)
}

const deleteContent = `DELETE FROM {contents} WHERE upload = ?`

// Body implements [store.Spool].
func (s *Store) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	body, err := s.body(ctx, mail)
	if err != nil {
		return nil, failed("read content", err)
	}
	return body, nil
}

func (s *Store) body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if mail == "" || strings.ContainsFunc(mail, notInID) {
		return nil, store.ErrNotFound
	}
	st, err := s.prepared(ctx, `SELECT size, upload, content FROM {deliveries} WHERE mail = ? AND n = 0`)
	if err != nil {
		return nil, err
	}
	b := &bodyReader{ctx: ctx, s: s}
	var size int64
	err = s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
		return on(st).QueryRowContext(ctx, mail).Scan(&size, &b.upload, &b.piece)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if isOutside(b.upload) {
		return s.openOutside(ctx, b.upload, size)
	}
	b.left = size
	return b, nil
}

// A bodyReader reads a content of the table piece by piece.
type bodyReader struct {
	ctx    context.Context
	s      *Store
	upload string // "": piece is all there is
	n      int    // the number of the next piece
	piece  []byte // read from the database, and not yet by the caller
	left   int64  // how much the caller has not read
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(b.piece) == 0 {
		if b.left <= 0 {
			return 0, io.EOF
		}
		if err := b.next(); err != nil {
			return 0, failed("read content", err)
		}
	}
	n := copy(p, b.piece) // all of it, even if damage made it longer than the mail says
	b.piece, b.left = b.piece[n:], b.left-int64(n)
	return n, nil
}

// next reads the next piece.
func (b *bodyReader) next() error {
	st, err := b.s.prepared(b.ctx, `SELECT content FROM {contents} WHERE upload = ? AND n = ?`)
	if err != nil {
		return err
	}
	err = b.s.reading(b.ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
		return on(st).QueryRowContext(b.ctx, b.upload, b.n).Scan(&b.piece)
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(b.piece) == 0 {
		return fmt.Errorf("%d bytes are missing: %w", b.left, store.ErrNotFound)
	}
	b.n++
	return err
}

func (b *bodyReader) Close() error { return nil }
