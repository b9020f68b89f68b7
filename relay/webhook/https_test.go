package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// server starts an HTTPS server.
func server(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	srv := httptest.NewUnstartedServer(handler)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// sender returns a Sender that trusts the servers and may reach them.
func sender(srv *httptest.Server, list ...webhook.Endpoint) *webhook.Sender {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &webhook.Sender{
		Queue:     queue.Queue{Spool: new(memory.Store), Logger: quiet},
		Endpoints: endpoints(list...),
		AllowAddr: func(a netip.Addr) bool { return a.IsLoopback() },
		TLSConfig: &tls.Config{RootCAs: pool},
		Timeout:   10 * time.Second,
	}
}

// at is an endpoint with a URL.
func at(url string) webhook.Endpoint {
	return webhook.Endpoint{ID: "shop", URL: url, Secrets: secrets}
}

// The signature is that of the reference vector of Standard Webhooks.
func TestReferenceVector(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(reference, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	got := webhook.Signatures([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

// A request over HTTPS has the headers of Standard Webhooks, and a signature of each
// secret.
func TestRequest(t *testing.T) {
	t.Parallel()
	requests := make(chan got, 1)
	srv := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- got{time.Now(), r.Method + " " + r.URL.String() + " " + r.Proto, r.Header, string(body)}
	})
	e := at(strings.Replace(srv.URL, "://", "://user:password@", 1) + "/hook?shop=1")
	e.Secrets = append(e.Secrets, webhook.NewSecret())
	s := sender(srv, e)
	go s.Run(t.Context())
	if err := s.Publish(t.Context(), []store.Event{event(1, store.EventDelivered)}); err != nil {
		t.Fatal(err)
	}
	var g got
	select {
	case g = <-requests:
	case <-time.After(20 * time.Second):
		t.Fatal("no request within 20 s")
	}
	if g.url != "POST /hook?shop=1 HTTP/2.0" || g.header.Get("Content-Type") != "application/json" || g.header.Get("Idempotency-Key") != "" {
		t.Errorf("request %s with %v", g.url, g.header)
	}
	if g.id() != "06ekx_1_0" || !strings.HasPrefix(g.body, `{"type":"message.delivered","timestamp":"`) {
		t.Errorf("event %s: %s", g.id(), g.body)
	}
	if got, want := g.header.Get("Authorization"), "Basic "+base64.StdEncoding.EncodeToString([]byte("user:password")); got != want {
		t.Errorf("Authorization %q, want %q", got, want)
	}
	stamp := g.header.Get("webhook-timestamp")
	if n, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(n, 0)).Abs() > time.Minute {
		t.Errorf("webhook-timestamp %q, want the time of the request", stamp)
	}
	var want []string
	for _, secret := range e.Secrets {
		want = append(want, "v1,"+mac(t, secret, g.id()+"."+stamp+"."+g.body))
	}
	if got := g.header.Get("webhook-signature"); got != strings.Join(want, " ") {
		t.Errorf("webhook-signature %s, want %s", got, want)
	}
}

// mac returns the HMAC-SHA256 of a text in base64.
func mac(t *testing.T, secret credentials.Password, text string) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Only https URLs with a usable secret are sent to.
func TestUnusableEndpoints(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer plain.Close()
	srv := server(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	s := sender(srv)
	for _, e := range []webhook.Endpoint{
		at(plain.URL), at(""), at("https://"), at("https:///path"), at("file:///etc/passwd"), at("//127.0.0.1/"), at("https://a b/"),
		{ID: "shop", URL: srv.URL},
		{ID: "shop", URL: srv.URL, Secrets: make([]credentials.Password, 1)},
		{ID: "shop", URL: srv.URL, Secrets: []credentials.Password{credentials.NewPassword("whsec_c2hvcnQ=")}},
		{ID: "shop", URL: srv.URL, Secrets: []credentials.Password{credentials.NewPassword(reference[6:])}},
	} {
		if r, err := s.Test(t.Context(), e); err == nil || r.Status != 0 {
			t.Errorf("Test of %q = %+v, %v, want an error without a request", e.URL, r, err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	s = sender(srv)
	s.AllowHTTP = true
	if r, err := s.Test(t.Context(), at(plain.URL)); err != nil || r.Status != 200 {
		t.Errorf("with AllowHTTP: Test = %+v, %v", r, err)
	}
}

// By default no address is connected to that is not public.
func TestAddresses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connections atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := &webhook.Sender{Queue: queue.Queue{Spool: new(memory.Store)}, Endpoints: endpoints(), AllowHTTP: true, Timeout: 5 * time.Second}
	for _, host := range []string{
		"127.0.0.1", "localhost", "127.1", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254",
		"[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1",
		"100.64.0.1", "[fe80::1]", "[fd00::1]", "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255",
	} {
		for _, scheme := range []string{"https://", "http://"} {
			r, err := s.Test(t.Context(), at(scheme+host+":"+port+"/latest/meta-data/"))
			if err == nil || r.Status != 0 || r.Took > 4*time.Second {
				t.Errorf("Test of %s%s = %+v, %v, want it refused", scheme, host, r, err)
			}
			if host != "127.1" && !strings.Contains(err.Error(), "address that is allowed") { // 127.1 is a name to Go
				t.Errorf("Test of %s: %v, want that the address is not allowed", host, err)
			}
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections reached the listener", n)
	}
}

// A name that changes its address after a look-up is refused when it is connected to.
func TestRebinding(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	srv := server(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	var rebound atomic.Bool
	resolver := nameServer(t, func() netip.Addr {
		if rebound.Load() {
			return netip.MustParseAddr("127.0.0.1")
		}
		return netip.MustParseAddr("8.8.8.8")
	})
	s := sender(srv)
	s.AllowAddr = nil
	s.SetResolver(resolver)
	if addrs, err := resolver.LookupNetIP(t.Context(), "ip4", "hooks.example.com"); err != nil || len(addrs) != 1 || addrs[0] != netip.MustParseAddr("8.8.8.8") {
		t.Fatalf("the first look-up = %v, %v", addrs, err)
	}
	rebound.Store(true)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	e := at("https://hooks.example.com:" + port + "/")
	var l log
	s.Queue.Logger = l.logger()
	if _, err := s.Test(t.Context(), e); err == nil || err.Error() != "webhook: hooks.example.com does not exist, or has no address that is allowed" {
		t.Errorf("Test = %v, want that the address is not allowed, without it", err)
	}
	if !strings.Contains(l.String(), "address=127.0.0.1") {
		t.Errorf("the log does not have the address:\n%s", &l)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
	// A name that does not exist has the same error.
	if _, err := s.Test(t.Context(), at("https://hooks..example.com/")); err == nil || err.Error() != "webhook: hooks..example.com does not exist, or has no address that is allowed" {
		t.Errorf("Test of a name that does not exist = %v", err)
	}

	// The name works where its address is allowed, without the proxy of the environment.
	s = sender(srv)
	s.SetResolver(resolver)
	s.TLSConfig.ServerName = "example.com"
	if r, err := s.Test(t.Context(), e); err != nil || r.Status != 200 || hits.Load() != 1 {
		t.Errorf("Test where the address is allowed = %+v, %v", r, err)
	}
}

// nameServer starts a DNS server that knows one address for all names, and returns a
// resolver that asks it.
func nameServer(t *testing.T, addr func() netip.Addr) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true}, Questions: m.Questions}
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: addr().As4()}}}
			}
			if out, err := m.Pack(); err == nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// Redirects are not followed.
func TestRedirect(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var followed atomic.Int32
		srv := server(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				followed.Add(1)
				return
			}
			http.Redirect(w, r, "/other", status)
		})
		r, err := sender(srv).Test(t.Context(), at(srv.URL))
		if err == nil || r.Status != status || followed.Load() != 0 {
			t.Errorf("%d: Test = %+v, %v, %d requests to the other page", status, r, err, followed.Load())
		}
	}
}

