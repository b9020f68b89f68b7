package consoletest_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A saas is the program examples/saas in a process of its own, with an upstream that
// refuses mail to unknown@.
type saas struct {
	url       string // of the pages, without the slash
	passwords map[string]string
	up        *relaytest.Upstream
}

// startSaas starts the program. It ends with the test.
func startSaas(t *testing.T, database string) *saas {
	t.Helper()
	s := &saas{passwords: make(map[string]string)}
	s.up = &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		if strings.Contains(c.Line, "RCPT TO:<unknown@") {
			return relaytest.Answer{Text: "550 5.1.1 No such user"}
		}
		return relaytest.Answer{}
	}}
	s.up.Start()
	t.Cleanup(s.up.Close)
	dir := t.TempDir()
	trusted := filepath.Join(dir, "trusted.pem") // the upstream's and the webhook's
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: relaytest.Certificate().Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	const free = "127.0.0.1:0"
	cmd := exec.Command(services.Build(t, "examples/saas"), "-web", free, "-listen", free, "-listen-tls", free, "-local-webhooks", "-unproved-domains")
	cmd.Dir = dir
	cmd.Env = []string{"TMPDIR=" + dir, "DATABASE=" + database, "UPSTREAM=" + s.up.Addr(), "SSL_CERT_FILE=" + trusted}
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program ended with %v, want no error", err)
		}
		if t.Failed() {
			t.Logf("it logged:\n%s", &log)
		}
		for _, password := range s.passwords {
			if strings.Contains(log.String(), password) {
				t.Error("a password is logged")
			}
		}
	})
	pages, signIn := regexp.MustCompile(`pages are at (\S+)/`), regexp.MustCompile(`Sign in as (\w+) with the password (\w+)`)
	for lines := bufio.NewScanner(out); len(s.passwords) < 3; {
		if !lines.Scan() {
			t.Fatal("the program ends without its passwords")
		}
		if m := pages.FindStringSubmatch(lines.Text()); m != nil {
			s.url = m[1]
		}
		if m := signIn.FindStringSubmatch(lines.Text()); m != nil {
			s.passwords[m[1]] = m[2]
		}
	}
	return s
}

// A receiver is the server of a customer who gets webhooks.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex
	secret string
	got    []string // type and recipient of each request that is signed
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	h := new(receiver)
	h.Server = httptest.NewUnstartedServer(h)
	h.TLS = &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}}
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	var event struct {
		Type string
		Data struct{ Recipient string }
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(h.secret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if err != nil || len(key) == 0 || r.Header.Get("webhook-signature") != want || json.Unmarshal(body, &event) != nil {
		http.Error(w, "not signed", http.StatusBadRequest)
		return
	}
	h.got = append(h.got, strings.TrimSpace(event.Type+" "+event.Data.Recipient))
}

// setSecret is what the customer does with the secret that the page shows.
func (h *receiver) setSecret(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret = secret
}

// wait waits until there are all of these requests, each as often as it is named, and
// returns what there is.
func (h *receiver) wait(want ...string) (got []string, ok bool) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		h.mu.Lock()
		got := slices.Clone(h.got)
		h.mu.Unlock()
		left := slices.Clone(got)
		missing := slices.ContainsFunc(want, func(w string) bool {
			i := slices.Index(left, w)
			if i >= 0 {
				left = slices.Delete(left, i, i+1)
			}
			return i < 0
		})
		if !missing || time.Now().After(deadline) {
			return got, !missing
		}
	}
}

// submit sends one message with the settings that the page shows.
func (a account) submit(from, to, subject string) error {
	c, err := smtp.Dial(net.JoinHostPort(a.server, a.port))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil { // the program made its own certificate
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", a.username, a.password, a.server)); err != nil {
		return err
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\nHello.\r\n", from, to, subject)
	return w.Close()
}

// signIn signs a customer or an operator in.
func (b *tab) signIn(s *saas, account, heading string) {
	b.Helper()
	b.goTo(s.url + "/")
	b.heading("Sign in")
	b.fill("Account", account)
	b.fill("Password", s.passwords[account])
	b.follow("Sign in", heading)
}

// eventually loads a page again until a JavaScript expression is true.
func (b *tab) eventually(url, expression string) {
	b.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for b.goTo(url); !eval[bool](b, "!!("+expression+")"); b.goTo(url) {
		if time.Now().After(deadline) {
			b.Fatalf("%s: not true after 20 s: %s\n%s", url, expression, b.text("main"))
		}
		time.Sleep(200 * time.Millisecond) // the page does not notify the test
	}
}

// TestSaas uses the example as two customers do. In the long run it is on PostgreSQL
// too, on a phone, and every page is accessible.
func TestSaas(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { testSaas(t, look{width: 1280, height: 800}, "saas.db") })
	t.Run("PostgreSQL", func(t *testing.T) {
		services.OnlyLong(t)
		testSaas(t, look{width: 360, height: 740}, services.Postgres(t))
	})
}

