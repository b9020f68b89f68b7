package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// startUpstream starts an upstream until the end of the test.
func startUpstream(t *testing.T, up *relaytest.Upstream) *relaytest.Upstream {
	t.Helper()
	up.Start()
	t.Cleanup(up.Close)
	return up
}

// patience is how long the quickstart may take to say something.
const patience = 30 * time.Second

// announced returns the next line that the quickstart prints.
func (term *terminal) announced(t *testing.T) string {
	t.Helper()
	tooLong := time.AfterFunc(patience, func() { term.cmd.Process.Kill() })
	defer tooLong.Stop()
	line, err := term.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the quickstart announces %q, %v\n%s", line, err, &term.stderr)
	}
	return strings.TrimSpace(line)
}

// announces returns the next line that the quickstart prints, but for more of
// the same as before: messages may be tried several times.
func (term *terminal) announces(t *testing.T, want string) string {
	t.Helper()
	line := term.announced(t)
	for strings.HasPrefix(line, "deferred ") && !strings.HasPrefix(want, "deferred ") {
		line = term.announced(t)
	}
	if !strings.HasPrefix(line, want) {
		t.Fatalf("the quickstart announces %q, want %q", line, want)
	}
	return line
}

const fromTo = " from <shop@mycompany.example> to <customer@example.com>"

// sendText sends a message, which has to be accepted at once, and returns it.
func (term *terminal) sendText(t *testing.T, text string) submission {
	t.Helper()
	s := (&relay{access: term.access(t)}).submission(false)
	s.Text = text
	s.Raw = s.raw()
	if err := sendWithNetSMTP(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestUpstream hands mail on, in each way that -upstream knows.
func TestUpstream(t *testing.T) {
	const username, password = "me@house.example", "up stream:/@"
	t.Setenv("GATEPOST_UPSTREAM_PASSWORD", password)
	for name, tt := range map[string]struct {
		up            *relaytest.Upstream
		before, after string // around the address in the URL
	}{
		"STARTTLS": {&relaytest.Upstream{Username: username, Password: password}, "smtp://" + username + "@", "?tls=skip-verify"},
		"TLS":      {&relaytest.Upstream{Username: username, Password: password, ImplicitTLS: true}, "smtps://me%40house.example@", "?tls=skip-verify"},
		"no TLS":   {&relaytest.Upstream{Username: username, Password: password, NoTLS: true}, "smtp://" + username + "@", "?tls=none"},
		"no login": {&relaytest.Upstream{}, "smtp://", "?tls=skip-verify"},
	} {
		t.Run(name, func(t *testing.T) {
			up := startUpstream(t, tt.up)
			dir := t.TempDir()
			term := openTerminal(t, dir, "-upstream", tt.before+up.Addr()+tt.after)
			if !strings.Contains(term.text, "\nMessages go to "+up.Addr()+". What happens:\n") {
				t.Errorf("it doesn't say where messages go:\n%s", term.text)
			}
			s := term.sendText(t, texts[0].text)
			term.announces(t, "queued"+fromTo)
			line := term.announces(t, "delivered"+fromTo)
			if !regexp.MustCompile(`^[^:]*: 250 `).MatchString(line) {
				t.Errorf("it announces %q, without the upstream's reply", line)
			}
			d := up.Received()
			if len(d) != 1 {
				t.Fatalf("the upstream has %d messages", len(d))
			}
			checkWhole(t, d[0].Content, s.Raw)
			if d[0].From != s.From || len(d[0].To) != 1 || d[0].To[0].Address != s.To {
				t.Errorf("the upstream has it from %s to %v", d[0].From, d[0].To)
			}
			if d[0].Username != up.Username || (d[0].TLS == nil) != up.NoTLS {
				t.Errorf("it came from user %q, with TLS: %v", d[0].Username, d[0].TLS != nil)
			}
			if _, err := os.Stat(filepath.Join(dir, "outbox")); err == nil {
				t.Error("there is an outbox, too")
			}
			term.interrupt(t)
		})
	}
}

// waiting is what -queue shows of a recipient.
type waiting struct {
	ID       string    `json:"id"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Received time.Time `json:"received"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next_try"`
	Reason   string    `json:"reason"`
}

// queue returns what waits.
func (term *terminal) queue(t *testing.T) []waiting {
	t.Helper()
	var list struct{ Queue []waiting }
	(&relay{dir: term.dir}).ask(t, &list, "-queue")
	if list.Queue == nil {
		t.Error("-queue -json has no list")
	}
	return list.Queue
}

// TestUpstreamTrouble sees what the person at the terminal is told when a
// message can't be handed on. The client doesn't notice.
func TestUpstreamTrouble(t *testing.T) {
	const password = "pass56word"
	t.Setenv("GATEPOST_UPSTREAM_PASSWORD", password)
	closed := closedAddr(t)
	for name, tt := range map[string]struct {
		up     *relaytest.Upstream // nil: there is none at the address
		query  string
		reason string
	}{
		"wrong password":      {&relaytest.Upstream{Username: "me", Password: "another"}, "?tls=skip-verify", "smarthost: 127.0.0.1: AUTH: the server replied 535 "},
		"down":                {nil, "?tls=skip-verify", "smarthost: 127.0.0.1: connecting: "},
		"unknown certificate": {&relaytest.Upstream{Username: "me", Password: password}, "", "smarthost: 127.0.0.1: TLS handshake: tls: failed to verify certificate: "},
		"no TLS":              {&relaytest.Upstream{Username: "me", Password: password, NoTLS: true}, "", "smarthost: 127.0.0.1: STARTTLS: the server doesn't offer it"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := closed
			if tt.up != nil {
				addr = startUpstream(t, tt.up).Addr()
			}
			term := openTerminal(t, t.TempDir(), "-upstream", "smtp://me@"+addr+tt.query)
			term.sendText(t, "Thank you.\r\n")
			term.announces(t, "queued"+fromTo)
			line := term.announces(t, "deferred"+fromTo+": "+tt.reason)
			if !regexp.MustCompile(`; next try in \d+s$`).MatchString(line) {
				t.Errorf("it announces %q, without the next try", line)
			}
			if strings.Contains(line, password) {
				t.Errorf("it shows the password: %q", line)
			}
			found := term.queue(t)
			if len(found) != 1 || !strings.HasPrefix(found[0].Reason, tt.reason) {
				t.Errorf("-queue shows %+v", found)
			}
			if tt.up != nil && len(tt.up.Received()) > 0 {
				t.Error("the message was handed on")
			}
			term.interrupt(t)
		})
	}
}

// closedAddr returns an address that nobody listens on.
func closedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestOutage takes a message through an outage of the upstream.
func TestOutage(t *testing.T) {
	for name, restart := range map[string]bool{"same run": false, "restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, &relaytest.Upstream{})
			up.Close()
			args := []string{"-upstream", "smtp://" + up.Addr() + "?tls=skip-verify"}
			term := openTerminal(t, t.TempDir(), args...)
			begin := time.Now()
			s := term.sendText(t, texts[1].text)
			term.announces(t, "queued"+fromTo)
			term.announces(t, "deferred"+fromTo)
			checkWaiting(t, term, begin)
			if restart {
				term.interrupt(t)
				checkWaiting(t, term, begin)
				const want = "\nMail of an earlier run still waits for an -upstream (recipients: 1); -queue lists it.\n"
				if term = openTerminal(t, term.dir); !strings.Contains(term.text, want) {
					t.Errorf("without an upstream it doesn't tell what waits:\n%s", term.text)
				}
				term.interrupt(t)
				term = openTerminal(t, term.dir, args...)
			}
			up.Start()
			term.announces(t, "delivered"+fromTo)
			if found := term.queue(t); len(found) != 0 {
				t.Errorf("afterwards -queue shows %+v", found)
			}
			if d := up.Received(); len(d) != 1 {
				t.Errorf("the upstream has %d messages", len(d))
			} else {
				checkWhole(t, d[0].Content, s.Raw)
			}
			term.interrupt(t)
		})
	}
}

