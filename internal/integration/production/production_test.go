package production_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"net"
	"net/smtp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A user is what the product makes for one of its customers.
type user struct{ username, password string }

// database is the relay's, for another process than the relay.
func (p *program) database(t *testing.T) *sqlstore.Store {
	t.Helper()
	db, err := sql.Open("pgx", p.env["GATEPOST_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return sqlstore.New(db, sqlstore.Postgres)
}

// addUser does what the product does.
func (p *program) addUser(t *testing.T) user {
	t.Helper()
	acme := (&credentials.Manager{Store: p.database(t)}).Tenant("acme")
	if _, err := acme.AddDomain(t.Context(), "acme.example"); err != nil {
		t.Fatal(err)
	}
	u, password, err := acme.AddUser(t.Context(), "acme.example", "billing")
	if err != nil {
		t.Fatal(err)
	}
	return user{u.Username, password.Reveal()}
}

const content = "From: billing@acme.example\r\nTo: bob@example.com\r\nDate: Tue, 01 Sep 2026 10:00:00 +0200\r\n" +
	"Message-ID: <1@acme.example>\r\nSubject: Your bill\r\n\r\n.Thank you.\r\n"

// begin sends everything of a message but its end.
func (u user) begin(t *testing.T, c *smtp.Client) io.WriteCloser {
	t.Helper()
	u.login(t, c)
	if err := c.Mail("billing@acme.example"); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("bob@example.com"); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	return w
}

func (u user) login(t *testing.T, c *smtp.Client) {
	t.Helper()
	if err := c.Auth(smtp.PlainAuth("", u.username, u.password, "localhost")); err != nil {
		t.Fatal(err)
	}
}

// delivered waits until the upstream has n messages, and makes sure that each is
// as it was sent.
func (p *program) delivered(t *testing.T, n int) {
	t.Helper()
	got := p.up.Received()
	for begin := time.Now(); len(got) < n && time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
		got = p.up.Received()
	}
	if len(got) != n {
		t.Fatalf("the upstream has %d messages, want %d", len(got), n)
	}
	for _, d := range got {
		if d.TLS == nil || d.Username != "relay" || d.From != "billing@acme.example" || len(d.To) != 1 || d.To[0].Address != "bob@example.com" {
			t.Errorf("the upstream got it from %s, %s, to %v, TLS: %v", d.Username, d.From, d.To, d.TLS != nil)
		}
		if !bytes.HasSuffix(d.Content, []byte(content)) {
			t.Errorf("the upstream got\n%s", d.Content)
		}
	}
}

// recorded waits until the product sees n delivered recipients in the history.
func (p *program) recorded(t *testing.T, n int) {
	t.Helper()
	acme := (&history.History{Store: p.database(t)}).Tenant("acme")
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		found, err := acme.Activities(t.Context(), store.ActivityFilter{States: []store.ActivityState{store.ActivityDelivered}})
		if err != nil {
			t.Fatal(err)
		}
		if len(found.List) == n {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("the history has %d delivered recipients, want %d", len(found.List), n)
		}
	}
}

