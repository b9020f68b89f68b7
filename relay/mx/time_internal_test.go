package mx

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// A site publishes a policy, as long as it is up.
type site struct {
	id, policy     string
	dnsDown, down  bool
	slow           chan bool // if set, the policy comes when it is closed
	asked, fetched int
}

func (s *site) LookupTXT(context.Context, string) ([]string, error) {
	s.asked++
	switch {
	case s.dnsDown:
		return nil, &net.DNSError{IsTimeout: true}
	case s.id == "":
		return nil, &net.DNSError{IsNotFound: true}
	}
	return []string{"v=STSv1; id=" + s.id}, nil
}

func (s *site) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "a.example."}}, nil
}

func (s *site) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }

func (s *site) LookupAddr(context.Context, string) ([]string, error) { return nil, nil }

func (s *site) RoundTrip(*http.Request) (*http.Response, error) {
	if s.fetched++; s.down {
		return nil, errors.New("down")
	}
	if s.slow != nil {
		<-s.slow
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader(s.policy)),
	}, nil
}

func enforcing(host string, age time.Duration) string {
	return "version: STSv1\nmode: enforce\nmx: " + host + "\nmax_age: " + strconv.Itoa(int(age.Seconds()))
}

// A policyClock asks, after a while, for the host that the policy names; "" if
// there is none.
func policyClock(s *site) (after func(time.Duration) string) {
	f := &Forwarder{Resolver: s, HTTPClient: &http.Client{Transport: s}, Logger: slog.New(slog.DiscardHandler)}
	f.http = f.httpClient()
	var state stsState
	return func(d time.Duration) string {
		time.Sleep(d)
		f.updatePolicy(context.Background(), "example.com", &state)
		if p := state.valid(time.Now()); p != nil {
			return p.mx[0]
		}
		return ""
	}
}

const week = 7 * 24 * time.Hour

func TestPolicyInTime(t *testing.T) {
	t.Run("a new id is noticed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &site{id: "1", policy: enforcing("a.example", week)}
			after := policyClock(s)
			after(0)
			s.id, s.policy = "2", enforcing("b.example", week)
			if got := after(time.Minute); got != "a.example" || s.asked != 1 {
				t.Errorf("after a minute: %q, asked %d times", got, s.asked)
			}
			if got := after(stsCheck); got != "b.example" {
				t.Errorf("later: %q", got)
			}
		})
	})
	t.Run("one id, one fetch a day", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &site{id: "1", policy: enforcing("a.example", week)}
			after := policyClock(s)
			for range 6 * 24 * 3 {
				after(10 * time.Minute)
			}
			if s.fetched != 3 {
				t.Errorf("fetched %d times in three days", s.fetched)
			}
		})
	})
	for name, fail := range map[string]func(*site){
		"its server is down": func(s *site) { s.down = true },
		"and DNS, too":       func(s *site) { s.down, s.dnsDown = true, true },
		"its record is gone": func(s *site) { s.id = "" },
		"it became nonsense": func(s *site) { s.policy = "<html>" },
	} {
		t.Run("a policy outlives that "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{id: "1", policy: enforcing("a.example", week)}
				after := policyClock(s)
				after(0)
				fail(s)
				if got := after(week - time.Minute); got != "a.example" {
					t.Errorf("before its max_age is over: %q", got)
				}
				if got := after(2 * time.Minute); got != "" {
					t.Errorf("after its max_age: %q", got)
				}
			})
		})
	}
	for _, age := range []time.Duration{15 * time.Minute, week} {
		t.Run("a look that fails leaves no gap with a max_age of "+age.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{id: "1", policy: enforcing("a.example", age)}
				after := policyClock(s)
				after(0)
				s.down = true
				after(age - time.Minute)
				s.down = false
				if got := after(2 * time.Minute); got != "a.example" {
					t.Errorf("a minute after it has expired: %q", got)
				}
			})
		})
	}
	for _, age := range []time.Duration{time.Minute, 15 * time.Minute, 25 * time.Hour} {
		t.Run("renewed, never gone, with a max_age of "+age.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{id: "1", policy: enforcing("a.example", age)}
				after := policyClock(s)
				for d := time.Duration(0); d < 3*age; d += 20 * time.Second {
					if got := after(20 * time.Second); got != "a.example" {
						t.Fatalf("after %v: %q", d, got)
					}
				}
				if s.fetched > 7 { // twice within its time
					t.Errorf("fetched %d times", s.fetched)
				}
				s.down = true
				if got := after(age / 3); got != "a.example" {
					t.Error("gone when its server was out for a moment")
				}
			})
		})
	}
	t.Run("a policy of a few seconds is kept for a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &site{id: "1", policy: enforcing("a.example", time.Second)}
			after := policyClock(s)
			after(0)
			s.down = true
			if got := after(stsLeast - time.Second); got != "a.example" {
				t.Errorf("within the minute: %q", got)
			}
			if got := after(time.Second); got != "" {
				t.Errorf("after it: %q", got)
			}
		})
	})
	t.Run("a policy of no time is none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &site{id: "1", policy: enforcing("a.example", 0)}
			after := policyClock(s)
			for range 10 {
				if got := after(time.Second); got != "" || s.fetched != 1 {
					t.Fatalf("%q, fetched %d times", got, s.fetched)
				}
			}
		})
	})
	t.Run("a server that is down is asked now and then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &site{id: "1", policy: enforcing("a.example", week), down: true}
			after := policyClock(s)
			for range 60 {
				after(time.Minute)
			}
			if s.fetched != 6 {
				t.Errorf("asked %d times in an hour", s.fetched)
			}
			s.down = false
			if got := after(stsCheck); got != "a.example" {
				t.Errorf("then: %q", got)
			}
		})
	})
}

