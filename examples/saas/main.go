// Saas is a small product around a relay, to try and to copy from. Two customers
// sign in. Each manages its SMTP users, sends a test message, sees what became of its
// mail, and has statistics, a webhook, a suppression list, a limit a month, and the DNS
// records of its domains. Run it in the root of a checkout:
//
//	go run ./examples/saas
//
// It prints the address of the pages and the customers' passwords. Mail is written
// to files in the directory outbox, which refuses mail to unknown@ any domain, so
// that you see a bounce. These environment variables change that:
//
//	DATABASE           a postgres:// URL, or the name of a file for SQLite (default saas.db)
//	UPSTREAM           host:port of a server with STARTTLS that takes the mail
//	UPSTREAM_USERNAME  login there (default: none)
//	UPSTREAM_PASSWORD  its password
//	CERTIFICATE, KEY   files of the relay's certificate and key; the pages then have TLS too
//
// The word "yours" marks the parts that a product replaces.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // the customers' time zones

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

const hostname = "localhost" // yours: clients connect to it by this name

var (
	webAddr    = flag.String("web", "127.0.0.1:2580", "`address` of the pages")
	listenAddr = flag.String("listen", "127.0.0.1:2587", "`address` of the relay, for STARTTLS")
	listenTLS  = flag.String("listen-tls", "127.0.0.1:2465", "`address` of the relay, for TLS from the first byte")
	unproved   = flag.Bool("unproved-domains", os.Getenv("UPSTREAM") == "", "let a domain send before its owner has proved it; mail to files harms no owner")
	suspended  = flag.String("suspend", "", "`customer` that may not send, to see what its tools are told")
	localHooks = flag.Bool("local-webhooks", false, "allow webhooks to this machine, also without TLS, to try them")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends the program at once
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "saas:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	db, st, requests, err := openStores(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	cert, withTLS, err := certificate()
	if err != nil {
		return err
	}
	ports, err := listen(withTLS)
	if err != nil {
		return err
	}
	next, closeNext := upstream()
	defer closeNext()

	p := &product{customers: customers(), withTLS: withTLS, sessions: make(map[string]*session)}
	q := p.wire(st, requests, next)
	p.srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	web := &http.Server{
		Handler:           p.handler(&console.Handler{SMTPHost: hostname, PortSTARTTLS: ports.number(0), PortTLS: ports.number(1)}),
		TLSConfig:         p.srv.TLSConfig.Clone(),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	return p.serve(ctx, ports, web, q.Run, p.hooks.Run, p.endpoints.Run, p.hist.Run, p.limits.Run, p.dom.Run)
}

// wire connects the parts of the relay. The queue and the server record events. hist makes
// of them what the pages show, and passes each one to hooks and list. Node names this
// process: each of several on one database needs a name of its own.
func (p *product) wire(st, requests *sqlstore.Store, next relay.Forwarder) *queue.Queue {
	p.creds = &credentials.Manager{Store: st, ClaimDomains: true} // dom decides who has proved a domain
	p.dom = newDomains(st)
	p.list = &suppress.List{Store: st, History: st}
	p.hooks, p.endpoints = newHooks(st, requests)
	p.hist = &history.History{Store: st, Publish: func(ctx context.Context, events []store.Event) error {
		return errors.Join(p.hooks.Publish(ctx, events), p.list.Learn(ctx, events))
	}}
	signer := &dkim.Signer{Keys: p.dom.Keys, Next: next}
	q := &queue.Queue{Spool: st, Record: true, Next: signer, Hostname: hostname, Node: "saas"}
	p.limits = &limits.Limiter{Store: st, Limits: p.plan, OnNotice: tell, Next: q}
	p.srv = &relay.Server{
		Hostname:       hostname,
		Credentials:    p.creds,
		Forwarder:      p.limits,
		AllowUser:      p.allowUser,
		AllowRecipient: p.list.AllowRecipient,
		OnEvent:        p.hist.OnRelayEvent,
	}
	return q
}

// serve serves SMTP and the pages, and runs what works in the background, until ctx ends.
func (p *product) serve(ctx context.Context, ports ports, web *http.Server, work ...func(context.Context) error) error {
	working, stop := context.WithCancel(context.Background())
	defer stop()
	var workers sync.WaitGroup
	ended := make(chan error, len(work)+len(ports))
	for _, run := range work {
		workers.Go(func() { ended <- run(working) })
	}
	go func() { ended <- p.srv.Serve(ports[0]) }()
	go func() { ended <- p.srv.ServeTLS(ports[1]) }()
	scheme := "http"
	if p.withTLS {
		scheme = "https"
		go func() { ended <- web.ServeTLS(ports[2], "", "") }()
	} else {
		go func() { ended <- web.Serve(ports[2]) }()
	}
	fmt.Printf("The pages are at %s://%v/ and the relay is at %v.\n", scheme, ports[2].Addr(), ports[0].Addr())
	for _, c := range p.customers {
		fmt.Printf("Sign in as %s with the password %s\n", c.ID, c.password)
	}
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(err, web.Shutdown(deadline), p.srv.Shutdown(deadline), p.srv.Close()) // messages in progress finish
	stop()                                                                                  // no more mail comes in
	workers.Wait()
	return err
}

// A product is the web pages.
type product struct {
	creds     *credentials.Manager
	srv       *relay.Server
	hist      *history.History
	list      *suppress.List
	limits    *limits.Limiter
	dom       *domains.Manager
	hooks     *webhook.Sender
	endpoints *webhook.Manager
	customers []*customer
	withTLS   bool

	mu       sync.Mutex
	sessions map[string]*session
}

// handler returns the pages. [http.CrossOriginProtection] refuses forms that other
// sites send, so the forms need no token. Only customers who are signed in get further
// than the page to sign in.
func (p *product) handler(users *console.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/activity", http.StatusSeeOther))
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/style.css") })
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, r *http.Request) {
		p.show(w, http.StatusOK, "sign-in", view{Title: "Sign in"})
	})
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("POST /sign-out", p.signOut)

	mux.HandleFunc("GET /activity", p.page("activity", "Activity", p.activity))
	mux.HandleFunc("GET /activity/{id}", p.page("message", "Message", p.message))
	mux.HandleFunc("GET /test", p.page("test", "Test message", p.testPage))
	mux.HandleFunc("POST /test", p.sendTest)
	mux.HandleFunc("GET /statistics", p.page("statistics", "Statistics", p.statistics))
	mux.HandleFunc("GET /webhook", p.page("webhook", "Webhook", p.webhook))
	mux.HandleFunc("POST /webhook", p.form("/webhook", p.setWebhook))
	mux.HandleFunc("POST /webhook/secret", p.form("/webhook", p.rotateSecret))
	mux.HandleFunc("POST /webhook/test", p.form("/webhook", p.testWebhook))
	mux.HandleFunc("POST /webhook/remove", p.form("/webhook", p.removeWebhook))
	mux.HandleFunc("GET /domains", p.page("domains", "Domains", p.domainsPage))
	mux.HandleFunc("GET /domains/{name}", p.page("domain", "Domain", p.domainPage))
	mux.HandleFunc("POST /domains/check", p.form("/domains", p.checkDomain))
	mux.HandleFunc("GET /suppressions", p.page("suppressions", "Suppression list", p.suppressions))
	mux.HandleFunc("POST /suppressions", p.form("/suppressions", p.suppress))
	mux.HandleFunc("POST /suppressions/remove", p.form("/suppressions", p.unsuppress))

	users.Credentials = p.creds
	users.Tenant = func(r *http.Request) (store.TenantID, error) {
		if s := p.signedIn(r); s != nil {
			return s.ID, nil
		}
		return "", errors.New("the session has ended")
	}
	users.Design.Layout = func(w io.Writer, r *http.Request, c console.Page) error {
		return templates.ExecuteTemplate(w, "layout.html", view{Title: c.Title, Head: c.Head, Body: c.Body, Page: "users", Session: p.signedIn(r), Usage: p.usage(r.Context(), p.signedIn(r))})
	}
	mux.HandleFunc("/users/", func(w http.ResponseWriter, r *http.Request) {
		if p.signedIn(r) == nil {
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
			return
		}
		http.StripPrefix("/users", users).ServeHTTP(w, r)
	})
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 64<<10))
}

