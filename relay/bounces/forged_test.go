package bounces_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// reportOn returns a report that an address does not exist, with the token of a
// message as each of its recipients got it.
func reportOn(data, addr string) string {
	var token string
	for line := range strings.SplitSeq(data, "\r\n") {
		if strings.HasPrefix(line, "X-Bounce-Token: ") {
			token = line
		}
	}
	return "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.gmail.example\r\n\r\n" +
		"Final-Recipient: rfc822; " + addr + "\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 No such user\r\n\r\n" +
		"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n" + token + "\r\n\r\n--b--\r\n"
}

// A recipient can report that another one of the same message does not exist. One report
// like that does not suppress the other one, nor do copies of it. If the message had one
// recipient, the report is enough.
func TestForgedReportSuppressesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		list := &suppress.List{Store: st, History: st, Logger: quiet}
		h := &history.History{Store: st, Publish: list.Learn, Logger: quiet}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		in := &bounces.Receiver{Secrets: []credentials.Password{newSecret}, Bounced: h.Bounced, Logger: quiet}
		report := func(id string, to ...string) (refused error) {
			m := message("shop@acme.example", to...)
			m.ID, m.Received = id, time.Now().UTC()
			out := rewrite(t, m, "bounces.acme.example")
			for i, addr := range to {
				for _, kind := range []store.EventKind{store.EventAccepted, store.EventDelivered} {
					e := store.Event{
						Kind: kind, Time: m.Received.Add(time.Duration(kind) * time.Millisecond), Received: m.Received, Tenant: "acme", Domain: "acme.example",
						Username: "u", Mail: id, N: i, From: m.From, Recipient: addr, Attempt: 1,
					}
					if err := st.Record(t.Context(), []store.Event{e}); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(time.Minute)
			for range 3 {
				if err := in.Receive(t.Context(), out.From, strings.NewReader(reportOn(string(out.Data), to[len(to)-1]))); err != nil {
					t.Fatal(err)
				}
				time.Sleep(25 * time.Hour)
			}
			r, err := h.Tenant("acme").Mail(t.Context(), id, store.RecipientFilter{States: []store.ActivityState{store.ActivityHardBounced}})
			if err != nil || len(r.Recipients) != 1 {
				t.Errorf("%s: %d bounces, %v, want 1", id, len(r.Recipients), err)
			}
			return list.AllowRecipient(t.Context(), &relay.PolicyRequest{
				Client: relay.Client{Identity: credentials.Identity{Tenant: "acme"}}, Address: to[len(to)-1],
			})
		}
		if err := report("shared", "mallory@gmail.example", "bob@gmail.example"); err != nil {
			t.Errorf("after a report of another recipient: %v, want it allowed", err)
		}
		if report("alone", "carol@gmail.example") == nil {
			t.Error("after a report about a message to carol alone: it is allowed, want it refused")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
