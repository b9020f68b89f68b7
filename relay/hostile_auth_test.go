package relay_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// TestNothingBeforeTLS sends a whole submission in the clear, with the right
// password. Every step of it is refused.
func TestNothingBeforeTLS(t *testing.T) {
	r := startRelay(t, nil)
	c := dial(t, r, false)
	c.send(expand(r, lines(
		"EHLO client.test",
		"AUTH PLAIN $plain",
		"AUTH LOGIN",
		"AUTH PLAIN",
		"MAIL FROM:<shop@acme.example>",
		"MAIL FROM:<>",
		"RCPT TO:<bob@example.com>",
		"DATA",
		"RSET",
		"BDAT 4 LAST", "ab", // CRLF included
		"STARTTLS now",
		"QUIT",
	)))
	c.wantCodes("220", "250", "538", "538", "538", "530", "530", "503", "503", "250", "503", "503", "221")
	accepted(t, r, 0)
}

// TestMalformedAuth sends malformed AUTH commands and responses. None of them logs
// in, and the session goes on.
func TestMalformedAuth(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.MaxAuthTries = 1000 })
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	user, pass := r.Username, r.Password
	for _, test := range []struct{ name, send, want string }{
		{"no mechanism", "AUTH\r\n", "501"},
		{"mechanism unknown", "AUTH XOAUTH2 " + b64("x") + "\r\n", "504"},
		{"mechanism with control characters", "AUTH PL\x00AIN\r\n", "504"},
		{"no NUL", "AUTH PLAIN " + b64(user+pass) + "\r\n", "501"},
		{"one NUL", "AUTH PLAIN " + b64(user+"\x00"+pass) + "\r\n", "501"},
		{"three NULs", "AUTH PLAIN " + b64("\x00"+user+"\x00"+pass+"\x00") + "\r\n", "501"},
		{"only NULs", "AUTH PLAIN " + b64(strings.Repeat("\x00", 1000)) + "\r\n", "501"},
		{"two NULs and nothing else", "AUTH PLAIN " + b64("\x00\x00") + "\r\n", "535"},
		{"empty response", "AUTH PLAIN =\r\n", "501"},
		{"empty user", "AUTH PLAIN " + b64("\x00\x00"+pass) + "\r\n", "535"},
		{"empty password", "AUTH PLAIN " + b64("\x00"+user+"\x00") + "\r\n", "535"},
		{"newline inside the user", "AUTH PLAIN " + b64("\x00"+user[:9]+"\n"+user[9:]+"\x00"+pass) + "\r\n", "535"},
		{"user in capitals", "AUTH PLAIN " + b64("\x00"+strings.ToUpper(user)+"\x00"+pass+"x") + "\r\n", "535"},
		{"user of invalid UTF-8", "AUTH PLAIN " + b64("\x00\xff\xfe\x00"+pass) + "\r\n", "535"},
		{"user of 9 kB", "AUTH PLAIN " + b64("\x00"+strings.Repeat("u", 9000)+"\x00"+pass) + "\r\n", "535"},
		{"AUTH of 40 kB", "AUTH PLAIN " + b64("\x00"+strings.Repeat("u", 30000)+"\x00"+pass) + "\r\n", "500 5.5.2"},
		{"response of 40 kB", "AUTH PLAIN\r\n" + b64("\x00"+strings.Repeat("u", 30000)+"\x00"+pass) + "\r\n", "334 \n500 5.5.2"},
		{"password of 9 kB", "AUTH PLAIN " + b64("\x00"+user+"\x00"+strings.Repeat("p", 9000)) + "\r\n", "535"},
		{"half a base64 quantum", "AUTH PLAIN " + b64("\x00" + user + "\x00" + pass)[:9] + "\r\n", "501"},
		{"base64 with a blank in it", "AUTH PLAIN AG5v Ym9keQB3cm9uZw==\r\n", "501"},
		{"base64 of the URL alphabet", "AUTH PLAIN AP__AP__\r\n", "501"},
		{"no base64", "AUTH PLAIN \x01\x02\xff\r\n", "501"},
		{"second line is no base64", "AUTH PLAIN\r\n!!!\r\n", "334 \n501"},
		{"second line is empty", "AUTH PLAIN\r\n\r\n", "334 \n501"},
		{"cancelled", "AUTH PLAIN\r\n*\r\n", "334 \n501"},
		{"LOGIN cancelled at the username", "AUTH LOGIN\r\n*\r\n", "334 \n501"},
		{"LOGIN cancelled at the password", "AUTH LOGIN\r\n" + b64(user) + "\r\n*\r\n", "334 \n334 \n501"},
		{"LOGIN with nothing", "AUTH LOGIN\r\n\r\n\r\n", "334 \n334 \n535"},
		{"LOGIN with no base64", "AUTH LOGIN\r\nMAIL FROM:<shop@acme.example>\r\n", "334 \n501"},
		{"LOGIN with a command for a password", "AUTH LOGIN " + b64(user) + "\r\nQUIT\r\n", "334 \n535"},
		{"LOGIN with username and password in one", "AUTH LOGIN " + b64(user+"\x00"+pass) + "\r\n" + b64(pass) + "\r\n", "334 \n535"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, r, true)
			c.want("220")
			c.cmd("EHLO client.test", "250")
			c.send(test.send)
			for want := range strings.SplitSeq(test.want, "\n") {
				c.want(want)
			}
			c.cmd("MAIL FROM:<shop@acme.example>", "530")
			c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
		})
	}
}

