package mailheader

import (
	"bytes"
	"mime"
	"slices"
	"strings"
	"testing"
)

// refused is what a header in a table becomes if Parse returns an error.
const refused = "refused: "

func parseFrom(value string) string {
	h, err := Parse([]byte("From:" + value + "\r\n\r\n"))
	if err != nil {
		return refused + err.Error()
	}
	return strings.Join(h.From, " ")
}

func TestFrom(t *testing.T) {
	const good = "shop@acme.example"
	for _, test := range []struct{ value, want string }{
		// Usual forms.
		{" shop@acme.example", good},
		{" <shop@acme.example>", good},
		{" Shop <shop@acme.example>", good},
		{" Dr. Ann O'Hara-Smith <shop@acme.example>", good},
		{" Shop (Berlin) <shop@acme.example>", good},
		{" \"Shop, Inc.\" <shop@acme.example>", good},
		{" \"Shop\"<shop@acme.example>", good},
		{" \"a \\\"quoted\\\" name\" <shop@acme.example>", good},
		{" Café <shop@acme.example>", good},
		{" Café\u00a0Nord <shop@acme.example>", good},
		{" \"Café\" <büro@acme.example>", "büro@acme.example"},
		{" =?UTF-8?B??= <shop@acme.example>", good},
		{" =?UTF-8?B?Q2Fmw6k=?= Nord <shop@acme.example>", good},
		{" =?UTF-8?B?Q2Fmw6k=?=\r\n =?UTF-8?B?Q2Fmw6k=?=\r\n\t<shop@acme.example>", good},
		{" =?ISO-2022-JP?B?GyRCJUYlOSVIGyhC?= <shop@acme.example>", good},
		{" " + mime.QEncoding.Encode("utf-8", "Café, Inc.") + " <shop@acme.example>", good},
		{" " + mime.QEncoding.Encode("utf-8", "Café (Nord); a:b [1]") + " <shop@acme.example>", good},
		{" < shop@acme.example >", good},
		{" shop@acme.example (Shop)", good},
		{" Shops: shop@acme.example, other@acme.example;", good + " other@acme.example"},
		{" shop@acme.example,\r\n other@acme.example", good + " other@acme.example"},
		{" !#$%&'*+/=?^@acme.example", "!#$%&'*+/=?^@acme.example"},
		{" Shop <_`{|}~-@acme.example>", "_`{|}~-@acme.example"},
		{" \"shop\"@acme.example", good},
		{" \"the shop\"@acme.example", `"the shop"@acme.example`},
		{" shop@xn--caf-dma.example", "shop@xn--caf-dma.example"},
		{" shop@[192.0.2.1]", "shop@[192.0.2.1]"},
		{"\r\n shop@acme.example", good},

		// The address as the name.
		{" shop@acme.example <shop@acme.example>", good},
		{" shop@acme.example<shop@acme.example> ", good},
		{" Shop@Acme.Example <shop@acme.example>", good},
		{" shop@acme.example <Shop@ACME.example>", "Shop@ACME.example"},
		{" a@acme.example <a@acme.example>, b@acme.example", "a@acme.example b@acme.example"},
		{" \u017fhop@acme.example <shop@acme.example>", refused},
		{" shop@acme.example <\u017fhop@acme.example>", refused},
		{" shop@evil.example <shop@acme.example>", refused},

		// A line break where some programs end the name or the comment.
		{" \"ceo@evil.example\r\n \" <shop@acme.example>", refused + "the From field has a line break inside a quoted name or a comment"},
		{" \"ceo@evil.example\\\r\n \" <shop@acme.example>", refused + "the From field has a line break inside a quoted name or a comment"},
		{" shop@acme.example (x\r\n , ceo@evil.example)", refused + "the From field has a line break inside a quoted name or a comment"},
		{" shop@acme.example (x\\\r\n , ceo@evil.example)", refused},
		{" \"a\r\n b\"@acme.example", refused},
		{" <\r\n shop@acme.example>", refused},
		{" <shop@acme.example\r\n >", refused},
		{" shop\r\n @acme.example", refused},

		// An address in the text around the author.
		{" \"ceo@evil.example\" <shop@acme.example>", good},
		{" \"<ceo@evil.example>, (x); [y]\" <shop@acme.example>", good},
		{" shop@acme.example (ceo@evil.example)", good},
		{" (ceo@evil.example) shop@acme.example", good},
		{" shop@acme.example (<ceo@evil.example>)", refused + "the From field holds an address that programs read in different ways"},
		{" shop@acme.example (a (b) ceo@evil.example)", refused},
		{" shop@acme.example (a \\) ceo@evil.example)", refused},
		{" \"\\\" <ceo@evil.example> \\\"\" <shop@acme.example>", good},
		{" \"\\\\\" <shop@acme.example>", refused},
		{" \"ceo@evil.example\" \"\" <shop@acme.example>", refused},
		{" \"ceo@evil.example\"\u00a0<shop@acme.example>", refused},
		{" \"ceo@evil.example\" =?utf-8?q?a,b?= <shop@acme.example>", refused},
		{" \"a\\\"\" =?utf-8?q?a,b?= <shop@acme.example>", refused},
		{" =?utf-8?q?a,b?= <\"the shop\"@acme.example>", refused},
		{" \"ceo@evil.example\" <\"the shop\"@acme.example>", refused},
		{" \"<ceo@evil.example>\" <a@acme.example>, \"the shop\"@acme.example", refused},
		{" \"Shop\" <\"the shop\"@acme.example>", `"the shop"@acme.example`},
		{" Shops: \"a;b\" <shop@acme.example>;", refused},
		{" Shops: \"Shop\" <shop@acme.example>;", good},
		{" \"\" <shop@acme.example>", good},
		{" \"\" <a@acme.example>, \"<ceo@evil.example>\" <shop@acme.example>", refused},
		{" \"Shop\"=?utf-8?q?a?= <shop@acme.example>", refused},
		{" Shop\"a\" <shop@acme.example>", refused},
		{" =?utf-8?q?a?=\"b\" <shop@acme.example>", refused},
		{" Shop(x)\"a\" <shop@acme.example>", good},
		{" =?utf-8?q?a,b?=<shop@acme.example>", refused},
		{" =?utf-8?q?a?=<shop@acme.example>", good},
		{" \"ceo@evil.example\": shop@acme.example;", refused},

		// White space that only some programs trim.
		{" shop@acme.example\u00a0", refused},
		{" \u00a0shop@acme.example", refused},
		{" shop@acme.example\u2003", refused},
		{" shop@acme.example\u0085", refused + "the From field has the control character U+0085"},
		{" shop@acme.example\u2028", refused + "the From field has the control character U+2028"},
		{" Shop\u2029 <shop@acme.example>", refused},
		{" <shop@acme.example\u00a0>", refused},

		// Groups.
		{" shop@acme.example,\"ceo@evil.example\"group: ;", refused},
		{" shop@acme.example, group: other@acme.example;", refused},
		{" group: shop@acme.example;, other@acme.example", refused},
		{" group: shop@acme.example; <other@acme.example>", refused},
		{" group: inner: shop@acme.example;;", refused},
		{" group: shop@acme.example", refused},
		{" group:;", refused},
		{" group: ,;", refused},
		{" shop@acme.example: other@acme.example;", refused},
		{": shop@acme.example;", refused},
		{" (group): shop@acme.example;", refused},

		// Names that need quotes, and addresses that are none.
		{" Smith, John <shop@acme.example>", refused + "the From field holds no address that can be read (a name with other characters than letters and digits needs double quotes)"},
		{" Shop @ Home <shop@acme.example>", refused},
		{" =?utf-8?q?a,ceo@evil.example?= <shop@acme.example>", refused},
		{" =?utf-8?q?a,b?=, <shop@acme.example>", refused},
		{" =?utf-8?q?a=00?= <shop@acme.example>", refused},
		{" \"=?utf-8?q?a=00?=\" <shop@acme.example>", refused},
		{" =?utf-8?b?YQo=?= <shop@acme.example>", refused},
		{" =?utf-8?q?ceo=40evil.example?=@acme.example", refused},
		{" Caf\xe9 <shop@acme.example>", refused + "the From field has a byte that is not UTF-8 (send UTF-8, or encode the name as in RFC 2047)"},
		{" \"ceo@evil.example\"@acme.example", refused},
		{" \"ceo<\"@acme.example", refused},
		{" \"\"@acme.example", refused},
		{" shop@acme.example.", refused},
		{" shop.@acme.example", refused},
		{" .shop@acme.example", refused},
		{" shop@acme..example", refused},
		{" shop@", refused},
		{" @acme.example", refused},
		{" shop @acme.example", refused},
		{" shop@ acme.example", refused},
		{" shop(x)@acme.example", refused},
		{" shop@acme.example other@acme.example", refused},
		{" shop@acme.example;", refused},
		{" <shop@acme.example", refused},
		{" <>", refused},
		{" Shop", refused},
		{" \"Shop", refused},
		{" shop@acme.example (x", refused},
		{" shop@[acme.example]", refused},
		{" shop@[192.0.2.1", refused},
		{" ,", refused},
		{"", refused},
		{" " + strings.Repeat("a", 250) + "@acme.example", refused + "the From field holds an address of more than 254 bytes"},
		{" (" + strings.Repeat("(", 20000), refused + "the From field is larger than 16384 bytes"},
		{" " + strings.Repeat("a@b.example,", 101), refused + "the From field holds more than 100 addresses"},
	} {
		got := parseFrom(test.value)
		if got != test.want && !(test.want == refused && strings.HasPrefix(got, refused)) {
			t.Errorf("From:%.60q: got %q, want %q", test.value, got, test.want)
		}
		author, err := Author([]byte("Subject: x\r\nfrom:" + test.value + "\r\nX: y\r\n\r\nFrom: body@example.com\r\n"))
		if want, _, _ := strings.Cut(test.want, " "); err != nil && !strings.HasPrefix(test.want, refused) || err == nil && author != want && test.want[0] != '"' {
			t.Errorf("From:%.60q: Author: got %q and error %v, want %q", test.value, author, err, test.want)
		}
		sender, err := Parse([]byte("From: a@acme.example\r\nSender:" + test.value + "\r\n\r\n"))
		if strings.HasPrefix(test.want, refused) != (err != nil) || err == nil && strings.Join(sender.Sender, " ") != test.want {
			t.Errorf("Sender:%.60q: got %+v and error %v, want %q", test.value, sender, err, test.want)
		}
	}
}

