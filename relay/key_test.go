package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// startKeyed starts a relay with a queue and KeyHeader. Its events go to the log.
func startKeyed(t *testing.T) (*relaytest.Relay, *memory.Store, *eventLog) {
	spool, events := new(memory.Store), newEventLog()
	r := startRelay(t, func(s *relay.Server) {
		s.KeyHeader = "Idempotency-Key"
		s.OnEvent = events.add
		s.Forwarder = &queue.Queue{Spool: spool, Record: true, Hostname: "relay.test", Next: s.Forwarder, Logger: s.Logger}
	})
	return r, spool, events
}

func keyedMessage(key string) string { return "Idempotency-Key: " + key + "\r\n" + hello }

// sendAs sends a message to bob@example.com and returns the reply.
func (c *client) sendAs(content string) string {
	c.t.Helper()
	c.envelope()
	c.cmd("DATA", "354")
	return c.cmd(content+".", "")
}

// A message that is sent again with its key gets the same 250, and is neither kept
// nor recorded again. Another one with the key is refused for good.
func TestKey(t *testing.T) {
	r, spool, events := startKeyed(t)
	c := login(t, r)
	first := c.sendAs(keyedMessage("order 17"))
	if !strings.HasPrefix(first, "250 2.0.0 accepted as ") {
		t.Fatalf("got the reply %q", first)
	}
	id := first[len("250 2.0.0 accepted as "):]
	for range 2 {
		if got := c.sendAs(keyedMessage("order 17 ")); !strings.HasPrefix(got, "550 5.6.0 ") {
			t.Errorf("with a blank behind the key: got the reply %q", got)
		}
		if again := c.sendAs(keyedMessage("order 17")); again != first {
			t.Errorf("sent again: got the reply %q, want %q", again, first)
		}
		if got := c.sendAs(keyedMessage("order 17") + "P.S.\r\n"); !strings.HasPrefix(got, "550 5.6.0 ") || !strings.Contains(got, id) {
			t.Errorf("another message: got the reply %q, want 550 5.6.0 with %q", got, id)
		}
	}
	if got := c.sendAs(keyedMessage("order 18")); !strings.HasPrefix(got, "250 ") || got == first {
		t.Errorf("another key: got the reply %q", got)
	}
	other := loginAs(t, r, newUser(t, r))
	if got := other.sendAs(keyedMessage("order 17")); !strings.HasPrefix(got, "250 ") || got == first {
		t.Errorf("another user: got the reply %q", got)
	}
	if depth, err := spool.Depth(t.Context()); err != nil || depth.Deliveries != 3 {
		t.Errorf("the spool has %+v, %v, want 3 deliveries", depth, err)
	}
	recorded, err := spool.Records(t.Context(), 100)
	n := 0
	for _, rec := range recorded {
		n += len(rec.Events)
	}
	if err != nil || n != 3 {
		t.Errorf("%d events are recorded, %v, want 3", n, err)
	}
	accepted := 0
	for _, e := range events.all() {
		if _, ok := e.(*relay.MessageAccepted); ok {
			accepted++
		}
	}
	if stats := r.Server.Stats(); accepted != 3 || stats.Messages != 3 {
		t.Errorf("got %d events and %d messages in the stats, want 3", accepted, stats.Messages)
	}
	for _, m := range r.Messages() {
		if bytes.Contains(bytes.ToLower(m.Data), []byte("idempotency-key")) {
			t.Errorf("the key was forwarded:\n%s", m.Data)
		}
	}
}

// Without KeyHeader the field is like any other.
func TestNoKeyHeader(t *testing.T) {
	r := startRelay(t, nil)
	c := login(t, r)
	for range 2 {
		if got := c.sendAs(keyedMessage("1")); !strings.HasPrefix(got, "250 ") {
			t.Errorf("got the reply %q", got)
		}
	}
	m := r.Messages()
	if len(m) != 2 || !bytes.Contains(m[0].Data, []byte("\r\nIdempotency-Key: 1\r\n")) || m[0].Key != "" {
		t.Errorf("got %d messages, and\n%s", len(m), m[0].Data)
	}
}

func TestBadKey(t *testing.T) {
	r, _, _ := startKeyed(t)
	c := login(t, r)
	for _, field := range []string{
		"Idempotency-Key:\r\n", "Idempotency-Key: \t \r\n", "Idempotency-Key: \xc3\xa9\r\n", "Idempotency-Key: a\r\n b\r\n", "Idempotency-Key: a\tb\r\n",
		"Idempotency-Key: " + strings.Repeat("x", 257) + "\r\n", "Idempotency-Key: a\r\nidempotency-key: a\r\n",
	} {
		if got := c.sendAs(field + hello); !strings.HasPrefix(got, "550 5.6.0 ") {
			t.Errorf("%q: got the reply %q, want 550 5.6.0", field, got)
		}
	}
	for _, field := range []string{"IDEMPOTENCY-KEY : a\r\n", "Idempotency-Key:" + strings.Repeat("x", 256) + "\r\n"} {
		if got := c.sendAs(field + hello); !strings.HasPrefix(got, "250 ") {
			t.Errorf("%q: got the reply %q, want 250", field, got)
		}
	}
	for _, name := range []string{"From", "a b", "a:", "é"} {
		srv := &relay.Server{Credentials: r.Credentials, Forwarder: relay.ForwarderFunc(nil), Hostname: "relay.test", KeyHeader: name}
		if _, err := srv.Submit(t.Context(), relay.Submission{}); err == nil || !strings.Contains(err.Error(), "KeyHeader") {
			t.Errorf("KeyHeader %q: got the error %v", name, err)
		}
	}
}

