package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is the test message: it shows a customer that mail of an SMTP user
// arrives, without the user's password.

// testPage lists the SMTP users. The form has a key, so that a form that is sent twice
// sends one message.
func (p *product) testPage(r *http.Request, s *session) (any, error) {
	list, _, err := p.creds.Tenant(s.ID).Users(r.Context(), "", store.Query{})
	return map[string]any{"Users": list, "Key": rand.Text()}, err
}

// sendTest sends a test message as a user of the customer, and shows its activity.
func (p *product) sendTest(w http.ResponseWriter, r *http.Request) {
	s := p.signedIn(r)
	if s == nil {
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		return
	}
	u, err := p.creds.Tenant(s.ID).User(r.Context(), r.PostFormValue("user"))
	if err != nil {
		p.fail(w, s, err)
		return
	}
	from, to := "test@"+u.Domain, strings.TrimSpace(r.PostFormValue("to"))
	id, err := p.srv.Submit(r.Context(), relay.Submission{
		Identity: credentials.IdentityOf(u),
		From:     from,
		To:       []string{to},
		Content: strings.NewReader(fmt.Sprintf("From: %s\nSubject: Test message\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"+
			"This message was sent from the pages of %s, to see whether it arrives.\n", from, s.Name)),
		Key: r.PostFormValue("key"),
	})
	var refused *relay.ReplyError
	switch {
	case errors.As(err, &refused):
		p.notify(s, notice{Text: "Not sent: " + refused.Text})
		http.Redirect(w, r, "/test", http.StatusSeeOther)
	case err != nil:
		p.fail(w, s, err)
	case p.isRecorded(r.Context(), s.ID, id):
		p.notify(s, notice{Text: "Sent. Reload this page to see what becomes of it."})
		http.Redirect(w, r, "/activity/"+id, http.StatusSeeOther)
	default:
		p.notify(s, notice{Text: "Sent. It will be in this list in a moment."})
		http.Redirect(w, r, "/activity", http.StatusSeeOther)
	}
}

// isRecorded waits a few seconds until the history has a message that was sent.
func (p *product) isRecorded(ctx context.Context, tenant store.TenantID, id string) bool {
	for range 50 {
		if _, err := p.hist.Tenant(tenant).Mail(ctx, id, store.RecipientFilter{Limit: 1}); !errors.Is(err, store.ErrNotFound) {
			return err == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
	return false
}
