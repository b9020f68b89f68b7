package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Spool = (*Store)(nil)

// Put implements [store.Spool]. A content of up to 64 KiB is a column of the
// mail. A larger one is kept before the mail, in Contents or in a table; no
// reader sees it until the mail is there.
func (s *Store) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader) error {
	err := s.put(ctx, m, deliveries, body)
	if s.isFull(err) {
		err = fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return failed("put", err)
}

// maxInline is the size of a content that is kept in its mail's row. SQLite
// writes the whole row anew whenever the delivery changes.
const maxInline = 64 << 10

func (s *Store) put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	op := &operation{mail: m.ID, content: []byte{}}
	if m.Size > maxInline {
		if op.upload, err = s.newUpload(ctx, m.ID); err != nil {
			return err
		}
	}
	if op.first, op.others, err = putRows(m, deliveries, op.upload); err != nil {
		return err
	}
	if op.upload == "" {
		if op.content, err = readWhole(body, m.Size); err != nil {
			return err
		}
	} else if err := s.upload(ctx, op.upload, m, body); err != nil {
		return errors.Join(err, s.discard(ctx, op.upload))
	}
	op.first = append(op.first, op.content)
	err = s.puts.do(ctx, op, s.commit)
	s.checkpoint(ctx)
	if op.upload != "" && (err != nil || op.skipped) {
		err = errors.Join(err, s.discard(ctx, op.upload))
	}
	return err
}

// readWhole reads a content of exactly size bytes.
func readWhole(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return nil, fmt.Errorf("the content can't have %d bytes", size)
	}
	content := make([]byte, size)
	if err := readFull(r, content, 0, size); err != nil {
		return nil, err
	}
	return content, atEnd(r, size)
}

// readFull fills p with what follows the first at of size bytes.
func readFull(r io.Reader, p []byte, at, size int64) error {
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the content ends after %d of %d bytes: %w", at+int64(n), size, io.ErrUnexpectedEOF)
	}
	return err
}

// atEnd makes sure that nothing follows the size bytes that were read.
func atEnd(r io.Reader, size int64) error {
	n, err := io.ReadFull(r, make([]byte, 1))
	if n > 0 {
		return fmt.Errorf("the content goes on after %d bytes", size)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// The columns of every row, and those that the first row of a mail has on top.
const (
	deliveryColumns = `mail, n, tenant, recipient, notify, original, lease, leased_until, next, ready, attempts, warned, reason`
	mailColumns     = `recipients, domain, username, sender, remote, received, size, body, utf8, require_tls, ret, envelope_id, upload, content`
)

// putRows are the rows of a mail: the first without its content, which comes
// last, and the others.
func putRows(m store.Mail, deliveries []store.Delivery, upload string) (first []any, others [][]any, err error) {
	if m.ID == "" || len(m.ID) > maxID || strings.ContainsFunc(m.ID, notInID) {
		return nil, nil, fmt.Errorf("the id %q is not of 1 to %d letters and digits", m.ID, maxID)
	}
	if n := len(deliveries); n == 0 || n > store.MaxDeliveries {
		return nil, nil, fmt.Errorf("a mail can't have %d deliveries", n)
	}
	if err := errors.Join(fits(string(m.Tenant), m.Remote.String()),
		fitsLong(m.Domain, m.Username, m.From, m.Body, m.Return, m.EnvelopeID)); err != nil {
		return nil, nil, err
	}
	for n, d := range deliveries {
		if err := errors.Join(fitsLong(d.Recipient, d.Notify, d.OriginalRecipient), fitsReason(d.Reason)); err != nil {
			return nil, nil, err
		}
		row := make([]any, 0, 27)
		row = append(row, m.ID, n, string(m.Tenant), []byte(d.Recipient), []byte(d.Notify), []byte(d.OriginalRecipient),
			d.Lease, d.LeasedUntil.UnixMicro(), d.Next.UnixMicro(), readyAt(d.Next, d.LeasedUntil, d.Held),
			d.Attempts, number(d.Delayed), []byte(d.Reason))
		if n > 0 {
			others = append(others, row)
			continue
		}
		first = append(row, len(deliveries), []byte(m.Domain), []byte(m.Username), []byte(m.From), addrText(m.Remote),
			m.Received.UnixMicro(), m.Size, []byte(m.Body), number(m.UTF8), number(m.RequireTLS),
			[]byte(m.Return), []byte(m.EnvelopeID), upload)
	}
	return first, others, nil
}

const maxID = 64

func notInID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

var (
	insertFirst   = rowsQuery{`INSERT INTO {deliveries} (` + deliveryColumns + `, ` + mailColumns + `) VALUES ... ON CONFLICT DO NOTHING`, tuple(27), ", ", false}
	insertOthers  = rowsQuery{`INSERT INTO {deliveries} (` + deliveryColumns + `) VALUES ... ON CONFLICT DO NOTHING`, tuple(13), ", ", false}
	deleteDropped = keysQuery(`DELETE FROM {uploads} WHERE upload IN (...)`, 1)
	deleteUploads = keysQuery(`DELETE FROM {uploads} WHERE upload IN (...) AND started > 0`, 1)
)

// planPuts adds the statements of Put to a batch. A mail that exists already is left
// alone; if there is more to it than its first row, that must be known before.
func (s *Store) planPuts(ctx context.Context, b *batch, ops []*operation) error {
	var firsts, others, uploads [][]any
	seen := make(map[string]bool, len(ops))
	for _, op := range ops {
		if op.mail == "" {
			continue
		}
		op.skipped = op.found || seen[op.mail]
		if op.skipped {
			continue
		}
		seen[op.mail] = true
		firsts = append(firsts, op.first)
		others = append(others, op.others...)
		if op.upload != "" {
			uploads = append(uploads, []any{op.upload})
		}
	}
	b.strict = b.strict || len(others) > 0 || len(uploads) > 0
	return errors.Join(
		s.plan(ctx, &b.writes, insertFirst, firsts),
		s.plan(ctx, &b.writes, insertOthers, others),
		s.plan(ctx, &b.writes, deleteUploads, uploads))
}

// heldReady is the ready of a held delivery: never.
const heldReady = math.MaxInt64

// readyAt is when a delivery can be leased.
func readyAt(next, leasedUntil time.Time, held bool) int64 {
	if held {
		return heldReady
	}
	return max(next.UnixMicro(), leasedUntil.UnixMicro())
}

// number is a truth value as it is stored.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// maxReason is the size of the column, for the same cause as maxLong.
const maxReason = 16_384

func fitsReason(reason string) error {
	return shorter(maxReason, []string{reason})
}