// TestOversizedAuth sends responses longer than any mechanism needs.
func TestOversizedAuth(t *testing.T) {
	huge := base64.StdEncoding.EncodeToString([]byte("\x00" + strings.Repeat("u", 75000) + "\x00x"))
	r := startRelay(t, nil)
	for _, test := range []struct {
		name, send string
	}{
		{"initial response", "AUTH PLAIN " + huge},
		{"response", "AUTH PLAIN\r\n" + huge},
		{"username", "AUTH LOGIN\r\n" + huge},
		{"password", "AUTH LOGIN\r\nAAAA\r\n" + huge},
		{"mechanism", "AUTH " + huge},
		{"without a line end", "AUTH PLAIN " + strings.Repeat("A", 1<<20)},
		{"only blanks", "AUTH" + strings.Repeat(" ", 100000)},
		{"then a proper login", "AUTH PLAIN " + huge + expand(r, "\r\nAUTH PLAIN $plain")},
	} {
		name, send := test.name, test.send
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, r, true)
			c.want("220")
			c.cmd("EHLO client.test", "250")
			c.sendAnyway(send + "\r\nMAIL FROM:<shop@acme.example>\r\n")
			for _, line := range c.rest() {
				if strings.HasPrefix(line, "2") || strings.HasPrefix(line, "530") {
					t.Errorf("got the reply %q, want no success", line)
				}
			}
			stillServes(t, r)
		})
	}
}

