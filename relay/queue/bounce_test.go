package queue_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// A parsed is a notice, taken apart.
type parsed struct {
	header mail.Header
	types  []string // of the parts
	parts  []string
	status []textproto.MIMEHeader // the groups of fields of the delivery status
}

func parse(t *testing.T, data string) parsed {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("the notice can't be read: %v\n%s", err, data)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("the notice is a %s %v, %v", kind, params, err)
	}
	p := parsed{header: m.Header}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextPart() // quoted-printable is decoded
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("a part can't be read: %v\n%s", err, data)
		}
		body, _ := io.ReadAll(part)
		p.types = append(p.types, part.Header.Get("Content-Type"))
		p.parts = append(p.parts, string(body))
	}
	if len(p.parts) != 3 {
		t.Fatalf("the notice has the parts %v, want 3\n%s", p.types, data)
	}
	for r := textproto.NewReader(bufio.NewReader(strings.NewReader(p.parts[1]))); ; {
		h, err := r.ReadMIMEHeader()
		if len(h) > 0 {
			p.status = append(p.status, h)
		}
		if err != nil {
			break
		}
	}
	for _, line := range strings.SplitAfter(data, "\n") {
		if line != "" && !strings.HasSuffix(line, "\r\n") || len(line) > 1000 || strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\x00") {
			t.Errorf("the notice has a bad line: %q", line)
		}
	}
	return p
}

// bounce sends m to a Next that refuses all recipients except the sender with
// err, and returns the bounces.
func bounce(t *testing.T, m *relay.Message, err error) (notices []sent) {
	t.Helper()
	inBubble(t, func(b *bench) { b.sink.script = failing(err) }, func(b *bench) {
		b.forward(m)
		b.pass(time.Second)
		notices = b.from("")
		b.wantDepth(0)
	})
	return notices
}

func final(code int, enhanced, text string) error {
	return &relay.ReplyError{Code: code, Enhanced: enhanced, Text: text, Host: "mx.example.com"}
}

func TestBounce(t *testing.T) {
	m := message(1, "shop@acme.example", "bob@example.com", "carol@example.com")
	m.Received = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC) // when bubbles begin
	m.Options.EnvelopeID = "order 7"
	m.To[1].OriginalRecipient = "rfc822;carol@elsewhere.example"
	got := bounce(t, m, final(550, "5.1.1", "no such user"))
	if len(got) != 1 {
		t.Fatalf("%d bounces, want one for both recipients", len(got))
	}
	if to := got[0].to; len(to) != 1 || to[0] != "shop@acme.example" {
		t.Errorf("the bounce goes to %v, want the envelope sender", to)
	}
	if bm := got[0].message; bm.Identity.Tenant != "acme" || bm.ID == m.ID || len(bm.ID) != 26 || bm.To[0].Notify[0] != "NEVER" {
		t.Errorf("the bounce is %+v", bm)
	}
	p := parse(t, got[0].data)
	for field, want := range map[string]string{
		"From":           "Mail Delivery System <mailer-daemon@relay.test>",
		"To":             "<shop@acme.example>",
		"Subject":        "Your message could not be delivered",
		"Auto-Submitted": "auto-replied",
		"Message-Id":     "<" + got[0].id + "@relay.test>",
		"Mime-Version":   "1.0",
	} {
		if have := p.header.Get(field); have != want {
			t.Errorf("%s is %q, want %q", field, have, want)
		}
	}
	if _, err := p.header.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	for _, want := range []string{"bob@example.com", "mx.example.com", "550 5.1.1 no such user", "check the address", m.ID} {
		if !strings.Contains(p.parts[0], want) {
			t.Errorf("the text doesn't say %q:\n%s", want, p.parts[0])
		}
	}
	if len(p.status) != 3 {
		t.Fatalf("the status has %d groups, want 3:\n%s", len(p.status), p.parts[1])
	}
	wantFields(t, p.status[0], map[string]string{
		"Reporting-Mta": "dns; relay.test", "Original-Envelope-Id": "order 7", "Arrival-Date": m.Received.Format(time.RFC1123Z),
	})
	wantFields(t, p.status[2], map[string]string{
		"Original-Recipient": "rfc822; carol@elsewhere.example", "Final-Recipient": "rfc822; carol@example.com",
		"Action": "failed", "Status": "5.1.1", "Remote-Mta": "dns; mx.example.com", "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
	})
	if p.types[2] != "text/rfc822-headers" || p.parts[2] != "From: shop@acme.example\r\nSubject: hello\r\n" {
		t.Errorf("returned is %s %q, want the header", p.types[2], p.parts[2])
	}
}

func wantFields(t *testing.T, h textproto.MIMEHeader, want map[string]string) {
	t.Helper()
	for field, value := range want {
		if got := h.Get(field); got != value {
			t.Errorf("%s is %q, want %q", field, got, value)
		}
	}
}

