package metrics_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/metrics"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// get returns the page and its header.
func get(t *testing.T, h http.Handler) (string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("GET: %d %s", w.Code, w.Body)
	}
	return w.Body.String(), w.Header()
}

// Before anything has happened the page is complete. The rows of refused messages
// come with the first refusal.
func TestGolden(t *testing.T) {
	page, header := get(t, &metrics.Handler{
		Server: new(relay.Server), Queue: &queue.Queue{Spool: new(memory.Store)}, History: &history.History{Store: new(memory.Store)},
		Suppress: new(suppress.List), Bounces: &bounces.Server{Receiver: new(bounces.Receiver)}, Webhooks: new(webhook.Sender),
	})
	if got := header.Get("Content-Type"); got != "application/openmetrics-text; version=1.0.0; charset=utf-8" {
		t.Errorf("Content-Type is %q", got)
	}
	const golden = "testdata/empty.txt"
	if os.Getenv("UPDATE") != "" {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(golden, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if page != string(want) {
		t.Errorf("the page differs from %s (UPDATE=1 writes it):\n%s", golden, page)
	}
}

// Nothing that names a client, a user or a tenant is on the page.
func TestLive(t *testing.T) {
	r := relaytest.NewUnstartedRelay(t)
	q := &queue.Queue{Spool: new(memory.Store), Next: r.Server.Forwarder}
	r.Server.Forwarder = q
	r.Start()
	for _, to := range []string{"bob@example.com", "broken"} {
		err := r.Send("shop@"+r.Domain, []string{to}, "From: shop@"+r.Domain+"\r\n\r\nHello.\r\n")
		if (err != nil) != (to == "broken") {
			t.Fatalf("%s: %v", to, err)
		}
	}
	a := &queue.Admin{Queue: q}
	for _, s := range []store.Suspension{{Tenant: r.Tenant, Reason: "secret"}, {Destination: "example.com"}} {
		if err := a.Suspend(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	page, _ := get(t, &metrics.Handler{Server: r.Server, Queue: q})
	for _, line := range []string{
		`gatepost_logins_total{result="ok"} 2`, `gatepost_messages_accepted_total 1`,
		`gatepost_messages_refused_total{field="RCPT TO",code="501"} 1`, `gatepost_message_bytes_bucket{le="1024.0"} 1`,
		`gatepost_queue_events_total{event="queued"} 1`, `gatepost_queue_deliveries{state="waiting"} 1`, `gatepost_queue_spool_up 1`,
		`gatepost_queue_suspended{what="tenant",by="person"} 1`, `gatepost_queue_suspended{what="destination",by="person"} 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if regexp.MustCompile(`gatepost_queue_oldest_seconds 0\n`).MatchString(page) {
		t.Error("the age of the oldest message is 0")
	}
	for _, secret := range []string{string(r.Tenant), r.Username, r.Domain, "example.com", "secret"} {
		if strings.Contains(page, secret) {
			t.Errorf("the page names %q", secret)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestMethod(t *testing.T) {
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405} {
		w := httptest.NewRecorder()
		new(metrics.Handler).ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want || want == 405 && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v, want %d", method, w.Code, w.Header(), want)
		}
	}
	if page, _ := get(t, new(metrics.Handler)); page != "# EOF\n" {
		t.Errorf("without parts the page is %q", page)
	}
}

type brokenSpool struct{ store.Spool }

func (brokenSpool) Depth(ctx context.Context) (store.Depth, error) {
	if _, limited := ctx.Deadline(); !limited {
		return store.Depth{}, nil
	}
	return store.Depth{}, errors.New("secret reason")
}

// If the Spool fails, the page says so and still has what the process knows.
func TestBrokenSpool(t *testing.T) {
	page, _ := get(t, &metrics.Handler{Queue: &queue.Queue{Spool: brokenSpool{}}})
	for text, want := range map[string]bool{
		"\ngatepost_queue_spool_up 0\n": true, "\n" + `gatepost_queue_events_total{event="queued"} 0` + "\n": true,
		"gatepost_queue_deliveries": false, "secret": false,
	} {
		if strings.Contains(page, text) != want {
			t.Errorf("the page has %q: %v, want %v", text, !want, want)
		}
	}
}

type brokenHistory struct{ store.History }

func (brokenHistory) Journal(ctx context.Context) (store.Journal, error) {
	if _, limited := ctx.Deadline(); !limited {
		return store.Journal{}, nil
	}
	return store.Journal{}, errors.New("secret reason")
}

// The page has how much waits to be applied to the history; if its store fails, the
// page says so.
func TestHistory(t *testing.T) {
	st := new(memory.Store)
	for range 3 {
		if err := st.Record(t.Context(), []store.Event{{Kind: store.EventAccepted}}); err != nil {
			t.Fatal(err)
		}
	}
	page, _ := get(t, &metrics.Handler{History: &history.History{Store: st}})
	if !strings.Contains(page, "\ngatepost_history_up 1\n") || !strings.Contains(page, "\ngatepost_history_records 3\n") ||
		!strings.Contains(page, "\ngatepost_history_oldest_seconds ") || strings.Contains(page, "gatepost_history_oldest_seconds 0\n") {
		t.Error(page)
	}
	page, _ = get(t, &metrics.Handler{History: &history.History{Store: brokenHistory{}}})
	if !strings.Contains(page, "\ngatepost_history_up 0\n") || strings.Contains(page, "records") || strings.Contains(page, "secret") {
		t.Error(page)
	}
}

// Each cause of a refused login has a label of its own.
func TestCauses(t *testing.T) {
	page, _ := get(t, &metrics.Handler{Server: new(relay.Server)})
	n := 0
	for cause := relay.CauseUnknownUser; !strings.HasPrefix(cause.String(), "LoginCause("); cause++ {
		n++
	}
	if got := strings.Count(page, "\ngatepost_logins_total{") - 1; got != n {
		t.Errorf("%d causes have a label, want %d", got, n)
	}
}

func TestParallel(t *testing.T) {
	h := &metrics.Handler{Server: new(relay.Server), Queue: &queue.Queue{Spool: new(memory.Store)}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { get(t, h) })
	}
	wg.Wait()
}
