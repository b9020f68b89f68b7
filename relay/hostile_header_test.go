package relay_test

import (
	"fmt"
	"net/mail"
	"strings"
	"testing"
)

// TestHostileHeaders sends headers that mail programs read in different ways. The
// relay refuses the message, or every author that a program could show is of the
// user's domain.
func TestHostileHeaders(t *testing.T) {
	r := startRelay(t, nil)
	const good = "From: shop@acme.example\r\n"
	for _, test := range []struct {
		name, header, want string // want is how the reply begins
	}{
		// A name may hold anything. The address counts.
		{"address of another as the name", "From: \"ceo@evil.example\" <shop@acme.example>\r\n", "250"},
		{"own address as the name", "From: \"shop@acme.example\" <ceo@evil.example>\r\n", "550 5.7.1 From"},
		{"unquoted address as the name", "From: shop@acme.example <ceo@evil.example>\r\n", "550 5.6.0"},
		{"two angle addresses", "From: <shop@acme.example> <ceo@evil.example>\r\n", "550 5.6.0"},
		{"angle address in a quoted name", "From: \"<ceo@evil.example>\" <shop@acme.example>\r\n", "250"},
		{"quote in a quoted name", "From: \"a\\\" <ceo@evil.example> \\\"\" <shop@acme.example>\r\n", "250"},
		{"quote that isn't closed", "From: \"shop <shop@acme.example>\r\n", "550 5.6.0"},
		{"text after the address", "From: <shop@acme.example> ceo@evil.example\r\n", "550 5.6.0"},
		{"two addresses without a comma", "From: shop@acme.example ceo@evil.example\r\n", "550 5.6.0"},
		{"two addresses with a semicolon", "From: shop@acme.example; ceo@evil.example\r\n", "550 5.6.0"},
		{"second author", "From: shop@acme.example, ceo@evil.example\r\n", "550 5.7.1 From"},
		{"second author, folded", "From: shop@acme.example,\r\n\tceo@evil.example\r\n", "550 5.7.1 From"},
		{"empty list entries", "From: ,,shop@acme.example,,ceo@evil.example,,\r\n", "550 5.7.1 From"},
		{"101 authors", "From: " + strings.Repeat("shop@acme.example,", 101) + "\r\n", "550 5.6.0"},

		// Groups.
		{"group", "From: Shops: shop@acme.example, other@acme.example;\r\n", "250"},
		{"group of others", "From: Shops: shop@acme.example, ceo@evil.example;\r\n", "550 5.7.1 From"},
		{"address as the group's name", "From: ceo@evil.example: shop@acme.example;\r\n", "550 5.6.0"},
		{"empty group", "From: Shops:;\r\n", "550 5.6.0"},
		{"group that isn't closed", "From: Shops: shop@acme.example\r\n", "550 5.6.0"},
		{"after a group", "From: Shops: shop@acme.example;, ceo@evil.example\r\n", "550 5.6.0"},
		{"group in a group", "From: A: B: shop@acme.example;;\r\n", "550 5.6.0"},

		// The address itself.
		{"quoted local part with an address", "From: \"ceo@evil.example\"@acme.example\r\n", "550 5.6.0"},
		{"quoted local part with an angle", "From: \"ceo@evil.example> x\"@acme.example\r\n", "550 5.6.0"},
		{"two at signs", "From: ceo@evil.example@acme.example\r\n", "550 5.6.0"},
		{"two at signs, other way", "From: shop@acme.example@evil.example\r\n", "550 5.6.0"},
		{"route", "From: <@acme.example:ceo@evil.example>\r\n", "550 5.6.0"},
		{"route of another", "From: <@evil.example:shop@acme.example>\r\n", "550 5.6.0"},
		{"route of a list", "From: <@a.example,@b.example:shop@acme.example>\r\n", "550 5.6.0"},
		{"comment after the address", "From: shop@acme.example (ceo@evil.example)\r\n", "250"},
		{"comment before the address", "From: (shop@acme.example) ceo@evil.example\r\n", "550"},
		{"comment within the address", "From: ceo(@acme.example)@evil.example\r\n", "550"},
		{"comment after the at sign", "From: ceo@(acme.example)evil.example\r\n", "550"},
		{"comment that swallows", "From: ceo@evil.example (, shop@acme.example)\r\n", "550 5.7.1 From"},
		{"comment that isn't closed", "From: shop@acme.example (x\r\n", "550 5.6.0"},
		{"comment in a comment", "From: shop@acme.example (a (b) \\) ceo@evil.example)\r\n", "550 5.6.0"},
		{"domain literal", "From: shop@[acme.example]\r\n", "550"},
		{"domain literal of an address", "From: shop@[127.0.0.1]\r\n", "550"},
		{"folded in the address", "From: ceo\r\n @evil.example\r\n", "550"},
		{"folded at once", "From:\r\n shop@acme.example\r\n", "250"},
		{"folded at a dot", "From: shop@acme.example\r\n .evil.example\r\n", "550 5.6.0"},
		{"subdomain", "From: shop@evil.acme.example\r\n", "550 5.7.1 From"},
		{"prefix of the domain", "From: shop@acme.example.evil.example\r\n", "550 5.7.1 From"},
		{"suffix of the domain", "From: shop@evil-acme.example\r\n", "550 5.7.1 From"},
		{"trailing dot", "From: shop@acme.example.\r\n", "550"},
		{"no domain", "From: shop\r\n", "550 5.6.0"},
		{"no local part", "From: @acme.example\r\n", "550 5.6.0"},
		{"nothing", "From:\r\n", "550 5.6.0"},
		{"blanks", "From: \t\r\n \r\n", "550 5.6.0"},

		// Encodings.
		{"encoded name", "From: =?utf-8?q?Caf=C3=A9?= <shop@acme.example>\r\n", "250"},
		{"encoded name, folded", "From: =?utf-8?q?Caf=C3=A9?=\r\n\t=?utf-8?q?_Nord?= <shop@acme.example>\r\n", "250"},
		{"encoded name of an unknown charset", "From: =?x-unknown?q?Caf=C3=A9?= <shop@acme.example>\r\n", "250"},
		{"encoded address", "From: =?utf-8?q?ceo=40evil=2Eexample?=\r\n", "550 5.6.0"},
		{"encoded name that ends in an address and NUL", "From: =?utf-8?q?ceo=40evil.example=00?= <shop@acme.example>\r\n", "550 5.6.0"},
		{"encoded name with a line end", "From: =?utf-8?b?Y2VvQGV2aWwuZXhhbXBsZQo=?= <shop@acme.example>\r\n", "550 5.6.0"},
		{"encoded local part", "From: =?utf-8?q?ceo=40evil.example=00?=@acme.example\r\n", "550 5.6.0"},
		{"encoded local part in angles", "From: x <=?utf-8?b?Y2VvQGV2aWwuZXhhbXBsZQ==?=@acme.example>\r\n", "550 5.6.0"},
		{"encoded domain", "From: ceo@=?utf-8?q?acme.example?=\r\n", "550"},
		{"8-bit name, UTF-8", "From: Caf\xc3\xa9 <shop@acme.example>\r\n", "250"},
		{"8-bit name, Latin-1", "From: Caf\xe9 <shop@acme.example>\r\n", "550 5.6.0"},
		{"8-bit local part", "From: b\xc3\xbcro@acme.example\r\n", "250"},
		{"8-bit domain", "From: shop@acm\xc3\xa9.example\r\n", "550 5.7.1 From"},
		{"domain that looks alike", "From: shop@\xd0\xb0cme.example\r\n", "550 5.7.1 From"},
		{"UTF-16", "F\x00r\x00o\x00m\x00:\x00\r\n", "550 5.6.0"},

		// The field.
		{"no From", "Subject: x\r\n", "550 5.6.0 the message has no From field"},
		{"two From", good + good, "550 5.6.0 the message has more than one From field"},
		{"two From, one of another", good + "From: ceo@evil.example\r\n", "550 5.6.0 the message has more than one From field"},
		{"other case", "FROM: ceo@evil.example\r\n", "550 5.7.1 From"},
		{"second in other case", good + "fROM: ceo@evil.example\r\n", "550 5.6.0"},
		{"blank before the colon", good + "From : ceo@evil.example\r\n", "550 5.6.0"},
		{"tab before the colon", good + "From\t: ceo@evil.example\r\n", "550 5.6.0"},
		{"folded before the colon", good + "From\r\n : ceo@evil.example\r\n", "550 5.6.0"},
		{"vertical tab before the colon", good + "From\v: ceo@evil.example\r\n", "550 5.6.0"},
		{"BOM", "\xef\xbb\xbfFrom: ceo@evil.example\r\n" + good, "550 5.6.0"},
		{"zero-width space in the name", good + "Fr\xe2\x80\x8bom: ceo@evil.example\r\n", "550 5.6.0"},
		{"line without a colon before", "Subject\r\n" + good, "550 5.6.0 header line 1"},
		{"line without a colon after", good + "Subject\r\n", "550 5.6.0 header line 2"},
		{"line without a name", ": x\r\n" + good, "550 5.6.0"},
		{"folded line first", " x\r\n" + good, "550 5.6.0"},
		{"From in a folded line", "Subject: x\r\n From: ceo@evil.example\r\n", "550 5.6.0 the message has no From field"},
		{"mbox line", "From ceo@evil.example Mon Nov 23 12:00:00 2026\r\n" + good, "550 5.6.0 header line 1"},
		{"mbox line, quoted", ">From ceo@evil.example Mon Nov 23 12:00:00 2026\r\n" + good, "550 5.6.0 header line 1"},
		{"NUL", "Subject: x\x00y\r\n" + good, "550 5.6.0 the message holds a NUL byte"},
		{"bare CR", "Subject: x\rFrom: ceo@evil.example\r\n" + good, "550 5.6.0 a line holds a bare CR"},
		{"bare LF", good + "Subject: x\nFrom: ceo@evil.example\r\n", "550 5.6.0 the message has more than one From field"},
		{"form feed", good + "Subject: x\fFrom: ceo@evil.example\r\n", "550 5.6.0"},
		{"vertical tab", good + "Subject: x\vFrom: ceo@evil.example\r\n", "550 5.6.0"},
		{"control character in the address", "From: sh\x01op@acme.example\r\n", "550 5.6.0"},

		// Sender.
		{"Sender", good + "Sender: other@acme.example\r\n", "250"},
		{"Sender of another domain", good + "Sender: ceo@evil.example\r\n", "550 5.7.1 Sender"},
		{"Sender that can't be read", good + "Sender: ceo\r\n", "550 5.6.0 the Sender"},
		{"empty Sender", good + "Sender:\r\n", "550 5.6.0 the Sender"},
		{"two Sender", good + "Sender: a@acme.example\r\nSender: b@acme.example\r\n", "550 5.6.0 the message has more than one Sender field"},
		{"Sender, blank before the colon", good + "Sender : shop@acme.example\r\n", "550 5.6.0 header line 2 has white space between Sender and the colon"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := login(t, r)
			for _, body := range []string{"\r\nFrom: body@evil.example\r\n", ""} { // a header without a body, too
				before := len(r.Messages())
				c.envelope()
				c.cmd("DATA", "354")
				c.cmd(test.header+body+".", test.want)
				messages := r.Messages()[before:]
				if refused := len(messages) == 0; refused != (test.want != "250") {
					t.Fatalf("got refused %v, want reply %q", refused, test.want)
				}
				for _, m := range messages {
					wellFormed(t, m.Data)
					if err := authors(m.Data); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

// authors checks with net/mail that a message is of acme.example.
func authors(data []byte) error {
	m, err := mail.ReadMessage(strings.NewReader(string(data) + "\r\n\r\n"))
	if err != nil {
		return fmt.Errorf("net/mail cannot read the message: %v: %.300q", err, data)
	}
	if n := len(m.Header["From"]); n != 1 {
		return fmt.Errorf("got %d From fields, want one: %.300q", n, data)
	}
	for _, field := range []string{"From", "Sender"} {
		if m.Header.Get(field) == "" {
			continue
		}
		list, err := m.Header.AddressList(field)
		for _, a := range list {
			if !strings.HasSuffix(strings.ToLower(a.Address), "@acme.example") || strings.Count(a.Address, "@") != 1 {
				return fmt.Errorf("got %q in %s, want an address of acme.example: %.300q", a.Address, field, data)
			}
		}
		if err != nil && !strings.Contains(err.Error(), "charset") {
			return fmt.Errorf("net/mail cannot read %s: %v: %.300q", field, err, data)
		}
	}
	return nil
}