func TestWhatABounceReturns(t *testing.T) {
	for _, test := range []struct {
		name    string
		options relay.Options
		kinds   []string
		part    string
	}{
		{"unsaid", relay.Options{}, []string{"message/delivery-status", "text/rfc822-headers"}, "From: shop@acme.example\r\nSubject: hello\r\n"},
		{"headers", relay.Options{Return: "HDRS"}, []string{"message/delivery-status", "text/rfc822-headers"}, "From: shop@acme.example\r\nSubject: hello\r\n"},
		{"full", relay.Options{Return: "FULL"}, []string{"message/delivery-status", "message/rfc822"}, hello},
		{"UTF-8", relay.Options{Return: "FULL", UTF8: true}, []string{"message/global-delivery-status", "message/global"}, hello},
		{"8-bit", relay.Options{Return: "FULL", Body: "8BITMIME"}, []string{"message/delivery-status", "message/rfc822"}, hello},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := message(1, "shop@acme.example", "bob@example.com")
			m.Options = test.options
			got := bounce(t, m, final(550, "", "no"))
			if len(got) != 1 {
				t.Fatalf("%d bounces, want 1", len(got))
			}
			p := parse(t, got[0].data)
			if p.types[1] != test.kinds[0] || p.types[2] != test.kinds[1] || p.parts[2] != test.part {
				t.Errorf("the parts are %v, want %v; returned is %q, want %q", p.types, test.kinds, p.parts[2], test.part)
			}
			if o := got[0].message.Options; o.UTF8 != test.options.UTF8 || o.Body != "7BIT" {
				t.Errorf("the bounce goes with %+v", o)
			}
		})
	}
}

func TestWhoIsToldOfFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		from   string
		notify []string
		want   int
	}{
		{"by default", "a@acme.example", nil, 1},
		{"asked for", "a@acme.example", []string{"SUCCESS", "FAILURE"}, 1},
		{"not asked for", "a@acme.example", []string{"SUCCESS", "DELAY"}, 0},
		{"never", "a@acme.example", []string{"NEVER"}, 0},
		{"null sender: it may be a bounce", "", nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.sink.script = func(_ context.Context, m *relay.Message) error {
					return refuse(m, reply(550, "no"), "bob")
				}
			}, func(b *bench) {
				m := message(1, test.from, "bob@example.com")
				m.To[0].Notify = test.notify
				b.forward(m)
				b.pass(hour)
				if n := len(b.sink.all()) - 1; n != test.want {
					t.Errorf("%d bounces, want %d", n, test.want)
				}
				if n := len(of[*queue.Bounced](b.events)); n != 1 {
					t.Errorf("%d bounced events, want 1 in any case", n)
				}
				b.wantDepth(0)
			})
		})
	}
}

// A bounce that can't be delivered, nor the second without the returned message,
// ends there.
func TestNoBounceOfABounce(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(context.Context, *relay.Message) error { return reply(550, "no") }
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com"))
		b.pass(day)
		if n := len(b.sink.all()); n != 3 {
			t.Errorf("handed on were %d, want the message and two bounces", n)
		}
		b.wantDepth(0)
	})
}

func TestBounceIsReadable(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want []string // in the text
		not  string   // anywhere
	}{
		{"mailbox full", final(552, "5.2.2", "over quota"), []string{"mailbox is full"}, ""},
		{"too large", final(552, "5.3.4", "too big"), []string{"too large"}, ""},
		{"policy", final(554, "5.7.1", "spam"), []string{"doesn't accept"}, ""},
		{"this relay", &relay.ReplyError{Code: 550, Enhanced: "5.7.30", Text: "TLS is required"}, []string{"could not be sent on", "TLS is required"}, "Remote-MTA"},
		{"control characters", final(550, "5.1.1", "a\x00\x1b[31mb\r\n\r\n.\r\nSubject: evil\xff\xfe é"), []string{"550 5.1.1 a"}, "\r\nSubject: evil"},
		{"a bad code", final(550, "5.1.1\r\nX: y", "no"), []string{"550"}, "\r\nX: y"},
		{"10,000 lines", final(550, "5.1.1", strings.Repeat("a line\r\n", 10_000)), []string{"a line"}, strings.Repeat("a line ", 200)},
		{"no reply at all", finalError{}, []string{"could not be sent on", "looks after your mail"}, "secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := bounce(t, message(1, "a@acme.example", "bob@example.com"), test.err)
			if len(got) != 1 {
				t.Fatalf("%d bounces, want 1", len(got))
			}
			p := parse(t, got[0].data)
			for _, want := range test.want {
				if !strings.Contains(p.parts[0], want) {
					t.Errorf("the text doesn't say %q:\n%s", want, p.parts[0])
				}
			}
			if test.not != "" && strings.Contains(got[0].data, test.not) {
				t.Errorf("the bounce holds %q:\n%.2000s", test.not, got[0].data)
			}
			if len(p.status) != 2 || len(got[0].data) > 8000 {
				t.Errorf("the bounce has %d groups and %d bytes:\n%.2000s", len(p.status), len(got[0].data), got[0].data)
			}
		})
	}
}

