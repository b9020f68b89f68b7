package consoletest_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A past is a console with two months of mail of every state, at fixed places.
type past struct {
	*console.Handler
	url     string
	user    store.User
	waits   string // the ID of a message with recipients in several states
	refusal string // the ID of a refusal
}

// newPast makes a console with mail. The layout may be nil.
func newPast(t *testing.T, layout func(io.Writer, *http.Request, console.Page) error) *past {
	t.Helper()
	st := new(memory.Store)
	creds := &credentials.Manager{Store: st}
	acme := creds.Tenant("acme")
	var users []store.User
	for _, domain := range []string{"mycompany.com", "shop.mycompany.com"} {
		if _, err := acme.AddDomain(t.Context(), domain); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"WordPress", "Invoices"} {
			since := time.Now().AddDate(0, 0, -70).UTC().Truncate(time.Second)
			u := store.User{Tenant: "acme", Domain: domain, Username: fmt.Sprintf("smtp%016d", len(users)), Name: name, Generation: 1, Created: since, PasswordSet: since}
			if err := st.AddUser(t.Context(), u, "no hash", 0); err != nil {
				t.Fatal(err)
			}
			users = append(users, u)
		}
	}
	p := &past{user: users[0], Handler: &console.Handler{
		Credentials: creds, SMTPHost: "smtp.example.com",
		Tenant:  func(*http.Request) (store.TenantID, error) { return "acme", nil },
		History: &history.History{Store: st},
		Queue:   &queue.Queue{Spool: st, Record: true, Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })},
		Design: console.Design{Layout: layout, Location: func(*http.Request) *time.Location {
			loc, err := time.LoadLocation("Europe/Paris")
			if err != nil {
				t.Error(err)
			}
			return loc
		}},
	}}
	p.fill(t, users)
	server := httptest.NewServer(p.Handler)
	t.Cleanup(server.Close)
	p.url = server.URL + "/"
	return p
}

var (
	taken    = store.Reply{Code: 250, Enhanced: "2.0.0", Text: "OK queued as 4Xb2Kq", Host: "mx1.example.com"}
	greylist = store.Reply{Code: 451, Enhanced: "4.7.1", Text: "Greylisted, please try again in 5 minutes", Host: "mx.example.net"}
	noUser   = store.Reply{Code: 550, Enhanced: "5.1.1", Text: "The email account that you tried to reach does not exist", Host: "mx.example.org"}
	full     = store.Reply{Code: 452, Enhanced: "4.2.2", Text: "Mailbox full", Host: "mx.example.org"}
)

