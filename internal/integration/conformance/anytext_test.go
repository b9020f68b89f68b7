package conformance_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// The pages and forms that TestPagesTakeAnyBytes asks for. DOMAIN and USER stand for those
// that exist, and BAD for bytes that are not text.
var (
	tenantPages = strings.Fields(`/?search=BAD /?after=BAD /?before=BAD /?sort=BAD /domains/BAD /domains/DOMAIN?search=BAD /domains/DOMAIN?after=BAD /domains/BAD/users/BAD
		/domains/DOMAIN/users/BAD /domains/DOMAIN/users/BAD/connection /domains/DOMAIN/users/USER/connection?since=BAD /domains/DOMAIN/users/BAD/test
		/domains/DOMAIN/users/USER/test/BAD /domains/DOMAIN/users/BAD/reset /activity?recipient=BAD /activity?search=BAD /activity?domain=BAD
		/activity?username=BAD /activity?after=BAD /activity?state=BAD /activity?from=BAD /activity/BAD /activity/BAD?n=BAD /activity/BAD/cancel
		/statistics?domain=BAD /statistics?username=BAD /quota?domain=BAD /suppressions?search=BAD /suppressions?after=BAD /suppressions?source=BAD
		/suppressions/BAD /suppressions/BAD@example.com /webhooks/BAD /webhooks/BAD/change /webhooks/BAD/rotate /webhooks/BAD/delete`)
	tenantForms = strings.Fields(`/ /domains/DOMAIN/add /domains/DOMAIN/users/USER/rename /domains/DOMAIN/users/USER/pause /domains/DOMAIN/users/BAD/pause
		/domains/DOMAIN/users/USER/test /domains/DOMAIN/users/USER/reset /domains/DOMAIN/users/BAD/delete /domains/BAD/check /domains/BAD/rotate-key
		/domains/BAD/delete /activity/BAD/retry /activity/BAD/cancel /suppressions /suppressions/BAD/remove /webhooks/add /webhooks/BAD/change
		/webhooks/BAD/off /webhooks/BAD/delete /webhooks/BAD/test`)
	operatorPages = strings.Fields(`/search?q=BAD /search?search=BAD /messages/BAD /queue?after=BAD /queue?tenant=BAD /queue?destination=BAD /deliveries?message=BAD
		/deliveries?tenant=BAD /deliveries?destination=BAD /deliveries?to=BAD /deliveries?username=BAD /deliveries?recipient=BAD /deliveries?said=BAD
		/deliveries?node=BAD /deliveries?after=BAD /deliveries/BAD /deliveries/BAD.0 /change?message=BAD&do=hold /change?tenant=BAD /change?do=BAD
		/pause?tenant=BAD /pause?destination=BAD /resume?tenant=BAD /resume?destination=BAD`)
	operatorForms = strings.Fields(`/change /pause /resume`)
)

// No address of a page and no form makes a database fail, whatever bytes are in it.
func TestPagesTakeAnyBytes(t *testing.T) {
	for _, b := range dialects {
		t.Run(b.name, func(t *testing.T) {
			tenant, operator, username := consoles(t, b.open(t, b.create(t)))
			for h, pages := range map[http.Handler][]string{tenant: tenantPages, operator: operatorPages} {
				for _, page := range pages {
					existsPage(t, h, page, username)
				}
			}
			for _, bad := range []string{"%00", "a%00b", "%FF", "%ED%A0%80"} {
				put := strings.NewReplacer("BAD", bad, "DOMAIN", "acme.example", "USER", username)
				for _, c := range []struct {
					h      http.Handler
					method string
					paths  []string
				}{{tenant, "GET", tenantPages}, {tenant, "POST", tenantForms}, {operator, "GET", operatorPages}, {operator, "POST", operatorForms}} {
					for _, path := range c.paths {
						body := ""
						if c.method == "POST" {
							body = put.Replace("name=BAD&reason=BAD&to=BAD&address=BAD@example.com&url=BAD&types=BAD&tenant=BAD&destination=BAD&message=BAD&do=hold&recipient=BAD&username=BAD&generation=BAD")
						}
						if code := statusOf(t, c.h, c.method, put.Replace(path), body); code >= 500 {
							t.Errorf("%s %s: got status %d", c.method, put.Replace(path), code)
						}
					}
				}
			}
		})
	}
}

// existsPage checks that there is a page if its parameter has no value. Otherwise bad bytes
// would never reach the database. It leaves out pages with BAD in their path.
func existsPage(t *testing.T, h http.Handler, page, username string) {
	t.Helper()
	path, query, _ := strings.Cut(page, "?")
	if strings.Contains(path, "BAD") {
		return
	}
	name, _, _ := strings.Cut(query, "=")
	put := strings.NewReplacer("DOMAIN", "acme.example", "USER", username)
	switch code := statusOf(t, h, "GET", put.Replace(path)+"?"+name+"=", ""); code {
	case http.StatusOK, http.StatusSeeOther, http.StatusUnprocessableEntity:
	default:
		t.Errorf("%s without a value: got status %d, want a page", page, code)
	}
}

func statusOf(t *testing.T, h http.Handler, method, path, body string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// consoles returns the pages of a tenant with a domain and a user, and those of an operator.
func consoles(t *testing.T, st *sqlstore.Store) (tenant *console.Handler, operator *console.Operator, username string) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	creds := &credentials.Manager{Store: st, Logger: quiet}
	acme := creds.Tenant("acme")
	if _, err := acme.AddDomain(t.Context(), "acme.example"); err != nil {
		t.Fatal(err)
	}
	user, _, err := acme.AddUser(t.Context(), "acme.example", "billing")
	if err != nil {
		t.Fatal(err)
	}
	q := &queue.Queue{Spool: st, Record: true, Logger: quiet}
	hist := &history.History{Store: st, Logger: quiet}
	everyone := func(*http.Request, console.Action) error { return nil }
	tenant = &console.Handler{
		Credentials: creds, SMTPHost: "smtp.example", History: hist, Queue: q, Logger: quiet, May: everyone,
		Tenant: func(*http.Request) (store.TenantID, error) { return "acme", nil },
		Domains: &domains.Manager{
			Store: st, Domains: st, Secret: credentials.NewPassword(strings.Repeat("s", 32)), Logger: quiet,
		},
		Suppressions: &suppress.List{Store: st, Logger: quiet},
		Webhooks:     &webhook.Manager{Store: st, Secret: credentials.NewPassword(strings.Repeat("s", 32)), Sender: &webhook.Sender{}, Logger: quiet},
		Limits: &limits.Limiter{Store: st, Next: q, Logger: quiet, Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) {
			return []limits.Limit{{Max: 10}}, nil
		}},
	}
	operator = &console.Operator{
		Queue: q, History: hist, Credentials: creds, Logger: quiet, May: everyone,
		By: func(*http.Request) (string, error) { return "ops", nil },
	}
	return tenant, operator, user.Username
}
