package chaos_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A node is a relay in a process of its own, or one after the other.
type node struct {
	settings
	name string
	wrap func(*exec.Cmd) // changes how the process is started; may be nil

	starts int
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
	log    lockedBuffer

	mu       sync.Mutex
	addr     string // "" while it isn't running
	username string
	password string
	events   map[string][]string // from recipient to what became of it
}

// patience is how long anything may take that has to happen.
const patience = 60 * time.Second

// start starts the process and waits until it serves.
func (n *node) start(t *testing.T) {
	t.Helper()
	select {
	case <-n.launch(t):
	case <-n.exited:
		t.Fatalf("%s doesn't start:\n%s", n.name, n.log.tail())
	case <-time.After(patience):
		t.Fatalf("%s isn't ready after %v:\n%s", n.name, patience, n.log.tail())
	}
}

// launch starts the process. The channel is closed when it serves.
func (n *node) launch(t *testing.T) (ready chan struct{}) {
	t.Helper()
	n.starts++
	s := n.settings
	s.Hostname = n.hostname()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), settingsVariable+"="+string(text))
	cmd.Stderr = &n.log
	if n.wrap != nil {
		n.wrap(cmd)
	}
	n.stdin, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.cmd, n.exited = cmd, make(chan struct{})
	ready = make(chan struct{})
	go func() {
		defer close(n.exited)
		n.listen(stdout, ready)
		cmd.Wait() // how it ended is of no interest
	}()
	t.Cleanup(func() { n.end(cmd) })
	return ready
}

// hostname is the name by which the sink knows the process.
func (n *node) hostname() string { return fmt.Sprintf("%s-%d.test", n.name, n.starts) }

// kill kills the process, as kill -9 does, and returns when it is gone.
func (n *node) kill() {
	n.end(n.cmd)
}

func (n *node) end(cmd *exec.Cmd) {
	cmd.Process.Kill()
	if cmd == n.cmd {
		<-n.exited
	}
}

// listen takes in what the process reports, until it ends.
func (n *node) listen(stdout io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue // the end of a process that was killed
		}
		n.mu.Lock()
		if r.Username != "" {
			n.username, n.password = r.Username, r.Password
		}
		if r.Addr != "" {
			n.addr = r.Addr
			close(ready)
		}
		if r.Event != "" {
			if n.events == nil {
				n.events = make(map[string][]string)
			}
			n.events[r.Recipient] = append(n.events[r.Recipient], r.Event)
		}
		n.mu.Unlock()
	}
	n.mu.Lock()
	n.addr = ""
	n.mu.Unlock()
}

// account returns where to send mail, and as whom.
func (n *node) account() (addr, username, password string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr, n.username, n.password
}

// became returns the recipients that a kind of event was reported of, and how
// often.
func (n *node) became(event string) map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	times := make(map[string]int)
	for recipient, events := range n.events {
		for _, e := range events {
			if e == event {
				times[recipient]++
			}
		}
	}
	return times
}

// A lockedBuffer is what a process wrote to its log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// tail returns the last lines.
func (b *lockedBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(b.b.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// count returns how often the log says something.
func (b *lockedBuffer) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Count(b.b.Bytes(), []byte(what))
}

// eventually waits until done returns true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not after %v: %s", patience, what)
		}
	}
}
