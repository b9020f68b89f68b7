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

// A customer signs in with its ID, which is also the relay's name for it: the tenant.
type customer struct {
	ID       store.TenantID
	Name     string
	zone     *time.Location // in which the pages show times
	password string
}

// customers returns the two customers of this example. Each start makes new passwords.
// A product keeps hashes of passwords that people choose, and slows down guessing.
func customers() []*customer {
	paris, _ := time.LoadLocation("Europe/Paris") // they are in time/tzdata
	newYork, _ := time.LoadLocation("America/New_York")
	return []*customer{
		{"acme", "Acme Shop", paris, rand.Text()},
		{"birch", "Birch Studio", newYork, rand.Text()},
	}
}

// Time returns a time as the pages show it.
func (c *customer) Time(t time.Time) string { return t.In(c.zone).Format("2 Jan 2006, 15:04:05 MST") }

// A session is a browser in which a customer has signed in. The cookie has its key, a
// random text. Sessions in memory end with the process; several processes keep them
// in the database, by a hash of the key.
type session struct {
	*customer
	ends   time.Time
	notice notice // for the next page
}

// A notice says once what a form has done.
type notice struct {
	Text   string
	Secret string // to be copied now
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

// signedIn returns the session of a request, or nil.
func (p *product) signedIn(r *http.Request) *session {
	cookie, err := r.Cookie(p.cookieName())
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[cookie.Value]; s != nil && time.Now().Before(s.ends) {
		return s
	}
	return nil
}

// signIn begins a session, always with a new key.
func (p *product) signIn(w http.ResponseWriter, r *http.Request) {
	for _, c := range p.customers {
		password := []byte(r.PostFormValue("password"))
		if r.PostFormValue("customer") != string(c.ID) || subtle.ConstantTimeCompare(password, []byte(c.password)) != 1 {
			continue
		}
		key, now := rand.Text(), time.Now()
		p.mu.Lock()
		maps.DeleteFunc(p.sessions, func(_ string, s *session) bool { return now.After(s.ends) })
		p.sessions[key] = &session{customer: c, ends: now.Add(sessionTime)}
		p.mu.Unlock()
		http.SetCookie(w, p.cookie(key, sessionTime))
		http.Redirect(w, r, "/activity", http.StatusSeeOther)
		return
	}
	p.show(w, http.StatusForbidden, "sign-in", view{Title: "Sign in", Notice: notice{Text: "There is no such customer, or the password is wrong."}})
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

// notify leaves a notice for the next page of a session.
func (p *product) notify(s *session, n notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.notice = n
}

// noticed returns the notice for this page, once.
func (p *product) noticed(s *session) (n notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, s.notice = s.notice, n
	return n
}
