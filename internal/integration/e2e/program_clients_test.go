package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// shell runs a program, if it is installed, and returns what it prints.
func shell(t *testing.T, stdin []byte, program string, args ...string) (string, error) {
	t.Helper()
	return run(t.Context(), stdin, services.Program(t, program), args...)
}

func run(ctx context.Context, stdin []byte, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SWAKS_HOME="+os.DevNull)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func sendCurl(t *testing.T, s submission) (string, error) {
	scheme := "smtp"
	if s.ImplicitTLS {
		scheme = "smtps"
	}
	return shell(t, s.Raw, "curl", "--disable", "--verbose", "--no-progress-meter",
		"--url", fmt.Sprintf("%s://%s:%d", scheme, s.Server, s.Port), "--ssl-reqd", "--cacert", s.Certificate,
		"--user", s.Username+":"+s.Password, "--mail-from", s.From, "--mail-rcpt", s.To, "--upload-file", "-")
}

func sendSwaks(t *testing.T, s submission) (string, error) {
	data := append(s.Raw, ".\r\n"...) // else it takes a dot in the last line for the end
	mode := "--tls"
	if s.ImplicitTLS {
		mode = "--tls-on-connect"
	}
	return shell(t, data, "swaks", "--server", s.Server, "--port", strconv.Itoa(s.Port),
		mode, "--tls-verify", "--tls-ca-path", s.Certificate,
		"--auth", "LOGIN", "--auth-user", s.Username, "--auth-password", s.Password,
		"--from", s.From, "--to", s.To, "--data", "-")
}

func sendMsmtp(t *testing.T, s submission) (string, error) {
	starttls := "on"
	if s.ImplicitTLS {
		starttls = "off"
	}
	return shell(t, unix(s.Raw), "msmtp", "--file="+os.DevNull, "--host="+s.Server, "--port="+strconv.Itoa(s.Port),
		"--tls=on", "--tls-starttls="+starttls, "--tls-trust-file="+s.Certificate,
		"--auth=on", "--user="+s.Username, "--passwordeval=echo "+s.Password,
		"--from="+s.From, s.To)
}

func sendSNail(t *testing.T, s submission) (string, error) {
	mta := fmt.Sprintf("smtp://%s:%s@%s:%d", s.Username, s.Password, s.Server, s.Port)
	starttls := "smtp-use-starttls"
	if s.ImplicitTLS {
		mta = fmt.Sprintf("smtps://%s:%s@%s:%d", s.Username, s.Password, s.Server, s.Port)
		starttls = "nosmtp-use-starttls"
	}
	args := []string{"-:/", "-S", "v15-compat", "-S", "mta=" + mta, "-S", starttls,
		"-S", "tls-verify=strict", "-S", "tls-ca-file=" + s.Certificate, "-S", "smtp-auth=plain", "-S", "sendwait",
		"-s", s.Subject}
	if s.HeaderFrom == s.From {
		args = append(args, "-S", "from="+s.From)
	} else { // the envelope's sender is always one that the header has, too
		args = append(args, "-S", "from="+s.HeaderFrom+", "+s.From, "-S", "sender="+s.From)
	}
	if s.Attachment != nil {
		file := filepath.Join(t.TempDir(), "data.bin")
		if err := os.WriteFile(file, s.Attachment, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-a", file)
	}
	return shell(t, unix([]byte(s.Text)), "s-nail", append(args, s.To)...)
}

// unix makes a text one that ends its lines as Unix does.
func unix(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) }
