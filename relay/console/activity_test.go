package console_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// withHistory gives the console a history and a queue, which nothing works on.
func (f *fixture) withHistory() {
	f.Helper()
	f.console.History = &history.History{Store: f.store.(store.History)}
	f.console.Queue = &queue.Queue{Spool: f.store.(store.Spool), Record: true, Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error {
		return errors.New("not tried")
	})}
}

// apply makes activities of what was recorded.
func (f *fixture) apply() {
	f.Helper()
	if _, err := f.console.History.Tenant("acme").Erase(f.Context(), "nobody@nowhere.example"); err != nil {
		f.Fatal(err)
	}
}

// happened records events and makes activities of them.
func (f *fixture) happened(events ...store.Event) {
	f.Helper()
	if err := f.console.History.Store.Record(f.Context(), events); err != nil {
		f.Fatal(err)
	}
	f.apply()
}

// sent returns an event of a message that was accepted some time ago.
func sent(kind store.EventKind, mail, recipient string, ago time.Duration) store.Event {
	at := time.Now().UTC().Add(-ago).Truncate(time.Microsecond)
	return store.Event{
		Kind: kind, Time: at, Received: at, Tenant: "acme", Domain: "acme.example", Username: "smtpshop", Mail: mail,
		From: "shop@acme.example", Author: "shop@acme.example", Recipient: recipient, Subject: "Your <order>", MessageID: "<1@acme.example>", Size: 1400,
	}
}

// after returns an event of the same recipient that happened later.
func after(e store.Event, kind store.EventKind, later time.Duration, reply store.Reply) store.Event {
	e.Kind, e.Time, e.Reply, e.Reason, e.Attempt = kind, e.Time.Add(later), reply, reply.String(), 1
	return e
}

// queued puts a message into the queue that is due in an hour, with its history.
func (f *fixture) queued(tenant store.TenantID, mail string, recipients ...string) {
	f.Helper()
	m := store.Mail{ID: mail, Tenant: tenant, Domain: "acme.example", Username: "smtpshop", From: "shop@acme.example", Received: time.Now().UTC().Truncate(time.Microsecond), Size: 5}
	var deliveries []store.Delivery
	var events []store.Event
	for i, r := range recipients {
		deliveries = append(deliveries, store.Delivery{Recipient: r, Next: m.Received.Add(time.Hour)})
		e := sent(store.EventAccepted, mail, r, 0)
		e.Tenant, e.N, e.Received, e.Time = tenant, i, m.Received, m.Received
		late := after(e, store.EventDeferred, time.Second, store.Reply{Code: 451, Enhanced: "4.7.1", Text: "Greylisted", Host: "mx.example.net"})
		late.NextAttempt = m.Received.Add(time.Hour)
		events = append(events, e, late)
	}
	if err := f.console.Queue.Spool.Put(f.Context(), m, deliveries, strings.NewReader("hello"), events...); err != nil {
		f.Fatal(err)
	}
	f.apply()
}

// waiting returns the recipients that are in the queue, with when they are due.
func (f *fixture) waiting() map[string]time.Time {
	f.Helper()
	list, err := f.console.Queue.Spool.Deliveries(f.Context(), store.Filter{}, store.Page{})
	if err != nil {
		f.Fatal(err)
	}
	due := make(map[string]time.Time)
	for _, l := range list {
		due[string(l.Mail.Tenant)+" "+l.Delivery.Recipient] = l.Delivery.Next
	}
	return due
}

var gone = store.Reply{Code: 550, Enhanced: "5.1.1", Text: "No such user", Host: "mx.example.net"}

