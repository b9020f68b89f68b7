package production_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/certfiles"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

func TestMain(m *testing.M) { services.Main(m) }

// patience is how long anything may take on a slow machine.
const patience = 30 * time.Second

// A program is the relay in a process of its own.
type program struct {
	env    map[string]string
	files  certfiles.Files
	up     *relaytest.Upstream
	upDown atomic.Bool // it drops every connection

	cmd *exec.Cmd
	log bytes.Buffer // complete after wait
}

const upstreamPassword = "pass56upstream"

// newProgram prepares a relay on a database of its own, with an upstream that
// wants a login.
func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{files: certfiles.New(t), up: &relaytest.Upstream{Username: "relay", Password: upstreamPassword}}
	p.up.Script = func(relaytest.Command) relaytest.Answer { return relaytest.Answer{Close: p.upDown.Load()} }
	database := services.Postgres(t)
	p.up.Start()
	t.Cleanup(p.up.Close)
	p.files.Renew(t, 1)
	trusted := filepath.Join(t.TempDir(), "trusted.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: relaytest.Certificate().Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	starttls, implicit := freeAddrs(t)
	p.env = map[string]string{
		"GATEPOST_DATABASE_URL": database,
		"GATEPOST_HOSTNAME":     "localhost",
		"GATEPOST_CERTIFICATE":  p.files.Cert,
		"GATEPOST_KEY":          p.files.Key,
		"GATEPOST_UPSTREAM":     p.up.Addr(), "GATEPOST_UPSTREAM_USERNAME": p.up.Username, "GATEPOST_UPSTREAM_PASSWORD": p.up.Password,
		"GATEPOST_LISTEN": starttls, "GATEPOST_LISTEN_TLS": implicit,
		"SSL_CERT_FILE": trusted, // the system's, as far as the program knows
	}
	return p
}

// freeAddrs returns two addresses that are not in use.
func freeAddrs(t *testing.T) (a, b string) {
	t.Helper()
	var addrs [2]string
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs[i] = l.Addr().String()
	}
	return addrs[0], addrs[1]
}

// launch starts the process. It ends with the test at the latest.
func (p *program) launch(t *testing.T, args ...string) {
	t.Helper()
	p.cmd = exec.Command(services.Build(t, "examples/production"), args...)
	p.cmd.Env = []string{"TMPDIR=" + t.TempDir()}
	for name, value := range p.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.wait()
	})
}

// wait returns the exit status; -1 after being killed, also for taking too long.
func (p *program) wait() int {
	kill := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// start launches the process and returns when it takes mail.
func (p *program) start(t *testing.T) {
	t.Helper()
	p.launch(t)
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		ready := 0
		for _, name := range []string{"GATEPOST_LISTEN", "GATEPOST_LISTEN_TLS"} {
			if c, err := net.Dial("tcp", p.env[name]); err == nil {
				c.Close()
				ready++
			}
		}
		if ready == 2 {
			return
		}
		if time.Since(begin) > patience {
			p.cmd.Process.Kill()
			p.wait()
			t.Fatalf("it doesn't get ready:\n%s", &p.log)
		}
	}
}

// connect makes a TLS connection in one of the two ways, and returns the client
// and the serial number of the certificate.
func (p *program) connect(t *testing.T, implicitTLS bool) (*smtp.Client, int64) {
	t.Helper()
	pemCert, err := os.ReadFile(p.files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemCert)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	var conn net.Conn
	if implicitTLS {
		conn, err = tls.Dial("tcp", p.env["GATEPOST_LISTEN_TLS"], config)
	} else {
		conn, err = net.Dial("tcp", p.env["GATEPOST_LISTEN"])
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err == nil && !implicitTLS {
		err = c.StartTLS(config)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	state, _ := c.TLSConnectionState()
	return c, state.PeerCertificates[0].SerialNumber.Int64()
}
