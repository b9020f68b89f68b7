package production_test

import (
	"errors"
	"fmt"
	"io"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// With a bounce domain, a report of a late bounce makes a delivered recipient a bounce, and
// goes on to the author.
func TestLateBounce(t *testing.T) {
	p := newProgram(t)
	p.env["GATEPOST_BOUNCE_DOMAIN"], p.env["GATEPOST_BOUNCE_SECRET"] = "bounces.acme.example", "a secret of the test"
	p.env["GATEPOST_LISTEN_BOUNCES"], _ = freeAddrs(t)
	p.start(t)
	u := p.addUser(t)
	c, _ := p.connect(t, true)
	if err := u.begin(t, c).Close(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	sent := p.up.Wait(t, 1)[0]
	if !strings.HasPrefix(sent.From, "b-") || !strings.HasSuffix(sent.From, "-billing@bounces.acme.example") {
		t.Fatalf("the upstream got it from %s, want an address of the bounce domain", sent.From)
	}
	p.recorded(t, 1)
	report := fmt.Sprintf("Content-Type: multipart/report; report-type=delivery-status; boundary=b1\r\n\r\n"+
		"--b1\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.example.com\r\n\r\n"+
		"Final-Recipient: rfc822; bob@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n"+
		"--b1\r\nContent-Type: message/rfc822\r\n\r\n%s--b1--\r\n", sent.Content)
	mta, err := smtp.Dial(p.env["GATEPOST_LISTEN_BOUNCES"])
	if err != nil {
		t.Fatal(err)
	}
	defer mta.Close()
	if err := errors.Join(mta.Mail(""), mta.Rcpt(sent.From)); err != nil {
		t.Fatal(err)
	}
	w, err := mta.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, report); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.up.Wait(t, 2)[1]; got.From != "" || len(got.To) != 1 || got.To[0].Address != "billing@acme.example" {
		t.Errorf("the report went from %q to %v, want the author", got.From, got.To)
	}
	acme := (&history.History{Store: p.database(t)}).Tenant("acme")
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		page, err := acme.Activities(t.Context(), store.ActivityFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.List) == 1 && page.List[0].State == store.ActivityHardBounced {
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("the history has %+v, want a hard bounce", page.List)
		}
	}
	p.terminate(t)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, &p.log)
	}
}