// terminate does what an orchestrator does.
func (p *program) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// messages reads the log, which has to be JSON and to hold no secret.
func (p *program) messages(t *testing.T, secrets ...string) (texts []string) {
	t.Helper()
	for line := range strings.Lines(p.log.String()) {
		var entry struct{ Msg, Level, Time string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Time == "" {
			t.Errorf("logged is %q", line)
		}
		texts = append(texts, entry.Msg)
		for _, s := range append(secrets, "pass56") {
			if strings.Contains(line, s) {
				t.Errorf("a password is logged: %q", line)
			}
		}
	}
	return texts
}

func TestProduction(t *testing.T) {
	p := newProgram(t)
	p.start(t)
	u := p.addUser(t)
	for n, implicitTLS := range []bool{false, true} {
		c, _ := p.connect(t, implicitTLS)
		if err := u.begin(t, c).Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
		p.delivered(t, n+1)
	}
	p.recorded(t, 2)
	p.terminate(t)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if log := strings.Join(p.messages(t, u.password), "\n"); strings.Count(log, "relay: message accepted") != 2 || !strings.Contains(log, "listening") {
		t.Errorf("the log is\n%s", &p.log)
	}
}

// A new certificate is served to the next connection, and the ones there are
// go on.
func TestNewCertificate(t *testing.T) {
	p := newProgram(t)
	p.start(t)
	before, serial := p.connect(t, true)
	if serial != 1 {
		t.Errorf("certificate %d is served, want 1", serial)
	}
	p.files.Renew(t, 2)
	for _, implicitTLS := range []bool{true, false} {
		if _, serial := p.connect(t, implicitTLS); serial != 2 {
			t.Errorf("certificate %d is served, want 2", serial)
		}
	}
	if err := before.Noop(); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
}

func TestTermination(t *testing.T) {
	p := newProgram(t)
	p.start(t)
	u := p.addUser(t)
	idle, _ := p.connect(t, true)
	u.login(t, idle)
	busy, _ := p.connect(t, false)
	w := u.begin(t, busy)

	p.terminate(t)
	if line, err := idle.Text.ReadLine(); !strings.HasPrefix(line, "421 ") {
		t.Errorf("an idle client is told %q, %v", line, err)
	}
	if conn, err := net.Dial("tcp", p.env["GATEPOST_LISTEN"]); err == nil {
		conn.Close()
		t.Error("it still takes connections")
	}
	if err := w.Close(); err != nil {
		t.Errorf("the message in progress: %v", err)
	}
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, &p.log)
	}
	p.delivered(t, 1)
}

// A message that was accepted while the upstream was down is there after a
// restart, with the reason, and is delivered when it is due.
func TestOutage(t *testing.T) {
	p := newProgram(t)
	p.upDown.Store(true)
	p.start(t)
	u := p.addUser(t)
	c, _ := p.connect(t, true)
	if err := u.begin(t, c).Close(); err != nil {
		t.Fatalf("with the upstream down: %v", err)
	}
	spool := p.database(t)
	waiting := func() (found []store.Leased) {
		t.Helper()
		found, err := spool.Deliveries(t.Context(), store.Filter{Tenant: "acme"}, store.Page{})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for begin := time.Now(); waiting()[0].Delivery.Attempts == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("it isn't tried")
		}
	}
	p.terminate(t)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, &p.log)
	}

	d := waiting()[0].Delivery
	if d.Node != "" || !strings.Contains(d.Reason, "the server closed the connection") {
		t.Errorf("after the end there is %+v", d)
	}
	// The test does not wait a minute for the next attempt.
	now := []store.Outcome{{Mail: d.Mail, N: d.N, Lease: d.Lease, Next: d.Next.Add(-time.Hour), Attempts: d.Attempts, Reason: d.Reason}}
	if lost, err := spool.Settle(t.Context(), now); err != nil || len(lost) > 0 {
		t.Fatal(lost, err)
	}
	p.upDown.Store(false)
	p.log.Reset()
	p.start(t)
	p.delivered(t, 1)
	p.terminate(t)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, &p.log)
	}
	if found := waiting(); len(found) > 0 {
		t.Errorf("after the delivery there is %+v", found)
	}
}

// A message that never ends doesn't keep the program from ending.
func TestTerminationDeadline(t *testing.T) {
	p := newProgram(t)
	p.env["GATEPOST_SHUTDOWN_TIMEOUT"] = "200ms"
	p.start(t)
	u := p.addUser(t)
	c, _ := p.connect(t, true)
	w := u.begin(t, c)

	begin := time.Now()
	p.terminate(t)
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	if took := time.Since(begin); took < 200*time.Millisecond || took > patience/2 {
		t.Errorf("it took %v", took)
	}
	if log := strings.Join(p.messages(t, u.password), "\n"); !strings.Contains(log, "messages in progress were cut off after 200ms") {
		t.Errorf("the log is\n%s", &p.log)
	}
	if err := w.Close(); err == nil {
		t.Error("the client is told that its message was accepted")
	}
	p.delivered(t, 0)
}

