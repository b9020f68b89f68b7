package mx_test

import (
	"errors"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

func TestDestinationIsTheDomainInOneForm(t *testing.T) {
	for recipient, want := range map[string]string{
		"bob@example.com":             "example.com",
		"bob@Example.COM.":            "example.com",
		"bob@BÜCHER.example":          "xn--bcher-kva.example",
		"bob@xn--bcher-kva.example":   "xn--bcher-kva.example",
		`"bob@home"@example.com`:      "example.com",
		"bob@under_score.example.com": "under_score.example.com",
		"bob@ab--cd.example":          "ab--cd.example",
		// An invalid address still has a group.
		"bob@[192.0.2.1]": "[192.0.2.1]",
		"bob":             "bob",
		"bob@":            "",
		"":                "",
	} {
		if got := mx.Destination(recipient); got != want {
			t.Errorf("%q: %q, want %q", recipient, got, want)
		}
	}
}

// Addresses that mail can't go to are refused for good, one by one, and no server is
// asked.
func TestAddressesThatMailCannotGoTo(t *testing.T) {
	for addr, enhanced := range map[string]string{
		"bob":                       "5.1.3",
		"@example.com":              "5.1.3",
		"bob@":                      "5.1.3",
		"bob@[127.0.0.1]":           "5.1.2",
		"bob@[IPv6:::1]":            "5.1.2",
		"bob@127.0.0.1":             "5.1.2",
		"bob@127.0.0.1.":            "5.1.2",
		"bob@127.1":                 "5.1.2",
		"bob@localhost":             "5.1.2",
		"bob@exa mple.com":          "5.1.2",
		"bob@example..com":          "5.1.2",
		"bob@ex\u2028ample.example": "5.1.2",
	} {
		up := &relaytest.Upstream{}
		z := mailFor("mx.example.com")
		err := forward(t, start(t, up, z), message("ok@example.com", addr))
		wantReply(t, err, 550, enhanced)
		var refused *relay.RefusedError
		if !errors.As(err, &refused) || len(refused.Recipients) != 1 || refused.Recipients[0].Address != addr {
			t.Errorf("%q: refused is %v", addr, err)
		}
		if wantConnections(t, up, 0); len(z.asked) != 0 {
			t.Errorf("%q: looked up %v", addr, z.asked)
		}
	}
}

// A message to several domains is taken for none, and those of the first domain
// aren't to blame: a queue that doesn't group them still gets the mail out.
func TestRecipientsOfSeveralDomains(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up, mailFor("mx.example.com"))
	err := forward(t, f, message("a@example.com", "b@example.net", "c@EXAMPLE.com", "d@example.org"))
	wantReply(t, err, 452, "4.5.3")
	var refused *relay.RefusedError
	if !errors.As(err, &refused) || len(refused.Recipients) != 2 ||
		refused.Recipients[0].Address != "b@example.net" || refused.Recipients[1].Address != "d@example.org" {
		t.Errorf("refused: %v", err)
	}
	wantConnections(t, up, 0)
	mustForward(t, f, message("a@example.com", "c@EXAMPLE.com"))
	wantHosts(t, up, "mx.example.com")
}

func TestNoRecipients(t *testing.T) {
	m := message()
	m.To = nil
	wantReply(t, forward(t, start(t, &relaytest.Upstream{}, mailFor()), m), 554, "5.5.1")
}
