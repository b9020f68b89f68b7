package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// A mailer sends a message with a text that the console shows as its settings.
type mailer struct {
	name    string
	snippet string // ID of the text on the page

	// send returns what the mailer prints, and an error if it reports failure.
	send func(t *testing.T, s snippet) (shown string, err error)
}

var mailers = []mailer{
	{"WP Mail SMTP", "wordpress", withPHPMailer},
	{"Laravel", "laravel", withSymfony},
	{"Symfony Mailer", "symfony", withSymfony},
	{"PHPMailer", "phpmailer", withPHPMailer},
	{"Nodemailer", "nodemailer", withNodemailer},
	{"Django", "django", withDjango},
	{"smtplib", "python", withSmtplib},
	{"Postfix", "postfix", withPostfix},
	{"msmtp", "msmtp", withMsmtp},
	{"swaks", "swaks", withSwaks},
	{"curl with the URL", "url", withCurl},
	{"Nodemailer with the URL", "url", withNodemailer},
	{"Symfony Mailer with the URL", "url", withSymfonyURL},
}

// A snippet is one text of the page that shows a password.
type snippet struct {
	id, text    string
	from        string // an address that the user may send from
	password    string // that the text holds
	certificate string // file with the certificate to trust
}

// file writes the text to a file.
func (s snippet) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snippet")
	if err := os.WriteFile(path, []byte(s.text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program that trusts the certificate.
func (s snippet) run(t *testing.T, stdin, program string, args ...string) (string, error) {
	t.Helper()
	services.Program(t, program)
	return shell(t, []byte(stdin), "env", append([]string{
		"SSL_CERT_FILE=" + s.certificate, "NODE_EXTRA_CA_CERTS=" + s.certificate, "CURL_CA_BUNDLE=" + s.certificate, program,
	}, args...)...)
}

func (s snippet) message() string {
	return "From: " + s.from + "\nTo: you@example.com\nSubject: test\n\nHello\n"
}

func (s snippet) php(t *testing.T, library, script string, args ...string) (string, error) {
	t.Helper()
	services.Program(t, "php")
	if _, err := os.Stat(filepath.Join("/usr/share/php", library)); err != nil {
		services.Missing(t, err)
	}
	args = append([]string{"-d", "include_path=/usr/share/php", "-d", "openssl.cafile=" + s.certificate,
		filepath.Join("testdata", "settings", script), s.file(t)}, args...)
	return s.run(t, "", "php", args...)
}

const symfony = "Symfony/Component/Mailer"

func withSymfony(t *testing.T, s snippet) (string, error) {
	return s.php(t, symfony, "symfony.php", s.id, s.from)
}

func withSymfonyURL(t *testing.T, s snippet) (string, error) {
	s.text = "MAILER_DSN=" + s.text
	return s.php(t, symfony, "symfony.php", "symfony", s.from)
}

func withPHPMailer(t *testing.T, s snippet) (string, error) {
	return s.php(t, "libphp-phpmailer", "phpmailer.php", s.id)
}

func withNodemailer(t *testing.T, s snippet) (string, error) {
	services.Program(t, "node")
	dir, err := nodemailer()
	if err != nil {
		services.Missing(t, err)
	}
	return s.run(t, "", "node", filepath.Join("testdata", "settings", "nodemailer.js"), s.file(t), s.from, filepath.Join(dir, "node_modules"))
}

func withDjango(t *testing.T, s snippet) (string, error) {
	const python = "/usr/bin/python3" // Debian's, which has Debian's Django
	if out, err := run(t.Context(), nil, python, "-c", "import django"); err != nil {
		services.Missing(t, fmt.Errorf("python3-django is not installed: %w\n%s", err, out))
	}
	return s.run(t, "", python, filepath.Join("testdata", "settings", "with_django.py"), s.file(t))
}

func withSmtplib(t *testing.T, s snippet) (string, error) {
	return s.run(t, "", "python3", filepath.Join("testdata", "settings", "with_smtplib.py"), s.file(t), s.from)
}

// withPostfix writes the two files of the text to a directory of the test. It does
// not run the commands of the text.
func withPostfix(t *testing.T, s snippet) (string, error) {
	parts := regexp.MustCompile(`(?s)^# /etc/postfix/main\.cf\n(.*)\n# (/etc/postfix/sasl_passwd)\n(.*)\n# then, as root\n`).FindStringSubmatch(s.text)
	if parts == nil {
		t.Fatalf("got %q, want two files and commands", s.text)
	}
	s.text = parts[3]
	main := strings.Replace(parts[1], parts[2], s.file(t), 1)
	main = strings.Replace(main, "smtp_tls_CApath = /etc/ssl/certs", "smtp_tls_CAfile = "+s.certificate, 1)
	return runPostfix(t, main, []byte(s.message()), s.from, "you@example.com")
}

func withMsmtp(t *testing.T, s snippet) (string, error) {
	s.text += "\ntls_trust_file " + s.certificate + "\n" // GnuTLS reads no environment
	return s.run(t, s.message(), "msmtp", "--file="+s.file(t), "you@example.com")
}

func withSwaks(t *testing.T, s snippet) (string, error) {
	services.Program(t, "swaks")
	return s.run(t, "", "sh", "-c", s.text)
}

func withCurl(t *testing.T, s snippet) (string, error) {
	return s.run(t, s.message(), "curl", "--disable", "--silent", "--show-error", "--url", s.text,
		"--mail-from", s.from, "--mail-rcpt", "you@example.com", "--upload-file", "-")
}

// snippets adds a user on a page of the console and returns the texts that the
// page shows, by their IDs.
func snippets(t *testing.T, r *relaytest.Relay, starttls, tls int) map[string]snippet {
	t.Helper()
	h := &console.Handler{
		Credentials:  r.Credentials,
		SMTPHost:     "localhost",
		PortSTARTTLS: starttls,
		PortTLS:      tls,
		Tenant:       func(*http.Request) (store.TenantID, error) { return r.Tenant, nil },
	}
	form := url.Values{"name": {"tool"}, "key": {t.Name()}}
	req := httptest.NewRequest(http.MethodPost, "/domains/"+r.Domain+"/add", strings.NewReader(form.Encode()))
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	password := regexp.MustCompile(`<code id="gatepost-password"[^>]*>([^<]+)<`).FindStringSubmatch(w.Body.String())
	if password == nil {
		t.Fatalf("got status %d and no password, want both:\n%s", w.Code, w.Body)
	}
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: relaytest.Certificate().Leaf.Raw})
	if err := os.WriteFile(certificate, block, 0o644); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]snippet)
	for _, found := range regexp.MustCompile(`(?s)<pre id="gatepost-(?:tool-)?(\w+)"[^>]*>(.*?)</pre>`).FindAllStringSubmatch(w.Body.String(), -1) {
		all[found[1]] = snippet{found[1], html.UnescapeString(found[2]), "hello@" + r.Domain, password[1], certificate}
	}
	return all
}

