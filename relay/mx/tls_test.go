package mx_test

import (
	"cmp"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The server's certificate is for upstream.test and relay.test.
const (
	goodHost  = "upstream.test"
	goodHost2 = "relay.test"
	badHost   = "mx.example.com"
)

// brokenTLS lets the handshake fail: the bytes after the reply to STARTTLS are not
// TLS.
func brokenTLS(conns ...int) func(relaytest.Command) relaytest.Answer {
	return func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "STARTTLS" && (conns == nil || slices.Contains(conns, c.Conn)) {
			return relaytest.Answer{Text: "220 go\r\n", Close: true}
		}
		return relaytest.Answer{}
	}
}

// Any certificate is better than none.
func TestTLSIsUsedWhenOffered(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up, mailFor(badHost))
	f.TLSConfig = nil // trusts no certificate here
	mustForward(t, f, message())
	wantHosts(t, up, badHost)
}

func TestPlaintextWhenTLSIsNotOffered(t *testing.T) {
	up := &relaytest.Upstream{NoTLS: true}
	mustForward(t, start(t, up, mailFor(badHost)), message())
	wantHosts(t, up, "plaintext")
}

// If TLS with a host fails again after five minutes, the host gets its mail in
// plaintext. For an hour TLS is not tried with the host.
func TestPlaintextWhenTLSFails(t *testing.T) {
	for name, script := range map[string]func(relaytest.Command) relaytest.Answer{
		"handshake":        brokenTLS(),
		"STARTTLS refused": on(0, "STARTTLS", relaytest.Answer{Text: "454 4.7.0 TLS not available"}),
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			up := &relaytest.Upstream{Script: script}
			f := start(t, up, mailFor(badHost))
			f.Logger, f.MaxMessages = log.logger(), 1
			for range 2 {
				wantTemporary(t, forward(t, f, message()), badHost)
			}
			wantConnections(t, up, 2)
			f.TLSFailedEarlier(badHost, 5*time.Minute)
			mustForward(t, f, message())
			wantConnections(t, up, 4)
			if !log.has("TLS failed again, sending in plaintext") {
				t.Error("nothing was logged")
			}
			mustForward(t, f, message())
			wantConnections(t, up, 5)
			wantHosts(t, up, "plaintext plaintext")
		})
	}
}

// Once TLS has worked, an attacker can't make the mail plaintext by removing STARTTLS.
func TestNoWayBackToPlaintext(t *testing.T) {
	for name, script := range map[string]func(relaytest.Command) relaytest.Answer{
		"handshake fails": brokenTLS(2, 3),
		"not offered": func(c relaytest.Command) relaytest.Answer {
			if c.Verb == "EHLO" && c.Conn > 1 {
				return relaytest.Answer{Text: "250 localhost"}
			}
			return relaytest.Answer{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			up := &relaytest.Upstream{Script: script}
			f := start(t, up, mailFor(badHost))
			f.Logger, f.MaxMessages = log.logger(), 1
			mustForward(t, f, message())
			wantTemporary(t, forward(t, f, message()), badHost)
			wantHosts(t, up, badHost)
			wantConnections(t, up, 2)
			if !log.has("TLS failed, mail waits") {
				t.Error("nothing was logged")
			}
		})
	}
}

func TestRequireTLSField(t *testing.T) {
	for name, up := range map[string]*relaytest.Upstream{
		"not offered":   {NoTLS: true},
		"never offered": {NoTLS: true, Extensions: []string{}},
		"broken":        {Script: brokenTLS()},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, up, mailFor(badHost))
			f.RequireTLS = true
			wantTemporary(t, forward(t, f, message()), badHost)
			wantHosts(t, up, "")
		})
	}
	t.Run("anybody's certificate", func(t *testing.T) {
		up := &relaytest.Upstream{}
		f := start(t, up, mailFor(badHost))
		f.RequireTLS = true
		mustForward(t, f, message())
		wantHosts(t, up, badHost)
	})
}

