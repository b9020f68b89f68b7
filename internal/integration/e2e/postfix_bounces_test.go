package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	mail "github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// postfixBouncer accepts mail first, and then cannot deliver it: a server behind it
// refuses it, a program fails, or messages are too old at once. Reports go to the
// port of the product.
const postfixBouncer = `
mynetworks = 127.0.0.0/8
local_recipient_maps =
bounce_queue_lifetime = 0
smtpd_relay_restrictions = permit_mynetworks,reject
smtpd_tls_security_level = none
smtp_tls_security_level = none
maximal_queue_lifetime = 0
minimal_backoff_time = 1s
smtpd_discard_ehlo_keywords = %[3]s
transport_maps = inline:{{backend.example=smtp:[127.0.0.1]:%[1]d}, {program.example=failing}, {bounces.acme.example=smtp:[127.0.0.1]:%[2]d}}
`

// postfixBouncerMaster adds what that takes.
const postfixBouncerMaster = `127.0.0.1:%d inet n - n - - smtpd
failing unix - n n - - pipe user=nobody argv=/bin/sh -c {exit 67}
`

// A lateBounce is a call of Bounced.
type lateBounce struct {
	tenant          store.TenantID
	mail, recipient string
	reply           *mail.ReplyError
}

// A product is a queue with a Rewriter in front of Postfix, and the Server that gets
// the reports.
type product struct {
	queue    *queue.Queue
	bounced  chan lateBounce
	passedOn relaytest.Recorder
}

// startProduct starts the product and the Postfix. With header, Postfix offers no
// DSN, so that a report only has the returned header.
func startProduct(t *testing.T, header bool) *product {
	t.Helper()
	p := &product{bounced: make(chan lateBounce, 10)}
	secrets := []credentials.Password{credentials.NewPassword("a secret of the test")}
	quiet := slog.New(slog.DiscardHandler)
	srv := &bounces.Server{Hostname: "mx.product.example", Logger: quiet, Receiver: &bounces.Receiver{
		Secrets: secrets, Logger: quiet, Forwarder: &p.passedOn,
		Bounced: func(_ context.Context, tenant store.TenantID, id, recipient string, r *mail.ReplyError) error {
			p.bounced <- lateBounce{tenant, id, recipient, r}
			return nil
		},
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })

	out := &smarthost.Forwarder{Addr: startBouncer(t, portOf(t, l.Addr().String()), header), TLS: smarthost.NoTLS, Hostname: "product.example"}
	t.Cleanup(func() { out.Close() })
	p.queue = &queue.Queue{Spool: new(memory.Store), Logger: quiet, Hostname: "product.example", Next: &bounces.Rewriter{
		Next: out, Secrets: secrets,
		Domain: func(context.Context, string) (string, error) { return "bounces.acme.example", nil },
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.queue.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return p
}

// startBouncer starts a Postfix that sends reports to a port, and a server behind it
// that refuses mail. It returns the address of the Postfix.
func startBouncer(t *testing.T, reports int, header bool) string {
	t.Helper()
	master := services.Program(t, "master", "/usr/lib/postfix/sbin", "/usr/libexec/postfix")
	if os.Getuid() != 0 {
		services.Missing(t, errors.New("Postfix has to be started as root"))
	}
	backend := &relaytest.Upstream{NoTLS: true, Script: func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Verb == "RCPT" && strings.Contains(c.Line, "gone"):
			return relaytest.Answer{Text: "550 5.1.1 no such mailbox"}
		case c.Verb == "RCPT" && strings.Contains(c.Line, "full"):
			return relaytest.Answer{Text: "452 4.2.2 mailbox full"}
		}
		return relaytest.Answer{}
	}}
	backend.Start()
	t.Cleanup(backend.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	discard := ""
	if header {
		discard = "dsn"
	}
	dir := makePostfix(t, fmt.Sprintf(postfixBouncer, portOf(t, backend.Addr()), reports, discard))
	config := filepath.Join(dir, "config")
	old := time.Now().Add(-time.Minute) // as in makePostfix
	file := filepath.Join(config, "master.cf")
	content := postfixMaster + fmt.Sprintf(postfixBouncerMaster, portOf(t, addr))
	if err := errors.Join(os.WriteFile(file, []byte(content), 0o644), os.Chtimes(file, old, old)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), master, "-d", "-c", config)
	killWithChildren(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Cancel()
		cmd.Wait()
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); t.Failed() {
			t.Logf("the log of Postfix:\n%s", log)
		}
	})
	if _, err := waitFor(filepath.Join(dir, "log"), `daemon started`); err != nil {
		t.Fatal(err)
	}
	return addr
}

// Postfix accepts a message and reports later that it could not deliver it. The
// report comes back to the product, which learns the mail, the recipient and the
// reason, and the author gets the report.
func TestPostfixLateBounce(t *testing.T) {
	for name, header := range map[string]bool{"DSN": false, "header only": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProduct(t, header)
			for i, test := range []struct {
				to       string
				code     int
				enhanced string
			}{
				{"gone@backend.example", 550, "5.1.1"},
				{"full@backend.example", 452, "4.2.2"},
				{"bob@program.example", 550, "5.1.1"},
			} {
				id := p.send(t, test.to)
				select {
				case got := <-p.bounced:
					if got.tenant != "acme" || got.mail != id || got.recipient != test.to || got.reply.Code != test.code || got.reply.Enhanced != test.enhanced {
						t.Errorf("got mail %s of %s to %s: %v; want mail %s of acme to %s: %d %s",
							got.mail, got.tenant, got.recipient, got.reply, id, test.to, test.code, test.enhanced)
					}
				case <-time.After(30 * time.Second):
					t.Fatalf("%s: no report came", test.to)
				}
				report := p.passedOn.Wait(t, i+1)[i]
				if to := report.To[0].Address; to != "billing@acme.example" || report.From != "" || !strings.Contains(string(report.Data), test.to) {
					t.Errorf("%s: %q was passed on from %q to %s", test.to, report.Data, report.From, to)
				}
				if enveloped := strings.Contains(string(report.Data), "\r\nOriginal-Envelope-Id: "+id); enveloped == header {
					t.Errorf("%s: the report has the envelope ID: %t\n%s", test.to, enveloped, report.Data)
				}
			}
		})
	}
}

// send queues a message to an address, and returns its ID.
func (p *product) send(t *testing.T, to string) string {
	t.Helper()
	content := "From: billing@acme.example\r\nSubject: Invoice\r\n\r\nHello.\r\n"
	m := &mail.Message{
		ID: mail.NewID(), From: "billing@acme.example", To: []mail.Recipient{{Address: to}}, Received: time.Now().UTC(),
		Identity: credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "u1"},
	}
	if err := p.queue.Forward(t.Context(), m.WithContent(strings.NewReader(content), int64(len(content)))); err != nil {
		t.Fatal(err)
	}
	return m.ID
}
