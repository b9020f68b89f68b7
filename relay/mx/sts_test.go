package mx_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// serve publishes what the handler says as the MTA-STS policy of example.com.
func serve(t testing.TB, f *mx.Forwarder, z *zone, handler http.HandlerFunc) {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f.HTTPClient = srv.Client() // which goes there for every name under example.com
	z.txt = map[string][]string{"_mta-sts.example.com": {"v=STSv1; id=1;"}}
}

func publish(t testing.TB, f *mx.Forwarder, z *zone, mode string, patterns ...string) {
	t.Helper()
	policy := "version: STSv1\r\nmode: " + mode + "\r\nmax_age: 604800\r\n"
	for _, p := range patterns {
		policy += "mx: " + p + "\r\n"
	}
	serve(t, f, z, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "mta-sts.example.com" || r.URL.Path != "/.well-known/mta-sts.txt" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, policy)
	})
}

func TestPolicyIsEnforced(t *testing.T) {
	for _, test := range []struct {
		name     string
		up       *relaytest.Upstream
		hosts    []string
		patterns []string
		want     string // delivered to
		says     string
	}{
		{name: "named host, good certificate", up: &relaytest.Upstream{}, hosts: []string{goodHost}, patterns: []string{goodHost}, want: goodHost},
		{name: "wildcard", up: &relaytest.Upstream{}, hosts: []string{goodHost}, patterns: []string{"*.test"}, want: goodHost},
		{name: "another's certificate", up: &relaytest.Upstream{}, hosts: []string{badHost}, patterns: []string{badHost}, says: "certificate"},
		{name: "no TLS", up: &relaytest.Upstream{NoTLS: true}, hosts: []string{goodHost}, patterns: []string{goodHost}, says: "STARTTLS"},
		{name: "broken TLS", up: &relaytest.Upstream{Script: brokenTLS()}, hosts: []string{goodHost}, patterns: []string{goodHost}, says: "handshake"},
		{name: "host not named", up: &relaytest.Upstream{}, hosts: []string{goodHost}, patterns: []string{"mx.example.com"}, says: "policy"},
		{name: "next host is good", up: &relaytest.Upstream{}, hosts: []string{goodHost2, badHost, goodHost}, patterns: []string{badHost, goodHost}, want: goodHost},
	} {
		t.Run(test.name, func(t *testing.T) {
			z := mailFor(test.hosts...)
			f := start(t, test.up, z)
			publish(t, f, z, "enforce", test.patterns...)
			err := forward(t, f, message())
			wantHosts(t, test.up, test.want)
			if test.want == "" {
				wantTemporary(t, err, test.says)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Hosts that the policy doesn't name don't use up the number that may be tried.
func TestHostsThatThePolicyForbidsAreNotCounted(t *testing.T) {
	z := mailFor("a.example", "b.example", goodHost)
	up := &relaytest.Upstream{}
	f := start(t, up, z)
	f.MaxHosts = 1
	publish(t, f, z, "enforce", goodHost)
	mustForward(t, f, message())
	wantHosts(t, up, goodHost)
}

func TestPolicyInTestingModeIsOnlyLogged(t *testing.T) {
	for name, test := range map[string]struct {
		pattern string
		up      *relaytest.Upstream
		want    string // delivered to
		says    string
	}{
		"certificate":    {badHost, &relaytest.Upstream{}, badHost, "certificate violates the MTA-STS policy"},
		"host not named": {goodHost, &relaytest.Upstream{}, badHost, "mail host violates the MTA-STS policy"},
		"no TLS":         {badHost, &relaytest.Upstream{NoTLS: true}, "plaintext", "plaintext violates the MTA-STS policy"},
		"broken TLS":     {badHost, &relaytest.Upstream{Script: brokenTLS()}, "plaintext", "plaintext violates the MTA-STS policy"},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			z := mailFor(badHost)
			f := start(t, test.up, z)
			f.Logger = log.logger()
			publish(t, f, z, "testing", test.pattern)
			f.TLSFailedEarlier(badHost, 5*time.Minute)
			mustForward(t, f, message())
			wantHosts(t, test.up, test.want)
			if !log.has(test.says) {
				t.Errorf("not logged: %s", log.buf.String())
			}
		})
	}
	t.Run("all is well", func(t *testing.T) {
		var log journal
		z := mailFor(goodHost)
		f := start(t, &relaytest.Upstream{}, z)
		f.Logger = log.logger()
		publish(t, f, z, "testing", goodHost)
		if mustForward(t, f, message()); log.has("policy") {
			t.Errorf("logged: %s", log.buf.String())
		}
	})
}

func TestPolicyOfModeNoneAsksForNothing(t *testing.T) {
	z := mailFor(badHost)
	up := &relaytest.Upstream{NoTLS: true}
	f := start(t, up, z)
	publish(t, f, z, "none")
	mustForward(t, f, message())
}

const enforceNobody = "version: STSv1\nmode: enforce\nmax_age: 604800\nmx: nobody.example\n"

// An invalid policy does not count: the domain gets its mail as if it had none (RFC
// 8461 section 5.1). Each of these would hold the mail back if it counted.
func TestWhatIsNoPolicy(t *testing.T) {
	plain := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain; charset=utf-8") }
	for name, handler := range map[string]http.HandlerFunc{
		"404": func(w http.ResponseWriter, r *http.Request) { http.Error(w, enforceNobody, 404) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/.well-known/mta-sts.txt" {
				http.Redirect(w, r, "/policy", http.StatusFound)
				return
			}
			plain(w)
			fmt.Fprint(w, enforceNobody)
		},
		"not text/plain": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, enforceNobody)
		},
		"too large": func(w http.ResponseWriter, r *http.Request) {
			plain(w)
			fmt.Fprint(w, enforceNobody, strings.Repeat("x: y\n", 64<<10/5))
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			plain(w)
			for r.Context().Err() == nil {
				fmt.Fprint(w, enforceNobody)
			}
		},
		"cut short": func(w http.ResponseWriter, r *http.Request) {
			plain(w)
			w.Header().Set("Content-Length", "10000")
			fmt.Fprint(w, enforceNobody)
		},
		"nonsense": func(w http.ResponseWriter, r *http.Request) {
			plain(w)
			fmt.Fprint(w, "hello", enforceNobody)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			z := mailFor(badHost)
			up := &relaytest.Upstream{}
			f := start(t, up, z)
			f.Logger = log.logger()
			serve(t, f, z, handler)
			mustForward(t, f, message())
			wantHosts(t, up, badHost)
			if !log.has("MTA-STS policy could not be fetched") {
				t.Error("not logged")
			}
		})
	}
}