// A message with REQUIRETLS goes only where its hosts are known beyond doubt, their
// certificates hold, and the requirement is passed on (RFC 8689).
func TestRequireTLSOption(t *testing.T) {
	noExtension := slices.DeleteFunc(relaytest.DefaultExtensions(), func(e string) bool { return e == "REQUIRETLS" })
	for _, test := range []struct {
		name  string
		up    *relaytest.Upstream
		hosts []string
		mode  string // of the policy; "" means enforce, "-" that there is none
		want  string
	}{
		{name: "all is well", up: &relaytest.Upstream{}, hosts: []string{goodHost}, want: goodHost},
		{name: "no policy", up: &relaytest.Upstream{}, hosts: []string{goodHost}, mode: "-"},
		{name: "policy in testing mode", up: &relaytest.Upstream{}, hosts: []string{goodHost}, mode: "testing"},
		{name: "another's certificate", up: &relaytest.Upstream{}, hosts: []string{badHost}},
		{name: "no TLS", up: &relaytest.Upstream{NoTLS: true}, hosts: []string{goodHost}},
		{name: "no extension", up: &relaytest.Upstream{Extensions: noExtension}, hosts: []string{goodHost, goodHost2}},
		{name: "the second host does it", up: &relaytest.Upstream{}, hosts: []string{badHost, goodHost}, want: goodHost},
	} {
		t.Run(test.name, func(t *testing.T) {
			z := mailFor(test.hosts...)
			f := start(t, test.up, z)
			if test.mode != "-" {
				publish(t, f, z, cmp.Or(test.mode, "enforce"), test.hosts...)
			}
			m := message()
			m.Options.RequireTLS = true
			err := forward(t, f, m)
			wantHosts(t, test.up, test.want)
			if test.want == "" {
				wantReply(t, err, 550, "5.7.30")
			} else if err != nil {
				t.Error(err)
			} else if d := test.up.Received()[0]; !slices.Contains(d.Params, "REQUIRETLS") {
				t.Errorf("not passed on: %v", d.Params)
			}
		})
	}
}

// A domain that is its own host needs no policy.
func TestRequireTLSOptionWithoutMX(t *testing.T) {
	z := &zone{addrs: map[string][]string{goodHost: {localhost}}}
	up := &relaytest.Upstream{}
	m := message("b@" + goodHost)
	m.Options.RequireTLS = true
	mustForward(t, start(t, up, z), m)
	wantHosts(t, up, goodHost)
}

// A host that can't be asked, or whose TLS isn't there right now, may have what is
// required.
func TestRequireTLSOptionWaitsForHosts(t *testing.T) {
	for at, answer := range map[string]relaytest.Answer{
		relaytest.Greeting: {Close: true},
		"STARTTLS":         {Text: "454 4.7.0 TLS not available due to temporary reason"}, // RFC 3207 section 4
	} {
		t.Run(at, func(t *testing.T) {
			z := mailFor(badHost, goodHost)
			f := start(t, &relaytest.Upstream{Script: on(2, at, answer)}, z)
			publish(t, f, z, "enforce", badHost, goodHost)
			m := message()
			m.Options.RequireTLS = true
			wantTemporary(t, forward(t, f, m), goodHost)
		})
	}
}

// The same for the addresses of one host.
func TestRequireTLSOptionWaitsForSilentAddresses(t *testing.T) {
	up := &relaytest.Upstream{Script: on(2, relaytest.Greeting, relaytest.Answer{Close: true})}
	z := mailFor(badHost)
	z.addrs[badHost] = []string{localhost, localhost}
	f := start(t, up, z)
	publish(t, f, z, "enforce", badHost)
	m := message()
	m.Options.RequireTLS = true
	wantTemporary(t, forward(t, f, m), badHost)
	wantConnections(t, up, 2)
}

// There may be a policy that says which the hosts are. Mail without REQUIRETLS does not wait.
func TestRequireTLSOptionWaitsForThePolicy(t *testing.T) {
	z := mailFor(goodHost)
	f := start(t, &relaytest.Upstream{}, z)
	serve(t, f, z, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "not now", http.StatusServiceUnavailable) })
	m := message()
	m.Options.RequireTLS = true
	err := forward(t, f, m)
	wantReply(t, err, 451, "4.7.5")
	if relay.Unreachable(err) {
		t.Errorf("the error suspends the destination: %v", err)
	}
	mustForward(t, f, message())
}

// A connection with any certificate is not used for a message that needs a valid one.
func TestConnectionsOfLessProtectionAreNotReused(t *testing.T) {
	z := mailFor(badHost)
	z.mx["nopolicy.example"] = z.mx["example.com"]
	up := &relaytest.Upstream{}
	f := start(t, up, z)
	publish(t, f, z, "enforce", badHost)
	mustForward(t, f, message("b@nopolicy.example"))
	wantTemporary(t, forward(t, f, message()))
	wantHosts(t, up, badHost)
}

// The embedder's TLSConfig can't switch off what a policy asks for.
func TestInsecureSkipVerifyHasNoEffect(t *testing.T) {
	z := mailFor(badHost)
	up := &relaytest.Upstream{}
	f := start(t, up, z)
	publish(t, f, z, "enforce", badHost)
	f.TLSConfig.InsecureSkipVerify, f.TLSConfig.ServerName = true, goodHost
	wantTemporary(t, forward(t, f, message()), "certificate")
	wantHosts(t, up, "")
}
