package relaytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// patience is how long Wait waits.
const patience = 30 * time.Second

// A Message is a message that a [Relay] or a [Recorder] accepted.
type Message struct {
	*relay.Message
	Data []byte // its content: header and body as forwarded
}

// A Recorder is a [relay.Forwarder] that records what it takes. Behind the
// Forwarder under test it shows what leaves that one; [Relay.Messages] shows what
// goes in. It must not be copied. Its methods may be called from several
// goroutines.
type Recorder struct {
	// Next is called first. The Recorder returns its error, and records only the
	// recipients that Next has taken. Nil means that every message is taken.
	Next relay.Forwarder

	mu       sync.Mutex
	messages []Message
}

// Forward implements [relay.Forwarder].
func (r *Recorder) Forward(ctx context.Context, m *relay.Message) error {
	return r.forward(ctx, m, r.Next)
}

func (r *Recorder) forward(ctx context.Context, m *relay.Message, next relay.Forwarder) error {
	data, err := io.ReadAll(m.Content())
	if err != nil {
		return err
	}
	if next != nil {
		err = next.Forward(ctx, m)
	}
	to := taken(m.To, err)
	if len(to) == 0 && err != nil {
		return err
	}
	kept := m.WithRecipients(to).WithContent(bytes.NewReader(data), int64(len(data)))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, Message{kept, data})
	return err
}

// taken returns the recipients for whom a Forwarder that returned err took the
// message.
func taken(to []relay.Recipient, err error) []relay.Recipient {
	var refused *relay.RefusedError
	switch {
	case err == nil:
		return to
	case !errors.As(err, &refused) || !refused.Partial:
		return nil
	}
	return slices.DeleteFunc(slices.Clone(to), func(r relay.Recipient) bool {
		return slices.ContainsFunc(refused.Recipients, func(bad relay.RefusedRecipient) bool { return bad.Address == r.Address })
	})
}

// Messages returns what was taken so far, in that order.
func (r *Recorder) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Wait waits until n messages were taken, and returns all there are. After 30
// seconds it fails the test.
func (r *Recorder) Wait(tb testing.TB, n int) []Message {
	tb.Helper()
	return wait(tb, n, r.Messages)
}

func wait[M any](tb testing.TB, n int, messages func() []M) []M {
	tb.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		switch got := messages(); {
		case len(got) >= n:
			return got
		case time.Now().After(end):
			tb.Fatalf("relaytest: got %d messages in %v, want %d", len(got), patience, n)
		}
	}
}
