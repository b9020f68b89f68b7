package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
)

// This file puts the console into the product: who the visitor is, the page around
// it, and a line in the log for each change.

// customerPages returns the pages of customers. Each field that is set adds screens.
func (p *product) customerPages(starttls, tls int) *console.Handler {
	return &console.Handler{
		Credentials:  p.creds,
		SMTPHost:     hostname,
		PortSTARTTLS: starttls,
		PortTLS:      tls,

		// The visitor. The console refuses one whose tenant is empty.
		Tenant:        func(r *http.Request) (store.TenantID, error) { return p.visitor(r).Tenant, nil },
		Visitor:       func(r *http.Request) string { return p.visitor(r).Name },
		TestRecipient: func(r *http.Request) string { return p.visitor(r).Email },

		Domains:      p.domains,      // DNS records
		History:      p.history,      // activity and statistics
		Queue:        p.queue,        // try mail that waits, and cancel it
		Limits:       p.limits,       // bars of what is used
		Suppressions: p.suppressions, // addresses that mail is not sent to
		Webhooks:     p.webhooks,     // endpoints of the customer
		Server:       p.srv,          // test messages
		Overlap:      24 * time.Hour, // the old password may work for a day after a reset

		OnChange: p.audit,
		Design:   p.design(),
	}
}

// operatorPages returns the pages of those who run the relay.
func (p *product) operatorPages() *console.Operator {
	return &console.Operator{
		Queue:       p.queue,
		History:     p.history,
		Credentials: p.creds,
		By: func(r *http.Request) (string, error) {
			if v := p.visitor(r); v.Operator {
				return v.Name, nil
			}
			return "", errors.New("the visitor is not an operator")
		},
		OnChange: p.audit,
		Design:   p.design(),
	}
}

// audit logs who changed what. Changes have no passwords and no secrets.
func (p *product) audit(r *http.Request, c console.Change) {
	slog.Info("saas: a visitor changed something", "by", p.visitor(r).Name, "from", r.RemoteAddr,
		"action", c.Action, "customer", c.Tenant, "domain", c.Domain, "username", c.Username, "object", c.Object, "detail", c.Detail)
}

// design puts the console into the product's own page, with the visitor's times. The
// language is that of the product.
func (p *product) design() console.Design {
	return console.Design{
		Title:    "Your product",
		NoTabs:   true, // the layout has the links
		Language: func(*http.Request) string { return "en" },
		Location: func(r *http.Request) *time.Location { return p.visitor(r).zone },
		Layout: func(w io.Writer, r *http.Request, page console.Page) error {
			return templates.ExecuteTemplate(w, "layout.html", view{page, p.visitor(r)})
		},
	}
}

// handler returns all pages. Its arguments are the ports that tools connect to. [http.CrossOriginProtection] refuses forms that other
// sites send, so the forms need no token.
func (p *product) handler(starttls, tls int) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/mail/", p.signedIn(http.StripPrefix("/mail", p.customerPages(starttls, tls))))
	mux.Handle("/operator/", p.signedIn(http.StripPrefix("/operator", p.operatorPages())))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, p.visitor(r).home(), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "pages/style.css") })
	mux.HandleFunc("GET /sign-in", func(w http.ResponseWriter, _ *http.Request) { p.showSignIn(w, http.StatusOK, "") })
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("POST /sign-out", p.signOut)
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, 64<<10))
}

// signedIn leads visitors who are not signed in to the page to sign in. Which pages a
// visitor may open is decided by Tenant and By.
func (p *product) signedIn(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.visitor(r).Name == "" {
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// home returns the first page of an account.
func (a account) home() string { return a.Menu()[0].To }

// Menu returns the links of the layout.
func (a account) Menu() []item {
	if a.Operator {
		return []item{{console.Overview, "/operator/", "Overview"}, {console.Queue, "/operator/queue", "Queue"}}
	}
	return []item{
		{console.Activity, "/mail/activity", "Activity"},
		{console.Statistics, "/mail/statistics", "Statistics"},
		{console.Domains, "/mail/", "Domains"},
		{console.Suppressions, "/mail/suppressions", "Suppression list"},
		{console.Webhooks, "/mail/webhooks", "Webhooks"},
		{console.Quota, "/mail/quota", "Quota"},
	}
}

// An item is a link to a part of the console.
type item struct {
	Part     console.Part
	To, Text string
}

// A view is what the layout shows.
type view struct {
	console.Page
	Visitor account
}

//go:embed pages
var files embed.FS

var templates = template.Must(template.ParseFS(files, "pages/*.html"))

// showSignIn writes the page to sign in, in the layout. Nothing but the style sheet may
// be loaded, and no site may put the page into a frame. The console sets such headers itself.
func (p *product) showSignIn(w http.ResponseWriter, status int, problem string) {
	var body, page bytes.Buffer
	err := templates.ExecuteTemplate(&body, "sign-in.html", problem)
	v := view{Page: console.Page{Language: "en", Title: "Sign in – Your product", Body: template.HTML(body.String())}}
	if err = errors.Join(err, templates.ExecuteTemplate(&page, "layout.html", v)); err != nil {
		slog.Error("saas: a template failed", "error", err)
		http.Error(w, "That did not work.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	page.WriteTo(w)
}