// some records a delivered recipient, one that bounced, one that waits and a refusal.
func (f *fixture) some() {
	f.Helper()
	bob, eve := sent(store.EventAccepted, "m1", "bob@example.com", 3*time.Hour), sent(store.EventAccepted, "m2", "eve@example.net", 2*time.Hour)
	refused := sent(store.EventRefused, "", "", time.Hour)
	refused.From, refused.Subject, refused.Field, refused.Times = "shop@other.example", "", "MAIL FROM", 12
	refused.Reply = store.Reply{Code: 550, Text: "MAIL FROM: domain other.example is not allowed, this user sends from acme.example only"}
	refused.Reason = refused.Reply.Text
	f.happened(
		bob, after(bob, store.EventDelivered, time.Second, store.Reply{Code: 250, Text: "ok", Host: "mx.example.com"}),
		eve, after(eve, store.EventHardBounced, time.Second, gone), refused)
	f.queued("acme", "m3", "carol@example.net")
}

// recipients returns the recipients in the rows of a page.
func recipients(page response) (list []string) {
	for _, m := range regexp.MustCompile(`class="gatepost-what"><a [^>]*>(?:<bdi>)?([^<]*)`).FindAllStringSubmatch(page.body, -1) {
		list = append(list, strings.TrimSpace(m[1]))
	}
	return list
}

// The list has a row for each recipient and each refusal, the newest first, with its
// state in words, and with what to do.
func TestActivity(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.want(f.get("activity"), 200, "No mail yet.", "Set up a tool")
	f.some()
	page := f.get("activity")
	f.want(page, 200, "Delivered", "Hard bounced", "Deferred", "Refused", "Your &lt;order&gt;", "The address does not exist",
		"asked to try again later", "Next attempt: ", "This user sends from addresses at acme.example only", "12 times", "shop@other.example")
	if got, want := recipients(page), []string{"carol@example.net", "No recipient yet", "eve@example.net", "bob@example.com"}; !slices.Equal(got, want) {
		t.Errorf("got the recipients %q, want %q", got, want)
	}
	f.want(f.get("activity", french), 200, "Livré", "Rebond définitif", "L’adresse n’existe pas")
	f.want(f.get("activity", header("Test-Tenant", "rival")), 200, "No mail yet.")
}

// The page of a message that waits for the operator's own server says so in plain words, in
// both languages, and does not blame the recipient's server.
func TestMailBehindOwnServer(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	bob := sent(store.EventAccepted, "m1", "bob@example.com", 3*time.Hour)
	failed := after(bob, store.EventDeferred, time.Second, store.Reply{})
	waits := after(bob, store.EventWaiting, 2*time.Second, store.Reply{})
	failed.Reason, waits.Reason = store.InternalReason, store.InternalReason
	f.happened(bob, failed, waits)
	f.want(f.get("activity/m1"), 200, "Our outgoing mail server has a problem.", "You need not do anything.")
	f.want(f.get("activity"), 200, "Our outgoing mail server has a problem.")
	f.want(f.get("activity/m1", french), 200, "Notre serveur d’envoi a un problème.", "Vous n’avez rien à faire.")
	for _, page := range []response{f.get("activity/m1"), f.get("activity/m1", french)} {
		if strings.Contains(page.body, store.InternalReason) || strings.Contains(page.body, "recipient’s server") {
			t.Errorf("got the reason as a quote, or the recipient's server, want neither: %s", page.body)
		}
	}
	f.want(f.get("activity/m1", header("Accept", "application/json")), 200, `"advice_code":"internal.waits"`, `"reply":null`)
}

