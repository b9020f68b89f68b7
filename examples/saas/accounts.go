package main

import (
	"crypto/rand"
	"crypto/subtle"
	"maps"
	"net/http"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// This file is the accounts of the product: yours.

// An account is a person who signs in: at a customer, or an operator of the product.
type account struct {
	Name     string         // to sign in with, and in logs
	Email    string         // where a test message goes
	Company  string         // what the pages show
	Tenant   store.TenantID // the customer whose mail the person manages; empty for an operator
	Operator bool
	zone     *time.Location // in which the pages show times
	password string
}

// accounts returns the accounts of this example: two customers and an operator. Each
// start makes new passwords. A product keeps hashes of passwords that people choose, and
// slows down guessing.
func accounts() []account {
	paris, _ := time.LoadLocation("Europe/Paris") // they are in time/tzdata
	newYork, _ := time.LoadLocation("America/New_York")
	return []account{
		{Name: "acme", Email: "owner@acme.example", Company: "Acme Shop", Tenant: "acme", zone: paris, password: rand.Text()},
		{Name: "birch", Email: "owner@birch.example", Company: "Birch Studio", Tenant: "birch", zone: newYork, password: rand.Text()},
		{Name: "operator", Email: "ops@saas.example", Company: "Operators", Operator: true, zone: time.UTC, password: rand.Text()},
	}
}

// A session is a browser in which a person has signed in. The cookie has its key, a
// random text. Sessions in memory end with the process; several processes keep them
// in the database, by a hash of the key.
type session struct {
	account
	ends time.Time
}

const sessionTime = 12 * time.Hour

// cookie returns the cookie of a session. Scripts cannot read it, and requests that
// other sites make with POST do not have it.
func (p *product) cookie(key string, age time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: p.cookieName(), Value: key, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: p.withTLS,
	}
}

// cookieName makes browsers refuse the cookie from another host, if there is TLS.
func (p *product) cookieName() string {
	if p.withTLS {
		return "__Host-session"
	}
	return "session"
}

// visitor returns the account of a request. It is empty if no one is signed in.
func (p *product) visitor(r *http.Request) account {
	cookie, err := r.Cookie(p.cookieName())
	if err != nil {
		return account{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[cookie.Value]; time.Now().Before(s.ends) {
		return s.account
	}
	return account{}
}

// signIn begins a session, always with a new key.
func (p *product) signIn(w http.ResponseWriter, r *http.Request) {
	for _, a := range p.accounts {
		password := []byte(r.PostFormValue("password"))
		if r.PostFormValue("name") != a.Name || subtle.ConstantTimeCompare(password, []byte(a.password)) != 1 {
			continue
		}
		key, now := rand.Text(), time.Now()
		p.mu.Lock()
		maps.DeleteFunc(p.sessions, func(_ string, s session) bool { return now.After(s.ends) })
		p.sessions[key] = session{a, now.Add(sessionTime)}
		p.mu.Unlock()
		http.SetCookie(w, p.cookie(key, sessionTime))
		http.Redirect(w, r, a.home(), http.StatusSeeOther)
		return
	}
	p.showSignIn(w, http.StatusForbidden, "There is no such account, or the password is wrong.")
}

func (p *product) signOut(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(p.cookieName()); err == nil {
		p.mu.Lock()
		delete(p.sessions, cookie.Value)
		p.mu.Unlock()
	}
	http.SetCookie(w, p.cookie("", -time.Second))
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}
