// Package services starts what tests need: database servers and programs of this
// repository. A database server is private, listens on loopback, and keeps its
// data in a temporary directory. It is started on first use, once for each test
// binary, and [Main] stops it.
//
// A test whose server isn't installed is skipped, or fails if the environment
// has REQUIRE_SERVICES=1.
//
// GATEPOST_DATA in the environment is the directory for databases, instead of that
// for temporary files. In memory (a directory in /dev/shm) tests take a fraction of the
// time, because nothing waits for a disk. No test loses by it: those that kill processes
// need no disk, and those that cut the power bring their own. Benchmarks do need it.
package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Main runs the tests, stops the servers that they started, removes the programs
// that they built, and exits. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	for _, s := range []*server{&postgres, &mariadb} {
		if err := s.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := removeDir(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience is how long a server may take to start or to stop.
const patience = 60 * time.Second

// errMissing means that a program is not installed.
var errMissing = errors.New("not installed")

// A server is a program that runs until the tests are done.
type server struct {
	once      sync.Once
	err       error // of launch
	dir       string
	addr      string          // 127.0.0.1 and the port
	wrap      func(*exec.Cmd) // changes how its programs are started; may be nil
	launched  func() error    // runs it again
	crash     syscall.Signal  // ends it at once
	cmd       *exec.Cmd
	exited    chan struct{}
	mu        sync.Mutex
	databases int
}

// start calls launch once, which makes the data and calls run. If the server
// cannot run, start ends the test.
func (s *server) start(t testing.TB, launch func(*server) error) {
	t.Helper()
	s.once.Do(func() { s.err = launch(s) })
	switch {
	case errors.Is(s.err, errMissing):
		Missing(t, s.err)
	case s.err != nil:
		t.Fatal(s.err)
	}
}

// A Server is a server of one test's own, which can be stopped. It runs until the
// end of the test.
type Server struct {
	DSN string // of a database on it, for its driver
	server
}

func newServer(t testing.TB, wrap func(*exec.Cmd), launch func(*server) error) *Server {
	t.Helper()
	s := &Server{server: server{wrap: wrap}}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	s.start(t, launch)
	return s
}

// Stop ends the server at once, as a crash of all its processes would.
func (s *Server) Stop() { s.end(s.crash) }

// Start starts the server again, on the same port and with its data.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.launched(); err != nil {
		t.Fatal(err)
	}
}

// dataDir is the directory for databases; "" means that for temporary files.
func dataDir() string { return os.Getenv("GATEPOST_DATA") }

// DataDir returns a new directory for a database of the test's own. It is removed at the
// end of the test.
func DataDir(t testing.TB) string {
	t.Helper()
	if dataDir() == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(dataDir(), "gatepost-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// dropLater removes a database at the end of the test if all are in memory, which has
// no room for as many as a package makes.
func dropLater(t testing.TB, drop func(context.Context) error) {
	if dataDir() == "" {
		return
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := drop(ctx); err != nil {
			t.Logf("the database stays: %v", err)
		}
	})
}

// database returns a name for a new database.
func (s *server) database() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.databases++
	return fmt.Sprintf("test%d", s.databases)
}

// makeDir makes the server's directory, owned by the user that it runs as.
func (s *server) makeDir() error {
	dir, err := os.MkdirTemp(dataDir(), "gatepost-*")
	if err != nil {
		return err
	}
	s.dir = dir
	return chown(dir)
}

// command is a program that runs in the server's directory, and ends when the
// tests end, however they do.
func (s *server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "LC_ALL=C.UTF-8")
	cmd.SysProcAttr = attributes()
	if s.wrap != nil {
		s.wrap(cmd)
	}
	return cmd
}

// prepare runs a program that makes the data directory.
func (s *server) prepare(program string, args ...string) error {
	cmd := s.command(program, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, tail(out))
	}
	return nil
}

// run starts the server on a free port, which it keeps, with the arguments made
// for that, and returns when ping succeeds.
func (s *server) run(program string, args func(port string) []string, ping func(ctx context.Context) error) error {
	if s.addr == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.addr = l.Addr().String()
		l.Close()
	}
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	logged, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer logged.Close()
	s.cmd = s.command(program, args(port)...)
	s.cmd.Stdout, s.cmd.Stderr = logged, logged
	if err := s.spawn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if err = ping(ctx); err == nil {
			return nil
		}
		select {
		case <-s.exited:
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
			continue
		}
		out, _ := os.ReadFile(logged.Name())
		return fmt.Errorf("%s doesn't start: %w\n%s", filepath.Base(program), err, tail(out))
	}
}

// spawn starts s.cmd, and closes s.exited when it has ended. Its goroutine
// keeps its thread: with the thread that started it the server would end.
func (s *server) spawn() error {
	s.exited = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.cmd.Wait() // how it ended is of no interest
			close(s.exited)
		}
	}()
	err := <-started
	if err != nil {
		s.cmd = nil
	}
	return err
}

// end sends signals to the server, if it was started, and waits until it ends.
func (s *server) end(signals ...syscall.Signal) {
	if s.cmd == nil {
		return
	}
	for _, sig := range signals {
		s.cmd.Process.Signal(sig)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.cmd.Process.Kill()
		<-s.exited
	}
}

// stop ends the server and removes its data.
func (s *server) stop() error {
	s.end(syscall.SIGINT, syscall.SIGTERM) // the first to PostgreSQL: now, but in good order
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// find returns the path of a program that is in PATH or in one of the
// directories, which may be patterns; of several matches the last.
func find(program string, dirs ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range dirs {
		matches, _ := filepath.Glob(filepath.Join(dir, program))
		for _, path := range slices.Backward(matches) {
			if path, err := exec.LookPath(path); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is %w", program, errMissing)
}

// tail returns the last few lines of a log.
func tail(log []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}
