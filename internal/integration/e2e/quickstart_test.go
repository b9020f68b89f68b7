package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// patience is how long the quickstart may take to print something.
const patience = 30 * time.Second

// A quickstart is the program examples/quickstart in a process of its own.
type quickstart struct {
	access
	dir    string
	cmd    *exec.Cmd
	lines  *bufio.Reader
	stderr bytes.Buffer
}

// launch runs the quickstart in a directory, until the test ends.
func launch(t *testing.T, dir string, args ...string) *quickstart {
	t.Helper()
	q := &quickstart{dir: dir, cmd: exec.Command(services.Build(t, "examples/quickstart"), args...)}
	q.cmd.Args = append(q.cmd.Args, "-listen", "127.0.0.1:0", "-listen-tls", "127.0.0.1:0", "-console", "127.0.0.1:0")
	q.cmd.Dir = dir
	q.cmd.Stderr = &q.stderr
	out, err := q.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.cmd.Process.Kill() })
	q.lines = bufio.NewReader(out)
	return q
}

// launchJSON is as launch, with -json, and returns when the relay is ready.
func launchJSON(t *testing.T, dir string, args ...string) *quickstart {
	t.Helper()
	q := launch(t, dir, append(args, "-json")...)
	if err := json.Unmarshal([]byte(q.line(t)), &q.access); err != nil {
		t.Fatal(err)
	}
	return q
}

// line returns the next line that the quickstart prints.
func (q *quickstart) line(t *testing.T) string {
	t.Helper()
	tooLong := time.AfterFunc(patience, func() { q.cmd.Process.Kill() })
	defer tooLong.Stop()
	line, err := q.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the quickstart printed %q, %v\n%s", line, err, &q.stderr)
	}
	return line
}

// event waits for the event with this message, and returns it.
func (q *quickstart) event(t *testing.T, message string) (e struct{ Msg, Tenant, From, To, Reply, Reason string }) {
	t.Helper()
	for e.Msg != message {
		line := q.line(t)
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("the quickstart printed %q: %v", line, err)
		}
	}
	return e
}

// interrupt does what Ctrl-C does, and expects a good end.
func (q *quickstart) interrupt(t *testing.T) {
	t.Helper()
	q.cmd.Process.Signal(os.Interrupt)
	q.ends(t)
}

// ends waits for the end of the program, which has to be a good one.
func (q *quickstart) ends(t *testing.T) {
	t.Helper()
	kill := time.AfterFunc(patience, func() { q.cmd.Process.Kill() })
	defer kill.Stop()
	if err := q.cmd.Wait(); err != nil || q.stderr.Len() > 0 {
		t.Errorf("the quickstart ended with %v\n%s", err, &q.stderr)
	}
}

