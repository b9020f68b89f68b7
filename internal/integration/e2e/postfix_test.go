package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// postfixInstance makes a Postfix independent of the one of the machine. A
// message whose login is refused bounces, so that a test need not wait.
const postfixInstance = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = client.example
mydestination =
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_host_lookup = native
smtp_sasl_auth_soft_bounce = no
`

// postfixRelayhost has Postfix send all mail through the relay.
const postfixRelayhost = `
relayhost = [%[1]s]:%[2]d
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = hostname
smtp_tls_CAfile = %[3]s
smtp_tls_wrappermode = %[4]s
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = inline:{{[%[1]s]:%[2]d = %[5]s:%[6]s}}
smtp_sasl_tls_security_options = noanonymous
`

// postfixMaster lists what has a part in sending. Nothing of it listens on the
// network, and bounces are dropped.
const postfixMaster = `postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
defer unix - - n - 0 bounce
bounce unix - - n - 0 bounce
trace unix - - n - 0 bounce
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
discard unix - - n - - discard
`

func sendPostfix(t *testing.T, s submission) (string, error) {
	wrapper := "no"
	if s.ImplicitTLS {
		wrapper = "yes"
	}
	settings := fmt.Sprintf(postfixRelayhost, s.Server, s.Port, s.Certificate, wrapper, s.Username, s.Password)
	return runPostfix(t, settings, s.Raw, s.From, s.To)
}

// runPostfix sends a message through a Postfix of its own, from the sendmail
// command to the smtp client. The settings are added to its main.cf. It returns
// the log, which is what an administrator sees, and an error unless the message
// was sent.
func runPostfix(t *testing.T, settings string, message []byte, from, to string) (string, error) {
	master := services.Program(t, "master", "/usr/lib/postfix/sbin", "/usr/libexec/postfix")
	sendmail := services.Program(t, "sendmail", "/usr/sbin")
	if os.Getuid() != 0 {
		services.Missing(t, errors.New("Postfix has to be started as root"))
	}
	dir := makePostfix(t, settings)
	config := filepath.Join(dir, "config")
	cmd := exec.CommandContext(t.Context(), master, "-d", "-c", config)
	killWithChildren(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Cancel()
	log := filepath.Join(dir, "log")
	if _, err := waitFor(log, `daemon started`); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t.Context(), unix(message), sendmail, "-C", config, "-i", "-f", from, to); err != nil {
		return out, err
	}
	status, err := waitFor(log, "to=<"+regexp.QuoteMeta(to)+">.* status=([a-z]+) ")
	if err == nil && status != "sent" {
		err = errors.New(status)
	}
	shown, _ := os.ReadFile(log)
	return string(shown), err
}

// waitFor waits until a file matches an expression, and returns the last of the
// expression's groups.
func waitFor(file, expr string) (string, error) {
	re := regexp.MustCompile(expr)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		content, _ := os.ReadFile(file) // not there at first
		if groups := re.FindSubmatch(content); groups != nil {
			return string(groups[len(groups)-1]), nil
		}
	}
	return "", fmt.Errorf("%s doesn't come to match %q", file, expr)
}

// makePostfix writes the configuration and makes the directories of a Postfix,
// with the owners that it insists on.
func makePostfix(t *testing.T, settings string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // not everything runs as root
		t.Fatal(err)
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	drop, err := user.LookupGroup("postdrop")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(drop.Gid)
	mkdir := func(name string, uid, gid int, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chown(path, uid, gid), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	mkdir("config", 0, 0, 0o755)
	mkdir("queue", 0, 0, 0o755)
	mkdir("queue/pid", 0, 0, 0o755)
	mkdir("queue/maildrop", uid, gid, 0o730|os.ModeSticky)
	mkdir("queue/public", uid, gid, 0o710|os.ModeSetgid)
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "hold", "incoming", "private", "trace"} {
		mkdir("queue/"+name, uid, 0, 0o700)
	}
	mkdir("data", uid, 0, 0o700)

	main := fmt.Sprintf(postfixInstance, dir) + settings
	for name, content := range map[string]string{"main.cf": main, "master.cf": postfixMaster} {
		path := filepath.Join(dir, "config", name)
		// Each program of Postfix waits for a file this new to settle.
		old := time.Now().Add(-time.Minute)
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
