package console_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A desk is an Operator, mounted at /ops/, with a queue that does not run. It has mail
// of acme and rival to two destinations.
type desk struct {
	*testing.T
	st       *memory.Store
	op       *console.Operator
	handler  http.Handler
	log      bytes.Buffer
	changes  []console.Change
	username string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, st: new(memory.Store)}
	creds := &credentials.Manager{Store: d.st, Cost: credentials.Cost{MemoryKiB: 64, Time: 1, Threads: 1}, ClaimDomains: true}
	logger := slog.New(slog.NewTextHandler(&d.log, nil))
	d.op = &console.Operator{
		Queue: &queue.Queue{Spool: d.st, Hostname: "relay.example.net", Record: true, Logger: logger, Destination: func(to string) string { return to[strings.LastIndex(to, "@")+1:] }},
		By: func(r *http.Request) (string, error) {
			if r.Header.Get("Test-Nobody") != "" {
				return "", errors.New("session expired")
			}
			return "alice", nil
		},
		History: &history.History{Store: d.st}, Credentials: creds,
		OnChange: func(_ *http.Request, c console.Change) { d.changes = append(d.changes, c) },
		Logger:   logger,
		Brakes: func() []relay.Brake {
			return []relay.Brake{{Kind: relay.BrakePause, Site: "two.example", Waiting: 3, Reason: "450 4.7.1 <slow> down"}, {Kind: "new", Site: "x"}}
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/ops/", http.StripPrefix("/ops", d.op))
	d.handler = mux
	acme := creds.Tenant("acme")
	must(acme.AddDomain(t.Context(), "acme.example"))
	must(creds.Tenant("rival").AddDomain(t.Context(), "acme.example"))
	u, _, err := acme.AddUser(t.Context(), "acme.example", "shop")
	must(u, err)
	d.username = u.Username
	for i := range 6 {
		tenant := []store.TenantID{"acme", "rival"}[i%2]
		d.put(fmt.Sprintf("m%d", i), tenant, fmt.Sprintf("r%d@%s", i, []string{"one.example", "two.example"}[i/4]))
	}
	return d
}

var received = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func (d *desk) put(id string, tenant store.TenantID, to string) {
	d.Helper()
	m := store.Mail{ID: id, Tenant: tenant, Domain: "acme.example", Username: d.username, From: "shop@acme.example", Received: received, Size: 5}
	delivery := store.Delivery{Recipient: to, Destination: d.op.Queue.Destination(to), Next: received.Add(time.Hour), Attempts: 2, Reason: "451 4.7.1 \xffgreylisted <b>"}
	e := store.Event{Kind: store.EventAccepted, Mail: id, Tenant: tenant, Time: received, Received: received, Recipient: to, Subject: "Invoice", From: m.From}
	if err := d.st.Put(d.Context(), m, []store.Delivery{delivery}, strings.NewReader("hello"), e); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) do(method, path string, form url.Values, changes ...as) response {
	d.Helper()
	r := httptest.NewRequest(method, "https://product.example/ops/"+path, strings.NewReader(form.Encode()))
	browser(r)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, change := range changes {
		change(r)
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return response{w, w.Body.String()}
}

// post sends a JSON object.
func (d *desk) post(path, body string) response {
	d.Helper()
	r := httptest.NewRequest("POST", "https://product.example/ops/"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return response{w, w.Body.String()}
}

// shows checks the status and parts of a page.
func (d *desk) shows(r response, status int, parts ...string) {
	d.Helper()
	(&fixture{T: d.T}).want(r, status, parts...)
}

func (d *desk) state(id string) string {
	d.Helper()
	list, err := d.st.Deliveries(d.Context(), store.Filter{Mail: id}, store.Page{})
	switch {
	case err != nil:
		d.Fatal(err)
	case len(list) == 0:
		return "gone"
	case list[0].Delivery.Held:
		return "held"
	case list[0].Delivery.Next.After(received.Add(2 * time.Hour)):
		return "due now"
	}
	return "waits"
}

// Each page says what it is about, with links to the next.
func TestOperatorPages(t *testing.T) {
	d := newDesk(t)
	if err := (&queue.Admin{Queue: d.op.Queue, By: "bob"}).Suspend(t.Context(), store.Suspension{Destination: "two.example", Reason: "they asked & we agreed"}); err != nil {
		t.Fatal(err)
	}
	d.shows(d.do("GET", "", nil), 200, "6 recipients", "Paused by bob", "they asked &amp; we agreed", "two.example: its server has asked for less mail", "3 wait for it", "&lt;slow&gt;", "x: a limit is reached", "No mail is sent until the relay runs")
	d.shows(d.do("GET", "queue", nil), 200, "one.example", "6 recipients wait", `href="./queue?destination=one.example"`, "Paused")
	d.shows(d.do("GET", "queue?by=tenant", nil), 200, `href="./queue?tenant=acme"`)
	d.shows(d.do("GET", "queue?destination=two.example", nil), 200, "Mail to two.example", `href="./deliveries?destination=two.example&amp;tenant=acme"`, "Resume")
	d.shows(d.do("GET", "queue?search=ONE", nil), 200, "one.example")
	d.shows(d.do("GET", "deliveries?tenant=acme", nil), 200, "r0@one.example", "451 4.7.1", "&lt;b&gt;")
	d.shows(d.do("GET", "deliveries?recipient=r5@two.example", nil), 200, "r5@two.example")
	d.shows(d.do("GET", "deliveries?said=GREYlisted&limit=2", nil), 200, "r1@one.example", "after=m1.00000")
	d.shows(d.do("GET", "deliveries/m4.00000", nil), 200, "Delivery to r4@two.example", "paused or no server there answers", "they asked", "Try now")
	d.shows(d.do("GET", "messages/m4", nil), 200, "Still in the queue", "acme")
	for _, path := range []string{"deliveries/m9.00000", "deliveries/m4", "deliveries/m4.00001", "messages/nothing", "messages/%00", "deliveries/%ff.0", "nothing"} {
		d.shows(d.do("GET", path, nil), 404, `href="./`, "Overview")
	}
	for _, path := range []string{"deliveries?tenant=%ff%00", "queue?destination=%ff&after=x", "deliveries?state=none"} {
		d.shows(d.do("GET", path, nil, french), 422)
	}
	d.shows(d.do("GET", "search?search=%00%ff", nil, french), 303)
	d.shows(d.do("GET", "queue?after=3:one", nil, french), 200)
}

// A user, a domain of two tenants and a message that was delivered are found.
func TestOperatorFinds(t *testing.T) {
	d := newDesk(t)
	d.shows(d.do("GET", "search?search="+d.username, nil), 200, "shop", "acme", "deliveries?tenant=acme")
	d.shows(d.do("GET", "search?search=ACME.example", nil), 200, "acme", "rival", "claims the domain")
	d.shows(d.do("GET", "search?search=what", nil), 200, "No user, domain or message")
	if r := d.do("GET", "search?search=+m3%0a", nil); r.Code != 303 || r.Header().Get("Location") != "./messages/m3" {
		t.Errorf("got %d to %q, want the page of the message", r.Code, r.Header().Get("Location"))
	}
	list, err := d.st.Deliveries(t.Context(), store.Filter{Mail: "m3"}, store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	e := store.Event{Kind: store.EventDelivered, Mail: "m3", Tenant: "rival", Time: received.Add(time.Minute), Received: received, Recipient: "r3@one.example", Reply: store.Reply{Code: 250, Text: "taken", Host: "mx.one.example"}}
	if _, err := d.st.Settle(t.Context(), []store.Outcome{{Mail: "m3", Lease: list[0].Delivery.Lease, Done: true, Event: e}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.op.History.Tenant("rival").Erase(t.Context(), "nobody@x.example"); err != nil { // applies the events
		t.Fatal(err)
	}
	d.shows(d.do("GET", "messages/m3", nil), 200, "Delivered</span> 1", "Invoice", "mx.one.example said: 250 taken", "Accepted")
}

// An operator reads what a server answered, without the advice for customers.
func TestOperatorTrail(t *testing.T) {
	d := newDesk(t)
	list, err := d.st.Deliveries(t.Context(), store.Filter{Mail: "m3"}, store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	e := store.Event{Kind: store.EventHardBounced, Mail: "m3", Tenant: "rival", Time: received.Add(time.Minute), Received: received, Recipient: "r3@one.example", Reply: store.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user", Host: "mx.one.example"}}
	if _, err := d.st.Settle(t.Context(), []store.Outcome{{Mail: "m3", Lease: list[0].Delivery.Lease, Done: true, Event: e}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.op.History.Tenant("rival").Erase(t.Context(), "nobody@x.example"); err != nil { // applies the events
		t.Fatal(err)
	}
	page := d.do("GET", "messages/m3", nil)
	d.shows(page, 200, `class="gatepost-trail"`, `<q translate="no">550 5.1.1 no such user</q>`)
	if strings.Contains(page.body, "Look for a typo") {
		t.Errorf("got the advice for customers:\n%s", page.body)
	}
}

// While mail waits for a smarthost with a problem, the operator reads the whole reason of
// its delivery. Of mail that was given up only the log has it, and the page says so.
func TestOperatorReadsInternalReason(t *testing.T) {
	d := newDesk(t)
	event := func(kind store.EventKind, mail string) store.Event {
		return store.Event{Kind: kind, Mail: mail, Tenant: "acme", Time: received.Add(time.Minute), Received: received, Recipient: "r0@one.example", Reason: store.InternalReason}
	}
	for _, id := range []string{"m0", "m2"} {
		list, err := d.st.Deliveries(t.Context(), store.Filter{Mail: id}, store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		o := store.Outcome{Mail: id, Lease: list[0].Delivery.Lease, Next: received, Reason: store.InternalReason + ": AUTH: the server replied 535", Event: event(store.EventDeferred, id)}
		if id == "m2" {
			o.Done, o.Event = true, event(store.EventSoftBounced, id)
		}
		if _, err := d.st.Settle(t.Context(), []store.Outcome{o}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.op.History.Tenant("acme").Erase(t.Context(), "nobody@x.example"); err != nil { // applies the events
		t.Fatal(err)
	}
	for path, times := range map[string]int{"messages/m0": 3, "deliveries/m0.00000": 2} {
		page := d.do("GET", path, nil)
		if n := strings.Count(page.body, "AUTH: the server replied 535"); page.Code != 200 || n != times {
			t.Errorf("%s has the reason %d times, want %d:\n%s", path, n, times, page.body)
		}
	}
	d.shows(d.do("GET", "messages/m0", nil, header("Accept", "application/json")), 200, `"said":"our outgoing server has a problem: AUTH: the server replied 535"`)
	page := d.do("GET", "messages/m2", nil)
	if n := strings.Count(page.body, "the log has the cause"); n != 2 {
		t.Errorf("the page says %d times where the cause is, want with the state and in the trail:\n%s", n, page.body)
	}
}

// A form asks first, with the number, and the change is made by its button.
func TestOperatorChanges(t *testing.T) {
	d := newDesk(t)
	d.shows(d.do("GET", "change?do=hold&tenant=acme", nil), 200, "Recipients selected:", "<strong>3</strong>", `name="tenant" value="acme"`)
	d.shows(d.do("GET", "change?do=hold&tenant=acme&said=grey", nil), 200, "<strong>3</strong>")
	d.shows(d.do("POST", "change", url.Values{"do": {"hold"}, "tenant": {"acme"}, "destination": {"one.example"}, "reason": {"spam?"}}), 200, "Held:", "<strong>2</strong>")
	if d.state("m0") != "held" || d.state("m2") != "held" || d.state("m4") != "waits" || d.state("m1") != "waits" {
		t.Errorf("got %s, %s, %s, %s", d.state("m0"), d.state("m2"), d.state("m4"), d.state("m1"))
	}
	d.shows(d.do("GET", "deliveries?state=held", nil), 200, "r0@one.example", "spam?")
	d.shows(d.do("POST", "change", url.Values{"do": {"release"}, "delivery": {"m0.00000"}}), 200, "Released:", "<strong>1</strong>")
	d.shows(d.do("POST", "change", url.Values{"do": {"retry"}, "tenant": {"rival"}}), 200, "<strong>3</strong>")
	if d.state("m0") != "due now" || d.state("m2") != "held" || d.state("m1") != "due now" {
		t.Errorf("got %s, %s, %s", d.state("m0"), d.state("m2"), d.state("m1"))
	}
	d.shows(d.do("POST", "change", url.Values{"do": {"cancel"}, "delivery": {"m1.00000"}, "bounce": {"true"}}), 422, "senders need a reason", `aria-invalid="true"`)
	d.shows(d.do("POST", "change", url.Values{"do": {"cancel"}, "delivery": {"m1.00000"}, "bounce": {"true"}, "reason": {"no longer wanted"}}), 200, "<strong>1</strong>")
	if d.state("m1") != "gone" {
		t.Errorf("got %s", d.state("m1"))
	}
	d.shows(d.do("POST", "change", url.Values{"do": {"cancel"}}), 422, "this would change all mail")
	d.shows(d.do("POST", "change", url.Values{"do": {"drop"}, "tenant": {"acme"}}), 422)
	d.shows(d.do("POST", "change", url.Values{"do": {"cancel"}, "all": {"true"}}), 200, "Cancelled:")
	d.shows(d.do("POST", "change", url.Values{"do": {"cancel"}, "all": {"true"}}), 200, "<strong>0</strong>")
	want := []console.Change{
		{Action: console.HoldQueue, Tenant: "acme", Object: "hold 2 destination=one.example"},
		{Action: console.HoldQueue, Tenant: "acme", Object: "release 1 message=m0 recipient=r0@one.example"},
		{Action: console.RetryQueue, Tenant: "rival", Object: "retry 3"},
		{Action: console.CancelQueue, Tenant: "rival", Object: "cancel 1 message=m1 recipient=r1@one.example"},
		{Action: console.CancelQueue, Object: "cancel 6"}, // with the bounce of m1
	}
	if !slices.Equal(d.changes, want) {
		t.Errorf("OnChange was told of %+v, want %+v", d.changes, want)
	}
}

// A destination and a tenant are paused with a reason, and resumed.
func TestOperatorPauses(t *testing.T) {
	d := newDesk(t)
	d.shows(d.do("GET", "pause?tenant=acme", nil), 200, "Pause the mail of acme", `name="tenant" value="acme"`)
	r := d.do("POST", "pause", url.Values{"tenant": {"acme"}, "reason": {"abuse"}})
	d.shows(r, 303)
	list, err := d.st.Suspensions(t.Context())
	if err != nil || len(list) != 1 || list[0].Tenant != "acme" || list[0].Reason != "abuse" || list[0].By != "alice" {
		t.Fatalf("got %+v, %v", list, err)
	}
	d.shows(d.do("GET", strings.TrimPrefix(r.Header().Get("Location"), "./"), nil, header("Sec-Fetch-Site", "same-origin")), 200, "Paused. All processes notice", "Resume")
	d.shows(d.do("GET", "resume?tenant=acme", nil), 200, "abuse", "Paused by alice")
	d.shows(d.do("POST", "resume", url.Values{"tenant": {"acme"}}), 303)
	d.shows(d.do("POST", "resume", url.Values{"tenant": {"acme"}}), 404, "is not paused any more")
	d.shows(d.do("GET", "resume?tenant=acme", nil), 404)
	for _, both := range []string{"", "tenant=a&destination=b"} {
		d.shows(d.do("GET", "pause?"+both, nil), 422)
		d.shows(d.do("POST", "pause?"+both, url.Values{"reason": {"x"}}), 422)
	}
}

// Only operators see the pages, and May decides about each button.
func TestOperatorAccess(t *testing.T) {
	d := newDesk(t)
	for _, path := range []string{"", "queue", "deliveries", "messages/m0", "change?do=hold&tenant=acme"} {
		d.shows(d.do("GET", path, nil, header("Test-Nobody", "x")), 403)
	}
	d.shows(d.do("POST", "change", url.Values{"do": {"cancel"}, "all": {"true"}}, header("Sec-Fetch-Site", "cross-site")), 403)
	for _, op := range []*console.Operator{{}, {Queue: d.op.Queue}, {Queue: new(queue.Queue), By: d.op.By}} {
		op.Logger = d.op.Logger
		if r := serve(op, "GET", "/", nil); r.Code != 500 || strings.Contains(r.body, "recipients") {
			t.Errorf("an Operator without a required field: got %d", r.Code)
		}
	}
	reader := newDesk(t)
	reader.op.May = func(_ *http.Request, a console.Action) error {
		if a != console.ViewQueue {
			return errors.New("readers only look")
		}
		return nil
	}
	if r := reader.do("GET", "queue?tenant=acme", nil); strings.Contains(r.body, "change?") || strings.Contains(r.body, "pause?") {
		t.Errorf("a reader sees buttons:\n%s", r.body)
	}
	for path, form := range map[string]url.Values{"change": {"do": {"hold"}, "tenant": {"acme"}}, "pause": {"tenant": {"acme"}}, "resume": {"tenant": {"acme"}}} {
		reader.shows(reader.do("POST", path, form), 403)
	}
	if reader.state("m0") != "waits" || len(reader.changes) > 0 {
		t.Errorf("a reader has changed mail: %+v", reader.changes)
	}
}

// openapi.json of an Operator describes each request, and each response matches it.
func TestOperatorOpenAPI(t *testing.T) {
	d := newDesk(t)
	a := loadAPI(t, d.op)
	if raw := serve(d.op, "GET", "/openapi.json", nil).body; !strings.Contains(raw, "of all tenants") {
		t.Error("openapi.json does not say whose mail it is about")
	}
	seen := make(map[string]bool)
	for _, c := range []struct {
		method, path, at, body string
		status                 int
	}{
		{"GET", "/", "", "", 200},
		{"GET", "/search", "search?search=acme.example", "", 200},
		{"GET", "/search", "search?search=" + d.username, "", 200},
		{"GET", "/search", "search?search=m0", "", 200},
		{"GET", "/messages/{message}", "messages/m0", "", 200},
		{"GET", "/messages/{message}", "messages/x", "", 404},
		{"GET", "/queue", "queue?limit=1", "", 200},
		{"GET", "/queue", "queue?limit=x", "", 422},
		{"GET", "/deliveries", "deliveries?limit=2", "", 200},
		{"GET", "/deliveries/{delivery}", "deliveries/m0.00000", "", 200},
		{"GET", "/deliveries/{delivery}", "deliveries/m0.00009", "", 404},
		{"POST", "/pause", "pause", `{"destination":"one.example","reason":"r"}`, 204},
		{"GET", "/", "", "", 200},
		{"GET", "/queue", "queue", "", 200},
		{"POST", "/pause", "pause", `{}`, 422},
		{"POST", "/resume", "resume", `{"destination":"one.example"}`, 204},
		{"POST", "/resume", "resume", `{"destination":"one.example"}`, 404},
		{"POST", "/change", "change", `{"do":"hold","tenant":"acme"}`, 200},
		{"POST", "/change", "change", `{"do":"cancel","all":true}`, 200},
		{"POST", "/change", "change", `{"do":"cancel","all":"true"}`, 400},
		{"POST", "/change", "change", `{"do":"cancel"}`, 422},
		{"GET", "/", "", "", 200},
	} {
		r := d.do(c.method, c.at, nil, program, header("Content-Type", "application/json"), func(r *http.Request) {
			if c.body != "" {
				*r = *httptest.NewRequest(c.method, r.URL.String(), strings.NewReader(c.body))
				r.Header.Set("Content-Type", "application/json")
			}
		})
		d.shows(r, c.status)
		o := a.operation(t, c.path, c.method)
		seen[o.OperationID] = true
		described, ok := o.Responses[fmt.Sprint(c.status)]
		if !ok {
			t.Errorf("%s %s: openapi.json has no status %d", c.method, c.at, c.status)
		}
		content, ok := described.Content[r.Header().Get("Content-Type")]
		if len(described.Content) == 0 && r.body == "" {
			continue
		}
		var document any
		if err := json.Unmarshal([]byte(r.body), &document); err != nil || !ok {
			t.Fatalf("%s %s: %v: %s", c.method, c.at, err, r.body)
		}
		if err := a.check(content.Schema, document, "answer"); err != nil {
			t.Errorf("%s %s: %v:\n%s", c.method, c.at, err, r.body)
		}
	}
	for path, methods := range a.Paths {
		for method := range methods {
			if id := a.operation(t, path, method).OperationID; !seen[id] {
				t.Errorf("no request for %s", id)
			}
		}
	}
}
