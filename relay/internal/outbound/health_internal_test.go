package outbound

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// atRcpt is what a site says that wants less mail, in answer to a recipient.
func atRcpt(addr string) *Error {
	reply := &relay.ReplyError{Code: 450, Enhanced: "4.7.28", Text: "<" + addr + ">: rate limited", Host: "mx.test"}
	return &Error{Host: "mx.test", Step: Rcpt, Err: reply, Reply: reply}
}

// wantNoReply checks that an error names the site and has nothing of a reply.
func wantNoReply(t *testing.T, what string, err error) {
	t.Helper()
	var e interface{ ServerReply() *relay.ReplyError }
	switch {
	case err == nil:
		t.Errorf("%s: no error", what)
	case errors.As(err, new(*relay.ReplyError)), errors.As(err, &e):
		t.Errorf("%s: the error has the reply: %v", what, err)
	case !relay.Temporary(err), relay.Unreachable(err):
		t.Errorf("%s: not temporary, or unreachable: %v", what, err)
	}
	var busy *relay.BusyError
	if errors.As(err, &busy) {
		err = busy.Err
	}
	if want := "mx.test wants less mail for now"; err.Error() != want {
		t.Errorf("%s: got %q, want %q", what, err, want)
	}
}

// During a pause that a site has asked for in answer to one message, other messages don't get
// that answer: it may name a recipient of another tenant.
func TestPauseShowsNoOtherMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{Limits: func(string) Limits { return Limits{Conns: 1, Messages: 1} }}
		long := false
		for !long {
			probe, err := p.Admit(t.Context(), "site", true)
			if err != nil {
				t.Fatal(err)
			}
			if h, _ := p.health.Get("site"); h.slowdowns > 0 {
				for _, noWait := range []bool{true, false} {
					_, err := p.Admit(t.Context(), "site", noWait)
					wantNoReply(t, "during the probe", err)
				}
			}
			var reply *relay.ReplyError
			if err := probe.Done(atRcpt("secret@example.com")); !errors.As(err, &reply) {
				t.Errorf("the message that was answered: got %v, want its reply", err)
			}
			h, _ := p.health.Get("site")
			pause := time.Until(h.until)
			long = pause > longPause
			_, err = p.Admit(t.Context(), "site", false)
			wantNoReply(t, "in a pause, waiting", err)
			_, err = p.Admit(t.Context(), "site", true)
			wantNoReply(t, "in a pause", err)
			var busy *relay.BusyError
			if !errors.As(err, &busy) || busy.Wait != pause || (busy.Free == nil) != long {
				t.Errorf("a pause of %v: got %+v", pause, busy)
			}
			if b := p.Brakes(); len(b) != 1 || b[0].Reason != h.cause.Error() {
				t.Errorf("operators see %+v, want the reply", b)
			}
			time.Sleep(pause)
		}
	})
}

// A 530 during a message suspends the destination, so its text is what all tenants read. A text
// that names an address is left out.
func TestLoginRefusalNamesNobody(t *testing.T) {
	for text, want := range map[string]string{
		"530 5.7.0 <secret@example.com>: log in first": "mx.test: AUTH: the server replied 530 5.7.0",
		"530 5.7.0 Must issue a STARTTLS command":      "mx.test: AUTH: the server replied 530 5.7.0 Must issue a STARTTLS command",
	} {
		rp, err := read(text + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		err = (&Conn{host: "mx.test"}).refuse(Rcpt, rp)
		var e *Error
		if !errors.As(err, &e) || !e.Unreachable() || e.Error() != want || strings.Contains(e.Reply.Text, "@") {
			t.Errorf("%s: got %v with the reply %v, want %q", text, err, e.Reply, want)
		}
	}
}

// If a site wants less mail in answer to several recipients, each has its own answer.
func TestPauseOfRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pool{Limits: func(string) Limits { return Limits{Conns: 1, Messages: 1} }}
		ticket, err := p.Admit(t.Context(), "site", true)
		if err != nil {
			t.Fatal(err)
		}
		var refused relay.RefusedError
		for _, addr := range []string{"a@example.com", "b@example.com"} {
			refused.Recipients = append(refused.Recipients, relay.RefusedRecipient{Address: addr, Err: atRcpt(addr)})
		}
		var got *relay.RefusedError
		if !errors.As(ticket.Done(&refused), &got) || len(got.Recipients) != 2 {
			t.Fatalf("got %v", got)
		}
		for _, r := range got.Recipients {
			var busy *relay.BusyError
			var reply *relay.ReplyError
			if !errors.As(r.Err, &busy) || !errors.As(r.Err, &reply) || reply.Text != "<"+r.Address+">: rate limited" {
				t.Errorf("%s: got %v", r.Address, r.Err)
			}
		}
	})
}
