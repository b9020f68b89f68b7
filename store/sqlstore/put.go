package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Spool = (*Store)(nil)

// Put implements [store.Spool]. A content of up to 256 KiB is a column of the
// mail. A larger one is written before, in pieces with a transaction each, so
// that others can write in between; until the mail is there nobody sees it.
func (s *Store) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader) error {
	err := s.put(ctx, m, deliveries, body)
	if s.isFull(err) {
		err = fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return failed("put", err)
}

// maxInline is the size of a content that is kept in its mail's row.
const maxInline = 256 << 10

func (s *Store) put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	op := &operation{mail: m.ID, content: []byte{}}
	if op.deliveries, err = deliveryRows(m.ID, deliveries); err != nil {
		return err
	}
	if m.Size > maxInline {
		op.upload = m.ID + "." + rand.Text()
	}
	if op.row, err = mailRow(m, op.upload); err != nil {
		return err
	}
	if op.upload == "" {
		if op.content, err = readWhole(body, m.Size); err != nil {
			return err
		}
	} else if err := s.upload(ctx, op.upload, m, body); err != nil {
		return errors.Join(err, s.discard(ctx, op.upload))
	}
	op.row = append(op.row, op.content)
	err = s.commits.do(ctx, op, s.commit)
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

// mailColumns are those that mailRow gives values to; the content comes last.
const mailColumns = `id, tenant, domain, username, sender, remote, received, size, body, utf8, require_tls, ret, envelope_id, upload`

var insertMails = rowsQuery{`INSERT INTO {mails} (` + mailColumns + `, content) VALUES ... ON CONFLICT DO NOTHING`, tuple(15), ", "}

func mailRow(m store.Mail, upload string) ([]any, error) {
	if m.ID == "" || len(m.ID) > maxID || strings.ContainsFunc(m.ID, notInID) {
		return nil, fmt.Errorf("the id %q is not of 1 to %d letters and digits", m.ID, maxID)
	}
	if err := errors.Join(fits(string(m.Tenant), m.Remote.String()),
		fitsLong(m.Domain, m.Username, m.From, m.Body, m.Return, m.EnvelopeID)); err != nil {
		return nil, err
	}
	return []any{
		m.ID, string(m.Tenant), []byte(m.Domain), []byte(m.Username), []byte(m.From), addrText(m.Remote),
		m.Received.UnixMicro(), m.Size, []byte(m.Body), number(m.UTF8), number(m.RequireTLS),
		[]byte(m.Return), []byte(m.EnvelopeID), upload,
	}, nil
}

const maxID = 64

func notInID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

var insertDeliveries = rowsQuery{`INSERT INTO {deliveries}
	(mail, n, recipient, notify, original, lease, leased_until, next, ready, attempts, warned, reason) VALUES ...`, tuple(12), ", "}

func deliveryRows(mail string, deliveries []store.Delivery) ([][]any, error) {
	if n := len(deliveries); n == 0 || n > store.MaxDeliveries {
		return nil, fmt.Errorf("a mail can't have %d deliveries", n)
	}
	rows := make([][]any, len(deliveries))
	for n, d := range deliveries {
		if err := errors.Join(fitsLong(d.Recipient, d.Notify, d.OriginalRecipient), fitsReason(d.Reason)); err != nil {
			return nil, err
		}
		rows[n] = []any{
			mail, n, []byte(d.Recipient), []byte(d.Notify), []byte(d.OriginalRecipient), d.Lease, d.LeasedUntil.UnixMicro(),
			d.Next.UnixMicro(), readyAt(d.Next, d.LeasedUntil, d.Held), d.Attempts, number(d.Delayed), []byte(d.Reason),
		}
	}
	return rows, nil
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