// A Submission has a key as well, which needs no KeyHeader. The order of the
// recipients does not matter.
func TestSubmitWithKey(t *testing.T) {
	spool := new(memory.Store)
	r := startRelay(t, func(s *relay.Server) {
		s.Forwarder = &queue.Queue{Spool: spool, Hostname: "relay.test", Next: s.Forwarder, Logger: s.Logger}
	})
	submit := func(key string, content string, to ...string) (string, error) {
		return r.Server.Submit(t.Context(), relay.Submission{
			Identity: identity(t, r), From: "shop@acme.example", To: to, Content: strings.NewReader(content), Key: key,
		})
	}
	large := sized(400_000)
	first, err := submit("k", large, "a@example.com", "b@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := submit("k", large, "b@example.com", "a@example.com"); err != nil || again != first {
		t.Errorf("again: got %q, %v, want %q", again, err, first)
	}
	for _, test := range [][]string{{large, "a@example.com"}, {hello, "a@example.com", "b@example.com"}, {large + "x", "a@example.com", "b@example.com"}} {
		var re *relay.ReplyError
		if id, err := submit("k", test[0], test[1:]...); !errors.As(err, &re) || re.Code != 550 || !strings.Contains(re.Text, first) {
			t.Errorf("another message: got %q, %v, want 550 with the first ID", id, err)
		}
	}
	if _, err := submit("\n", hello, "a@example.com"); err == nil {
		t.Error("a key with a line break: got no error")
	}
	if depth, err := spool.Depth(t.Context()); err != nil || depth.Deliveries != 2 {
		t.Errorf("the spool has %+v, %v, want 2 deliveries", depth, err)
	}
}

// A message that was refused leaves no key: neither by the policy nor by the Spool.
func TestRefusedLeavesNoKey(t *testing.T) {
	r, spool, _ := startKeyed(t)
	c := login(t, r)
	if got := c.sendAs("Idempotency-Key: k\r\nFrom: shop@other.example\r\n\r\n"); !strings.HasPrefix(got, "550 ") {
		t.Errorf("got the reply %q", got)
	}
	if got := c.sendAs(keyedMessage("k")); !strings.HasPrefix(got, "250 ") {
		t.Errorf("got the reply %q", got)
	}
	if depth, err := spool.Depth(t.Context()); err != nil || depth.Deliveries != 1 {
		t.Errorf("the spool has %+v, %v, want 1 delivery", depth, err)
	}
}

// While the first message is not safe yet, the second waits or gets 451, and never a 250 of
// its own.
func TestKeyWhileTheFirstIsNotSafe(t *testing.T) {
	spool := &failingOnce{Store: new(memory.Store)}
	r := startRelay(t, func(s *relay.Server) {
		s.Forwarder = &queue.Queue{Spool: spool, Hostname: "relay.test", Next: s.Forwarder, Logger: s.Logger}
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := make(map[string]int)
	id := identity(t, r)
	for range 16 {
		wg.Go(func() {
			got, err := r.Server.Submit(t.Context(), relay.Submission{
				Identity: id, From: "shop@acme.example", To: []string{"bob@example.com"}, Content: strings.NewReader(hello), Key: "k",
			})
			var re *relay.ReplyError
			if err != nil && (!errors.As(err, &re) || re.Code != 451) {
				t.Errorf("got the error %v, want 451 or none", err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[got]++
		})
	}
	wg.Wait()
	delete(ids, "") // those that got 451
	if depth, err := spool.Depth(t.Context()); err != nil || depth.Deliveries != 1 || len(ids) != 1 {
		t.Errorf("the spool has %+v, %v, and the IDs are %v, want one", depth, err, ids)
	}
}

// A failingOnce fails each third Put.
type failingOnce struct {
	*memory.Store
	mu sync.Mutex
	n  int
}

func (s *failingOnce) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	s.mu.Lock()
	s.n++
	fails := s.n%3 == 1
	s.mu.Unlock()
	if fails {
		return errors.New("the database is away")
	}
	return s.Store.Put(ctx, m, ds, body, events...)
}

// Behind the queue a message has no key, so that a second queue does not take the
// parts of it for repetitions.
func TestKeyEndsAtTheQueue(t *testing.T) {
	next := new(relaytest.Recorder)
	q := &queue.Queue{
		Spool: new(memory.Store), Hostname: "relay.test", Next: next,
		Destination: func(address string) string { return address },
	}
	r := startRelay(t, func(s *relay.Server) { s.Forwarder, q.Logger = q, s.Logger })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	_, err := r.Server.Submit(t.Context(), relay.Submission{
		Identity: identity(t, r), From: "shop@acme.example", To: []string{"a@example.com", "b@example.net"}, Content: strings.NewReader(hello), Key: "k",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range next.Wait(t, 2) {
		if m.Key != "" || m.Fingerprint != "" {
			t.Errorf("got the key %q", m.Key)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
