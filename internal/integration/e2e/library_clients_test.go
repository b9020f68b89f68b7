package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	gomail "github.com/wneessen/go-mail"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// script runs a script of testdata, which reads the submission as JSON.
func script(t *testing.T, s submission, program string, args ...string) (string, error) {
	t.Helper()
	stdin, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return shell(t, stdin, program, args...)
}

func sendPython(t *testing.T, s submission) (string, error) {
	return script(t, s, "python3", filepath.Join("testdata", "smtplib", "send.py"))
}

func sendPHPMailer(t *testing.T, s submission) (string, error) {
	php := services.Program(t, "php")
	if _, err := os.Stat("/usr/share/php/libphp-phpmailer/autoload.php"); err != nil {
		services.Missing(t, fmt.Errorf("PHPMailer is not installed: %w", err))
	}
	return script(t, s, php, "-d", "include_path=/usr/share/php", filepath.Join("testdata", "phpmailer", "send.php"))
}

func sendNodemailer(t *testing.T, s submission) (string, error) {
	node := services.Program(t, "node")
	dir, err := nodemailer()
	if err != nil {
		services.Missing(t, fmt.Errorf("Nodemailer can't be had: %w", err))
	}
	return script(t, s, node, filepath.Join(dir, "send.js"))
}

// nodemailer installs Nodemailer, once, and returns the directory of the script
// that uses it.
var nodemailer = sync.OnceValues(func() (dir string, err error) {
	if dir, err = services.Dir(); err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "nodemailer")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "nodemailer"))); err != nil {
		return "", err
	}
	out, err := run(context.Background(), nil, "npm", "ci", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	if err != nil {
		return "", fmt.Errorf("npm: %w\n%s", err, out)
	}
	return dir, nil
})

func sendGoMail(t *testing.T, s submission) (shown string, err error) {
	config, err := s.tlsConfig()
	if err != nil {
		return "", err
	}
	m := gomail.NewMsg(gomail.WithEncoding(gomail.NoEncoding))
	m.EnvelopeFrom(s.From)
	m.From(s.HeaderFrom)
	m.To(s.To)
	m.Subject(s.Subject)
	m.SetBodyString(gomail.TypeTextPlain, s.Text)
	if s.Attachment != nil {
		m.AttachReader("data.bin", bytes.NewReader(s.Attachment))
	}
	options := []gomail.Option{
		gomail.WithPort(s.Port), gomail.WithTLSConfig(config), gomail.WithTLSPolicy(gomail.TLSMandatory),
		gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.Username), gomail.WithPassword(s.Password),
	}
	if s.ImplicitTLS {
		options = append(options, gomail.WithSSL())
	}
	c, err := gomail.NewClient(s.Server, options...)
	if err == nil {
		err = c.DialAndSendWithContext(t.Context(), m)
	}
	return fmt.Sprint(err), err
}

func sendNetSMTP(_ *testing.T, s submission) (shown string, err error) {
	err = sendWithNetSMTP(s)
	return fmt.Sprint(err), err
}

func sendWithNetSMTP(s submission) error {
	c, err := s.login()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail(s.From); err != nil {
		return err
	}
	if err := c.Rcpt(s.To); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, bytes.NewReader(s.Raw)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// login connects with net/smtp and logs in.
func (s submission) login() (*smtp.Client, error) {
	c, err := dialNetSMTP(s)
	if err != nil {
		return nil, err
	}
	if err := c.Auth(smtp.PlainAuth("", s.Username, s.Password, s.Server)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
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