// TestSettings sends a message with each text of the console. The mailers that
// read them are the real ones.
func TestSettings(t *testing.T) {
	for _, m := range mailers {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := relaytest.NewRelay(t)
			for _, mode := range []struct {
				name          string
				starttls, tls int
			}{{"both ports", port(t, r.Addr), port(t, r.AddrTLS)}, {"STARTTLS only", port(t, r.Addr), -1}} {
				t.Run(mode.name, func(t *testing.T) {
					s, ok := snippets(t, r, mode.starttls, mode.tls)[m.snippet]
					if !ok && m.snippet == "url" && mode.tls < 0 {
						return // no URL makes every tool require STARTTLS
					}
					before := len(r.Messages())
					if shown, err := m.send(t, s); err != nil {
						t.Fatalf("got %v, want no error:\n%s\n%s", err, s.text, shown)
					}
					if got := len(r.Messages()) - before; got != 1 {
						t.Errorf("got %d messages, want 1", got)
					}
				})
			}
		})
	}
}

// TestSettingsRequireTLS connects each mailer to a server without TLS. An attacker
// on the network can make a relay look like that. No mailer may send the password.
func TestSettingsRequireTLS(t *testing.T) {
	for _, m := range mailers {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := relaytest.NewRelay(t)
			for _, mode := range []struct {
				name, extension string
				tls             bool
			}{{"both ports", "", true}, {"no STARTTLS", "", false}, {"STARTTLS fails", "STARTTLS", false}} {
				t.Run(mode.name, func(t *testing.T) {
					server := startStripped(t, mode.extension)
					tls := -1
					if mode.tls {
						tls = server.port
					}
					s, ok := snippets(t, r, server.port, tls)[m.snippet]
					if !ok && m.snippet == "url" && !mode.tls {
						return
					}
					if (m.snippet == "symfony" || m.snippet == "laravel") && !mode.tls && !symfonyRequiresTLS(t) {
						if !strings.Contains(s.text, "needs Symfony Mailer 7.3") {
							t.Errorf("got %q, want a warning about old versions", s.text)
						}
						return
					}
					shown, err := m.send(t, s)
					if err == nil {
						t.Errorf("got no error, want one:\n%s", shown)
					}
					got := server.stop()
					if len(got) == 0 {
						t.Errorf("the mailer did not connect: %v\n%s", err, shown)
					}
					if leaks(got, s.password) {
						t.Errorf("the password was sent without TLS:\n%q", got)
					}
				})
			}
		})
	}
}

// TestLeakIsNoticed sends with a URL that does not require TLS, to show that the
// test above would fail.
func TestLeakIsNoticed(t *testing.T) {
	server := startStripped(t, "")
	s := snippets(t, relaytest.NewRelay(t), server.port, server.port)["url"]
	s.text = strings.Replace(s.text, "smtps://", "smtp://", 1)
	shown, err := withNodemailer(t, s)
	if got := server.stop(); !leaks(got, s.password) {
		t.Errorf("got no password, want one (%v):\n%s\n%q", err, shown, got)
	}
}

// symfonyRequiresTLS reports whether the Symfony Mailer that is installed has
// the option require_tls (version 7.3).
func symfonyRequiresTLS(t *testing.T) bool {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("/usr/share/php", symfony, "Transport/Smtp/EsmtpTransportFactory.php"))
	if err != nil {
		services.Missing(t, err)
	}
	return bytes.Contains(source, []byte("require_tls"))
}

// leaks reports whether a password is in what a client sent, as it is or in
// base64.
func leaks(sent []byte, password string) bool {
	if bytes.Contains(sent, []byte(password)) {
		return true
	}
	for _, word := range regexp.MustCompile(`[A-Za-z0-9+/]{8,}={0,2}`).FindAll(sent, -1) {
		if text, err := base64.StdEncoding.DecodeString(string(word)); err == nil && bytes.Contains(text, []byte(password)) {
			return true
		}
	}
	return false
}

func port(t *testing.T, addr string) int {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return int(a.Port())
}
