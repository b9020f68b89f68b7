package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/examples/internal/services"
)

// shell runs a program and returns what it prints.
func shell(t *testing.T, stdin []byte, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), services.Program(t, program), args...)
	cmd.WaitDelay = time.Second
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SWAKS_HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// script runs a script of testdata, which reads the submission as JSON.
func script(t *testing.T, s submission, program string, args ...string) (string, error) {
	t.Helper()
	stdin, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return shell(t, stdin, program, args...)
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

func sendPython(t *testing.T, s submission) (string, error) {
	return script(t, s, "python3", filepath.Join("testdata", "smtplib", "send.py"))
}

func sendNetSMTP(_ *testing.T, s submission) (shown string, err error) {
	defer func() {
		if err != nil {
			shown = err.Error()
		}
	}()
	c, err := dialNetSMTP(s)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.Auth(smtp.PlainAuth("", s.Username, s.Password, s.Server)); err != nil {
		return "", err
	}
	if err := c.Mail(s.From); err != nil {
		return "", err
	}
	if err := c.Rcpt(s.To); err != nil {
		return "", err
	}
	w, err := c.Data()
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(w, bytes.NewReader(s.Raw)); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return "", c.Quit()
}

func dialNetSMTP(s submission) (*smtp.Client, error) {
	config, err := s.tlsConfig()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(s.Server, strconv.Itoa(s.Port))
	if s.ImplicitTLS {
		conn, err := tls.Dial("tcp", addr, config)
		if err != nil {
			return nil, err
		}
		return smtp.NewClient(conn, s.Server)
	}
	c, err := smtp.Dial(addr)
	if err != nil {
		return nil, err
	}
	return c, c.StartTLS(config)
}

// tlsConfig trusts the relay and nobody else.
func (s submission) tlsConfig() (*tls.Config, error) {
	pem, err := os.ReadFile(s.Certificate)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: s.Server}, nil
}