// send sends a message, which has to be accepted, and returns it.
func (q *quickstart) send(t *testing.T) submission {
	t.Helper()
	s := q.submission(false)
	s.Raw = s.raw()
	if err := sendWithNetSMTP(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// The command that the quickstart prints works as it is, in another directory,
// although its own has an awkward name.
func TestQuickstartCommand(t *testing.T) {
	services.Program(t, "curl")
	dir := filepath.Join(t.TempDir(), `it's a "$HOME" dir`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	q := launch(t, dir)
	var text string
	for !strings.HasSuffix(text, "What happens:\n\n") {
		text += q.line(t)
	}
	command := regexp.MustCompile(`(?m)^  printf .*\n(.*\\\n)*.*--upload-file -$`).FindString(text)
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, text, out)
	}
	id := ""
	for id == "" {
		if m := regexp.MustCompile(`^msg="relay: message accepted".* id=(\w+) from=hello@mycompany\.example `).FindStringSubmatch(q.line(t)); m != nil {
			id = m[1]
		}
	}
	if content, err := os.ReadFile(filepath.Join(dir, "outbox", id+".eml")); err != nil || !bytes.HasSuffix(content, []byte("\r\nIt works.\r\n")) {
		t.Errorf("the file of the message: %q, %v", content, err)
	}
	q.interrupt(t)
}

// The second run shows no password, and knows the user.
func TestQuickstartSecondRun(t *testing.T) {
	dir := t.TempDir()
	first := launchJSON(t, dir, "-domain", "Bücher.example.")
	if first.Password == "" || first.Domain != "xn--bcher-kva.example" {
		t.Errorf("the first run prints %+v", first.access)
	}
	first.interrupt(t)
	second := launchJSON(t, dir, "-domain", "xn--bcher-kva.example")
	if second.Password != "" || second.Username != first.Username {
		t.Errorf("the second run prints %+v, want the user of %+v without a password", second.access, first.access)
	}
	second.access.Password = first.Password
	second.send(t)
	second.interrupt(t)
}

// The quickstart's console and relay share their users. A reset on the page ends a
// session that is sending, and the next login needs the new password.
func TestQuickstartConsole(t *testing.T) {
	q := launchJSON(t, t.TempDir())
	c, err := q.submission(true).login()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var answer struct{ Password string }
	path := q.Console + "domains/" + q.Domain + "/users/" + q.Username + "/reset"
	if status := fetch(t, http.MethodPost, path, "", &answer); status != http.StatusOK || answer.Password == "" {
		t.Fatalf("the reset answered %d", status)
	}
	if line, err := c.Text.ReadLine(); !strings.HasPrefix(line, "421 4.7.0 ") {
		t.Errorf("a session with the old password got %q, %v, want 421", line, err)
	}
	if c, err := q.submission(false).login(); err == nil {
		c.Close()
		t.Error("the old password works after a reset on the page")
	}
	q.access.Password = answer.Password
	q.send(t)

	// A site can make its name lead to this machine, but not change the Host.
	if status := fetch(t, http.MethodGet, q.Console, "evil.example:2580", nil); status != http.StatusForbidden {
		t.Errorf("by another name the console answers %d, want 403", status)
	}
	q.interrupt(t)
}

// fetch sends a request, and reads the answer into a value if that isn't nil.
func fetch(t *testing.T, method, url, host string, answer any) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer != nil {
		if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode
}

// The quickstart hands mail on in each way that -upstream has.
func TestQuickstartUpstream(t *testing.T) {
	const username, password = "me@house.example", "up stream:/@"
	for _, tt := range []struct {
		name          string
		up            *relaytest.Upstream
		before, after string // around the address in the URL
	}{
		{"STARTTLS", &relaytest.Upstream{Username: username, Password: password}, "smtp://" + username + "@", "?tls=skip-verify"},
		{"TLS", &relaytest.Upstream{Username: username, Password: password, ImplicitTLS: true}, "smtps://me%40house.example@", "?tls=skip-verify"},
		{"no TLS", &relaytest.Upstream{Username: username, Password: password, NoTLS: true}, "smtp://" + username + "@", "?tls=none"},
		{"no login", &relaytest.Upstream{}, "smtp://", "?tls=skip-verify"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.up.Username != "" {
				t.Setenv("GATEPOST_UPSTREAM_PASSWORD", password)
			}
			tt.up.Start()
			t.Cleanup(tt.up.Close)
			q := launchJSON(t, t.TempDir(), "-upstream", tt.before+tt.up.Addr()+tt.after)
			s := q.send(t)
			if e := q.event(t, "queue: delivered"); !strings.HasPrefix(e.Reply, "250 ") || e.From != s.From || e.To != s.To {
				t.Errorf("the event is %+v", e)
			}
			m := tt.up.Wait(t, 1)[0]
			checkWhole(t, m.Content, s.Raw)
			if m.From != s.From || m.To[0].Address != s.To || m.Username != tt.up.Username || (m.TLS == nil) != tt.up.NoTLS {
				t.Errorf("the upstream has it from %s to %v, user %q, TLS: %v", m.From, m.To, m.Username, m.TLS != nil)
			}
			q.interrupt(t)
		})
	}
}

