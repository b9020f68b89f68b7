package outbound

import (
	"bufio"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

func read(s string) (reply, error) {
	return readReply(bufio.NewReaderSize(strings.NewReader(s), maxReplyLine), nil)
}

func TestReadReply(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want relay.ReplyError // the zero value: no reply
	}{
		{"550 5.1.1 No such user\r\n", relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "No such user"}},
		{"450 4.2.1\r\n", relay.ReplyError{Code: 450, Enhanced: "4.2.1"}},
		{"550\r\n", relay.ReplyError{Code: 550}},
		{"550 \r\n", relay.ReplyError{Code: 550}},
		{"550 no line feed only\n", relay.ReplyError{Code: 550, Text: "no line feed only"}},
		{"550-a\r\n550-\r\n550 b\r\n", relay.ReplyError{Code: 550, Text: "a  b"}},
		{"550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n", relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "a b c"}},
		{"550 4.7.1 another class\r\n", relay.ReplyError{Code: 550, Text: "4.7.1 another class"}},
		{"550 5.7 x\r\n", relay.ReplyError{Code: 550, Text: "5.7 x"}},
		{"550 5.7.1000 x\r\n", relay.ReplyError{Code: 550, Text: "5.7.1000 x"}},
		{"550 5..1 x\r\n", relay.ReplyError{Code: 550, Text: "5..1 x"}},
		{"550 a\x00b\x1b[1mc\x7f\r\r\n", relay.ReplyError{Code: 550, Text: "a?b?[1mc?"}},
		{"550 Gr\xc3\xbc\xc3\x9fe \xff\xfe\r\n", relay.ReplyError{Code: 550, Text: "Gr??e ??"}},
		{"550 " + strings.Repeat("x", 2000) + "\r\n", relay.ReplyError{Code: 550, Text: strings.Repeat("x", maxReplyText-3) + "..."}},
		{"", relay.ReplyError{}},
		{"550 half", relay.ReplyError{}},
		{"550-half\r\n", relay.ReplyError{}},
		{"550-a\r\n551 b\r\n", relay.ReplyError{}},
		{"\r\n", relay.ReplyError{}},
		{"55\r\n", relay.ReplyError{}},
		{"5x0 a\r\n", relay.ReplyError{}},
		{"5500 a\r\n", relay.ReplyError{}},
		{"150 a\r\n", relay.ReplyError{}},
		{"650 a\r\n", relay.ReplyError{}},
		{"550 " + strings.Repeat("x", maxReplyLine) + "\r\n", relay.ReplyError{}},
		{strings.Repeat("550-x\r\n", maxReplyLines) + "550 x\r\n", relay.ReplyError{}},
		{strings.Repeat("550-"+strings.Repeat("x", 1000)+"\r\n", 100) + "550 x\r\n", relay.ReplyError{}},
	} {
		rp, err := read(tc.in)
		if tc.want.Code == 0 {
			if err == nil {
				t.Errorf("%.100q: no error", tc.in)
			}
			continue
		}
		if err != nil {
			t.Errorf("%.100q: %v", tc.in, err)
		} else if got := rp.asError(""); got == nil || *got != tc.want {
			t.Errorf("%.100q: %+v, not %+v", tc.in, got, tc.want)
		}
	}
}

// For any input, reading ends, stays within its bounds, and what people see is
// safe to show.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 2.0.0 OK\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 \x00\xff\r\n", "421\n", "x", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rp, err := read(string(in))
		shown := rp.String()
		if err != nil {
			shown = err.Error()
		} else if re := rp.asError("host"); re != nil {
			shown += re.Error() + re.Enhanced
		} else if rp.code < 200 || rp.code > 599 || rp.code/100 > 3 {
			t.Errorf("code %d", rp.code)
		}
		if len(rp.text) > maxReplyBytes || len(shown) > 3*maxReplyText {
			t.Errorf("%d bytes of text, %d shown", len(rp.text), len(shown))
		}
		for _, r := range shown {
			if r < ' ' || r > '~' {
				t.Errorf("not printable: %q", shown)
			}
		}
	})
}

func TestParseExtensions(t *testing.T) {
	x := parseExtensions([]byte("SIZE PIPELINING greets you\npipelining\nSize 1000\nAUTH plain LOGIN\n\nX-NEW\nSTARTTLS\n8BITMIME\n"))
	if !x.pipelining || x.size != 1000 || !x.sized || len(x.auth) != 2 || x.auth[0] != "PLAIN" || !x.startTLS || !x.eightBit || x.chunking || x.dsn {
		t.Errorf("%+v", x)
	}
	if x := parseExtensions([]byte("PIPELINING\n")); x.pipelining {
		t.Error("the greeting is no extension")
	}
	for _, size := range []string{"SIZE", "SIZE x", "SIZE 0"} {
		if x := parseExtensions([]byte("host\n" + size + "\n")); x.size != 0 || !x.sized {
			t.Errorf("%s: %d", size, x.size)
		}
	}
}