// TestErrors expects one clear line and exit status 1.
func TestErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	closed, _ := freeAddrs(t)
	for name, tt := range map[string]struct {
		set  map[string]string
		want string
	}{
		"database is away":      {map[string]string{"GATEPOST_DATABASE_URL": "postgres://me:pass56@" + closed + "/x?sslmode=disable"}, "GATEPOST_DATABASE_URL: sqlstore: "},
		"no certificate":        {map[string]string{"GATEPOST_CERTIFICATE": "missing.crt"}, "GATEPOST_CERTIFICATE and GATEPOST_KEY: open missing.crt: no such file or directory"},
		"port in use":           {map[string]string{"GATEPOST_LISTEN": taken.Addr().String()}, "GATEPOST_LISTEN: listen tcp "},
		"second port in use":    {map[string]string{"GATEPOST_LISTEN_TLS": taken.Addr().String()}, "GATEPOST_LISTEN_TLS: listen tcp "},
		"hostname is no name":   {map[string]string{"GATEPOST_HOSTNAME": "no name"}, "is no host name"},
		"database URL is none":  {map[string]string{"GATEPOST_DATABASE_URL": "postgres://me:pass56/word@host:port"}, "GATEPOST_DATABASE_URL is not understood: "},
		"upstream without port": {map[string]string{"GATEPOST_UPSTREAM": "smtp.example.net"}, "GATEPOST_UPSTREAM is not understood: "},
		"upstream password":     {map[string]string{"GATEPOST_UPSTREAM_PASSWORD": ""}, "GATEPOST_UPSTREAM_PASSWORD is not set: "},
		"timeout is none":       {map[string]string{"GATEPOST_SHUTDOWN_TIMEOUT": "25"}, "GATEPOST_SHUTDOWN_TIMEOUT is not understood: "},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			for name, value := range tt.set {
				p.env[name] = value
			}
			p.launch(t)
			if status := p.wait(); status != 1 {
				t.Errorf("exit status %d", status)
			}
			var failures []string
			for _, text := range p.messages(t) {
				if text != "certificate read" && text != "listening" {
					failures = append(failures, text)
				}
			}
			if len(failures) != 1 || !strings.Contains(failures[0], tt.want) {
				t.Errorf("it says %q, want %q", failures, tt.want)
			}
		})
	}
}

func TestMissingSettings(t *testing.T) {
	var p program
	p.launch(t)
	if status := p.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	texts := p.messages(t)
	names := []string{"GATEPOST_DATABASE_URL", "GATEPOST_HOSTNAME", "GATEPOST_CERTIFICATE", "GATEPOST_KEY", "GATEPOST_UPSTREAM"}
	if len(texts) != len(names) {
		t.Fatalf("it says %q", texts)
	}
	for i, name := range names {
		if !strings.HasPrefix(texts[i], name+" is not set: ") {
			t.Errorf("it says %q, want that %s is missing", texts[i], name)
		}
	}
}

// -help prints the settings. Any other argument is an error.
func TestArguments(t *testing.T) {
	for arg, want := range map[string]struct {
		status int
		says   string
	}{
		"-h":     {0, "\tGATEPOST_UPSTREAM_PASSWORD  its password\n"},
		"--help": {0, "Production is a relay as a product runs it"},
		"-x":     {2, "flag provided but not defined: -x\n"},
		"listen": {2, `unexpected argument "listen" (see -help)`},
	} {
		var p program
		p.launch(t, arg)
		if status := p.wait(); status != want.status {
			t.Errorf("%s: exit status %d, want %d", arg, status, want.status)
		}
		if got := p.log.String(); !strings.Contains(got, want.says) || strings.Contains(got, "//\t") || strings.Contains(got, "import") {
			t.Errorf("%s: it says\n%s\nwant %q", arg, got, want.says)
		}
	}
}