// Filters select what they say, and links to other pages keep them.
func TestActivityFilters(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.some()
	bob, eve, carol, refused := "bob@example.com", "eve@example.net", "carol@example.net", "No recipient yet"
	today := time.Now().UTC().Format(time.DateOnly)
	for query, want := range sorted(map[string][]string{
		"":                                      {carol, refused, eve, bob},
		"search=EXAMPLE.net":                    {carol, eve},
		"search=order":                          {carol, eve, bob},
		"state=problems":                        {carol, refused, eve},
		"state=waiting":                         {carol},
		"state=hard-bounced":                    {eve},
		"state=rejected":                        {refused},
		"recipient=Bob@Example.com":             {bob},
		"domain=ACME.example":                   {carol, refused, eve, bob},
		"domain=other.example":                  nil,
		"username=smtpshop&state=delivered":     {bob},
		"username=other":                        nil,
		"from=2020-01-01&until=2020-12-31":      nil,
		"until=2020-01-01&from=" + "2100-01-01": {carol, refused, eve, bob},
		"period=custom&from=2020-01-01":         {carol, refused, eve, bob},
		"period=30":                             {carol, refused, eve, bob},
		"from=" + today + "&until=2100-01-01&search=carol": {carol},
	}) {
		if got := recipients(f.get("activity?" + query)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	var got []string
	for path, n := "activity?state=problems&limit=1&from=2020-01-01&until=2100-01-01", 0; path != "" && n < 9; n++ {
		page := f.get(path)
		got = append(got, recipients(page)...)
		path = ""
		if next := regexp.MustCompile(`href="(\?[^"]*)" rel="next"`).FindStringSubmatch(page.body); next != nil {
			path = "activity" + html.UnescapeString(next[1])
			f.want(page, 200, `<option value="problems" selected>`, `value="2020-01-01"`)
		}
	}
	if want := []string{carol, refused, eve}; !slices.Equal(got, want) {
		t.Errorf("over pages of one: got %q, want %q", got, want)
	}
	f.want(f.get("activity?search=nothing"), 200, "Nothing matches.")
	for _, wrong := range []string{"state=x", "period=x", "from=x", "from=2026-01-01&until=x", "after=x", "after=1+2", "limit=0"} {
		field, _, _ := strings.Cut(wrong[max(0, strings.LastIndex(wrong, "&")+1):], "=")
		r := f.get("activity?"+wrong, program)
		f.want(r, http.StatusUnprocessableEntity, `"field":"`+field+`"`)
		f.want(f.get("activity?"+wrong), http.StatusUnprocessableEntity, `>Activity</a>`)
	}
}

// A page without a match goes on to the next ones, and says that there may be more.
func TestSearchFurther(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.some()
	st := &short{History: f.console.History.Store, empty: 3}
	f.console.History = &history.History{Store: st}
	f.want(f.get("activity?search=bob"), 200, "bob@example.com")
	st.empty, st.slow = 1000, 10*time.Millisecond
	f.want(f.get("activity?search=bob"), 200, "Nothing was found in the newest mail", "Search further back")
}

// short is a History whose first pages are empty.
type short struct {
	store.History
	empty int
	slow  time.Duration
}

func (s *short) Activities(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
	if s.empty > 0 {
		s.empty--
		time.Sleep(s.slow)
		return store.ActivityPage{Next: fmt.Sprint("empty", s.empty)}, nil
	}
	f.After = ""
	return s.History.Activities(ctx, tenant, f)
}

// The page of a message has the trail of its recipients in plain words.
func TestMessage(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	u, _ := f.user(f.acme, "acme.example", "shop")
	bob := sent(store.EventAccepted, "m1", "bob@example.com", time.Hour)
	bob.Username = u.Username
	late := after(bob, store.EventLateHardBounced, time.Minute, gone)
	f.happened(bob, after(bob, store.EventDelivered, time.Second, store.Reply{Code: 250, Text: "ok", Host: "mx.example.com"}), late)
	page := f.get("activity/m1")
	f.want(page, 200, "<bdi>Your &lt;order&gt;</bdi>", "shop@acme.example", "1.4 kB", "&lt;1@acme.example&gt;", userPath(u), ">shop<",
		"by mx.example.com", "Came back after it was delivered", "The address does not exist", "550 5.1.1 No such user")
	for path, status := range sorted(map[string]int{
		"activity/m1": 404, "activity/m1/cancel": 404, "activity/nothing": 404,
	}) {
		f.want(f.get(path, header("Test-Tenant", "rival")), status)
	}
	f.some()
	f.want(f.get("activity?state=rejected"), 200)
	refusal := regexp.MustCompile(`href="[./]*(activity/[^?"]+)\?`).FindStringSubmatch(f.get("activity?state=rejected").body)
	f.want(f.get(refusal[1]), 200, "Refused message", "12 times", "this user sends from acme.example only", "Deleted user")
}

// A message with many recipients has pages of them, and a count of each state.
func TestManyRecipients(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	var events []store.Event
	for n := range 120 {
		e := sent(store.EventAccepted, "m1", fmt.Sprintf("r%d@example.com", n), time.Hour)
		e.N = n
		events = append(events, e, after(e, store.EventDelivered, time.Second, store.Reply{Code: 250}))
		if n == 7 {
			events[len(events)-1] = after(e, store.EventHardBounced, time.Second, gone)
		}
	}
	f.happened(events...)
	page := f.get("activity/m1")
	f.want(page, 200, `id="gatepost-recipient-49"`, "?from=50", ">Delivered</span> 119", ">Hard bounced</span> 1")
	f.want(f.get("activity/m1?from=100"), 200, `id="gatepost-recipient-119"`, "First page")
	f.want(f.get("activity/m1?n=77"), 200, `id="gatepost-recipient-50"`, "<section class=\"gatepost-recipient\" id=\"gatepost-recipient-77\">\n<details open>")
	only := f.get("activity/m1?state=hard-bounced")
	f.want(only, 200, `id="gatepost-recipient-7"`)
	if strings.Contains(only.body, `id="gatepost-recipient-8"`) {
		t.Error("got another recipient, want only the one that bounced")
	}
	f.want(f.get("activity/m1?state=canceled"), 200, "No recipient is in this state.")
	for _, wrong := range []string{"n=x", "from=-1", "state=x"} {
		f.want(f.get("activity/m1?"+wrong), http.StatusUnprocessableEntity)
	}
}

// What waits can be tried at once and canceled: by visitors who may, and only that of
// their tenant.
func TestRetryAndCancel(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.console.Visitor = func(*http.Request) string { return "anna" }
	var changes []console.Change
	f.console.OnChange = func(_ *http.Request, c console.Change) { changes = append(changes, c) }
	reader := false
	f.console.May = func(_ *http.Request, a console.Action) error {
		if reader && a != console.ViewActivity {
			return errors.New("reader")
		}
		return nil
	}
	f.queued("acme", "m1", "bob@example.com", "eve@example.net")
	f.queued("rival", "m2", "bob@example.com")
	before := f.waiting()
	f.want(f.get("activity/m1"), 200, "Try now", "Try all now", "Cancel all that wait", "/cancel?recipient=bob%40example.com")

	f.want(f.post("activity/m1/retry", []string{"recipient", "bob@example.com"}), http.StatusSeeOther)
	now := f.waiting()
	if !now["acme bob@example.com"].Before(before["acme bob@example.com"]) || !now["acme eve@example.net"].Equal(before["acme eve@example.net"]) {
		t.Errorf("got due %v after a retry of bob, before %v", now, before)
	}
	f.want(f.get("activity/m1/cancel?recipient=bob%40example.com"), 200, "Cancel sending?", "not sent to bob@example.com", "Keep sending")
	r, document := f.call("activity/m1/cancel", `{"recipient":"bob@example.com"}`)
	if f.want(r, 200); document["changed"] != 1.0 {
		t.Errorf("got %v, want one changed", document)
	}
	if r := f.post("activity/m1/cancel", []string{"recipient", "bob@example.com"}); !strings.Contains(r.Header().Get("Location"), "done=mail-gone") {
		t.Errorf("got the location %s for what is canceled, want that nothing waits", r.Header().Get("Location"))
	}
	f.post("activity/m1/cancel", nil)
	f.apply()
	f.want(f.get("activity/m1"), 200, ">Canceled</span>", "by anna")
	for _, path := range []string{"activity/m2/retry", "activity/m2/cancel", "activity/x/cancel"} {
		f.want(f.post(path, nil), http.StatusNotFound)
	}
	if got := f.waiting(); len(got) != 1 || !got["rival bob@example.com"].Equal(before["rival bob@example.com"]) {
		t.Errorf("got %v in the queue, want only the mail of the other tenant, as it was", got)
	}
	want := []console.Change{
		{Action: console.RetryMail, Tenant: "acme", Object: "m1"}, {Action: console.CancelMail, Tenant: "acme", Object: "m1"}, {Action: console.CancelMail, Tenant: "acme", Object: "m1"},
	}
	if !slices.Equal(changes, want) {
		t.Errorf("got the changes %v, want %v", changes, want)
	}
	reader = true
	if page := f.get("activity/m1"); strings.Contains(page.body, `method="post"`) || strings.Contains(page.body, "/cancel") {
		t.Error("got a button for a visitor who may only look, want none")
	}
	f.want(f.post("activity/m1/retry", nil), http.StatusForbidden)
	f.want(f.get("statistics"), http.StatusForbidden)
}

// Without a queue nothing can be changed, and without a history there is no part.
func TestActivityParts(t *testing.T) {
	f := newFixture(t)
	f.want(f.get("activity"), http.StatusNotFound)
	u, _ := f.user(f.acme, "acme.example", "shop")
	if page := f.get(userPath(u)); strings.Contains(page.body, "What this user sent") {
		t.Error("got a link to activity without a history, want none")
	}

	f = newFixture(t)
	f.withHistory()
	f.queued("acme", "m1", "bob@example.com")
	f.console.Queue = nil
	if page := f.get("activity/m1"); page.Code != 200 || strings.Contains(page.body, "Try now") {
		t.Errorf("got status %d and a button without a queue, want none:\n%s", page.Code, page.body)
	}
	f.want(f.post("activity/m1/retry", nil), http.StatusNotFound)
	u, _ = f.user(f.acme, "acme.example", "shop")
	f.want(f.get(userPath(u)), 200, "activity?username="+u.Username, "state=rejected", "statistics?username=")

	f = newFixture(t)
	f.withHistory()
	f.console.Parts = []console.Part{console.Domains}
	f.console.Elsewhere = map[console.Part]string{console.Activity: "/mail/?tab=1"}
	u, _ = f.user(f.acme, "acme.example", "shop")
	f.want(f.get(userPath(u)), 200, `href="/mail/?tab=1&amp;username=`+u.Username+`"`)
	f.want(f.get("activity"), http.StatusNotFound)
}

// activityCalls are lines of TestOpenAPI, after some.
var activityCalls = []apiCall{
	{"GET", "/activity", "", 200, nil},
	{"GET", "/activity?state=x", "", 422, nil},
	{"GET", "/activity", "", 403, []as{header("Test-Tenant", "nobody")}},
	{"GET", "/activity/{mail}", "", 200, nil},
	{"GET", "/activity/{mail}?from=x", "", 422, nil},
	{"GET", "/activity/{mail}", "", 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/activity/{mail}/retry", `{"recipient":"carol@example.net"}`, 200, nil},
	{"POST", "/activity/{mail}/retry", `{"recipient":1}`, 400, nil},
	{"POST", "/activity/{mail}/retry", ``, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/activity/{mail}/retry", `{"recipient":""}`, 422, nil},
	{"POST", "/activity/{mail}/cancel", `{"recipient":""}`, 422, nil},
	{"POST", "/activity/{mail}/cancel", `{"recipient":"\u0000"}`, 422, nil},
	{"POST", "/activity/{mail}/cancel", `{"recipients":"carol@example.net"}`, 400, nil},
	{"POST", "/activity/{mail}/cancel", `{}`, 200, nil},
	{"POST", "/activity/{mail}/cancel", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"GET", "/statistics", "", 200, nil},
	{"GET", "/statistics?domain=acme.example&period=today", "", 200, nil},
	{"GET", "/statistics?from=2001-01-01", "", 422, nil},
}
