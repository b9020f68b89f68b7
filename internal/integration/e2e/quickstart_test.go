package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

func TestMain(m *testing.M) { services.Main(m) }

// quickstart returns the path of the program.
func quickstart(t *testing.T) string { return services.Build(t, "examples/quickstart") }

// A relay is a running quickstart.
type relay struct {
	dir string
	access
}

// access is what the quickstart prints when it is ready, and in answer to -add
// and -reset.
type access struct {
	Console      string `json:"console"` // of the relay alone
	Server       string `json:"server"`
	PortSTARTTLS int    `json:"port_starttls"`
	PortTLS      int    `json:"port_tls"`
	Certificate  string `json:"certificate"`
	Domain       string `json:"domain"`
	Username     string `json:"username"`
	Password     string `json:"password"`
}

// startRelay runs the quickstart in a new directory until the test ends. It
// must then end well.
func startRelay(t *testing.T) *relay {
	t.Helper()
	r := &relay{dir: t.TempDir()}
	r.start(t)
	return r
}

func (r *relay) start(t *testing.T) (stop func()) {
	t.Helper()
	cmd := exec.Command(quickstart(t), "-json", "-listen", "127.0.0.1:0", "-listen-tls", "127.0.0.1:0", "-console", "127.0.0.1:0")
	cmd.Dir = r.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	first, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(first, &r.access)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		lines.WriteTo(&bytes.Buffer{})
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(30*time.Second, func() { cmd.Process.Signal(syscall.SIGQUIT) })
		defer kill.Stop()
		<-drained
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("the quickstart ended with %v and said:\n%s", err, &stderr)
		}
	}
	t.Cleanup(stop)
	if err != nil {
		t.Fatalf("the quickstart doesn't get ready: %v", err)
	}
	return stop
}

// command runs the quickstart once, next to the relay.
func (r *relay) command(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command(quickstart(t), args...)
	cmd.Dir = r.dir
	var out, msg strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &msg
	err = cmd.Run()
	return out.String(), msg.String(), err
}

// ask runs a command that answers with JSON.
func (r *relay) ask(t *testing.T, answer any, args ...string) {
	t.Helper()
	stdout, stderr, err := r.command(t, append(args, "-json")...)
	if err != nil {
		t.Fatalf("quickstart %q: %v\n%s", args, err, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), answer); err != nil {
		t.Fatalf("quickstart %q printed %q: %v", args, stdout, err)
	}
}

// reset gives the user a new password.
func (r *relay) reset(t *testing.T) {
	t.Helper()
	var a access
	r.ask(t, &a, "-reset", r.Username)
	if a.Username != r.Username || a.Password == "" || a.Password == r.Password {
		t.Fatalf("-reset %s answers with %+v", r.Username, a)
	}
	r.Password = a.Password
}

// lastConnection returns what -list says about the user.
func (r *relay) lastConnection(t *testing.T) (at time.Time, from string) {
	t.Helper()
	var list struct {
		Users []struct {
			Username string    `json:"username"`
			At       time.Time `json:"last_connection"`
			From     string    `json:"last_connection_from"`
		} `json:"users"`
	}
	r.ask(t, &list, "-list")
	for _, u := range list.Users {
		if u.Username == r.Username {
			return u.At, u.From
		}
	}
	t.Fatalf("-list doesn't show %s", r.Username)
	return at, from
}

// take returns what is in the outbox, and empties it.
func (r *relay) take(t *testing.T) [][]byte {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.dir, "outbox"))
	if err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for _, e := range entries {
		path := filepath.Join(r.dir, "outbox", e.Name())
		if filepath.Ext(path) != ".eml" {
			t.Errorf("in the outbox is %s", e.Name())
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, content)
		os.Remove(path)
	}
	return files
}