type finalError struct{}

func (finalError) Error() string   { return "secret internals" }
func (finalError) Temporary() bool { return false }

func TestAddressesThatAreNoAddresses(t *testing.T) {
	got := bounce(t, message(1, "a@acme.example>\r\nBcc: <x@y.example", "bob\r\nX: y@example.com"), final(550, "", "no"))
	if len(got) != 1 {
		t.Fatalf("%d bounces, want 1", len(got))
	}
	if p := parse(t, got[0].data); p.header.Get("Bcc") != "" || len(p.status) != 2 || p.status[1].Get("X") != "" {
		t.Errorf("an address became a field:\n%s", got[0].data)
	}
}

func TestBounceText(t *testing.T) {
	for _, test := range []struct {
		name   string
		bounce func(queue.Notice) string
		want   string // "": no bounce
	}{
		{"replaced", func(n queue.Notice) string { return "Zurück: " + n.Recipients[0].Address + "\n" }, "Zurück: bob@example.com\r\n"},
		{"no bounces", func(queue.Notice) string { return "" }, ""},
		{"panics", func(queue.Notice) string { panic("no") }, "What to do:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.q.Bounce = test.bounce
				b.sink.script = failing(reply(550, "no"))
			}, func(b *bench) {
				b.forward(message(1, "a@acme.example", "bob@example.com"))
				b.pass(hour)
				got := b.from("")
				if (len(got) > 0) != (test.want != "") {
					t.Fatalf("%d bounces", len(got))
				}
				if len(got) > 0 && !strings.Contains(parse(t, got[0].data).parts[0], test.want) {
					t.Errorf("the bounce doesn't say %q:\n%s", test.want, got[0].data)
				}
				if n := len(of[*queue.Bounced](b.events)); n != 1 {
					t.Errorf("%d bounced events, want 1", n)
				}
				b.wantDepth(0)
			})
		})
	}
}

// A crash between keeping the bounce and recording why must not make two.
func TestCrashBetweenBounceAndOutcome(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = failing(reply(550, "no"))
		// The first node can't record anything any more.
		first := newBench(b.T)
		first.sink.script = b.sink.script
		first.q.Spool = &badSpool{Spool: b.spool, settle: func(context.Context, []store.Outcome, func() ([]store.Outcome, error)) ([]store.Outcome, error) {
			return nil, errors.New("the line is down")
		}}
		first.start()
		first.forward(message(1, "a@acme.example", "bob@example.com"))
		b.pass(time.Second)
		first.stop()
		b.wantDepth(2) // the message and its bounce
	}, func(b *bench) {
		b.pass(10 * minute)
		if n := len(b.from("")); n != 1 {
			t.Errorf("%d bounces were sent, want 1", n)
		}
		if n := tries(b, "bob@example.com"); n != 1 {
			t.Errorf("the second node tried %d times, want once", n)
		}
		b.wantDepth(0)
	})
}

// If a bounce can't be kept, its recipients aren't given up yet.
func TestBounceThatCannotBeKept(t *testing.T) {
	inBubble(t, func(b *bench) {
		puts := 0
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			if puts++; puts == 2 {
				return errors.New("no room")
			}
			return put()
		}}
		b.sink.script = failing(reply(550, "no"))
	}, func(b *bench) {
		b.forward(message(1, "a@acme.example", "bob@example.com"))
		b.pass(time.Second)
		b.wantDepth(1)
		b.pass(5 * minute)
		if n := len(b.from("")); n != 1 {
			t.Errorf("%d bounces, want 1", n)
		}
		b.wantDepth(0)
	})
}

// A large message, whatever RET says, comes back as its header.
func TestBounceOfALargeMessage(t *testing.T) {
	big := hello + strings.Repeat("0123456789abcdef\r\n", 200_000)
	inBubble(t, func(b *bench) {
		b.q.MaxMemory = -1
		b.sink.script = failing(reply(550, "no"))
	}, func(b *bench) {
		m := message(1, "a@acme.example", "bob@example.com")
		m.Options.Return = "FULL"
		m = m.WithContent(strings.NewReader(big), int64(len(big)))
		b.forward(m)
		b.pass(time.Second)
		got := b.from("")
		if len(got) != 1 || parse(t, got[0].data).parts[2] != "From: shop@acme.example\r\nSubject: hello\r\n" {
			t.Errorf("%d bounces, want one with the header", len(got))
		}
		b.wantDepth(0)
	})
}