// checkWaiting makes sure that -queue says of the one message there is what
// anybody wants to know, in both forms.
func checkWaiting(t *testing.T, term *terminal, since time.Time) {
	t.Helper()
	found := term.queue(t)
	if len(found) != 1 {
		t.Fatalf("-queue shows %+v", found)
	}
	w := found[0]
	if w.ID == "" || w.From != "shop@mycompany.example" || w.To != "customer@example.com" || w.Attempts < 1 ||
		!strings.Contains(w.Reason, "connecting: ") || !w.Next.After(since) || w.Received.Before(since.Add(-time.Second)) {
		t.Errorf("-queue shows %+v", w)
	}
	stdout, stderr, err := (&relay{dir: term.dir}).command(t, "-queue")
	want := regexp.MustCompile(`^MESSAGE +RECIPIENT +ATTEMPTS +NEXT TRY +REASON\n` + w.ID +
		` +customer@example\.com +\d+ +(now|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) +smarthost: 127\.0\.0\.1: connecting: .*\n$`)
	if err != nil || stderr != "" || !want.MatchString(stdout) {
		t.Errorf("-queue prints, with %v\n%s%s", err, stdout, stderr)
	}
}

// TestBounce has the sender told of a recipient that the upstream refuses,
// through the same upstream.
func TestBounce(t *testing.T) {
	up := startUpstream(t, &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if c.Line == "RCPT TO:<customer@example.com>" {
			return relaytest.Answer{Text: "550 5.1.6 customer has moved away"}
		}
		return relaytest.Answer{}
	}})
	term := openTerminal(t, t.TempDir(), "-upstream", "smtp://"+up.Addr()+"?tls=skip-verify")
	term.sendText(t, "Thank you.\r\n")
	term.announces(t, "queued"+fromTo)
	if line := term.announces(t, "bounced"+fromTo+": "); !strings.HasSuffix(line, "550 5.1.6 customer has moved away") {
		t.Errorf("it announces %q, without the reason", line)
	}
	term.announces(t, "delivered from <> to <shop@mycompany.example>")
	d := up.Received()
	if len(d) != 1 || d[0].From != "" || len(d[0].To) != 1 || d[0].To[0].Address != "shop@mycompany.example" {
		t.Fatalf("the upstream has %+v", d)
	}
	for _, want := range []string{"customer@example.com", "customer has moved away", "report-type=delivery-status"} {
		if !strings.Contains(string(d[0].Content), want) {
			t.Errorf("the bounce doesn't say %q:\n%s", want, d[0].Content)
		}
	}
	if found := term.queue(t); len(found) != 0 {
		t.Errorf("afterwards -queue shows %+v", found)
	}
	stdout, _, _ := (&relay{dir: term.dir}).command(t, "-queue")
	if stdout != "nothing waits\n" {
		t.Errorf("-queue prints %q", stdout)
	}
	term.interrupt(t)
}
