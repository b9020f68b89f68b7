package webhook_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A URL is checked without a request. A Sender needs no fields for that, and none for a
// test.
func TestCheckURL(t *testing.T) {
	s := new(webhook.Sender)
	for text, want := range map[string]string{
		"https://hooks.example.com/in":           "",
		"https://user:secret@hooks.example.com/": "",
		"https://8.8.8.8/":                       "",
		"http://hooks.example.com/":              "does not begin with https://",
		"hooks.example.com":                      "not an absolute URL",
		"https:///path":                          "not an absolute URL",
		"":                                       "not an absolute URL",
		"https://secret\x7f":                     "not an absolute URL",
		"https://127.0.0.1/":                     "not an address that is allowed",
		"https://[::ffff:10.0.0.1]:8443/":        "not an address that is allowed",
		"https://169.254.169.254/latest":         "not an address that is allowed",
	} {
		err := s.CheckURL(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("CheckURL(%q) = %v, want %q", text, err, want)
		}
	}
	if err := (&webhook.Sender{AllowHTTP: true}).CheckURL("http://hooks.example.com/"); err != nil {
		t.Error(err)
	}
	strict := &webhook.Sender{AllowAddr: netip.Addr.IsLoopback}
	if err := strict.CheckURL("https://8.8.8.8/"); err == nil || !strings.Contains(err.Error(), "not an address that is allowed") {
		t.Errorf("CheckURL with an AllowAddr = %v, want that the address is not allowed", err)
	}
	e := one("shop")
	e.URL = "https://127.0.0.1:1/"
	if _, err := s.Test(t.Context(), e); err == nil || !strings.Contains(err.Error(), "not an address that is allowed") {
		t.Errorf("Test without fields = %v, want that the address is not allowed", err)
	}
}

// Wrong fields are errors that say which.
func TestFields(t *testing.T) {
	spool := new(memory.Store)
	for name, s := range map[string]*webhook.Sender{
		"Endpoints":            {Queue: queue.Queue{Spool: spool}},
		"Queue.Spool":          {Endpoints: endpoints()},
		"must be nil":          {Queue: queue.Queue{Spool: spool, Destination: func(string) string { return "" }}, Endpoints: endpoints()},
		"Queue.Hostname":       {Queue: queue.Queue{Spool: spool, Hostname: "a b"}, Endpoints: endpoints(one("shop"))},
		"of at most 246 bytes": {Queue: queue.Queue{Spool: spool, Node: strings.Repeat("n", 247)}, Endpoints: endpoints(one("shop"))},
	} {
		if err := s.Publish(t.Context(), []store.Event{event(1, store.EventDelivered)}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Publish = %v, want an error about %s", err, name)
		}
		if err := s.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "webhook: ") || !strings.Contains(err.Error(), name) {
			t.Errorf("Run = %v, want an error of webhook about %s", err, name)
		}
	}
}