func TestRefusedHeaders(t *testing.T) {
	const author = "From: shop@acme.example\r\n"
	for _, test := range []struct{ header, want string }{
		{"", "the message has no From field"},
		{"Subject: x\r\n", "the message has no From field"},
		{author + strings.Repeat("X:\r\n", 1000), "the header has more than 1000 fields"},
		{"From : shop@acme.example\r\n", "header line 1 has white space between From and the colon"},
		{author + "Sender\t: shop@acme.example\r\n", "header line 2 has white space between Sender and the colon"},
		{author + author, "the message has more than one From field"},
		{author + "Sender: a@acme.example\r\nSender: a@acme.example\r\n", "the message has more than one Sender field"},
		{author + "Subject: a\r\n b\r\nSubject: c\r\n", "the message has more than one Subject field"},
		{author + "To: a@example.com\r\nTO: b@example.com\r\n", "the message has more than one To field"},
		{author + "Dear Sir: hello\r\n", "header line 2 is not a header field, its name has a character that is not allowed (an empty line ends the header)"},
		{author + "hello\r\n", "header line 2 is not a header field, it has no colon (an empty line ends the header)"},
		{": x\r\n" + author, "header line 1 is not a header field, it has no name (an empty line ends the header)"},
		{author + "Subject: a\vb\r\n", "header line 2 has a control character at which some programs end a line"},
	} {
		h, err := Parse([]byte(test.header + "\r\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: got %+v and error %v, want error %q", test.header, h, err, test.want)
		}
	}
}

