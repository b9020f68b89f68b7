package relay_test

import (
	"strings"
	"testing"
)

// The Server sets Author, Subject and MessageID, decoded and bounded.
func TestMessageDescription(t *testing.T) {
	r := startRelay(t, nil)
	c := login(t, r)
	for _, test := range []struct{ header, author, subject, messageID string }{
		{"From: Shop <shop@acme.example>\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\nMessage-ID: <1@acme.example>\r\n", "shop@acme.example", "Café", "<1@acme.example>"},
		{"From: a@acme.example, b@acme.example\r\n", "a@acme.example", "", "<*@relay.test>"},
		{"From: shop@acme.example\r\nMessage-ID: abc\r\nSubject: " + strings.Repeat("x", 300) + "\r\n", "shop@acme.example", strings.Repeat("x", 255), "<*@relay.test>"},
	} {
		c.envelope()
		c.cmd("DATA", "354")
		c.cmd(test.header+"\r\n.", "250")
		messages := r.Messages()
		m := messages[len(messages)-1]
		messageID := strings.Replace(test.messageID, "*@relay.test", m.ID+"@"+r.Server.Hostname, 1)
		if m.Author != test.author || m.Subject != test.subject || m.MessageID != messageID {
			t.Errorf("%.80q: got author %q, subject %q, message ID %q, want %q, %q, %q",
				test.header, m.Author, m.Subject, m.MessageID, test.author, test.subject, messageID)
		}
		if !strings.Contains(string(m.Data), "\r\nMessage-ID: "+messageID+"\r\n") {
			t.Errorf("%.80q: the content has no Message-ID %s: %.300q", test.header, messageID, m.Data)
		}
	}
}
