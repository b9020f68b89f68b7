package suppress_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A list learns from a real history, and asks it whether mail was delivered lately.
func TestHistory(t *testing.T) {
	st, quiet := new(memory.Store), slog.New(slog.DiscardHandler)
	l := newList(t)
	l.Store, l.History = st, st
	hist := &history.History{Store: st, Publish: l.Learn, Logger: quiet}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { hist.Run(ctx) })
	defer wg.Wait()
	defer stop()
	record := func(events ...store.Event) {
		t.Helper()
		if err := st.Record(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			j, err := hist.Backlog(t.Context())
			if err != nil || time.Now().After(end) {
				t.Fatalf("the backlog is %+v, %v", j, err)
			}
			if j.Records == 0 {
				return
			}
		}
	}
	// Two messages that the next server took: it reports about one that the
	// mailbox does not exist. The other was to an address that had mail before.
	first, before := l.delivered("reported@example.net"), l.delivered("lately@example.net")
	record(first, before, l.bounced("gone@example.net", noSuchUser), l.bounced("blocked@example.net", "550 5.7.1 blocked"))
	l.refused("gone@example.net")
	l.allowed("reported@example.net", "lately@example.net", "blocked@example.net")
	reply := &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "unknown", Host: "mx.example.net"}
	if err := hist.Bounced(t.Context(), "acme", first.Mail, first.Recipient, reply); err != nil {
		t.Fatal(err)
	}
	record(l.bounced("lately@example.net", noSuchUser))
	l.refused("reported@example.net")
	l.allowed("lately@example.net")
	if got := ask(t, l.List, "acme", "reported@example.net"); got != nil && got.Enhanced != "5.1.1" {
		t.Errorf("the reply is %+v, want 5.1.1", got)
	}
	// The address of the real History is asked for in any case.
	record(l.bounced("LATELY@Example.net", noSuchUser))
	l.allowed("lately@example.net")
}
