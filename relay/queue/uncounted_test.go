package queue_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A sealed Store cannot read contents for now.
type sealed struct {
	*memory.Store
	shut atomic.Bool
}

func (s *sealed) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if s.shut.Load() {
		return nil, errors.New("no disk")
	}
	return s.Store.Body(ctx, mail)
}

// Attempts that do not count may go on without end. They are recorded once for each
// reason.
func TestRecordUncounted(t *testing.T) {
	busy := &relay.BusyError{Wait: time.Second, Err: reply(421, "4.7.0 too many messages")}
	store := new(sealed)
	inBubble(t, recording(func(b *bench) {
		b.q.MaxMemory = -1
		store.Store = b.spool
		b.q.Spool = store
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if m.To[0].Address == "busy@example.com" && len(b.from(m.From)) <= 100 {
				return busy
			}
			return nil
		}
	}), func(b *bench) {
		b.forward(message(1, "a@acme.example", "busy@example.com"))
		b.pass(10 * minute)
		b.wantStory("busy@example.com", "accepted 0, waiting 0 mx.test 421 4.7.0 too many messages, delivered 1")
		store.shut.Store(true)
		b.forward(message(2, "b@acme.example", "unread@example.com"))
		b.pass(2 * time.Hour)
		store.shut.Store(false)
		b.pass(10 * minute)
		b.wantStory("unread@example.com", "accepted 0, waiting 0 queue: reading the content: no disk, delivered 1")
	})
}

// During a pause that a site has asked for in answer to other mail, the reason is that of the
// Forwarder. The message is tried after the pause, and no attempt is counted.
func TestRecordPauseForOtherMail(t *testing.T) {
	inBubble(t, recording(func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			if len(b.from(m.From)) == 1 {
				return &relay.BusyError{Site: "mx.test", Wait: 20 * minute, Err: errors.New("mx.test wants less mail for now")}
			}
			return nil
		}
	}), func(b *bench) {
		b.forward(message(1, "a@acme.example", "b@example.com"))
		b.pass(19 * minute)
		b.wantStory("b@example.com", "accepted 0, waiting 0 mx.test wants less mail for now")
		b.pass(2 * minute)
		b.wantStory("b@example.com", "accepted 0, waiting 0 mx.test wants less mail for now, delivered 1")
	})
}
