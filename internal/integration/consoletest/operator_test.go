package consoletest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// An operation is a relay with a queue and an upstream that refuses mail for now until
// it opens.
type operation struct {
	*relaytest.Relay
	upstream *relaytest.Upstream
	open     atomic.Bool
	url      string // of the pages for operators
	queue    *queue.Queue
	tb       *testing.T
}

func operate(t *testing.T, set ...func(*console.Operator)) *operation {
	t.Helper()
	o := &operation{Relay: relaytest.NewUnstartedRelay(t), tb: t}
	o.upstream = &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Verb == "RCPT" && !o.open.Load() {
			return relaytest.Answer{Text: "451 4.7.1 Greylisted, try again later"}
		}
		return relaytest.Answer{}
	}}
	o.upstream.Start()
	t.Cleanup(o.upstream.Close)
	next := &smarthost.Forwarder{Addr: o.upstream.Addr(), TLSConfig: o.upstream.ClientTLS()}
	t.Cleanup(func() { next.Close() })
	st := new(memory.Store)
	q := &queue.Queue{Spool: st, Next: next, Hostname: "relay.example.net", Node: "relay1", Record: true,
		Destination: func(to string) string { return to[strings.LastIndex(to, "@")+1:] }}
	o.queue = q
	hist := &history.History{Store: st}
	o.Server.Forwarder = q
	o.Start()
	go q.Run(t.Context())
	go hist.Run(t.Context())
	op := &console.Operator{Queue: q, History: hist, Credentials: o.Credentials, By: func(*http.Request) (string, error) { return "alice", nil }}
	for _, f := range set {
		f(op)
	}
	mux := http.NewServeMux()
	mux.Handle("/ops/", http.StripPrefix("/ops", op))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	o.url = server.URL + "/ops/"
	return o
}

// deferred waits until so many deliveries have been deferred.
func (o *operation) deferred(n int) {
	o.tb.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := o.queue.Spool.Deliveries(o.tb.Context(), store.Filter{State: store.StateWaiting, Reason: "Greylisted"}, store.Page{})
		if err != nil || time.Now().After(end) {
			o.tb.Fatalf("%d of %d deliveries were deferred: %v", len(list), n, err)
		}
		if len(list) == n {
			return
		}
	}
}

// TestOperator acts as an operator does. Mail is refused for now; the operator sees what
// the other server says, pauses the destination, holds and cancels one delivery, lets
// the rest go, and sees that it was delivered.
func TestOperator(t *testing.T) {
	services.OnlyLong(t)
	for name, l := range sorted(map[string]look{
		"wide":   {},
		"dark":   {dark: true},
		"phone":  {width: 320, height: 740, language: "fr"},
		"script": {noScript: true},
	}) {
		t.Run(name, func(t *testing.T) {
			o := operate(t)
			for _, to := range []string{"bob@one.example", "carol@one.example", "dave@two.example"} {
				if err := o.Send("shop@acme.example", []string{to}, "From: shop@acme.example\nSubject: Invoice\n\nHello.\n"); err != nil {
					t.Fatal(err)
				}
			}
			if l.noScript || l.language != "" {
				b := open(t, l)
				o.looksRight(b, func(screen string) {
					if !l.noScript {
						b.accessible(screen)
					}
					b.shoot(name + "-" + screen)
				})
				return
			}
			o.acts(open(t, l), name)
		})
	}
}

// looksRight shows each page, without a word of English.
func (o *operation) looksRight(b *tab, see func(screen string)) {
	b.Helper()
	for screen, path := range sorted(map[string]string{
		"overview": "", "queue": "queue", "tenants": "queue?by=tenant", "destination": "queue?destination=one.example", "deliveries": "deliveries",
		"filter": "deliveries?tenant=acme&state=waiting", "change": "change?do=cancel&destination=one.example", "pause": "pause?destination=one.example", "found": "search?search=" + o.Username,
	}) {
		b.goTo(o.url + path)
		if b.text("h1") == "" {
			b.Errorf("%s: no heading", screen)
		}
		see("operator-" + screen)
	}
}

func (o *operation) acts(b *tab, name string) {
	b.Helper()
	see := func(screen string) {
		b.Helper()
		b.accessible("operator-" + screen)
		b.shoot(name + "-operator-" + screen)
	}
	b.goTo(o.url + "deliveries")
	b.until(`document.body.textContent.match(/Greylisted/g)?.length === 3 || (setTimeout(() => location.reload(), 300), false)`)
	see("deliveries")
	b.follow("bob@one.example", "Delivery to bob@one.example")
	b.until(`document.body.textContent.includes("Deferred") || (setTimeout(() => location.reload(), 500), false)`)
	see("delivery")

	b.goTo(o.url + "queue?destination=one.example")
	b.follow("Pause", "Pause mail to one.example")
	see("pause")
	b.fill("Reason", "they asked for a break")
	b.follow("Pause", "Mail to one.example")
	see("paused")
	b.goTo(o.url)
	b.until(`document.body.textContent.includes("Paused by alice") && document.body.textContent.includes("they asked for a break")`)
	see("overview")

	b.goTo(o.url + "deliveries?destination=one.example")
	b.follow("Hold", "Hold this mail?")
	b.until(`document.querySelector("strong")?.textContent === "2"`)
	see("hold")
	b.fill("Reason", "is it spam?")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.heading("Mail is held")
	see("held")
	b.goTo(o.url + "deliveries?state=held&recipient=carol@one.example")
	b.follow("carol@one.example", "Delivery to carol@one.example")
	b.follow("Cancel", "Cancel this mail?")
	see("cancel")
	b.follow("Cancel this mail", "Mail is cancelled")

	o.open.Store(true)
	b.goTo(o.url + "resume?destination=one.example")
	b.follow("Resume", "Mail to one.example")
	b.goTo(o.url + "change?do=release&destination=one.example")
	b.follow("Release", "Mail is released")
	b.goTo(o.url + "change?do=retry&destination=two.example")
	b.follow("Try now", "Mail is tried now")
	got := o.upstream.Wait(b.T, 2)
	for _, d := range got {
		if strings.HasPrefix(d.To[0].Address, "carol") {
			b.Errorf("cancelled mail to %v was delivered", d.To)
		}
	}
	o.find(b, see)
}

// find looks for the delivered message by its ID, and for the user.
func (o *operation) find(b *tab, see func(string)) {
	b.Helper()
	id := o.Messages()[0].ID
	b.goTo(o.url)
	b.fill("Find a user, a domain or a message", id)
	b.follow("Search", "Message "+id)
	b.until(`document.body.textContent.includes("Delivered 1") || (setTimeout(() => location.reload(), 500), false)`)
	see("message")
	b.goTo(o.url)
	b.fill("Find a user, a domain or a message", o.Username)
	b.follow("Search", "Results for “"+o.Username+"”")
	b.until(`document.body.textContent.includes("acme.example")`)
	see("found")
}

// As TestGeneratedClient, for the pages of operators, with two deliveries that wait.
func TestGeneratedOperatorClient(t *testing.T) {
	o := operate(t)
	for _, to := range []string{"bob@one.example", "carol@two.example"} {
		if err := o.Send("shop@acme.example", []string{to}, "From: shop@acme.example\n\nHello.\n"); err != nil {
			t.Fatal(err)
		}
	}
	o.deferred(2)
	useClient(t, product{url: o.url}, "operator.mjs")
}