// fill records what was sent in two months, with a pattern of working days.
func (p *past) fill(t *testing.T, users []store.User) {
	t.Helper()
	now, r := time.Now().UTC().Truncate(time.Second), rand.New(rand.NewPCG(1, 2))
	var events []store.Event
	add := func(u store.User, mail string, n int, to, subject string, ago time.Duration, kinds []store.EventKind, replies ...store.Reply) {
		e := store.Event{
			Kind: store.EventAccepted, Time: now.Add(-ago), Received: now.Add(-ago), Tenant: "acme", Domain: u.Domain, Username: u.Username, Mail: mail, N: n,
			From: "info@" + u.Domain, Author: "info@" + u.Domain, Recipient: to, Subject: subject, MessageID: "<" + mail + "@" + u.Domain + ">", Size: 18_400,
		}
		if mail == "p2" {
			e.From = "test@" + u.Domain // so that it has the page of a test message
		}
		events = append(events, e)
		for i, kind := range kinds {
			e.Kind, e.Time, e.Attempt = kind, e.Time.Add(time.Duration(1+60*i)*time.Second), i+1
			if i < len(replies) {
				e.Reply, e.Reason = replies[i], replies[i].Host+" replied: "+replies[i].String()
			}
			e.NextAttempt = time.Time{}
			if kind == store.EventDeferred {
				e.NextAttempt = e.Time.Add(5 * time.Minute)
			}
			events = append(events, e)
		}
	}
	for day := 60; day > 0; day-- {
		count := 6 + r.IntN(9)
		if at := now.AddDate(0, 0, -day).Weekday(); at == time.Saturday || at == time.Sunday {
			count = 1 + r.IntN(3)
		}
		for i := range count {
			u := users[min(r.IntN(7)/2, 3)]
			kinds, reply := []store.EventKind{store.EventDelivered}, taken
			switch r.IntN(24) {
			case 0:
				kinds, reply = []store.EventKind{store.EventHardBounced}, noUser
			case 1:
				kinds, reply = []store.EventKind{store.EventSoftBounced}, full
			}
			add(u, fmt.Sprintf("d%02dm%02d", day, i), 0, fmt.Sprintf("customer%d@example.com", r.IntN(1000)), fmt.Sprintf("Your order %d", 4000-40*day+i),
				time.Duration(24*day-r.IntN(10))*time.Hour, kinds, reply)
		}
	}
	wp := users[0]
	add(wp, "p1", 0, "anna@example.com", "Welcome to the newsletter", 9*time.Hour, []store.EventKind{store.EventDelivered, store.EventLateHardBounced}, taken, noUser)
	add(wp, "p2", 0, "ben@example.org", "Your invoice 2026-117", 8*time.Hour, []store.EventKind{store.EventDeferred, store.EventDeferred, store.EventSoftBounced}, full, full, full)
	add(wp, "p3", 0, "chris@example.net", "A very long subject that a tool has made of the names of all the products that were ordered by the customer", 90*time.Minute,
		[]store.EventKind{store.EventHardBounced}, store.Reply{Code: 550, Enhanced: "5.7.26", Text: "This mail is unauthenticated, which poses a security risk", Host: "mx.example.net"})
	add(wp, "p4", 0, "dora@example.com", "Password reset", 40*time.Minute, []store.EventKind{store.EventDelivered}, taken)
	for n, to := range []string{"eve@example.com", "finn@example.net", "gil@example.org", "hugo@example.net", "ida@example.com"} {
		kinds, replies := []store.EventKind{store.EventDelivered}, []store.Reply{taken}
		switch n {
		case 1, 3:
			kinds, replies = []store.EventKind{store.EventDeferred, store.EventDeferred}, []store.Reply{greylist, greylist}
		case 2:
			kinds, replies = []store.EventKind{store.EventHardBounced}, []store.Reply{noUser}
		}
		add(wp, "p5", n, to, "Minutes of the meeting", 4*time.Minute, kinds, replies...)
	}
	add(wp, "p6", 0, "jan@example.com", "", 10*time.Second, nil)
	add(wp, "p7", 0, "me@example.org", "Test message", 7*time.Hour, []store.EventKind{store.EventDeferred, store.EventDelivered}, full, taken)
	for i := range events {
		if events[i].Mail == "p7" {
			events[i].From, events[i].Author = "test@"+wp.Domain, "test@"+wp.Domain
		}
	}
	p.waits = "p5"
	for i, refused := range []store.Event{
		{Kind: store.EventRefused, Field: "MAIL FROM", From: "info@other.example", Times: 340, Reply: store.Reply{Code: 550, Text: "MAIL FROM: domain other.example is not allowed, this user sends from mycompany.com only"}},
		{Kind: store.EventLoginRefused, Field: "AUTH", Times: 3, Reply: store.Reply{Code: 535, Text: "username or password is wrong"}, Reason: "wrong password"},
		{Kind: store.EventRefused, Field: "RCPT TO", From: "info@mycompany.com", Recipient: "old@example.org", Times: 1, Reply: store.Reply{Code: 550, Text: "RCPT TO: <old@example.org> is on the suppression list since 3 November 2026: 550 5.1.1 No such user"}},
	} {
		refused.Tenant, refused.Domain, refused.Username = "acme", wp.Domain, wp.Username
		refused.Time = now.Add(-time.Duration(20+90*i) * time.Minute)
		refused.Received = refused.Time
		if refused.Reason == "" {
			refused.Reason = refused.Reply.Text
		}
		events = append(events, refused)
	}
	if err := p.History.Store.Record(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if _, err := p.History.Tenant("acme").Erase(t.Context(), "nobody@nowhere.example"); err != nil { // applies the events
		t.Fatal(err)
	}
	list, err := p.History.Tenant("acme").Activities(t.Context(), store.ActivityFilter{States: []store.ActivityState{store.ActivityRejected}})
	if err != nil || len(list.List) == 0 {
		t.Fatal(list, err)
	}
	p.refusal = list.List[0].Mail
}

// screens are the pages of activity and statistics, with their headings in English.
func (p *past) screens() map[string]string {
	return map[string]string{
		"1-activity":          "activity",
		"2-activity-filtered": "activity?search=example&state=problems&domain=mycompany.com&from=2020-01-01&until=2100-01-01",
		"3-activity-nothing":  "activity?search=nothing",
		"4-message":           "activity/" + p.waits,
		"5-message-open":      "activity/" + p.waits + "?n=1",
		"6-bounced":           "activity/p2",
		"7-late":              "activity/p1",
		"8-refusal":           "activity/" + p.refusal,
		"9-cancel":            "activity/" + p.waits + "/cancel?recipient=finn@example.net",
		"10-statistics":       "statistics",
		"11-statistics-30":    "statistics?period=30",
		"12-statistics-today": "statistics?period=today",
		"13-statistics-long":  "statistics?domain=mycompany.com&from=" + time.Now().AddDate(0, 0, -120).Format(time.DateOnly) + "&until=" + time.Now().Format(time.DateOnly),
	}
}

// Each screen of activity and statistics is accessible in each language and look.
func TestActivityScreens(t *testing.T) {
	services.OnlyLong(t)
	p, browser := newPast(t, nil), open(t, look{})
	for name, l := range sorted(map[string]look{
		"wide": {width: 1280, height: 900}, "dark": {width: 1280, height: 900, dark: true}, "phone": {width: 360, height: 740}, "narrow": {width: 320, height: 640, dark: true},
		"french": {width: 1280, height: 900, language: "fr"}, "french-phone": {width: 360, height: 740, language: "fr"},
	}) {
		t.Run(name, func(t *testing.T) {
			b := browser.in(t, l)
			for screen, path := range sorted(p.screens()) {
				b.goTo(p.url + path)
				b.until(`document.readyState === "complete" && document.querySelector("h1")`)
				b.accessible(screen)
				b.shoot("activity-" + name + "-" + screen)
			}
		})
	}
}