// TestForeignIdentity logs in with the right password, but with an authorization
// identity other than the username (RFC 4616).
func TestForeignIdentity(t *testing.T) {
	for _, identity := range []string{"root", "shop@acme.example", "\xff", " "} {
		r := startRelay(t, nil)
		c := dial(t, r, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		plain := base64.StdEncoding.EncodeToString([]byte(identity + "\x00" + r.Username + "\x00" + r.Password))
		c.cmd("AUTH PLAIN "+plain, "535 5.7.8")
		c.cmd("MAIL FROM:<shop@acme.example>", "530")
		own := base64.StdEncoding.EncodeToString([]byte(r.Username + "\x00" + r.Username + "\x00" + r.Password))
		c.cmd("AUTH PLAIN "+own, "235")
	}
}

// TestDisconnectWithinAuth closes the connection in the middle of a login.
func TestDisconnectWithinAuth(t *testing.T) {
	r := startRelay(t, nil)
	for _, send := range []string{"AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "AUTH LOGIN AAAA\r\n", "AUTH PLAIN AG5", "AUTH"} {
		c := dial(t, r, true)
		c.want("220")
		c.cmd("EHLO client.test", "250")
		c.send(send)
		c.closeWrite()
		for _, line := range c.rest() {
			if strings.HasPrefix(line, "235") {
				t.Errorf("%q: got the reply %q, want no success", send, line)
			}
		}
	}
	stillServes(t, r)
}

// TestEndlessLoginFailures sends many wrong passwords and then the right one, all in
// one packet. The connection ends before the right one.
func TestEndlessLoginFailures(t *testing.T) {
	var refused atomic.Int32
	r := startRelay(t, func(s *relay.Server) {
		s.OnEvent = func(e relay.Event) {
			if _, ok := e.(*relay.LoginRefused); ok {
				refused.Add(1)
			}
		}
	})
	c := dial(t, r, true)
	c.sendAnyway("EHLO client.test\r\n" + strings.Repeat("AUTH PLAIN AG5vYm9keQB3cm9uZw==\r\n", 1000) +
		expand(r, "AUTH PLAIN $plain\r\n") + smuggled + ".\r\n")
	c.wantCodes("220", "250", "535", "535", "535", "421 4.7.0 too many failed logins")
	accepted(t, r, 0)
	if n := refused.Load(); n != 3 {
		t.Errorf("got %d refused logins on one connection, want 3", n)
	}
}

// TestCommandsWithSTARTTLS sends commands in the same packet as STARTTLS; after
// the handshake they would seem to have come over TLS.
func TestCommandsWithSTARTTLS(t *testing.T) {
	for _, test := range []struct {
		name, send string
	}{
		{"a whole submission", "EHLO evil.test\r\nSTARTTLS\r\nEHLO evil.test\r\nAUTH PLAIN $plain\r\n" + smuggled + ".\r\n"},
		{"one byte", "STARTTLS\r\n\x16"},
		{"an empty line", "STARTTLS\r\n\r\n"},
		{"STARTTLS again", "STARTTLS\r\nSTARTTLS\r\n"},
	} {
		name, send := test.name, test.send
		t.Run(name, func(t *testing.T) {
			r := startRelay(t, nil)
			c := dial(t, r, false)
			c.want("220")
			c.send(expand(r, send))
			got := c.rest()
			if last := got[len(got)-1]; !strings.HasPrefix(last, "421 4.7.0") {
				t.Errorf("got the last reply %q, want 421 4.7.0", last)
			}
			accepted(t, r, 0)
		})
	}
}

var replyLine = regexp.MustCompile(`[245][0-9][0-9][ -]`)

// TestFailedHandshake sends other bytes instead of a TLS handshake. The connection
// ends, and commands that follow in the clear are not run.
func TestFailedHandshake(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.LoginTimeout = 2 * time.Second })
	commands := expand(r, "EHLO evil.test\r\nAUTH PLAIN $plain\r\n"+smuggled+".\r\nQUIT\r\n")
	for _, test := range []struct {
		name, send string
	}{
		{"commands", commands},
		{"garbage", strings.Repeat("\xff\x00\x7f", 1000)},
		{"a record too large", "\x16\x03\x01\xff\xff" + strings.Repeat("x", 70000)},
		{"a fatal alert", "\x15\x03\x01\x00\x02\x02\x28" + commands},
		{"a cut ClientHello", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + commands},
		{"nothing at all", ""},
	} {
		name, send := test.name, test.send
		for _, implicit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s implicit=%v", name, implicit), func(t *testing.T) {
				t.Parallel()
				c := dialRaw(t, r, implicit)
				if !implicit {
					c.want("220")
					c.cmd("STARTTLS", "220")
				}
				c.sendAnyway(send)
				time.Sleep(50 * time.Millisecond) // so that it is there after the failure
				c.sendAnyway(commands)
				for _, line := range c.rest() {
					if replyLine.MatchString(line) {
						t.Errorf("got the reply %q, want no success", line)
					}
				}
				accepted(t, r, 0)
			})
		}
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			c := dial(t, r, false)
			c.want("220")
			c.cmd("STARTTLS", "220")
			cfg := relaytest.ClientTLS()
			cfg.MinVersion, cfg.MaxVersion = version, version
			if err := tls.Client(c.conn, cfg).Handshake(); err == nil {
				t.Fatal("got a handshake, want an error")
			}
			c.sendAnyway(commands)
			for _, line := range c.rest() {
				if replyLine.MatchString(line) {
					t.Errorf("got the reply %q, want no success", line)
				}
			}
			accepted(t, r, 0)
		})
	}
}
