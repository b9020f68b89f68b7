package smarthost_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The client's parameters are passed on.
func TestExtensionsPassedOn(t *testing.T) {
	rec := &recorder{}
	up := &relaytest.Upstream{Script: rec.script}
	f := start(t, up)

	m := message("Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n", "b@example.com", "d\xc3\xb6ner@example.com")
	m.Options = relay.Options{
		Body: "8BITMIME", UTF8: true, RequireTLS: true, Return: "HDRS", EnvelopeID: "id+1 =x",
	}
	m.To[0].Notify = []string{"SUCCESS", "DELAY"}
	m.To[0].OriginalRecipient = "rfc822;b+c@example.com"
	m.To[1].Notify = []string{"NEVER"}
	m.To[1].OriginalRecipient = "utf-8;d\xc3\xb6ner@example.com"
	mustForward(t, f, m)
	mustForward(t, f, message(hello, "b@example.com")) // without BODY
	m = message(hello, "b@example.com")
	m.Options.Body = "7BIT"
	mustForward(t, f, m)

	want := []string{
		"MAIL FROM:<a@example.org> SIZE=23 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=id+2B1+20+3Dx",
		"MAIL FROM:<a@example.org> SIZE=46 BODY=8BITMIME",
		"MAIL FROM:<a@example.org> SIZE=46 BODY=7BIT",
	}
	if got := rec.lines("MAIL"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	want = []string{
		"RCPT TO:<b@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@example.com",
		`RCPT TO:<döner@example.com> NOTIFY=NEVER ORCPT=utf-8;d\x{F6}ner@example.com`,
		"RCPT TO:<b@example.com>", "RCPT TO:<b@example.com>",
	}
	if got := rec.lines("RCPT"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if n := len(up.Received()); n != 3 {
		t.Errorf("%d deliveries", n)
	}
}

// An upstream that lacks an extension gets what doesn't need it; what does is
// refused, for good, before anything is sent.
func TestExtensionsLacking(t *testing.T) {
	const umlaut = "Subject: Gr\xc3\xbc\xc3\x9fe\r\n\r\nx\r\n"
	const umlautBody = "Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
	with := func(content string, o relay.Options) *relay.Message {
		m := message(content, "b@example.com")
		m.Options = o
		return m
	}
	dsn := with(hello, relay.Options{Return: "FULL", EnvelopeID: "x"})
	dsn.To[0].Notify, dsn.To[0].OriginalRecipient = []string{"NEVER"}, "rfc822;b@example.com"
	umlautSender := message(hello, "b@example.com")
	umlautSender.From = "m\xc3\xbcller@example.org"

	for _, tc := range []struct {
		name     string
		lacks    string
		message  *relay.Message
		code     int // 0: accepted
		enhanced string
	}{
		{"announced only", "8BITMIME", with(hello, relay.Options{Body: "8BITMIME"}), 0, ""},
		{"8-bit body", "8BITMIME", with(umlautBody, relay.Options{Body: "8BITMIME"}), 554, "5.6.3"},
		{"8-bit body, not announced", "8BITMIME", with(umlautBody, relay.Options{}), 554, "5.6.3"},
		{"8-bit body, late", "8BITMIME", with("a: b\r\n\r\n"+strings.Repeat("x", 1<<20)+"\xff\r\n", relay.Options{}), 554, "5.6.3"},
		{"announced only", "SMTPUTF8", with(hello, relay.Options{UTF8: true}), 0, ""},
		{"body", "SMTPUTF8", with(umlautBody, relay.Options{UTF8: true, Body: "8BITMIME"}), 0, ""},
		{"header", "SMTPUTF8", with(umlaut, relay.Options{UTF8: true}), 554, "5.6.9"},
		{"header, not announced", "SMTPUTF8", with(umlaut, relay.Options{Body: "8BITMIME"}), 0, ""},
		{"header, late", "SMTPUTF8", with(strings.Repeat("a: b\r\n", 50_000)+umlaut, relay.Options{UTF8: true}), 554, "5.6.9"},
		{"sender", "SMTPUTF8", umlautSender, 553, "5.6.7"},
		{"recipient", "SMTPUTF8", message(hello, "b@example.com", "d\xc3\xb6ner@example.com"), 553, "5.6.7"},
		{"DSN is dropped", "DSN", dsn, 0, ""},
		{"SIZE isn't told", "SIZE", message(hello, "b@example.com"), 0, ""},
		{"REQUIRETLS", "REQUIRETLS", with(hello, relay.Options{RequireTLS: true}), 550, "5.7.30"},
	} {
		t.Run(tc.lacks+"/"+tc.name, func(t *testing.T) {
			rec := &recorder{}
			up := &relaytest.Upstream{Extensions: without(tc.lacks), Script: rec.script}
			err := forward(t, start(t, up), tc.message)
			if tc.code == 0 {
				if err != nil || len(up.Received()) != 1 {
					t.Errorf("%v, %d deliveries", err, len(up.Received()))
				}
				return
			}
			wantReply(t, err, tc.code, tc.enhanced)
			if v := rec.verbs(); v != "" {
				t.Errorf("sent: %s", v)
			}
		})
	}
}

func TestSize(t *testing.T) {
	rec := &recorder{}
	up := &relaytest.Upstream{Extensions: append(without("SIZE"), "SIZE 1000"), Script: rec.script}
	f := start(t, up)
	fits := strings.Repeat("x", 998) + "\r\n"
	wantReply(t, forward(t, f, message("x"+fits, "b@example.com")), 552, "5.3.4")
	if v := rec.verbs(); v != "" {
		t.Errorf("sent: %s", v)
	}
	mustForward(t, f, message(fits, "b@example.com"))
	if made, _ := up.Connections(); made != 1 {
		t.Errorf("%d connections", made)
	}
}

// REQUIRETLS needs a certificate that was verified (RFC 8689 section 4.2.1).
func TestRequireTLSUnverified(t *testing.T) {
	f := start(t, &relaytest.Upstream{})
	f.TLSConfig.InsecureSkipVerify = true
	m := message(hello, "b@example.com")
	m.Options.RequireTLS = true
	wantReply(t, forward(t, f, m), 550, "5.7.30")
}

// Nothing in an address or a parameter becomes a command.
func TestInjection(t *testing.T) {
	rec := &recorder{}
	up := &relaytest.Upstream{Script: rec.script}
	f := start(t, up)
	for _, addr := range []string{
		"a@x.example>\r\nRSET", "a@x.example\nDATA", "a\r@x.example", "a\x00@x.example", "a@x.example> SIZE=1", "a b@x.example",
		"<a@x.example>", `"a@x.example`, `"a\`, `"a` + "\r\n" + `"@x.example`, `a\>@x.example`, "a\xff@x.example",
		strings.Repeat("a", 2000) + "@x.example", "a\x7f@x.example", "a\t@x.example",
	} {
		m := message(hello, "b@example.com", addr)
		refused := wantRefused(t, forward(t, f, m), addr)
		wantReply(t, refused[0].Err, 553, "5.1.3")

		m = message(hello, "b@example.com")
		m.From = addr
		wantReply(t, forward(t, f, m), 553, "5.1.7")
	}
	for name, change := range map[string]func(*relay.Message){
		"RET":        func(m *relay.Message) { m.Options.Return = "FULL\r\nDATA" },
		"BODY":       func(m *relay.Message) { m.Options.Body = "7BIT X=1" },
		"NOTIFY":     func(m *relay.Message) { m.To[0].Notify = []string{"NEVER\r\nRSET"} },
		"ORCPT":      func(m *relay.Message) { m.To[0].OriginalRecipient = "no type" },
		"ORCPT type": func(m *relay.Message) { m.To[0].OriginalRecipient = "a\r\nRSET;b" },
	} {
		m := message(hello, "b@example.com")
		change(m)
		if err := forward(t, f, m); err == nil || relay.Temporary(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if wantReply(t, forward(t, f, message(hello)), 554, "5.5.1"); rec.verbs() != "" {
		t.Errorf("sent: %s", rec.verbs())
	}

	quoted := `"a b>\"c"@example.com`
	m := message(hello, quoted, "postmaster")
	m.Options.EnvelopeID = "\r\nRSET"
	mustForward(t, f, m)
	if d := up.Received(); len(d) != 1 || d[0].To[0].Address != quoted || !slices.Contains(d[0].Params, "ENVID=+0D+0ARSET") {
		t.Errorf("%+v", d)
	}
}
