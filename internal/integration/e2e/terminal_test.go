package e2e_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// A terminal is a quickstart as a person runs it.
type terminal struct {
	dir   string
	text  string // what it printed until it was ready
	lines *bufio.Reader
	cmd   *exec.Cmd

	stderr bytes.Buffer
}

// openTerminal runs the quickstart in a directory, until the test ends.
func openTerminal(t *testing.T, dir string, args ...string) *terminal {
	t.Helper()
	term := &terminal{dir: dir, cmd: exec.Command(quickstart(t), append(args, "-listen", "127.0.0.1:0", "-listen-tls", "127.0.0.1:0", "-console", "127.0.0.1:0")...)}
	term.cmd.Dir = dir
	out, err := term.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	term.cmd.Stderr = &term.stderr
	if err := term.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { term.cmd.Process.Kill() })
	term.lines = bufio.NewReader(out)
	for !strings.Contains(term.text, "What happens:\n\n") {
		line, err := term.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the quickstart printed\n%s%s", term.text, &term.stderr)
		}
		term.text += line
	}
	return term
}

// interrupt does what Ctrl-C does, and expects a good end.
func (term *terminal) interrupt(t *testing.T) {
	t.Helper()
	if err := term.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := term.cmd.Wait(); err != nil || term.stderr.Len() > 0 {
		t.Errorf("after Ctrl-C: %v\n%s", err, &term.stderr)
	}
}

// field returns what stands after a label at the beginning of a line.
func (term *terminal) field(label string) string {
	m := regexp.MustCompile(`(?m)^` + label + `: +(.*)$`).FindStringSubmatch(term.text)
	if m == nil {
		return ""
	}
	return m[1]
}

// access returns what it printed for a new user.
func (term *terminal) access(t *testing.T) access {
	t.Helper()
	a := access{
		Server: term.field("server"), Certificate: filepath.Join(term.dir, "gatepost.crt"), Domain: "mycompany.example",
		Username: term.field("username"), Password: term.field("password"),
	}
	if _, err := fmt.Sscanf(term.field("ports"), "%d with STARTTLS, %d with TLS", &a.PortSTARTTLS, &a.PortTLS); err != nil {
		t.Fatalf("%v in\n%s", err, term.text)
	}
	return a
}

// TestPasted runs the commands that the quickstart prints as they are, in
// another directory, although its own has an awkward name.
func TestPasted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `it's a "$HOME" dir`)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	term := openTerminal(t, dir)
	for _, program := range []string{"curl", "swaks"} {
		t.Run(program, func(t *testing.T) {
			services.Program(t, program)
			command := regexp.MustCompile(`(?m)^  (printf .*\n {4,})?` + program + ` (.*\\\n)*.*$`).FindString(term.text)
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir = t.TempDir()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s\n%s", err, command, out)
			}
			line, err := term.lines.ReadString('\n')
			want := regexp.MustCompile(`^accepted from <hello@mycompany\.example> to <you@example\.com>, \d+ bytes: (outbox/\w+\.eml)\n$`)
			m := want.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("the quickstart announces %q, %v", line, err)
			}
			if _, err := os.Stat(filepath.Join(dir, m[1])); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSecondRun(t *testing.T) {
	dir := t.TempDir()
	first := openTerminal(t, dir, "-domain", "Bücher.example.")
	username, password := first.field("username"), first.field("password")
	if username == "" || password == "" {
		t.Fatalf("the first run shows\n%s", first.text)
	}
	if !strings.Contains(first.text, "hello@xn--bcher-kva.example") {
		t.Errorf("the first run isn't for the domain that it was given:\n%s", first.text)
	}
	first.interrupt(t)

	second := openTerminal(t, dir)
	if second.field("password") != "" || strings.Contains(second.text, password) {
		t.Errorf("the second run shows the password:\n%s", second.text)
	}
	if !strings.Contains(second.text, "-reset "+username) {
		t.Errorf("the second run doesn't say how to reset the password:\n%s", second.text)
	}
	if !strings.Contains(second.text, "xn--bcher-kva.example") {
		t.Errorf("the second run isn't for the domain there is:\n%s", second.text)
	}
	second.interrupt(t)
}

// TestCommandsAsText sees the four commands as a person does.
func TestCommandsAsText(t *testing.T) {
	r := startRelay(t)
	run := func(want string, args ...string) string {
		t.Helper()
		stdout, stderr, err := r.command(t, args...)
		if err != nil || stderr != "" {
			t.Fatalf("quickstart %q: %v\n%s", args, err, stderr)
		}
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("quickstart %q prints, without %q:\n%s", args, want, stdout)
		}
		return stdout
	}
	added := run(`(?m)^password: [A-Z2-7]{26}$`, "-add", "It's 💌")
	username := (&terminal{text: added}).field("username")
	run(`(?m)^It's 💌 +`+username+` +mycompany\.example +never$`, "-list")
	run(`(?m)^It's 💌 +`+username, "-list", "-domain", "MyCompany.example.")
	run(`(?m)^username: `+username+"\n"+`password: [A-Z2-7]{26}$`, "-reset", username)
	run(`deleted `+username, "-delete", username)
	if list := run(r.Username, "-list"); strings.Contains(list, username) {
		t.Errorf("a deleted user is on the list:\n%s", list)
	}
}