func testSaas(t *testing.T, l look, database string) {
	s, b, hooks := startSaas(t, database), open(t, l), newReceiver(t)
	see := func(screen string) {
		t.Helper()
		if services.Long() {
			b.accessible(screen)
		}
		b.shoot(fmt.Sprintf("saas-%d-%s", l.width, screen))
	}
	b.goTo(s.url + "/")
	b.heading("Sign in")
	see("1-sign-in")
	b.signIn(s, "acme", "Activity")
	see("2-empty")
	tool := b.setUp(see)
	b.receive(s, hooks, see)
	b.tryMail(s, tool, see)
	b.seeStatistics(see)
	b.suppression(s, tool, see)
	want := []string{
		"webhook.test", "message.accepted bob@example.com", "message.delivered bob@example.com",
		"message.accepted unknown@example.com", "message.hard_bounced unknown@example.com", "message.rejected", "message.rejected unknown@example.com",
	}
	if got, ok := hooks.wait(want...); !ok {
		t.Errorf("the customer's server got %q, want at least %q", got, want)
	}
	b.asOthers(s, see)
}

// setUp adds a domain, finds its DNS records, adds an SMTP user, and sends a test message
// to the address that is proposed.
func (b *tab) setUp(see func(string)) account {
	b.Helper()
	b.follow("Domains", "Domains")
	b.fill("Add a domain", "acme.example")
	b.follow("Add domain", "acme.example")
	records := readRecords(b)
	if !slices.ContainsFunc(records, func(r published) bool {
		return strings.HasSuffix(r.name, "._domainkey.acme.example") && strings.HasPrefix(r.value, "v=DKIM1; ")
	}) {
		b.Errorf("the page of the domain has the records %v, want one for DKIM", records)
	}
	see("3-domain")
	b.follow("Add a user", "Add a user")
	b.fill("Name", "Web shop")
	b.follow("Save", "Set up Web shop")
	tool := b.account()
	b.press("Send")
	b.until(`document.querySelector("#gatepost-test [role=status]")?.textContent.includes("Delivered")`)
	see("4-password")
	return tool
}

// receive adds a webhook and sends it a test.
func (b *tab) receive(s *saas, hooks *receiver, see func(string)) {
	b.Helper()
	b.goTo(s.url + "/mail/webhooks")
	b.follow("Add webhook", "Add a webhook")
	b.fill("Address of your program", hooks.URL+"/mail")
	b.follow("Add webhook", "The webhook’s secret")
	see("5-secret")
	hooks.setSecret(b.storeSecret())
	b.follow("Done", b.host(hooks)+" On")
	if eval[bool](b, `document.body.textContent.includes("whsec_")`) {
		b.Error("the secret is shown a second time")
	}
	b.press("Send a test event")
	b.until(`document.querySelector(".gatepost-tested")?.textContent.includes("The test worked")`)
	see("6-webhook")
}

// tryMail sends three messages: one is delivered, one bounces and one is refused. It
// finds each on the pages.
func (b *tab) tryMail(s *saas, tool account, see func(string)) {
	b.Helper()
	const shop = "shop@acme.example"
	for _, to := range []string{"bob@example.com", "unknown@example.com"} {
		if err := tool.submit(shop, to, "Your <b>order</b>"); err != nil {
			b.Fatal(err)
		}
	}
	if err := tool.submit("shop@birch.example", "bob@example.com", ""); err == nil || !strings.HasPrefix(err.Error(), "550 ") {
		b.Errorf("mail from another domain: got %v, want 550", err)
	}
	b.eventually(s.url+"/mail/activity", `["Refused", "Hard bounced", "Delivered"].every(s => [...document.querySelectorAll(".gatepost-activities .gatepost-pill")].some(e => e.textContent.trim() === s))
		&& document.body.textContent.includes("3 of 10,000 recipients this month")`)
	see("7-activity")
	if got := b.text("main"); !strings.Contains(got, "Your <b>order</b>") || !strings.Contains(got, "Times are in Europe/Paris.") {
		b.Errorf("the page lacks the subject or the customer's time zone:\n%s", got)
	}
	if got := b.text("header [aria-current]"); got != "Activity" {
		b.Errorf("the navigation marks %q, want Activity", got)
	}
	b.goTo(s.url + "/mail/activity?state=hard-bounced&search=UNKNOWN")
	if n := eval[int](b, `document.querySelectorAll(".gatepost-activities tbody tr").length`); n != 1 {
		b.Errorf("the filter finds %d, want 1", n)
	}
	b.follow("unknown@example.com", "Your <b>order</b>")
	see("8-message")
	trail := b.text(".gatepost-trail")
	for _, want := range []string{"Accepted", "127.0.0.1", "550 5.1.1 No such user"} {
		if !strings.Contains(trail, want) {
			b.Errorf("the trail lacks %q:\n%s", want, trail)
		}
	}
}

