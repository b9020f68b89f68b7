package smarthost

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
	"github.com/gatepost-mail/gatepost/store"
)

// refused is what a server says to MAIL of a message that it may not want.
func refused() error {
	re := &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "blocked"}
	return &outbound.Error{Host: "up.example", Step: outbound.Mail, Err: re, Reply: re}
}

func messageOf(id, tenant string) *relay.Message {
	m := &relay.Message{ID: id, Partial: true}
	m.Identity.Tenant = store.TenantID(tenant)
	return m
}

// A message that is refused again an hour after the first time bounces, also if no other
// mail flows.
func TestLoneRefusedMessageBouncesAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		m, start := messageOf("one", "tenant"), time.Now()
		for relay.Temporary(r.judge(m, false, refused())) {
			if time.Since(start) > 2*time.Hour {
				t.Fatal("the message still waits")
			}
			time.Sleep(20 * time.Minute)
		}
		if took := time.Since(start); took != time.Hour {
			t.Errorf("refused for good after %v, want 1h", took)
		}
		if err := r.judge(messageOf("two", "tenant"), false, refused()); !relay.Temporary(err) {
			t.Errorf("another message is refused for good at once: %v", err)
		}
	})
}

// A refusal of every tenant stays about the relay after an hour.
func TestRefusalOfEveryTenantStaysTemporary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		for range 5 {
			var err error
			for _, name := range []string{"one", "two", "three"} {
				if err = r.judge(messageOf(name, name), false, refused()); !relay.Temporary(err) {
					t.Fatalf("refused for good: %v", err)
				}
			}
			if !errors.As(err, new(ourFault)) {
				t.Fatalf("got %v, want an ourFault", err)
			}
			time.Sleep(20 * time.Minute)
		}
	})
}