// A message that can't be handed on waits, across a restart too, and -queue says
// why.
func TestQuickstartOutage(t *testing.T) {
	const password = "pass56word"
	t.Setenv("GATEPOST_UPSTREAM_PASSWORD", password)
	for _, tt := range []struct {
		name   string
		up     *relaytest.Upstream
		down   bool
		query  string
		reason string
	}{
		{"wrong password", &relaytest.Upstream{Username: "me", Password: "another"}, false, "?tls=skip-verify", "AUTH: the server replied 535 "},
		{"down", &relaytest.Upstream{Username: "me", Password: password}, true, "?tls=skip-verify", "connecting: "},
		{"unknown certificate", &relaytest.Upstream{Username: "me", Password: password}, false, "", "TLS handshake: tls: failed to verify certificate: "},
		{"no TLS", &relaytest.Upstream{Username: "me", Password: password, NoTLS: true}, false, "", "STARTTLS: the server doesn't offer it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.up.Start()
			t.Cleanup(tt.up.Close)
			if tt.down {
				tt.up.Close()
			}
			dir := t.TempDir()
			q := launchJSON(t, dir, "-upstream", "smtp://me@"+tt.up.Addr()+tt.query)
			q.send(t)
			if e := q.event(t, "queue: deferred"); !strings.Contains(e.Reason, tt.reason) || strings.Contains(e.Reason, password) {
				t.Errorf("the event is %+v, want reason %q", e, tt.reason)
			}
			q.interrupt(t)
			list := launch(t, dir, "-queue", "-json")
			if e := list.event(t, "suspended"); e.To != "customer@example.com" || e.Tenant != "quickstart" || !strings.Contains(e.Reason, tt.reason) {
				t.Errorf("-queue prints %+v", e)
			}
			list.ends(t)
			for _, step := range [][2]string{{"-queue=hold:all", "hold"}, {"-queue", "held"}, {"-queue=release:all", "release"}, {"-queue=retry:all", "retry"}} {
				q := launch(t, dir, step[0], "-json")
				q.event(t, step[1])
				q.ends(t)
			}
			if len(tt.up.Received()) > 0 {
				t.Error("the message was handed on")
			}
			if !tt.down {
				return
			}
			tt.up.Start()
			again := launchJSON(t, dir, "-upstream", "smtp://me@"+tt.up.Addr()+tt.query)
			again.event(t, "queue: delivered")
			again.interrupt(t)
			if got := tt.up.Received(); len(got) != 1 {
				t.Errorf("the upstream has %d messages, want 1", len(got))
			}
		})
	}
}

// Ctrl-C lets a message in progress finish.
func TestQuickstartShutdown(t *testing.T) {
	q := launchJSON(t, t.TempDir())
	s := q.submission(true)
	busy, err := s.login()
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := busy.Mail(s.From); err != nil {
		t.Fatal(err)
	}
	if err := busy.Rcpt(s.To); err != nil {
		t.Fatal(err)
	}
	w, err := busy.Data()
	if err != nil {
		t.Fatal(err)
	}
	idle, err := s.login()
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	go q.cmd.Process.Signal(os.Interrupt)
	if line, err := idle.Text.ReadLine(); !strings.HasPrefix(line, "421 ") {
		t.Errorf("an idle client got %q, %v, want 421", line, err)
	}
	w.Write(s.raw())
	if err := w.Close(); err != nil {
		t.Errorf("the message in progress: %v", err)
	}
	q.ends(t)
	if files, _ := filepath.Glob(filepath.Join(q.dir, "outbox", "*.eml")); len(files) != 1 {
		t.Errorf("the outbox has %q, want one message", files)
	}
}

// An error is one line that says what to do, without a password.
func TestQuickstartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name, file string // file is in the way
		args       []string
		want       string
	}{
		{"port in use", "", []string{"-listen", taken.Addr().String()}, "address already in use"},
		{"bad domain", "", []string{"-domain", "localhost"}, "it has only one label"},
		{"not a database", "gatepost.db", nil, "gatepost.db: sqlstore: migrate SQLite: "},
		{"console for others", "", []string{"-console", "0.0.0.0:0"}, "the console has no login"},
		{"upstream without a host", "", []string{"-upstream", "smtp://"}, "-upstream: use smtp://user@host:port"},
		{"upstream of another kind", "", []string{"-upstream", "http://example.com"}, "-upstream: use smtp://user@host:port"},
		{"upstream with a typo", "", []string{"-upstream", "smtp://example.com?tls=skip_verify"}, "?tls=skip-verify"},
		{"TLS and no TLS", "", []string{"-upstream", "smtps://example.com?tls=none"}, "for smtp:// ?tls=none"},
		{"no password", "", []string{"-upstream", "smtp://user@example.com"}, "the password in GATEPOST_UPSTREAM_PASSWORD"},
		{"password in the URL", "", []string{"-upstream", "smtp://user:pass56word@example.com"}, "the password in GATEPOST_UPSTREAM_PASSWORD"},
		{"bad escape in a password", "", []string{"-upstream", "smtp://user:pass56%zz@example.com"}, "-upstream: use smtp://user@host:port"},
		{"argument", "", []string{"list"}, `unexpected argument "list"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				if err := os.WriteFile(filepath.Join(dir, tt.file), bytes.Repeat([]byte("something else "), 100), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{"-listen", "127.0.0.1:0", "-listen-tls", "127.0.0.1:0", "-console", "127.0.0.1:0"}, tt.args...)
			cmd := exec.Command(services.Build(t, "examples/quickstart"), args...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) || strings.Count(string(out), "\n") != 1 || strings.Contains(string(out), "pass56") {
				t.Errorf("got %v, %q, want a line with %q", err, out, tt.want)
			}
		})
	}
}
