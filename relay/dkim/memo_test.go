package dkim_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
)

func TestSignedOncePerMessage(t *testing.T) {
	var asked atomic.Int32
	var next sink
	s := &dkim.Signer{Next: &next, Logger: slog.New(slog.DiscardHandler), Keys: func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
		asked.Add(1)
		return both(ctx, m, domain)
	}}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := s.Forward(t.Context(), message("same", "From: shop@acme.example\r\n\r\nhello\r\n")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("got %d calls of Keys, want one", n)
	}
	for _, data := range next.data {
		if data != next.data[0] {
			t.Fatal("got copies of one message that differ")
		}
	}
	// The memory is bounded: the oldest message is forgotten.
	for i := range 1100 {
		if err := s.Forward(t.Context(), message(fmt.Sprint(i), "From: a@[192.0.2.1]\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	asked.Store(0)
	s.Forward(t.Context(), message("same", "From: shop@acme.example\r\n\r\nhello\r\n"))
	if asked.Load() != 1 {
		t.Error("got the outcome of 1100 messages ago, want it forgotten")
	}
}

// Several messages with one ID and different contents are signed one by one.
func TestSignedForEachContent(t *testing.T) {
	for _, id := range []string{"1", ""} {
		var next sink
		s := &dkim.Signer{Keys: both, Next: &next}
		m := message(id, "From: shop@acme.example\r\n\r\nhello\r\n")
		for _, token := range []string{"aaaa", "bbbb"} {
			if err := s.Forward(t.Context(), m.Prepend([]byte("List-Unsubscribe: <https://acme.example/"+token+">\r\n"))); err != nil {
				t.Fatal(err)
			}
		}
		for i, data := range next.data {
			for _, v := range verify(t, data) {
				if v.Err != nil {
					t.Errorf("id %q, message %d: %v", id, i+1, v.Err)
				}
			}
		}
	}
}