// An answer counts when its header is there: a body that is slow, endless or broken
// changes nothing.
func TestBody(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	for name, body := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for chunk := bytes.Repeat([]byte("x"), 32<<10); ; {
				n, err := w.Write(chunk)
				if written.Add(int64(n)); err != nil {
					return
				}
			}
		},
		"breaks": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		srv := server(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(202)
			w.(http.Flusher).Flush()
			body(w, r)
		})
		r, err := sender(srv).Test(t.Context(), at(srv.URL))
		if err != nil || r.Status != 202 || r.Took > 5*time.Second {
			t.Errorf("%s: Test = %+v, %v, want 202 within 5 s", name, r, err)
		}
	}
	if n := written.Load(); n > 16<<20 {
		t.Errorf("%d bytes of the endless body were read", n)
	}
}

// A header that does not end, and one that does not come, are failures.
func TestHeader(t *testing.T) {
	t.Parallel()
	srv := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
		}
		w.Header().Set("X-Large", strings.Repeat("x", 64<<10))
	})
	s := sender(srv)
	s.Timeout = time.Second
	if r, err := s.Test(t.Context(), at(srv.URL)); err == nil {
		t.Errorf("Test with a header of 64 KiB = %+v", r)
	}
	r, err := s.Test(t.Context(), at(srv.URL+"/hangs"))
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1 did not answer within 1s") || r.Took > 5*time.Second {
		t.Errorf("Test of an endpoint that hangs = %+v, %v", r, err)
	}
}

// A certificate that is not trusted is a failure.
func TestCertificate(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	srv := server(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	s := sender(srv)
	s.TLSConfig = nil
	if r, err := s.Test(t.Context(), at(srv.URL)); err == nil || !strings.Contains(err.Error(), "certificate") || hits.Load() != 0 {
		t.Errorf("Test = %+v, %v, %d requests", r, err, hits.Load())
	}
}
