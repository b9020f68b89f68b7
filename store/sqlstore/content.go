package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// pieceSize is the size of all pieces of a large content but the last.
const pieceSize = 512 << 10

// upload writes a large content under a name of its own, which the mail will
// have.
func (s *Store) upload(ctx context.Context, name string, m store.Mail, body io.Reader) error {
	// A mail may be old already; its upload isn't, whichever clock is right.
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
		if _, err := s.exec(ctx, `INSERT INTO {contents} (upload, n, content) VALUES (?, ?, ?)`, name, n, piece); err != nil {
			return err
		}
		s.written(len(piece))
		s.checkpoint(ctx)
		at += int64(len(piece))
	}
	return atEnd(body, m.Size)
}

// patience is how long discard goes on after the caller's context has ended.
const patience = 10 * time.Second

// discard removes a content that has no mail. What it can't remove is left to
// sweep.
func (s *Store) discard(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return s.inTx(ctx, func(tx tx) error {
		n, err := tx.exec(ctx, `DELETE FROM {uploads} WHERE upload = ?`, name)
		if err != nil || n == 0 { // it has a mail after all
			return err
		}
		_, err = tx.exec(ctx, deleteContent, name)
		return err
	})
}

const deleteContent = `DELETE FROM {contents} WHERE upload = ?`

// An upload that began sweepAge ago and has no mail was left by a crash. They
// are looked for every sweepEvery.
const (
	sweepAge   = 24 * time.Hour
	sweepEvery = time.Hour
)

// sweep removes what crashes have left, now and then.
func (s *Store) sweep(ctx context.Context, now time.Time) error {
	last := s.swept.Load()
	if since := now.UnixMicro() - last; since < sweepEvery.Microseconds() && since > -sweepEvery.Microseconds() {
		return nil
	}
	if !s.swept.CompareAndSwap(last, now.UnixMicro()) {
		return nil // somebody else does it
	}
	st, err := s.prepared(ctx, `SELECT upload FROM {uploads} WHERE started < ? LIMIT 1000`)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(ctx, now.Add(-sweepAge).UnixMicro())
	if err != nil {
		return err
	}
	var names []string
	if err := scanAll(rows, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.discard(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Body implements [store.Spool].
func (s *Store) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	body, err := s.body(ctx, mail)
	if err != nil {
		return nil, failed("read content", err)
	}
	return body, nil
}

func (s *Store) body(ctx context.Context, mail string) (*bodyReader, error) {
	st, err := s.prepared(ctx, `SELECT size, upload, content FROM {deliveries} WHERE mail = ? AND n = 0`)
	if err != nil {
		return nil, err
	}
	b := &bodyReader{ctx: ctx, s: s}
	err = s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
		return on(st).QueryRowContext(ctx, mail).Scan(&b.left, &b.upload, &b.piece)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	return b, err
}

// A bodyReader reads a content piece by piece.
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
