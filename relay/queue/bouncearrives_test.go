package queue_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

func withText(m *relay.Message, text string) *relay.Message {
	return m.WithContent(bytes.NewReader([]byte(text)), int64(len(text)))
}

// A bounce returns only what every server between here and the sender takes.
func TestBounceReturnsNoMoreThanArrives(t *testing.T) {
	const header = "From: shop@acme.example\r\nSubject: hello\r\n"
	for _, test := range []struct {
		name    string
		content string
		options relay.Options
		err     error
		want    string // what is returned
		body    string // the BODY that the bounce declares
	}{
		{"50 KB", hello + strings.Repeat("x\r\n", 17_100), relay.Options{}, nil, header, "7BIT"},
		{"REQUIRETLS", hello, relay.Options{RequireTLS: true}, nil, header, "7BIT"},
		{"552", hello, relay.Options{}, final(552, "", "too big"), header, "7BIT"},
		{"5.3.4", hello, relay.Options{}, final(554, "5.3.4", "too big"), header, "7BIT"},
		{"5.2.3", hello, relay.Options{}, final(550, "5.2.3", "too big"), header, "7BIT"},
		{"a long line in the body", hello + strings.Repeat("x", 1200) + "\r\n", relay.Options{}, nil, header, "7BIT"},
		{"8-bit, not declared", hello + "Zur\xfcck\r\n", relay.Options{}, nil, hello + "Zur\xfcck\r\n", "8BITMIME"},
		{"8-bit, declared 7BIT", "Subject: Zur\xfcck\r\n\r\n", relay.Options{Body: "7BIT"}, nil, "Subject: Zur\xfcck\r\n\r\n", "8BITMIME"},
		{
			"a long field", "Subject: hello\r\nReferences: " + strings.Repeat("<a@b> ", 300) + "\r\nX-Long: " + strings.Repeat("x", 2000) + "\r\nTo: b\r\n\r\n", relay.Options{}, nil,
			"Subject: hello\r\nReferences: " + strings.Repeat("<a@b> ", 163) + "<a@b>\r\n " + strings.Repeat("<a@b> ", 136) + "\r\nTo: b\r\n", "7BIT",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := withText(message(1, "shop@acme.example", "bob@example.com"), test.content)
			m.Options = test.options
			m.Options.Return = "FULL"
			if test.err == nil {
				test.err = final(550, "", "no")
			}
			got := bounce(t, m, test.err)
			if len(got) != 1 {
				t.Fatalf("%d bounces, want 1", len(got))
			}
			if p := parse(t, got[0].data); p.parts[2] != test.want {
				t.Errorf("returned is %.300q, want %.300q", p.parts[2], test.want)
			}
			if o := got[0].message.Options; o.Body != test.body || o.RequireTLS {
				t.Errorf("the bounce goes with %+v, want BODY=%s", o, test.body)
			}
		})
	}
}

// A bounce whose content is refused for good is sent once more without the
// returned message.
func TestBounceThatIsRefused(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			data := new(bytes.Buffer)
			data.ReadFrom(m.Content())
			if m.From != "" || strings.Contains(data.String(), "Subject: hello") {
				return reply(554, "spam")
			}
			return nil
		}
	}, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "bob@example.com"))
		b.pass(time.Second)
		got := b.from("")
		if len(got) != 2 || got[0].id == got[1].id {
			t.Fatalf("%d bounces, want 2", len(got))
		}
		second := got[1].data
		for _, want := range []string{"Final-Recipient: rfc822; bob@example.com", "554 spam", "--=_" + got[0].id + "--\r\n"} {
			if !strings.Contains(second, want) {
				t.Errorf("the second doesn't say %q:\n%s", want, second)
			}
		}
		if strings.Count(second, "Content-Type:") != 3 {
			t.Errorf("the second has other parts:\n%s", second)
		}
		b.wantDepth(0)
	})
}

// A bounce that no server takes ends after the second, and an event says so.
func TestBounceThatIsAlwaysRefused(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"content": {reply(554, "spam"), 2},
		"address": {&relay.RefusedError{Recipients: []relay.RefusedRecipient{{Address: "shop@acme.example", Err: reply(550, "unknown")}}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.sink.script = func(_ context.Context, m *relay.Message) error {
					if m.From != "" {
						return reply(550, "no")
					}
					return test.err
				}
			}, func(b *bench) {
				b.forward(message(1, "shop@acme.example", "bob@example.com"))
				b.pass(day)
				if got := b.from(""); len(got) != test.want {
					t.Errorf("%d bounces, want %d", len(got), test.want)
				}
				var about int
				for _, e := range of[*queue.Bounced](b.events) {
					if e.NoticeOf == message(1, "", "").ID {
						about++
					}
				}
				if about != test.want {
					t.Errorf("%d events about the bounces, want %d", about, test.want)
				}
				b.wantDepth(0)
			})
		})
	}
}

// If the second edition can't be kept, the first is not given up.
func TestRemadeBounceThatCannotBeKept(t *testing.T) {
	inBubble(t, func(b *bench) {
		puts := 0
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			if puts++; puts == 3 {
				return errors.New("no room")
			}
			return put()
		}}
		b.sink.script = func(_ context.Context, m *relay.Message) error { return reply(554, "spam") }
	}, func(b *bench) {
		b.forward(message(1, "shop@acme.example", "bob@example.com"))
		b.pass(5 * minute)
		ids := make(map[string]bool)
		for _, got := range b.from("") {
			ids[got.id] = true
		}
		if len(ids) != 2 {
			t.Errorf("%d bounces, want 2", len(ids))
		}
		b.wantDepth(0)
	})
}

// A diagnostic code is of type smtp only if a server said it.
func TestDiagnosticCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{final(550, "5.1.1", "no"), "smtp; 550 5.1.1 no"},
		{&relay.ReplyError{Code: 552, Enhanced: "5.3.4", Text: "too large"}, "x-gatepost; 552 5.3.4 too large"},
	} {
		got := bounce(t, message(1, "a@acme.example", "bob@example.com"), test.err)
		if len(got) != 1 {
			t.Fatalf("%d bounces", len(got))
		}
		wantFields(t, parse(t, got[0].data).status[1], map[string]string{"Diagnostic-Code": test.want})
	}
}
