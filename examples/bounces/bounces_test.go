package main

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestMain is the program itself in the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("BOUNCES_TEST") == "program" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is how long anything may take on a slow machine.
const patience = 30 * time.Second

var secret = credentials.NewPassword("a secret of the example")

// A report that comes to the program makes a delivered mail a hard bounce, and goes on
// to the original sender.
func TestReport(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	set := settings{
		hostname: "mx.example.net", secrets: []credentials.Password{credentials.NewPassword("a newer secret, not used"), secret},
		database: filepath.Join(t.TempDir(), "test.db"), listen: addr,
	}
	var passedOn relaytest.Recorder
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, set, &passedOn, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	hist, sent := deliver(t, set)
	tenant := hist.Tenant("acme")
	relayed := make(chan error, 1)
	go func() { relayed <- hist.Run(ctx) }() // as the relay does
	defer func() {
		cancel()
		<-relayed
	}()
	if state := stateOf(t, tenant); state != store.ActivityDelivered {
		t.Fatalf("before the report: %v", state)
	}
	send := func() error { return smtp.SendMail(addr, nil, "", []string{sent.From}, []byte(reportOf(sent))) }
	err = send()
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = send() {
		time.Sleep(10 * time.Millisecond) // until it listens
	}
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); stateOf(t, tenant) != store.ActivityHardBounced; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after the report: %v", stateOf(t, tenant))
		}
	}
	if got := passedOn.Messages(); len(got) != 1 || got[0].To[0].Address != "billing@acme.example" || got[0].From != "" {
		t.Errorf("passed on: %+v", got)
	}
}

// deliver sends a message through a Rewriter, and records in the program's database
// what a queue would. It returns the history of a relay on that database.
func deliver(t *testing.T, set settings) (*history.History, relaytest.Message) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+set.database+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	st := sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out relaytest.Recorder
	w := &bounces.Rewriter{
		Next: &out, Secrets: []credentials.Password{secret},
		Domain: func(context.Context, string) (string, error) { return "bounces.example.net", nil },
	}
	content := "From: billing@acme.example\r\n\r\nHello.\r\n"
	now := time.Now().UTC().Truncate(time.Microsecond)
	m := &relay.Message{
		ID: relay.NewID(), From: "billing@acme.example", To: []relay.Recipient{{Address: "bob@example.com"}}, Received: now,
		Identity: credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "u1"},
	}
	if err := w.Forward(t.Context(), m.WithContent(strings.NewReader(content), int64(len(content)))); err != nil {
		t.Fatal(err)
	}
	e := store.Event{
		Kind: store.EventAccepted, Time: now, Received: now, Tenant: "acme", Domain: "acme.example", Username: "u1",
		Mail: m.ID, From: m.From, Recipient: m.To[0].Address,
	}
	delivered := e
	delivered.Kind, delivered.Attempt = store.EventDelivered, 1
	if err := st.Record(t.Context(), []store.Event{e, delivered}); err != nil {
		t.Fatal(err)
	}
	return &history.History{Store: st}, out.Messages()[0]
}

// stateOf waits for the state of the only recipient that is final, and returns it.
func stateOf(t *testing.T, tenant history.Tenant) (state store.ActivityState) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		page, err := tenant.Activities(t.Context(), store.ActivityFilter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.List) == 1 && page.List[0].State >= store.ActivityDelivered {
			return page.List[0].State
		}
	}
	return state
}

// reportOf returns a report of a message's failure.
func reportOf(m relaytest.Message) string {
	return fmt.Sprintf("Content-Type: multipart/report; report-type=delivery-status; boundary=b1\r\n\r\n"+
		"--b1\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.example.com\r\n\r\n"+
		"Final-Recipient: rfc822; %s\r\nAction: failed\r\nStatus: 5.1.1\r\n"+
		"--b1\r\nContent-Type: message/rfc822\r\n\r\n%s--b1--\r\n", m.To[0].Address, m.Data)
}

// -help prints the settings, and each missing setting is logged.
func TestSettings(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string][]string{
		"-help": {"GATEPOST_BOUNCE_SECRETS  secrets"},
		"":      {"GATEPOST_HOSTNAME is not set", "GATEPOST_BOUNCE_SECRETS is not set"},
	} {
		cmd := exec.CommandContext(t.Context(), self, strings.Fields(arg)...)
		cmd.Env = []string{"BOUNCES_TEST=program"}
		out, _ := cmd.CombinedOutput()
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%q: it says\n%s\nwant %q", arg, out, w)
			}
		}
	}
}

// An error says which setting to look at.
func TestErrors(t *testing.T) {
	ok := settings{hostname: "mx.example.net", secrets: []credentials.Password{secret}, database: filepath.Join(t.TempDir(), "test.db"), listen: "127.0.0.1:0"}
	for want, change := range map[string]func(*settings){
		"GATEPOST_DATABASE":    func(s *settings) { s.database = "/nowhere/test.db" },
		"GATEPOST_LISTEN":      func(s *settings) { s.listen = "127.0.0.1:-1" },
		"GATEPOST_CERTIFICATE": func(s *settings) { s.certFile = "missing.pem" },
	} {
		set := ok
		change(&set)
		if err := run(t.Context(), set, &relaytest.Recorder{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %s", err, want)
		}
	}
}
