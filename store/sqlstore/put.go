package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

var _ store.Spool = (*Store)(nil)

// Put implements [store.Spool]. A content of up to 64 KiB is a column of the
// mail. A larger one is kept before the mail, in Contents or in a table; no
// reader sees it until the mail is there.
func (s *Store) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	err := s.put(ctx, m, deliveries, body, events)
	if s.isFull(err) && !s.mayHave(ctx, m.ID) {
		err = fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return failed("put", err)
}

// mayHave reports whether a mail is there, kept by another call, or cannot be looked for.
func (s *Store) mayHave(ctx context.Context, mail string) bool {
	st, err := s.prepared(ctx, `SELECT 1 FROM {deliveries} WHERE mail = ? AND n = 0`)
	if err != nil {
		return true
	}
	has, err := exists(st.QueryRowContext(ctx, mail))
	return has || err != nil
}

// maxInline is the size of a content that is kept in its mail's row. SQLite
// rewrites the whole row whenever the delivery changes.
const maxInline = 64 << 10

func (s *Store) put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events []store.Event) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	op := &operation{mail: m.ID, notice: m.Notice, content: []byte{}, key: keyOf(&m)}
	if op.events, err = encode(pointers(events)); err != nil {
		return err
	}
	if m.Size > maxInline {
		if op.upload, err = s.newUpload(ctx, m.ID); err != nil {
			return err
		}
	}
	if op.first, op.others, err = putRows(m, deliveries, op.upload); err != nil {
		return err
	}
	content := &spools.Summer{R: body}
	if op.upload == "" {
		if op.content, err = readWhole(content, m.Size); err != nil {
			return err
		}
	} else if err := s.upload(ctx, op.upload, m, content); err != nil {
		s.tryDiscard(ctx, op.upload)
		return err
	}
	op.digest = spools.Digest(&m, deliveries, content.Sum)
	op.first = append(op.first, op.digest, op.content)
	err = s.puts.do(ctx, op, s.commit)
	if used := op.content; op.upload == "" && err == nil { // otherwise another caller may still be writing it
		inlines.Put(&used)
	}
	s.catalog.note(waitingIn(&m, deliveries)) // after an error too: the outcome may be unknown
	s.checkpoint(ctx)
	if op.upload != "" && (err != nil || op.skipped) {
		s.tryDiscard(ctx, op.upload)
	}
	return err
}

// inlines are buffers for contents that are kept in their mail's row.
var inlines = sync.Pool{New: func() any { return new([]byte) }}

// readWhole reads a content of exactly size bytes.
func readWhole(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return nil, fmt.Errorf("the content can't have %d bytes", size)
	}
	content := *inlines.Get().(*[]byte)
	if content == nil || int64(cap(content)) < size {
		content = make([]byte, size)
	}
	content = content[:size]
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
	deliveryColumns = `mail, n, tenant, recipient, notify, original, lane, list, lease, next, tried, attempts, deaths, warned, reason`
	mailColumns     = `recipients, domain, username, sender, remote, received, size, body, utf8, require_tls, ret, envelope_id, notice, upload, digest, content`
)

// putRows returns the rows of a mail: the first without its digest and content,
// which come last, and the others.
func putRows(m store.Mail, deliveries []store.Delivery, upload string) (first []any, others [][]any, err error) {
	if m.ID == "" || len(m.ID) > maxID || strings.ContainsFunc(m.ID, notInID) {
		return nil, nil, fmt.Errorf("the id %q is not of 1 to %d letters and digits", m.ID, maxID)
	}
	if err := errors.Join(spools.Check(&m, deliveries), fits(string(m.Tenant), m.Remote.String()),
		fitsLong(m.Domain, m.Username, m.From, m.Body, m.Return, m.EnvelopeID, m.Key, m.Fingerprint)); err != nil {
		return nil, nil, err
	}
	for n, d := range deliveries {
		if err := errors.Join(fitsLong(d.Recipient, d.Notify, d.OriginalRecipient), fits(d.Node), fitsReason(d.Reason)); err != nil {
			return nil, nil, err
		}
		lane := laneText(store.Lane{Destination: d.Destination, Tenant: m.Tenant})
		row := make([]any, 0, 31)
		row = append(row, m.ID, n, string(m.Tenant), []byte(d.Recipient), []byte(d.Notify), []byte(d.OriginalRecipient),
			lane, listOf(&d, lane), d.Lease, d.Next.UnixMicro(), d.Tried.UnixMicro(), d.Attempts, d.Deaths, warnedOf(d.Delayed, d.Idle), []byte(d.Reason))
		if n > 0 {
			others = append(others, row)
			continue
		}
		first = append(row, len(deliveries), []byte(m.Domain), []byte(m.Username), []byte(m.From), addrText(m.Remote),
			m.Received.UnixMicro(), m.Size, []byte(m.Body), number(m.UTF8), number(m.RequireTLS),
			[]byte(m.Return), []byte(m.EnvelopeID), number(m.Notice), upload)
	}
	return first, others, nil
}

const maxID = 64

func notInID(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

var (
	insertFirst   = rowsQuery{`INSERT INTO {deliveries} (` + deliveryColumns + `, ` + mailColumns + `) VALUES ... ON CONFLICT DO NOTHING`, tuple(31), ", ", false}
	insertOthers  = rowsQuery{`INSERT INTO {deliveries} (` + deliveryColumns + `) VALUES ... ON CONFLICT DO NOTHING`, tuple(15), ", ", false}
	deleteDropped = keysQuery(`DELETE FROM {uploads} WHERE upload IN (...)`, 1)
	deleteUploads = keysQuery(`DELETE FROM {uploads} WHERE upload IN (...) AND started > 0`, 1)
)

// same reports whether a Put is of the mail that has this notice and digest.
func (op *operation) same(notice bool, digest int64) bool {
	return op.notice == notice && (notice || op.digest == digest)
}

func errTaken(mail string) error {
	return fmt.Errorf("another mail has the ID %q: %w", mail, store.ErrTaken)
}

// planPuts adds the statements of Put, and those that record events, to a batch. It
// leaves out the mails that are known to exist. The caller has planned what is settled.
func (s *Store) planPuts(ctx context.Context, b *batch, ops []*operation) error {
	var firsts, others, uploads [][]any
	seen := make(map[string]*operation, len(ops))
	var keys keyPlan
	for _, op := range ops {
		if op.mail == "" {
			continue
		}
		op.ahead, op.behind = seen[op.mail], nil
		if !op.found && op.ahead == nil {
			op.behind = keys.add(op)
		}
		op.skipped = op.found || op.ahead != nil || op.behind != nil
		if op.skipped {
			continue
		}
		seen[op.mail] = op
		firsts = append(firsts, op.first)
		others = append(others, op.others...)
		if op.upload != "" {
			uploads = append(uploads, []any{op.upload})
		}
	}
	b.strict = b.strict || len(others) > 0 || len(uploads) > 0 || len(keys.rows) > 0
	return errors.Join(
		s.planKeys(ctx, b, &keys),
		s.planRecords(ctx, b, firsts, s.recordRows(ops)),
		s.plan(ctx, &b.writes, insertOthers, others),
		s.plan(ctx, &b.writes, deleteUploads, uploads))
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
