package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// maxInMemory is the largest content that is read into memory; what is larger
// goes to a temporary file.
const maxInMemory = 256 << 10

// errUnworkable means that the spool has a mail that no attempt can help.
var errUnworkable = errors.New("queue: held")

// An unread is why a mail can't be read right now. The cause is on this side, so it
// counts as no attempt, and no mail is given up for it.
type unread struct{ error }

func (e unread) Unwrap() error { return e.error }
func (unread) Temporary() bool { return true }

// load returns the message of a parcel. It is read from the spool once, by the
// first job of the parcel that needs it.
func (q *Queue) load(ctx context.Context, p *parcel) (*relay.Message, error) {
	select {
	case <-p.loading:
		defer func() { p.loading <- struct{}{} }()
	case <-ctx.Done():
		return nil, unread{ctx.Err()}
	}
	if p.message != nil {
		return p.message, nil
	}
	if isUnread(&p.mail) {
		return nil, fmt.Errorf("%w: the mail can't be read", errUnworkable)
	}
	body, err := q.Spool.Body(ctx, p.mail.ID)
	if err != nil {
		return nil, unreadable(err)
	}
	content, err := q.read(p, body)
	if err != nil {
		p.close()
		return nil, err
	}
	p.message = messageOf(&p.mail).WithContent(content, p.mail.Size)
	return p.message, nil
}

// isUnread reports whether the spool could not read a mail: all that is known is its ID.
func isUnread(m *store.Mail) bool { return *m == store.Mail{ID: m.ID} }

// read makes the content ready to be sent. If the spool has it where it can be read
// anywhere, such as in a file, it is read there. Otherwise it is read into memory if
// it is small and there is room, or into a temporary file. read closes the body, or p
// does later.
func (q *Queue) read(p *parcel, body io.ReadCloser) (io.ReaderAt, error) {
	if content, ok := body.(io.ReaderAt); ok {
		p.content = body
		return content, nil
	}
	defer body.Close()
	if p.mail.Size <= maxInMemory && q.dispatcher.chargeLoaded(p) {
		content, err := io.ReadAll(io.LimitReader(body, p.mail.Size+1))
		if err != nil {
			return nil, unreadable(err)
		}
		return bytes.NewReader(content), p.checkSize(int64(len(content)))
	}
	f, err := os.CreateTemp("", "gatepost-*")
	if err != nil {
		return nil, unreadable(err)
	}
	os.Remove(f.Name()) // on Unix: gone whatever happens to us
	p.content = tempFile{f}
	n, err := io.Copy(f, io.LimitReader(body, p.mail.Size+1))
	if err != nil {
		return nil, unreadable(err)
	}
	return f, p.checkSize(n)
}

// unreadable says what it means that the spool doesn't give a content.
func unreadable(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: the content is missing", errUnworkable)
	}
	return unread{fmt.Errorf("queue: reading the content: %w", err)}
}

func (p *parcel) checkSize(n int64) error {
	if n != p.mail.Size {
		return fmt.Errorf("%w: the content is not of %d bytes", errUnworkable, p.mail.Size)
	}
	return nil
}

// A tempFile is a temporary file.
type tempFile struct{ *os.File }

// Close closes and removes the file.
func (f tempFile) Close() error {
	err := f.File.Close()
	os.Remove(f.Name()) // already gone where an open file can be removed
	return err
}

// end closes the content when no job needs it any more. An attempt that was given
// up may still be loading; its file is closed when it is garbage.
func (p *parcel) end() {
	select {
	case <-p.loading:
		p.close()
	default:
	}
}

// close closes the content, if it has to be closed.
func (p *parcel) close() {
	if p.content == nil {
		return
	}
	p.content.Close()
	p.content = nil
}

// messageOf makes a Message of a Mail, without content and recipients.
func messageOf(m *store.Mail) *relay.Message {
	return &relay.Message{
		ID:       m.ID,
		Identity: credentials.Identity{Tenant: m.Tenant, Domain: m.Domain, Username: m.Username},
		From:     m.From,
		Options: relay.Options{
			Body: m.Body, UTF8: m.UTF8, RequireTLS: m.RequireTLS, Return: m.Return, EnvelopeID: m.EnvelopeID,
		},
		Remote:   m.Remote,
		Received: m.Received,
	}
}

// recipients are those of deliveries, as they are handed on.
func recipients(ds []store.Delivery) []relay.Recipient {
	to := make([]relay.Recipient, len(ds))
	for i, d := range ds {
		to[i] = relay.Recipient{Address: d.Recipient, OriginalRecipient: d.OriginalRecipient}
		if d.Notify != "" {
			to[i].Notify = strings.Split(d.Notify, ",")
		}
	}
	return to
}
