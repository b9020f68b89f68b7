package main

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A test message is sent once for each form, and its activity is shown. A refusal is
// shown too. Users of others cannot be chosen.
func TestTestMessage(t *testing.T) {
	s := newSite(t)
	st := new(memory.Store)
	s.hist = &history.History{Store: st}
	s.srv = &relay.Server{Hostname: hostname, Credentials: s.creds, Forwarder: &queue.Queue{Spool: st, Record: true, Hostname: hostname, Next: outbox(t.TempDir())}}
	defer s.srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.hist.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	tenant := s.creds.Tenant("acme")
	if _, err := tenant.AddDomain(ctx, "acme.example"); err != nil {
		t.Fatal(err)
	}
	user, _, err := tenant.AddUser(ctx, "acme.example", "shop")
	if err != nil {
		t.Fatal(err)
	}
	acme, birch := s.browser(t, "acme"), s.browser(t, "birch")
	_, page := get(t, acme, s.URL+"/test")
	key := regexp.MustCompile(`name="key" value="([A-Z0-9]{26})"`).FindStringSubmatch(page)
	if key == nil || !strings.Contains(page, user.Username) {
		t.Fatalf("the page is\n%s", page)
	}
	form := url.Values{"user": {user.Username}, "to": {"bob@example.com"}, "key": {key[1]}}
	for range 2 {
		if page := post(t, acme, s.URL+"/test", form); !strings.Contains(page, "Sent. Reload this page") || !strings.Contains(page, "bob@example.com") || !strings.Contains(page, "Test message") {
			t.Errorf("a test message gets\n%s", page)
		}
	}
	form.Set("to", "bob")
	if page := post(t, acme, s.URL+"/test", form); !strings.Contains(page, "Not sent: the recipient is not an address") {
		t.Errorf("a malformed address gets\n%s", page)
	}
	form.Set("to", "eve@example.com")
	if page := post(t, birch, s.URL+"/test", form); !strings.Contains(page, "Not found") {
		t.Errorf("a user of another customer gets\n%s", page)
	}
	if depth, err := st.Depth(ctx); err != nil || depth.Deliveries != 1 {
		t.Errorf("the queue has %+v, %v, want 1 delivery", depth, err)
	}
	list, err := st.Deliveries(ctx, store.Filter{}, store.Page{})
	if err != nil || len(list) != 1 || list[0].Mail.From != "test@acme.example" || list[0].Mail.Username != user.Username {
		t.Errorf("the queue has %+v, %v", list, err)
	}
}