func TestAuthorIsRefused(t *testing.T) {
	for _, test := range []struct{ header, want string }{
		{"", "the message has no From field"},
		{"Subject: x\r\n\r\nFrom: shop@acme.example\r\n", "the message has no From field"},
		{"From : shop@acme.example\r\n", "there is white space between From and the colon"},
		{"From: shop@acme.example\r\nFrom : shop@acme.example\r\n", "the message has more than one From field"},
		{"From: shop\r\n", errUnreadable.Error()},
	} {
		if got, err := Author([]byte(test.header)); err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%q: got %q and error %v, want error %q", test.header, got, err, test.want)
		}
	}
}

func TestKept(t *testing.T) {
	const author = "From: shop@acme.example\r\n"
	const date = "Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
	for _, test := range []struct{ header, want string }{
		{author, author},
		{"Bcc: a@example.com\r\n\tb@example.com\r\n" + author + "RESENT-BCC : a\r\n b\r\nReturn-Path: <x>\r\nX: y\r\n", author + "X: y\r\n"},
		{author + "Resent-Cc: a@example.com\r\nX-Bcc: y\r\n", author + "Resent-Cc: a@example.com\r\nX-Bcc: y\r\n"},

		{author + "Message-ID: <a@b>\r\n" + date, author + "Message-ID: <a@b>\r\n" + date},
		{author + "Message-ID:\r\n <a@b>\r\n", author + "Message-ID:\r\n <a@b>\r\n"},
		{author + "Message-ID:\r\nMessage-ID: <>\r\nMessage-ID: abc\r\nMessage-ID: <abc>\r\n", author},
		{author + "Message-ID: <a b@c>\r\nMessage-ID: <@c>\r\nMessage-ID: <a@>\r\nMessage-ID: <a@b\r\n", author},
		{author + "Message-ID: <a@b> <c@d>\r\nMessage-ID: a@b\r\nMessage-ID: <<a@b>\r\n", author},
		{author + "Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n", author + "Message-ID: <a@b>\r\n"},
		{author + "Message-ID: bad\r\nMessage-ID: <c@d> (x)\r\n", author + "Message-ID: <c@d> (x)\r\n"},
		{author + "Message-ID: <" + strings.Repeat("a", 2000) + "@b>\r\n", author},
		{author + "Date:\r\nDate: yesterday\r\nDate: 2026-11-23\r\n", author},
		{author + date + "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n", author + date},
		{author + "Date: Tue, 24 Nov 26 12:00 GMT (x)\r\n", author + "Date: Tue, 24 Nov 26 12:00 GMT (x)\r\n"},

		{author + "Subject: a\r\nX: y\r\nsubject:a \r\n", author + "Subject: a\r\nX: y\r\n"},
		{author + "Subject: a\r\nSubject:\r\n", author + "Subject: a\r\n"},
		{author + "To:\r\nTo: a@example.com\r\nTo: \r\n", author + "To: a@example.com\r\n"},
		{author + "Resent-From: a\r\nResent-From: b\r\nReceived: x\r\nReceived: y\r\n", author + "Resent-From: a\r\nResent-From: b\r\nReceived: x\r\nReceived: y\r\n"},
	} {
		h, err := Parse([]byte(test.header + "\r\n"))
		if err != nil {
			t.Errorf("%q: %v", test.header, err)
			continue
		}
		if got := string(bytes.Join(h.Kept, nil)); got != test.want+"\r\n" {
			t.Errorf("%q: got %q, want %q", test.header, got, test.want+"\r\n")
		}
		if want := strings.Contains(test.want, "Date:"); h.HasDate != want {
			t.Errorf("%q: HasDate: got %v, want %v", test.header, h.HasDate, want)
		}
		id := ""
		if i := strings.Index(test.want, "<"); i >= 0 {
			id = test.want[i : strings.Index(test.want, ">")+1]
		}
		if h.MessageID != id {
			t.Errorf("%q: MessageID: got %q, want %q", test.header, h.MessageID, id)
		}
	}
}