// TestErrors expects one clear line and the exit status.
func TestErrors(t *testing.T) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	anyPort := []string{"-listen", "127.0.0.1:0", "-listen-tls", "127.0.0.1:0", "-console", "127.0.0.1:0"}
	running := startRelay(t)

	for _, tt := range []struct {
		name    string
		args    []string
		prepare func(t *testing.T, dir string)
		dir     string // instead of a new one
		status  int
		want    string
	}{
		{name: "port in use", args: []string{"-listen", port.Addr().String()}, status: 1, want: "address already in use; does the relay run already?"},
		{name: "bad domain", args: append(anyPort, "-domain", "localhost"), status: 1, want: "the domain is not possible: it has only one label"},
		{name: "outbox not writable", args: anyPort, status: 1, want: "mkdir outbox: ",
			prepare: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "outbox"), "") }},
		{name: "database not writable", args: anyPort, status: 1, want: "open gatepost.db: ",
			prepare: func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "gatepost.db"), 0o755) }},
		{name: "not a database", args: anyPort, status: 1, want: "gatepost.db: sqlstore: migrate SQLite: ",
			prepare: func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "gatepost.db"), strings.Repeat("no database ", 100))
			}},
		{name: "newer database", args: anyPort, status: 1, want: "use a newer version of this program", prepare: newerDatabase},
		{name: "no database", args: []string{"-list"}, status: 1, want: "run the relay here first"},
		{name: "unknown user to reset", args: []string{"-reset", "smtpnobody"}, dir: running.dir, status: 1, want: `there is no user "smtpnobody"; -list shows`},
		{name: "unknown user to delete", args: []string{"-delete", ""}, dir: running.dir, status: 1, want: `there is no user ""; -list shows`},
		{name: "unknown domain", args: []string{"-add", "x", "-domain", "other.example"}, dir: running.dir, status: 1, want: "there is no domain other.example"},
		{name: "unknown domain to list", args: []string{"-list", "-domain", "other.example"}, dir: running.dir, status: 1, want: "there is no domain other.example"},
		{name: "bad name", args: []string{"-add", "a\nb"}, dir: running.dir, status: 1, want: "the name is not possible: it holds a line break"},
		{name: "two commands", args: []string{"-list", "-add", "x"}, status: 2, want: "one of -add, -reset, -delete, -list and -queue at a time"},
		{name: "upstream without a host", args: []string{"-upstream", "smtp://"}, status: 2, want: "-upstream: use smtp://user@host:port"},
		{name: "upstream of another kind", args: []string{"-upstream", "http://user@example.com"}, status: 2, want: "-upstream: the URL begins with smtp://"},
		{name: "upstream with a path", args: []string{"-upstream", "smtp://example.com/x"}, status: 2, want: "-upstream: use smtp://user@host:port"},
		{name: "upstream with a typo", args: []string{"-upstream", "smtp://example.com?tls=skip_verify"}, status: 2, want: "?tls=skip-verify"},
		{name: "TLS and no TLS", args: []string{"-upstream", "smtps://example.com?tls=none"}, status: 2, want: "for smtp:// ?tls=none"},
		{name: "upstream's password missing", args: []string{"-upstream", "smtp://user@example.com"}, status: 2, want: "set GATEPOST_UPSTREAM_PASSWORD to the password"},
		{name: "password in the URL", args: []string{"-upstream", "smtp://user:pass56word@example.com"}, status: 2, want: "leave the password out of the URL and set GATEPOST_UPSTREAM_PASSWORD"},
		{name: "password in no URL", args: []string{"-upstream", "smtp://user:pass56/word@example.com"}, status: 2, want: "-upstream: use smtp://user@host:port"},
		{name: "bad escape in a password", args: []string{"-upstream", "smtp://user:pass56%zz@example.com"}, status: 2, want: "-upstream: use smtp://user@host:port"},
		{name: "password and no scheme", args: []string{"-upstream", "user:pass56word@example.com"}, status: 2, want: "-upstream: use smtp://user@host:port"},
		{name: "console for others", args: []string{"-console", "0.0.0.0:0"}, status: 2, want: "-console: the pages have no login"},
		{name: "console for everybody", args: []string{"-console", ":0"}, status: 2, want: "-console: the pages have no login"},
		{name: "argument", args: []string{"list"}, status: 2, want: `unexpected argument "list"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &relay{dir: tt.dir}
			if r.dir == "" {
				r.dir = t.TempDir()
			}
			if tt.prepare != nil {
				tt.prepare(t, r.dir)
			}
			stdout, stderr, err := r.command(t, tt.args...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tt.status {
				t.Errorf("it ends with %v, want exit status %d", err, tt.status)
			}
			if stdout != "" {
				t.Errorf("it prints %q", stdout)
			}
			line, usage, _ := strings.Cut(stderr, "\n")
			if !strings.Contains(line, tt.want) {
				t.Errorf("it says %q, want %q", stderr, tt.want)
			}
			if usage != "" && (tt.status == 1 || strings.HasPrefix(line, "-upstream")) {
				t.Errorf("it says more than a line:\n%s", stderr)
			}
			if strings.Contains(stderr, "pass56") {
				t.Errorf("it shows a password: %q", stderr)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newerDatabase makes a database as a later version of the program would.
func newerDatabase(t *testing.T, dir string) {
	openTerminal(t, dir).interrupt(t)
	db, err := sql.Open("sqlite", filepath.Join(dir, "gatepost.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO gatepost_schema (version) VALUES (999)"); err != nil {
		t.Fatal(err)
	}
}

// TestResetCutsOff resets the password from another process while a client is
// logged in.
func TestResetCutsOff(t *testing.T) {
	for name, command := range map[string]string{"reset": "-reset", "delete": "-delete"} {
		t.Run(name, func(t *testing.T) {
			r := startRelay(t)
			s := r.submission(true)
			c, err := s.login()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Mail(s.From); err != nil {
				t.Fatal(err)
			}
			if err := c.Rcpt(s.To); err != nil {
				t.Fatal(err)
			}
			w, err := c.Data()
			if err != nil {
				t.Fatal(err)
			}
			var answer any
			r.ask(t, &answer, command, r.Username)
			w.Write(s.raw())
			var reply *textproto.Error
			if err := w.Close(); !errors.As(err, &reply) || reply.Code != 421 {
				t.Errorf("the message in progress is answered with %v", err)
			}
			if got := r.take(t); len(got) > 0 {
				t.Errorf("the message arrived: %q", got)
			}
		})
	}
}

// TestShutdown presses Ctrl-C while a message is on its way.
func TestShutdown(t *testing.T) {
	r := &relay{dir: t.TempDir()}
	stop := r.start(t)
	s := r.submission(true)
	idle, err := s.login()
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
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
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	if line, err := idle.Text.ReadLine(); !strings.HasPrefix(line, "421 ") {
		t.Errorf("an idle client is told %q, %v", line, err)
	}
	if _, err := w.Write(s.raw()); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("the message in progress: %v", err)
	}
	<-stopped
	if got := r.take(t); len(got) != 1 {
		t.Errorf("%d messages arrived", len(got))
	}
}
