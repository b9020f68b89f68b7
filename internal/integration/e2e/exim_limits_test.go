package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// eximUser is the user that Debian's Exim runs as.
const eximUser = "Debian-exim"

// eximUpstream is an Exim that takes all mail from the loopback interface, and keeps
// it in its queue. Its log has the recipients of each message.
const eximUpstream = `primary_hostname = upstream.example
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%s
pid_file_path = %[1]s/pid
log_selector = +received_recipients
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]s
host_lookup =
queue_only = true
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data
%[3]s
begin acl
mail:
%[4]s
  accept
rcpt:
%[5]s
  accept
data:
  accept
`

// An eximLimit is what the configuration of an Exim says about limits.
type eximLimit struct {
	settings   string
	mail, rcpt string // statements of the access control lists for MAIL and RCPT
}

// startExim starts an Exim until the end of the test, and returns its address and its
// log.
func startExim(t *testing.T, limit eximLimit) (addr, log string) {
	t.Helper()
	exim := services.Program(t, "exim4", "/usr/sbin")
	if os.Getuid() != 0 {
		services.Missing(t, errors.New("Exim has to be started as root"))
	}
	owner, err := user.Lookup(eximUser)
	if err != nil {
		services.Missing(t, fmt.Errorf("Exim runs as a user that does not exist: %w", err))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	config := filepath.Join(dir, "configure")
	text := fmt.Sprintf(eximUpstream, dir, port, limit.settings, limit.mail, limit.rcpt)
	err = errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, uid, gid), // not everything runs as root
		os.WriteFile(config, []byte(text), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exim, "-C", config, "-bdf")
	killWithChildren(cmd)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Cancel(); cmd.Wait() })
	log = filepath.Join(dir, "main")
	if _, err := waitFor(log, `daemon started`); err != nil {
		t.Fatal(err)
	}
	return addr, log
}

// wantInExim fails the test unless an Exim has each message once for each recipient.
func wantInExim(t *testing.T, log string, recipients []string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	times := make(map[string]int)
	for _, groups := range regexp.MustCompile(`(?m) <= .* for (.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, a := range strings.Fields(groups[1]) {
			times[a]++
		}
	}
	for _, a := range recipients {
		if times[a] != 1 {
			t.Errorf("Exim has %d messages for %s, want 1", times[a], a)
		}
	}
	if len(times) != len(recipients) {
		t.Errorf("Exim has mail for %d recipients, want %d", len(times), len(recipients))
	}
}

// oneEach makes a message for each recipient.
func oneEach(recipients []string) (messages [][]string) {
	for _, a := range recipients {
		messages = append(messages, []string{a})
	}
	return messages
}

// A real Exim with limits of each kind gets 1,000 recipients or 1,000 messages without
// a deferral.
func TestEximLimits(t *testing.T) {
	all := numbered(1000)
	for name, test := range map[string]struct {
		settings string
		messages [][]string
	}{
		"recipients of a message":     {"recipients_max = 10", [][]string{all}},
		"connections of a host":       {"smtp_accept_max_per_host = 3", oneEach(all)},
		"connections":                 {"smtp_accept_max = 3", oneEach(all)},
		"messages on a connection":    {"smtp_accept_max_per_connection = 10", oneEach(all)},
		"slow after a few recipients": {"smtp_ratelimit_hosts = *\nsmtp_ratelimit_rcpt = 10,0.002s,1.01,0.02s", [][]string{all}},
	} {
		t.Run(name, func(t *testing.T) {
			if len(test.messages) > 1 {
				services.OnlyLong(t)
			}
			t.Parallel()
			addr, log := startExim(t, eximLimit{settings: test.settings})
			if o := through(t, addr, log, test.messages); o.deferred > 0 {
				t.Errorf("%d were deferred", o.deferred)
			}
			wantInExim(t, log, all)
		})
	}
}

// A real Exim that takes so many recipients, or messages, in a while gets the rest
// when the while is over, and no attempt is counted. Its reply has the words of Exim's
// manual.
func TestEximRate(t *testing.T) {
	services.OnlyLong(t)
	const statement = "  defer ratelimit = 50 / 4s / per_%s\n" +
		"  message = Sender rate exceeds $sender_rate_limit messages per $sender_rate_period\n"
	all := numbered(101)
	rcpt, mail := eximLimit{rcpt: fmt.Sprintf(statement, "rcpt")}, eximLimit{mail: fmt.Sprintf(statement, "mail")}
	for name, test := range map[string]struct {
		limit    eximLimit
		messages [][]string
	}{
		"recipients of a message": {rcpt, [][]string{all}},
		"recipients":              {rcpt, oneEach(all)},
		"messages":                {mail, oneEach(all)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, log := startExim(t, test.limit)
			if o := through(t, addr, log, test.messages); o.counted > 0 {
				t.Errorf("%d failed attempts were counted", o.counted)
			}
			wantInExim(t, log, all)
			if text, _ := os.ReadFile(log); !strings.Contains(string(text), "Sender rate exceeds") {
				t.Error("Exim limited nothing")
			}
		})
	}
}
