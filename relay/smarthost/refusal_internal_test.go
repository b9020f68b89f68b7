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

// What is about the upstream or its account is the operator's, and a reply to the message is
// the tenant's.
func TestMarkInternal(t *testing.T) {
	reply := &relay.ReplyError{Code: 450, Enhanced: "4.2.2", Text: "full"}
	toMessage := &outbound.Error{Step: outbound.Rcpt, Err: reply, Reply: reply}
	closing := &outbound.Error{Step: outbound.Rcpt, Err: errors.New("421 closing"), Reply: &relay.ReplyError{Code: 421}, Closing: true, Lost: true}
	login := &outbound.Error{Step: outbound.Auth, Err: errors.New("530 log in"), Reply: &relay.ReplyError{Code: 530}}
	at := func(step outbound.Step, code int, enhanced, text string) error {
		re := &relay.ReplyError{Code: code, Enhanced: enhanced, Text: text, Host: "up.example"}
		return &outbound.Error{Host: "up.example", Step: step, Err: re, Reply: re}
	}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"reply to the message": {toMessage, false},
		"refused here":         {&relay.ReplyError{Code: 552}, false},
		"doubt":                {doubt{toMessage}, true},
		"rate at MAIL":         {at(outbound.Mail, 450, "4.7.1", "too much mail from 192.0.2.1"), true},
		"rate at RCPT":         {at(outbound.Rcpt, 451, "4.7.0", "sending rate is too high"), true},
		"rate of a recipient":  {&relay.ReplyError{Code: 450, Enhanced: "4.7.1", Text: "rate limit of the account", Host: "up.example"}, true},
		"rate of a mailbox":    {at(outbound.Rcpt, 450, "4.2.1", "the mailbox gets too many messages"), false},
		"rate, for good":       {at(outbound.End, 550, "5.7.1", "rate limit"), false},
		"storage at MAIL":      {at(outbound.Mail, 452, "", "insufficient system storage"), true},
		"policy at MAIL":       {at(outbound.Mail, 450, "4.7.1", "greylisted"), true},
		"sender at MAIL":       {at(outbound.Mail, 450, "4.1.8", "sender domain not found"), false},
		"size at MAIL":         {at(outbound.Mail, 452, "4.3.4", "too large for now"), false},
		"content at MAIL":      {at(outbound.Mail, 451, "4.6.3", "cannot be converted"), false},
		"refused at MAIL":      {at(outbound.Mail, 550, "5.7.1", "not allowed"), false},
		"greylisted at RCPT":   {at(outbound.Rcpt, 450, "4.7.1", "greylisted"), false},
		"closing":              {closing, true},
		"login":                {login, true},
		"every tenant":         {ourFault{errors.New("refused")}, true},
		"busy":                 {&relay.BusyError{Site: "up.example:587", Err: reply}, true},
	} {
		if got := relay.Internal(markInternal(test.err)); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
	some := &relay.RefusedError{Partial: true, Recipients: []relay.RefusedRecipient{{Address: "a", Err: toMessage}, {Address: "b", Err: login}}}
	var got *relay.RefusedError
	if !errors.As(markInternal(some), &got) || !got.Partial || relay.Internal(got.Recipients[0].Err) || !relay.Internal(got.Recipients[1].Err) {
		t.Errorf("got %+v, want only the second recipient marked", got)
	}
	if relay.Internal(some) {
		t.Error("the error of the pool was changed")
	}
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