func TestSubject(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{" hello", "hello"},
		{"", ""},
		{" a\r\n b", "a b"},
		{" =?utf-8?q?Caf=C3=A9?= =?iso-8859-1?q?_N=F6rd?=", "Café Nörd"},
		{" =?windows-31j?q?abc?=", "=?windows-31j?q?abc?="},
		{" Caf\xe9", "Caf\ufffd"},
		{" =?utf-8?q?a=00b=0Ac=E2=80=A8d?=", "a b c d"},
		{" " + strings.Repeat("é", 200), strings.Repeat("é", 127)},
		{" " + strings.Repeat("=?utf-8?q?=C3=A9?= ", 200), strings.Repeat("é", 127)},
	} {
		h, err := Parse([]byte("From: shop@acme.example\r\nSubject:" + test.value + "\r\n\r\n"))
		if err != nil || h.Subject != test.want {
			t.Errorf("Subject:%.40q: got %+v and error %v, want %q", test.value, h, err, test.want)
		}
	}
}

func TestFieldSize(t *testing.T) {
	for _, test := range []struct {
		header      string
		size, lines int
	}{
		{"a: b\r\nc: d\r\n", 6, 1},
		{"a: b\r\n c\r\n\td\r\ne: f\r\n", 14, 3},
		{"a: b", 4, 1},
		{"a: b\r\n", 6, 1},
	} {
		size, lines := FieldSize([]byte(test.header))
		if got, want := []int{size, lines}, []int{test.size, test.lines}; !slices.Equal(got, want) {
			t.Errorf("%q: got %d bytes and %d lines, want %d and %d", test.header, size, lines, test.size, test.lines)
		}
	}
}
