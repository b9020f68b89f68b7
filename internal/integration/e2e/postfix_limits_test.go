package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	relaypkg "github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// postfixUpstream is a Postfix that takes mail from the loopback interface, counts
// clients as it counts those from elsewhere, and throws the mail away.
const postfixUpstream = `
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_event_limit_exceptions =
smtpd_peername_lookup = no
local_recipient_maps =
default_transport = discard:
relay_transport = discard:
`

// startPostfix starts a Postfix with the settings until the end of the test, and
// returns its address and its log.
func startPostfix(t *testing.T, settings string) (addr, log string) {
	t.Helper()
	master := services.Program(t, "master", "/usr/lib/postfix/sbin", "/usr/libexec/postfix")
	if os.Getuid() != 0 {
		services.Missing(t, errors.New("Postfix has to be started as root"))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	dir := makePostfix(t, postfixUpstream+settings)
	config := filepath.Join(dir, "config")
	f, err := os.OpenFile(filepath.Join(config, "master.cf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "%s inet n - n - - smtpd\nanvil unix - - n - 1 anvil\nproxymap unix - - n - - proxymap\n", addr)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), master, "-d", "-c", config)
	killWithChildren(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Cancel(); cmd.Wait() })
	log = filepath.Join(dir, "log")
	if _, err := waitFor(log, `daemon started`); err != nil {
		t.Fatal(err)
	}
	return addr, log
}

// outcomes counts what became of recipients.
type outcomes struct {
	mu        sync.Mutex
	delivered map[string]int
	deferred  int
	counted   int // deferrals that count as a failed attempt
	lost      int
}

// through sends messages to a server by way of a queue and a smarthost with their
// defaults, and waits until all recipients are settled.
func through(t *testing.T, addr, log string, messages [][]string) *outcomes {
	t.Helper()
	f := &smarthost.Forwarder{Addr: addr, TLS: smarthost.NoTLS, Hostname: "relay.example"}
	defer f.Close()
	o := &outcomes{delivered: make(map[string]int)}
	want := 0
	done := make(chan struct{})
	q := &queue.Queue{
		Spool: new(memory.Store), Next: f, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler),
		Retry: func(int) time.Duration { return time.Second },
		OnEvent: func(e queue.Event) {
			o.mu.Lock()
			defer o.mu.Unlock()
			switch e := e.(type) {
			case *queue.Delivered:
				if o.delivered[e.Recipient]++; len(o.delivered) == want {
					close(done)
				}
			case *queue.Deferred:
				o.deferred++
				if e.Attempt > 0 {
					o.counted++
				}
				if o.deferred <= 5 {
					t.Logf("deferred, attempt %d: %s", e.Attempt, e.Reason)
				}
			case *queue.Bounced, *queue.Expired:
				o.lost++
				t.Errorf("%+v", e)
			}
		},
	}
	for _, to := range messages {
		want += len(to)
	}
	for _, to := range messages {
		m := &relaypkg.Message{ID: relaypkg.NewID(), From: "a@example.org"}
		for _, a := range to {
			m.To = append(m.To, relaypkg.Recipient{Address: a})
		}
		content := []byte("From: a@example.org\r\nSubject: hello\r\n\r\nHello.\r\n")
		if err := q.Forward(t.Context(), m.WithContent(bytes.NewReader(content), int64(len(content)))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	begin := time.Now()
	go func() { ended <- q.Run(ctx) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		shown, _ := os.ReadFile(log)
		t.Errorf("not everything arrived; the server says\n%.3000s", shown)
	}
	t.Logf("%d recipients after %v, %d deferrals", want, time.Since(begin).Round(time.Millisecond), o.deferred)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for addr, n := range o.delivered {
		if n != 1 {
			t.Errorf("%s got it %d times", addr, n)
		}
	}
	return o
}

func numbered(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("r%d@example.com", i)
	}
	return list
}

// A real Postfix that takes 10 recipients in a transaction gets 1,000 of them at
// once.
func TestPostfixRecipientLimit(t *testing.T) {
	addr, log := startPostfix(t, "smtpd_recipient_limit = 10\n")
	if o := through(t, addr, log, [][]string{numbered(1000)}); o.deferred > 0 {
		t.Errorf("%d were deferred", o.deferred)
	}
}

// A real Postfix that allows 3 connections gets 1,000 messages without a deferral.
func TestPostfixConnectionLimit(t *testing.T) {
	addr, log := startPostfix(t, "smtpd_client_connection_count_limit = 3\n")
	var messages [][]string
	for _, a := range numbered(1000) {
		messages = append(messages, []string{a})
	}
	if o := through(t, addr, log, messages); o.deferred > 0 {
		t.Errorf("%d were deferred", o.deferred)
	}
}

// A real Postfix that takes 100 recipients in a while gets 100 of 101 at once, and
// the last when the while is over.
func TestPostfixRecipientRate(t *testing.T) {
	addr, log := startPostfix(t, "smtpd_client_recipient_rate_limit = 100\nanvil_rate_time_unit = 5s\n")
	if o := through(t, addr, log, [][]string{numbered(101)}); o.deferred == 0 || o.deferred > 15 {
		t.Errorf("%d deferrals", o.deferred)
	}
}
