package relay_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
)

// BenchmarkIdleConnections has 2,000 clients connect with TLS, log in, and say
// nothing more. It reports by how much the resident memory of the server's
// process grew for each. The yardstick is a bare go-smtp server.
func BenchmarkIdleConnections(b *testing.B) {
	var ours, bare float64
	for b.Loop() {
		ours += idleMemory(b, "relay")
		bare += idleMemory(b, "bare")
	}
	b.ReportMetric(ours/float64(b.N), "KB/conn")
	b.ReportMetric(bare/float64(b.N), "yardstick-KB/conn")
	b.ReportMetric(0, "ns/op") // says nothing
}

func idleMemory(b *testing.B, what string) float64 {
	const warm, clients = 100, 2000
	srv := startServer(b, what)
	defer srv.stop()
	var mu sync.Mutex
	var conns []io.Closer
	logIn := yardstick.Parallel(slices.Repeat([]func() error{func() error {
		c, err := connect(srv.addr, &tls.Config{InsecureSkipVerify: true}) // another process's certificate
		if err != nil {
			return err
		}
		mu.Lock()
		conns = append(conns, c.conn)
		mu.Unlock()
		return c.cmd(srv.auth, '2')
	}}, 8))
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	if err := logIn(warm); err != nil {
		b.Fatal(err)
	}
	before := srv.resident(b)
	if err := logIn(clients); err != nil {
		b.Fatal(err)
	}
	return float64(srv.resident(b)-before) / clients
}

// A server in a process of its own, so that its memory is known.
type server struct {
	cmd        *exec.Cmd
	stdin      io.Closer
	addr, auth string
}

const serverEnv = "GATEPOST_TEST_SERVER"

// startServer has this test program run [TestServer].
func startServer(b *testing.B, what string) *server {
	b.Helper()
	if runtime.GOOS != "linux" {
		b.Skip("the memory of a process is read from /proc")
	}
	s := &server{cmd: exec.Command(os.Args[0], "-test.run=^TestServer$", "-test.v")}
	s.cmd.Env = append(os.Environ(), serverEnv+"="+what)
	s.cmd.Stderr = os.Stderr
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	s.stdin = stdin
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if addr, auth, ok := strings.Cut(lines.Text(), " AUTH "); ok {
			s.addr, s.auth = addr, "AUTH "+auth+"\r\n"
			return s
		}
	}
	s.stop()
	b.Fatal("the server didn't start")
	return nil
}

func (s *server) stop() {
	s.stdin.Close()
	s.cmd.Wait()
}

// resident returns the process's resident memory in KB.
func (s *server) resident(b *testing.B) (kb int) {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rss, &kb); err != nil {
		b.Fatal(err)
	}
	return kb
}

// TestServer isn't a test, but the server of another process's benchmark.
func TestServer(t *testing.T) {
	var addr string
	switch os.Getenv(serverEnv) {
	case "relay":
		addr = newDiscard(t)
	case "bare":
		addr = newBare(t)
	default:
		t.Skip("runs as part of a benchmark")
	}
	fmt.Printf("%s %s", addr, strings.TrimSuffix(credentialsOf[addr], "\r\n")+"\n")
	io.Copy(io.Discard, os.Stdin)
}
