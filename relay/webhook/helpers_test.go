package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The proxy of the environment does not exist: requests that go there fail.
func TestMain(m *testing.M) {
	os.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	os.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	os.Exit(m.Run())
}

var quiet = slog.New(slog.DiscardHandler)

const reference = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var secrets = []credentials.Password{credentials.NewPassword(reference)}

// A got is a request that a web got.
type got struct {
	at     time.Time
	url    string
	header http.Header
	body   string
}

func (g got) id() string { return g.header.Get("webhook-id") }

// A web answers requests without a network.
type web struct {
	answer func(r *http.Request) *http.Response // nil: 204

	mu   sync.Mutex
	list []got
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.list = append(w.list, got{time.Now(), r.URL.String(), r.Header.Clone(), string(body)})
	w.mu.Unlock()
	resp := answer(204)
	if w.answer != nil {
		resp = w.answer(r)
	}
	if resp == nil {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	resp.Request = r
	return resp, nil
}

func (w *web) got() []got {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]got(nil), w.list...)
}

// answer makes an answer. header has names and values by turns.
func answer(status int, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: http.Header{}, Body: http.NoBody}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

// endpoints makes an Endpoints that always returns these.
func endpoints(list ...webhook.Endpoint) func(context.Context, store.TenantID) ([]webhook.Endpoint, error) {
	return func(context.Context, store.TenantID) ([]webhook.Endpoint, error) { return list, nil }
}

// one is an endpoint of an ID.
func one(id string) webhook.Endpoint {
	return webhook.Endpoint{ID: id, URL: "https://" + id + ".example/hook", Secrets: secrets}
}

// events records what the queue tells.
type events struct {
	mu   sync.Mutex
	list []queue.Event
}

func (e *events) add(ev queue.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

// String returns the events without Queued, one a line.
func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, ev := range e.list {
		switch ev := ev.(type) {
		case *queue.Delivered:
			fmt.Fprintf(&b, "delivered %s: %s %s\n", ev.Recipient, ev.Reply.Host, ev.Reply)
		case *queue.Deferred:
			fmt.Fprintf(&b, "deferred %s: %s\n", ev.Recipient, ev.Reason)
		case *queue.Bounced:
			fmt.Fprintf(&b, "given up %s: %s\n", ev.Recipient, ev.Reason)
		case *queue.Expired:
			fmt.Fprintf(&b, "expired %s: %s\n", ev.Recipient, ev.Reason)
		case *queue.Suspended:
			fmt.Fprintf(&b, "suspended %s\n", ev.Destination)
		case *queue.Resumed:
			fmt.Fprintf(&b, "resumed %s\n", ev.Destination)
		}
	}
	return b.String()
}

// A hooks is a Sender in a bubble, with a network that is a web.
type hooks struct {
	*webhook.Sender
	t      *testing.T
	web    web
	events events
	end    func()
}

// bubble runs a test with a Sender. The Sender works once start is called.
func bubble(t *testing.T, list []webhook.Endpoint, test func(h *hooks)) {
	synctest.Test(t, func(t *testing.T) {
		h := &hooks{t: t}
		h.Sender = &webhook.Sender{Queue: queue.Queue{Spool: new(memory.Store), Logger: quiet, OnEvent: h.events.add}, Endpoints: endpoints(list...)}
		test(h)
		if h.end != nil {
			h.end()
		}
	})
}

func (h *hooks) start() {
	h.t.Helper()
	if err := h.SetTransport(&h.web); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.end = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run = %v", err)
		}
	}
	synctest.Wait()
}

func (h *hooks) publish(list ...store.Event) {
	h.t.Helper()
	if err := h.Publish(h.t.Context(), list); err != nil {
		h.t.Fatal(err)
	}
}

// wait lets time pass.
func wait(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

// event makes an event of tenant acme.
func event(n int, kind store.EventKind) store.Event {
	return store.Event{
		ID: fmt.Sprintf("06ekx_%d_0", n), Kind: kind, Time: time.Date(2026, 11, 29, 2, 3, 4, 123456000, time.UTC),
		Tenant: "acme", Domain: "acme.example", Username: "smtp1", Mail: fmt.Sprintf("06ekx%d", n), Recipient: "bob@example.com",
	}
}

// log collects a log of every level.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *log) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A failing spool keeps nothing while it has an error. Without one, if left was set, it
// keeps so many mails and then no more.
type failing struct {
	*memory.Store
	err  error
	left atomic.Int64
}

func (f *failing) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	if f.err != nil {
		return f.err
	}
	if f.left.Add(-1) == 0 {
		f.left.Store(1)
		return errors.New("the spool failed")
	}
	return f.Store.Put(ctx, m, ds, body, events...)
}