func (b *tab) seeStatistics(see func(string)) {
	b.Helper()
	b.follow("Statistics", "Statistics")
	see("9-statistics")
	rows := b.indicators()
	want := []string{"Recipients 3", "Delivered 2", "Soft bounced 0", "Hard bounced 1", "Refused 1"}
	if !slices.Equal(rows, want) {
		b.Errorf("the statistics are %q, want %q", rows, want)
	}
}

// indicators returns the counts on the page of statistics.
func (b *tab) indicators() []string {
	b.Helper()
	return eval[[]string](b, `[...document.querySelectorAll(".gatepost-indicators > div")].map(d =>
		d.querySelector("dt").textContent.trim() + " " + (d.querySelector(".gatepost-quiet") ?? d.querySelector(".gatepost-figure")).textContent.replace(/[()]/g, ""))`)
}

// suppression finds the address that bounced on the list, finds that mail to it is refused, removes
// it, and adds another.
func (b *tab) suppression(s *saas, tool account, see func(string)) {
	b.Helper()
	b.eventually(s.url+"/mail/suppressions", `document.querySelector(".gatepost-suppressions")?.textContent.includes("unknown@example.com")`)
	see("10-suppressions")
	if err := tool.submit("shop@acme.example", "unknown@example.com", "Again"); err == nil || !strings.HasPrefix(err.Error(), "550 ") || !strings.Contains(err.Error(), "5.1.1 RCPT TO") {
		b.Errorf("mail to an address on the list: got %v, want 550 5.1.1", err)
	}
	b.follow("unknown@example.com", "unknown@example.com")
	b.follow("Remove from the list", "Suppression list")
	b.press("Add an address")
	b.fill("Address", "Carol@Example.net")
	b.fill("Reason", "asked by phone")
	b.follow("Add to the list", "carol@example.net")
	if err := tool.submit("shop@acme.example", "carol@example.net", "Hello"); err == nil || !strings.Contains(err.Error(), "asked by phone") {
		b.Errorf("mail to an address that a person added: got %v, want the reason", err)
	}
}

// asOthers looks at everything as the other customer, who has nothing, and at the queue as
// an operator.
func (b *tab) asOthers(s *saas, see func(string)) {
	b.Helper()
	b.goTo(s.url + "/mail/activity?search=unknown&state=hard-bounced")
	message := eval[string](b, `document.querySelector(".gatepost-activities a").href`)
	b.follow("Sign out", "Sign in")
	b.goTo(message)
	b.heading("Sign in")
	b.signIn(s, "birch", "Activity")
	b.goTo(message)
	b.heading("Not found")
	b.goTo(s.url + "/operator/")
	b.heading("No access")
	for path, want := range map[string]string{
		"activity": "No mail yet.", "suppressions": "No address is on the list.", "": "There are no domains yet.", "webhooks": "There are no webhooks yet.",
		"quota": "0 of 10,000 recipients this month",
	} {
		b.goTo(s.url + "/mail/" + path)
		if got := b.text("main"); !strings.Contains(got, want) || strings.Contains(got, "acme.example") || strings.Contains(got, "https://127") {
			b.Errorf("the other customer sees on %q, want %q:\n%s", path, want, got)
		}
	}
	b.goTo(s.url + "/mail/statistics")
	for _, row := range b.indicators() {
		if !strings.HasSuffix(row, " 0") {
			b.Errorf("the other customer has the statistics %q, want 0", row)
		}
	}
	b.follow("Sign out", "Sign in")
	b.signIn(s, "operator", "Overview")
	see("11-operator")
	b.goTo(strings.ReplaceAll(message[:strings.IndexAny(message+"?", "?")], "/mail/activity/", "/operator/messages/"))
	b.until(`document.body.textContent.includes("unknown@example.com")`)
	b.follow("Queue", "Queue")
}
