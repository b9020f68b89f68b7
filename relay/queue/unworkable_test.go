package queue_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

func TestUnworkableRowsAreHeld(t *testing.T) {
	now := func() time.Time { return time.Now().UTC() }
	for name, spoil := range map[string]func(b *bench, s *badSpool){
		"the mail can't be read": func(b *bench, s *badSpool) {
			s.lease = func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
				got, err := lease()
				for i := range got {
					if got[i].Delivery.Recipient == "bad@example.com" {
						got[i].Mail = store.Mail{ID: got[i].Mail.ID}
					}
				}
				return got, err
			}
		},
		"the content is missing": func(b *bench, s *badSpool) {
			s.body = onlyFirst(func() (io.ReadCloser, error) { return nil, fmt.Errorf("body: %w", store.ErrNotFound) })
		},
		"the content is short": func(b *bench, s *badSpool) {
			s.body = onlyFirst(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("From:")), nil })
		},
		"the content breaks off": func(b *bench, s *badSpool) {
			s.body = onlyFirst(func() (io.ReadCloser, error) {
				gone := iotest.ErrReader(fmt.Errorf("1 byte is missing: %w", store.ErrNotFound))
				return io.NopCloser(io.MultiReader(strings.NewReader("From:"), gone)), nil
			})
		},
		"the content is long": func(b *bench, s *badSpool) {
			s.body = onlyFirst(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(hello + "x")), nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.MaxMemory, b.q.Workers = -1, 1
				s := &badSpool{Spool: b.spool}
				spoil(b, s)
				b.q.Spool = s
				for i, to := range []string{"bad@example.com", "good@example.com"} {
					err := b.spool.Put(t.Context(), store.Mail{ID: message(i, "").ID, From: "a@acme.example", Received: now(), Size: int64(len(hello))},
						[]store.Delivery{{Recipient: to, Next: now().Add(time.Duration(i))}}, strings.NewReader(hello))
					if err != nil {
						t.Fatal(err)
					}
				}
			}, func(b *bench) {
				b.pass(hour)
				got := of[*queue.Held](b.events)
				if len(got) != 1 || got[0].Recipient != "bad@example.com" || !strings.Contains(got[0].Reason, strings.Fields(name)[1]) {
					t.Errorf("held: got %+v, want one, bad@example.com", got)
				}
				if tries(b, "good@example.com") != 1 || len(b.sink.all()) != 1 {
					t.Errorf("handed on were %v, want the good one", b.sink.all())
				}
				left := b.deliveries()
				if len(left) != 1 || !left[0].Delivery.Held || left[0].Delivery.Reason == "" {
					t.Errorf("the spool holds %+v, want the bad one, held, with a reason", left)
				}
			})
		})
	}
}

func onlyFirst(bad func() (io.ReadCloser, error)) func(context.Context, func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	var once sync.Once
	return func(_ context.Context, body func() (io.ReadCloser, error)) (rc io.ReadCloser, err error) {
		first := false
		once.Do(func() { first = true })
		if first {
			return bad()
		}
		return body()
	}
}
