package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// openStores opens the database and makes its tables. requests is for webhooks, which wait
// in tables of their own.
func openStores(ctx context.Context) (db *sql.DB, st, requests *sqlstore.Store, err error) {
	db, dialect, err := openDatabase(cmp.Or(os.Getenv("DATABASE"), "saas.db"))
	if err != nil {
		return nil, nil, nil, err
	}
	st, requests = sqlstore.New(db, dialect), sqlstore.New(db, dialect)
	requests.TablePrefix = "webhook_"
	if err = errors.Join(st.Migrate(ctx), requests.Migrate(ctx)); err != nil {
		db.Close()
	}
	return db, st, requests, err
}

// certificate returns the certificate that the environment names, or one for this
// machine only.
func certificate() (cert tls.Certificate, named bool, err error) {
	if file := os.Getenv("CERTIFICATE"); file != "" {
		cert, err = tls.LoadX509KeyPair(file, os.Getenv("KEY"))
		return cert, true, err
	}
	return relaytest.Certificate(), false, nil
}

// ports listen for SMTP with STARTTLS, for SMTP with TLS, and for the pages.
type ports [3]net.Listener

// number returns the number of a port.
func (p ports) number(i int) int { return p[i].Addr().(*net.TCPAddr).Port }

func listen(withTLS bool) (p ports, err error) {
	for i, addr := range []string{*listenAddr, *listenTLS, *webAddr} {
		if p[i], err = net.Listen("tcp", addr); err != nil {
			return p, err
		}
	}
	if !withTLS && !p[2].Addr().(*net.TCPAddr).IP.IsLoopback() {
		return p, errors.New("-web: others can reach this address, so set CERTIFICATE and KEY")
	}
	return p, nil
}

// upstream returns what takes the mail, and a function that closes it.
func upstream() (next relay.Forwarder, shut func()) {
	addr := os.Getenv("UPSTREAM")
	if addr == "" {
		return outbox("outbox"), func() {}
	}
	f := &smarthost.Forwarder{
		Addr: addr, Username: os.Getenv("UPSTREAM_USERNAME"), Password: credentials.NewPassword(os.Getenv("UPSTREAM_PASSWORD")),
	}
	return f, func() { f.Close() }
}

// openDatabase opens a postgres:// URL, or else a file with SQLite.
func openDatabase(name string) (*sql.DB, sqlstore.Dialect, error) {
	if strings.HasPrefix(name, "postgres://") {
		db, err := sql.Open("pgx", name)
		if err == nil {
			db.SetMaxOpenConns(20) // PostgreSQL has 100 by default, for all programs together
			db.SetMaxIdleConns(20)
		}
		return db, sqlstore.Postgres, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) // only this user may read it
	if err != nil {
		return nil, 0, err
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+name+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	return db, sqlstore.SQLite, err
}

// outbox writes each message to a file, and refuses mail to unknown@ any domain.
func outbox(dir string) relay.ForwarderFunc {
	return func(_ context.Context, m *relay.Message) error {
		var refused []relay.RefusedRecipient
		for _, to := range m.To {
			if strings.HasPrefix(to.Address, "unknown@") {
				refused = append(refused, relay.RefusedRecipient{
					Address: to.Address, Err: &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "No such user here", Host: "outbox.example"},
				})
			}
		}
		if len(refused) < len(m.To) {
			content, err := io.ReadAll(m.Content())
			if err == nil {
				err = os.MkdirAll(dir, 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, m.ID+".eml"), content, 0o600)
			}
			if err != nil {
				return err
			}
		}
		if len(refused) > 0 {
			return &relay.RefusedError{Recipients: refused, Partial: true}
		}
		return nil
	}
}

//go:embed pages
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"sum":  func(a, b int64) int64 { return a + b },
	"rate": func(n, of int64) string { return fmt.Sprintf("%.1f%%", history.Rate(n, of)) },
}).ParseFS(files, "pages/*.html"))

// A view is what the templates show.
type view struct {
	Title      template.HTML
	Page       string   // the name of the template
	Session    *session // nil on the page to sign in
	Usage      *usage   // nil if it is not known
	Notice     notice
	Data       any
	Head, Body template.HTML // of the page, for the layout
}

// fail shows that there is no such page, or logs an error that is not the customer's.
func (p *product) fail(w http.ResponseWriter, s *session, err error) {
	if errors.Is(err, store.ErrNotFound) {
		p.show(w, http.StatusNotFound, "error", view{Title: "Not found", Session: s, Data: "There is nothing here. It may have been removed, or it is too old."})
		return
	}
	slog.Error("saas: a page failed", "error", err)
	p.show(w, http.StatusInternalServerError, "error", view{Title: "That did not work", Session: s, Data: "Please try again in a minute."})
}

// show writes a page. Nothing but the style sheet may be loaded, and no site may put
// the page into a frame.
func (p *product) show(w http.ResponseWriter, status int, name string, v view) {
	v.Page = name
	var body, page bytes.Buffer
	err := templates.ExecuteTemplate(&body, name+".html", v)
	v.Body = template.HTML(body.String())
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