// While a policy is looked up again, mail goes on by the one that is known.
func TestNobodyWaitsForARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{id: "1", policy: enforcing("a.example", week)}
		f := &Forwarder{Hostname: "relay.example", Resolver: s, HTTPClient: &http.Client{Transport: s}}
		f.setup()
		route := func() string {
			r, err := f.route(t.Context(), "example.com")
			if err != nil || r.policy == nil {
				t.Errorf("%+v, %v", r, err)
				return ""
			}
			return r.policy.mx[0]
		}
		route()
		time.Sleep(stsCheck)
		s.id, s.policy, s.slow = "2", enforcing("b.example", week), make(chan bool)
		renewed := make(chan string)
		go func() { renewed <- route() }()
		synctest.Wait()
		begin := time.Now()
		if got := route(); got != "a.example" || !time.Now().Equal(begin) {
			t.Errorf("meanwhile: %q, after %v", got, time.Since(begin))
		}
		close(s.slow)
		if got := <-renewed; got != "b.example" {
			t.Errorf("who renewed it: %q", got)
		}
		if got := route(); got != "b.example" || s.fetched != 2 {
			t.Errorf("then: %q, fetched %d times", got, s.fetched)
		}
	})
}

// A canceled look-up is not remembered: the next message looks again.
func TestGivingUpIsNotRemembered(t *testing.T) {
	s := &site{id: "1", policy: enforcing("a.example", week)}
	f := &Forwarder{Resolver: s, HTTPClient: &http.Client{Transport: s}, Logger: slog.New(slog.DiscardHandler)}
	f.http = f.httpClient()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var state stsState
	f.updatePolicy(ctx, "example.com", &state)
	f.updatePolicy(t.Context(), "example.com", &state)
	if p := state.valid(time.Now()); p == nil || s.asked != 2 {
		t.Errorf("%v, asked %d times", p, s.asked)
	}
}

// The same while it renews a policy that is valid.
func TestGivingUpARenewalIsNotRemembered(t *testing.T) {
	for range 20 { // if both the lock and the end of ctx are there, chance decides
		synctest.Test(t, func(t *testing.T) {
			s := &site{id: "1", policy: enforcing("a.example", week)}
			f := &Forwarder{Hostname: "relay.example", Resolver: s, HTTPClient: &http.Client{Transport: s}, Logger: slog.New(slog.DiscardHandler)}
			f.setup()
			f.route(t.Context(), "example.com")
			time.Sleep(stsCheck)
			s.id, s.policy, s.slow = "2", enforcing("b.example", week), make(chan bool)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan bool)
			go func() { f.route(ctx, "example.com"); close(done) }()
			synctest.Wait()
			cancel()
			close(s.slow)
			<-done
			s.slow = nil
			if r, err := f.route(t.Context(), "example.com"); err != nil || r.policy.mx[0] != "b.example" {
				t.Errorf("the next message doesn't look again: %v, %v", r.policy, err)
			}
		})
	}
}

func TestMemoryOfTLSEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r tlsRecord
		want := func(what string, mode outbound.TLSMode) {
			t.Helper()
			if got := r.mode(time.Now()); got != mode {
				t.Errorf("%s: mode %d, want %d", what, got, mode)
			}
		}
		fails := func(plaintext bool) {
			t.Helper()
			if got := r.failedAt(time.Now()); got != plaintext {
				t.Errorf("plaintext is %v, want %v", got, plaintext)
			}
		}
		want("at first", outbound.Opportunistic)
		fails(false)
		want("after a failure", outbound.Opportunistic)
		time.Sleep(plainAfter - time.Second)
		fails(false)
		time.Sleep(time.Second)
		fails(true)
		want("after a failure five minutes later", outbound.None)
		time.Sleep(plainMemory)
		want("an hour later", outbound.Opportunistic)
		fails(true)
		r.succeeded(time.Now())
		want("after a success", outbound.Required)
		time.Sleep(tlsMemory - time.Second)
		want("a day later", outbound.Required)
		time.Sleep(time.Second)
		want("more than a day later", outbound.Opportunistic)
		fails(false)
		time.Sleep(tlsMemory + time.Second)
		fails(false) // the failure before is forgotten
	})
}

// RFC 8461 section 4.2, also for an embedder who lets old servers have old TLS.
func TestVerifiedTLSIsNotOld(t *testing.T) {
	f := &Forwarder{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS10}}
	if got := f.tlsConfig(verified, "h.example").MinVersion; got != tls.VersionTLS12 {
		t.Errorf("verified: %x", got)
	}
	if got := f.tlsConfig(opportunistic, "h.example").MinVersion; got != tls.VersionTLS10 {
		t.Errorf("opportunistic: %x", got)
	}
}
