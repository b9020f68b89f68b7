package main

import (
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/mx"
)

// TestMain is the program itself in the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("MTA_TEST") == "program" {
		main()
		return
	}
	os.Exit(m.Run())
}

// runProgram runs the program without any settings, and returns what it says.
func runProgram(t *testing.T, args ...string) (stderr string, status int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = []string{"MTA_TEST=program"}
	cmd.Stderr = &b
	cmd.Run()
	return b.String(), cmd.ProcessState.ExitCode()
}

// -help prints the settings. Any other argument is an error.
func TestArguments(t *testing.T) {
	for arg, want := range map[string]struct {
		status int
		says   string
	}{
		"-h":     {0, "\tGATEPOST_KEY               file with its key\n"},
		"--help": {0, "Mta is a whole sending server"},
		"-x":     {2, "flag provided but not defined: -x\n"},
		"listen": {2, `unexpected argument "listen" (see -help)`},
	} {
		got, status := runProgram(t, arg)
		if status != want.status || !strings.Contains(got, want.says) || strings.Contains(got, "//\t") || strings.Contains(got, "import") {
			t.Errorf("%s: exit status %d, want %d; it says\n%s\nwant %q", arg, status, want.status, got, want.says)
		}
	}
}

// Each missing setting is logged in a separate record.
func TestMissingSettings(t *testing.T) {
	log, status := runProgram(t)
	if status != 1 {
		t.Errorf("exit status %d", status)
	}
	lines := slices.Collect(strings.Lines(log))
	names := []string{"GATEPOST_HOSTNAME", "GATEPOST_CERTIFICATE", "GATEPOST_KEY"}
	if len(lines) != len(names) {
		t.Fatalf("it says\n%s", log)
	}
	for i, name := range names {
		if !strings.Contains(lines[i], `"msg":"`+name+" is not set: ") {
			t.Errorf("it says %s, want that %s is missing", lines[i], name)
		}
	}
}

// An error says which setting to look at.
func TestErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, change := range map[string]func(*settings){
		"GATEPOST_CERTIFICATE and GATEPOST_KEY: open ": func(s *settings) { s.KeyFile += ".missing" },
		"GATEPOST_DKIM: ":                  func(s *settings) { s.keyDir = s.CertFile },
		"GATEPOST_DATABASE: ":              func(s *settings) { s.database = s.CertFile },
		"GATEPOST_LISTEN: listen tcp ":     func(s *settings) { s.Listen = taken.Addr().String() },
		"GATEPOST_LISTEN_TLS: listen tcp ": func(s *settings) { s.ListenTLS = taken.Addr().String() },
	} {
		s := newSettings(t)
		change(&s)
		err := run(t.Context(), s, new(mx.Forwarder), slog.New(slog.DiscardHandler))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}
