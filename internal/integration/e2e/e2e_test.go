package e2e_test

import (
	"strings"
	"testing"
)

// A client is a program or library that people send mail with.
type client struct {
	name string

	// send sends a message, and returns all that the client shows its user. The
	// error is not nil if the client reports failure. send skips the test if the
	// client isn't installed.
	send func(t *testing.T, s submission) (shown string, err error)

	// composes is set if the client makes the message from its parts.
	composes bool

	// shows is what the user gets to see when a message or login is refused,
	// where that isn't what the relay said.
	shows refusals
}

// refusals are parts of what a client shows when it isn't allowed to do
// something.
type refusals struct{ sender, header, login string }

// said is what the relay says.
var said = refusals{
	sender: "MAIL FROM: domain news.acme.example is not allowed, this user sends from acme.example only",
	header: "From: domain example.org is not allowed, this user sends from acme.example only",
	login:  "535 5.7.8 username or password is wrong",
}

var clients = []client{
	{name: "curl", send: sendCurl},
	{name: "swaks", send: sendSwaks},
	{name: "Python smtplib", send: sendPython, shows: refusals{
		login: "SMTPAuthenticationError: (535, b'5.7.8 username or password is wrong')",
	}},
	{name: "msmtp", send: sendMsmtp},
	{name: "s-nail", send: sendSNail, composes: true},
	{name: "Nodemailer", send: sendNodemailer, composes: true},
	{name: "PHPMailer", send: sendPHPMailer, composes: true, shows: refusals{login: "SMTP Error: Could not authenticate."}},
	{name: "go-mail", send: sendGoMail, composes: true, shows: refusals{login: `535 "5.7.8 username or password is wrong"`}},
	{name: "Postfix", send: sendPostfix},
	{name: "Go net/smtp", send: sendNetSMTP, shows: refusals{login: `535 "5.7.8 username or password is wrong"`}},
}

// texts are what has to arrive byte for byte.
var texts = []struct {
	name, text string
	attachment []byte
}{
	{name: "8-bit text", text: "Grüße aus Zürich — こんにちは 💌\r\n\r\nÀ bientôt\r\n"},
	{name: "dots", text: ".\r\n..\r\n.dot at the start of a line\r\n. \r\nend\r\n.\r\n"},
	{name: "long line", text: "before\r\n" + strings.Repeat("0123456789", 90) + "\r\nafter\r\n"},
	{name: "attachment", text: "See the attached file.\r\n", attachment: randomBytes(2 << 20)},
}

// TestClients takes each client through the life of an SMTP user.
func TestClients(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Run("STARTTLS", func(t *testing.T) { c.test(t, false) })
			t.Run("TLS", func(t *testing.T) { c.test(t, true) })
		})
	}
}

// test runs its parts in order: each goes on where the one before left off.
func (c client) test(t *testing.T, implicitTLS bool) {
	r := startRelay(t)
	if u := r.user(t); !u.LastConnection.IsZero() {
		t.Errorf("last connection is %v before the first", u.LastConnection)
	}
	c.accepted(t, r, r.submission(implicitTLS)) // or the test is skipped
	for _, text := range texts {
		s := r.submission(implicitTLS)
		s.Text, s.Attachment = text.text, text.attachment
		t.Run(text.name, func(t *testing.T) { c.accepted(t, r, s) })
	}
	if u := r.user(t); !connectedNow(u) {
		t.Errorf("last connection is %v from %s", u.LastConnection, u.LastConnectionFrom)
	}
	t.Run("subdomain in the envelope", func(t *testing.T) {
		s := r.submission(implicitTLS)
		s.From = "shop@news." + r.access.Domain
		c.refused(t, r, s, said.sender, c.shows.sender)
	})
	t.Run("other domain in the header", func(t *testing.T) {
		s := r.submission(implicitTLS)
		s.HeaderFrom = "ceo@example.org"
		c.refused(t, r, s, said.header, c.shows.header)
	})
	t.Run("reset", func(t *testing.T) {
		s := r.submission(implicitTLS)
		r.reset(t)
		c.refused(t, r, s, said.login, c.shows.login)
		s.Password = r.access.Password
		c.accepted(t, r, s)
	})
	t.Run("delete", func(t *testing.T) {
		r.delete(t)
		c.refused(t, r, r.submission(implicitTLS), said.login, c.shows.login)
	})
}

// accepted sends a message, which has to arrive.
func (c client) accepted(t *testing.T, r *relay, s submission) {
	t.Helper()
	s.Raw = s.raw()
	shown, err := c.send(t, s)
	if err != nil {
		t.Fatalf("%v:\n%s", err, shown)
	}
	switch got := r.take(); {
	case len(got) != 1:
		t.Errorf("%d messages arrived", len(got))
	case c.composes:
		checkParts(t, got[0], s)
	default:
		checkWhole(t, got[0], s.Raw)
	}
}

// refused sends a message, which must not arrive.
func (c client) refused(t *testing.T, r *relay, s submission, said, shows string) {
	t.Helper()
	s.Raw = s.raw()
	shown, err := c.send(t, s)
	if err == nil {
		t.Error("the client reports success")
	}
	if shows == "" {
		shows = said
	}
	if !strings.Contains(oneLine(shown), shows) {
		t.Errorf("the client doesn't show %q but:\n%.1000s", shows, shown)
	}
	if got := r.take(); len(got) > 0 {
		t.Errorf("the message arrived: %.200q", got)
	}
}

// oneLine undoes how clients wrap what the relay said.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
