package relay

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// safePath matches a Mailbox of RFC 5321, with RFC 6531's characters in the local part.
var safePath = regexp.MustCompile(`^([^\x00-\x20\x7f<>()\[\]\\,;:@"]+|"([^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*")@(\[[0-9A-Za-z:.]+\]|[0-9a-z_.-]+)$`)

// FuzzCommands parses arguments of MAIL and RCPT. Every accepted text fits into a
// spool and cannot break a command. An accepted address, sent in a command again, is
// accepted unchanged.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"<a@b.c>", "<>", "a@b.c", "< a@b.c>", "<a b@c.d>", `<"a b"@c.d>`, `<"a>b"@c.d>`, `<"a\"b\\"@c.d>`, "<a@b@c.d>", `<"a@b"@c.d>`,
		"<.a@b.c>", "<a..b@c.d>", "<a@[1.2.3.4]>", "<a@[ipv6:::1]>", "<a@[::1%eth0]>", "<a@b.c\r\n>", "<a\x00@b.c>", "<\u00fc@\u00dc.d>", "<\u202ea@b.c>",
		"<@b.c>", "<a@>", "<a>", "", "<", "<a@-b.c>", "<a@b_c.D.>", "<a@b..>", "<@x,@y:a@b.c>", "<postmaster>", `<"postmaster">`,
		"<" + strings.Repeat("a", 250) + "@b.c>", "<" + strings.Repeat("\u00fc", 130) + "@b.c>",
		"<a@b.c> SIZE=1 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb AUTH=<>", "<a@b.c> SIZE=99999999999999999999", "<a@b.c> ENVID=+0D",
		"<a@b.c> NOTIFY=SUCCESS,delay ORCPT=rfc822;a+3Db@c.d", "<a@b.c> ORCPT=utf-8;\u00fc\\x{20}@c.d", "<a@b.c> ORCPT=X400;/S=a/", "<a@b.c> NOTIFY=NEVER NOTIFY=NEVER",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, arg string, allowUTF8 bool) {
		if cmd, refusal := parseMail("FROM:" + arg); refusal == (reply{}) {
			checkAddress(t, cmd.from, cmd.options.UTF8)
			checkText(t, cmd.options.EnvelopeID, maxEnvelopeID)
			again, refusal := parseMail("FROM:<" + cmd.from + "> SMTPUTF8")
			if refusal != (reply{}) || again.from != cmd.from {
				t.Fatalf("MAIL FROM:%q: got %q, and of that %q, %v", arg, cmd.from, again.from, refusal)
			}
		} else if refusal.code/100 != 5 {
			t.Fatalf("MAIL FROM:%q: got %v, want a reply 5yz", arg, refusal)
		}
		r, refusal := parseRcpt("TO:"+arg, allowUTF8, "relay.test")
		if refusal != (reply{}) {
			if refusal.code/100 != 5 {
				t.Fatalf("RCPT TO:%q: got %v, want a reply 5yz", arg, refusal)
			}
			return
		}
		if r.Address == "" {
			t.Fatalf("RCPT TO:%q: got no address", arg)
		}
		checkAddress(t, r.Address, allowUTF8)
		checkText(t, r.OriginalRecipient, maxORCPT)
		again, refusal := parseRcpt("TO:<"+r.Address+">", allowUTF8, "")
		if refusal != (reply{}) || again.Address != r.Address {
			t.Fatalf("RCPT TO:%q: got %q, and of that %q, %v", arg, r.Address, again.Address, refusal)
		}
	})
}

func checkAddress(t *testing.T, addr string, allowUTF8 bool) {
	if addr != "" && (len(addr) > maxAddress || !safePath.MatchString(addr) || !allowUTF8 && !mailtext.IsASCII(addr)) {
		t.Fatalf("got the address %q", addr)
	}
}

func checkText(t *testing.T, s string, limit int) {
	if len(s) > limit || !mailtext.IsGraphic(s) {
		t.Fatalf("got the parameter %q", s)
	}
}