// page returns a handler for a page of the customer who is signed in.
func (p *product) page(name string, title template.HTML, load func(*http.Request, *session) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := p.signedIn(r)
		if s == nil {
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
			return
		}
		data, err := load(r, s)
		if err != nil {
			p.fail(w, s, err)
			return
		}
		p.show(w, http.StatusOK, name, view{Title: title, Session: s, Usage: p.usage(r.Context(), s), Notice: p.noticed(s), Data: data})
	}
}

// form returns a handler that does what a form asks for, and then goes to a page.
func (p *product) form(then string, do func(*http.Request, *session) (notice, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := p.signedIn(r)
		if s != nil {
			n, err := do(r, s)
			if err != nil {
				p.fail(w, s, err)
				return
			}
			p.notify(s, n)
		}
		http.Redirect(w, r, then, http.StatusSeeOther)
	}
}

// activity lists recipients and refusals, newest first.
func (p *product) activity(r *http.Request, s *session) (any, error) {
	query := r.URL.Query()
	filter := store.ActivityFilter{Contains: query.Get("q"), After: query.Get("after"), Limit: 25}
	var states []store.ActivityState
	for state := store.ActivityRejected; state <= store.ActivityCanceled; state++ {
		states = append(states, state)
		if state.String() == query.Get("state") {
			filter.States = []store.ActivityState{state}
		}
	}
	found, err := p.hist.Tenant(s.ID).Activities(r.Context(), filter)
	older := ""
	if found.Next != "" {
		older = "?" + url.Values{"q": {filter.Contains}, "state": {query.Get("state")}, "after": {found.Next}}.Encode()
	}
	return map[string]any{"Filter": filter, "State": query.Get("state"), "States": states, "List": found.List, "Older": older}, err
}

