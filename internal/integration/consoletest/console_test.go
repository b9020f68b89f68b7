package consoletest_test

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"slices"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// A product embeds a relay, which is running, and its console.
type product struct {
	*relaytest.Relay
	url string // of the console, with the slash
}

// start starts a product whose visitors are of the relay's tenant. Its one
// domain is acme.example, with a user called "test". set adds parts to its console.
func start(t *testing.T, set ...func(*relaytest.Relay, *console.Handler)) product {
	t.Helper()
	r := relaytest.NewRelay(t)
	h := &console.Handler{
		Credentials:  r.Credentials,
		Tenant:       func(*http.Request) (store.TenantID, error) { return r.Tenant, nil },
		SMTPHost:     "localhost",
		PortSTARTTLS: portOf(t, r.Addr),
		PortTLS:      portOf(t, r.AddrTLS),
	}
	for _, f := range set {
		f(r, h)
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/smtp/", http.StripPrefix("/admin/smtp", h))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return product{r, server.URL + "/admin/smtp/"}
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// send sends mail with the settings that the page shows.
func send(a account, from string) error {
	c, err := smtp.Dial(net.JoinHostPort(a.server, a.port))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(relaytest.ClientTLS()); err != nil {
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", a.username, a.password, a.server)); err != nil {
		return err
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt("somebody@elsewhere.example"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte("From: " + from + "\r\nSubject: test\r\n\r\nHello\r\n")); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func withBrowser(ctx context.Context, c *chromedp.Context) context.Context {
	return cdp.WithExecutor(ctx, c.Browser)
}

// sorted ranges over a table in the order of its keys.
func sorted[V any](table map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(table)) {
			if !yield(key, table[key]) {
				return
			}
		}
	}
}