// The same policy, served as it should be, does keep the mail.
func TestThatIsAPolicy(t *testing.T) {
	z := mailFor(badHost)
	f := start(t, &relaytest.Upstream{}, z)
	serve(t, f, z, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, enforceNobody)
	})
	wantTemporary(t, forward(t, f, message()), "policy")
}

// A policy counts only if its server has a certificate for its name.
func TestPolicyFromAStranger(t *testing.T) {
	var log journal
	z := mailFor(badHost)
	up := &relaytest.Upstream{}
	f := start(t, up, z)
	f.Logger = log.logger()
	publish(t, f, z, "enforce", "nobody.example")
	transport := f.HTTPClient.Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	f.HTTPClient = &http.Client{Transport: transport}
	mustForward(t, f, message())
	wantHosts(t, up, badHost)
	if !log.has("certificate") {
		t.Error("not logged")
	}
}

// Without an HTTPClient, policy servers are looked up as mail hosts are, and
// connected to only where AllowAddr lets mail go.
func TestPolicyServersAreNotInsideEither(t *testing.T) {
	var log journal
	z := mailFor(badHost)
	z.txt = map[string][]string{"_mta-sts.example.com": {"v=STSv1; id=1"}}
	z.addrs["mta-sts.example.com"] = []string{"10.1.2.3"}
	f := start(t, &relaytest.Upstream{}, z)
	f.Logger = log.logger()
	mustForward(t, f, message())
	if !log.has("10.1.2.3") || !log.has("no address that is allowed") {
		t.Errorf("logged: %s", log.buf.String())
	}
}

// While a policy is known, its server isn't asked again, and with a record there is
// nothing else that could be asked.
func TestPolicyIsFetchedOnce(t *testing.T) {
	var fetched atomic.Int32
	z := mailFor(goodHost)
	f := start(t, &relaytest.Upstream{}, z)
	serve(t, f, z, func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, strings.Replace(enforceNobody, "nobody.example", goodHost, 1))
	})
	done := make(chan bool)
	for range 10 {
		go func() { mustForwardIn(t, f.Forward); done <- true }()
	}
	for range 10 {
		<-done
	}
	if n := fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// A policy server that is slow holds up the mail as long as the context lasts, no
// longer, and its domain only.
func TestSlowPolicyServer(t *testing.T) {
	z := mailFor(badHost)
	z.mx["other.example"] = z.mx["example.com"]
	f := start(t, &relaytest.Upstream{}, z)
	release := make(chan struct{})
	serve(t, f, z, func(w http.ResponseWriter, r *http.Request) { <-release })
	defer close(release)
	slow := make(chan error)
	go func() {
		m, ctx := message(), t.Context()
		slow <- f.Forward(ctx, m)
	}()
	for z.times("TXT", "_mta-sts.example.com") == 0 {
		time.Sleep(time.Millisecond)
	}
	mustForward(t, f, message("b@other.example"))
	select {
	case err := <-slow:
		t.Errorf("it didn't wait for the policy: %v", err)
	default:
	}
	release <- struct{}{}
	if err := <-slow; err != nil {
		t.Error(err)
	}
}