func (p *product) message(r *http.Request, s *session) (any, error) {
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	found, err := p.hist.Tenant(s.ID).Mail(r.Context(), r.PathValue("id"), store.RecipientFilter{From: from})
	if err == nil && len(found.Recipients) == 0 {
		err = store.ErrNotFound
	}
	return found, err
}

// statistics compares a period with the one before it.
func (p *product) statistics(r *http.Request, s *session) (any, error) {
	days := 7
	if n, err := strconv.Atoi(r.URL.Query().Get("days")); err == nil && n > 0 && n <= 31 {
		days = n
	}
	period := history.Last(days, time.Now(), s.zone)
	period.Hourly = days == 1
	found, err := p.hist.Tenant(s.ID).Statistics(r.Context(), period, "", "")
	highest := int64(1) // of the bars
	for _, step := range found.Steps {
		highest = max(highest, step.Accepted+step.Rejected)
	}
	return map[string]any{"Days": days, "Statistics": found, "Highest": highest}, err
}

func (p *product) suppressions(r *http.Request, s *session) (any, error) {
	const limit = 50
	page := store.Page{After: r.URL.Query().Get("after"), Limit: limit}
	list, err := p.list.Addresses(r.Context(), s.ID, store.SuppressionFilter{}, page)
	next := ""
	if len(list) == limit {
		next = "?" + url.Values{"after": {list[limit-1].Address}}.Encode()
	}
	return map[string]any{"List": list, "Next": next}, err
}

func (p *product) suppress(r *http.Request, s *session) (notice, error) {
	address := strings.TrimSpace(r.PostFormValue("address"))
	err := p.list.Add(r.Context(), s.ID, address, store.SuppressedByPerson, r.PostFormValue("reason"))
	if errors.Is(err, suppress.ErrAddress) {
		return notice{Text: "Not added: an address looks like bob@example.com."}, nil
	}
	return notice{Text: address + " is on the list. Mail to it is refused."}, err
}

func (p *product) unsuppress(r *http.Request, s *session) (notice, error) {
	address := r.PostFormValue("address")
	err := p.list.Remove(r.Context(), s.ID, address)
	return notice{Text: address + " is not on the list any more."}, err
}
