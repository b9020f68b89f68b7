package queue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// noDSN is a server that takes a message and confirms nothing.
var noDSN = []relay.NextHop{{Host: "mx.example.com", Reply: "250 2.6.0 queued as 7"}}

// askSuccess is a message for bob, whose sender wants to be told of success.
func askSuccess() *relay.Message {
	m := message(1, "shop@acme.example", "bob@example.com")
	m.To[0].Notify = []string{"SUCCESS", "FAILURE"}
	return m
}

// Over real sockets: who asks for a confirmation gets one from the next server
// if that has DSN, and if not is told so here, once.
func TestWhoIsToldOfSuccess(t *testing.T) {
	for _, test := range []struct {
		name string
		dsn  bool // the upstream has it
		rows []successRow
	}{
		{"the upstream has DSN", true, []successRow{
			{"FROM:<shop@acme.example>", " NOTIFY=SUCCESS", 0},
			{"FROM:<shop@acme.example>", " NOTIFY=SUCCESS,FAILURE", 0},
			{"FROM:<>", " NOTIFY=SUCCESS", 0},
			{"FROM:<shop@acme.example>", "", 0},
		}},
		{"the upstream has no DSN", false, []successRow{
			{"FROM:<shop@acme.example>", " NOTIFY=SUCCESS", 1},
			{"FROM:<shop@acme.example> RET=FULL ENVID=q", " NOTIFY=FAILURE,SUCCESS,DELAY ORCPT=rfc822;bob@example.com", 1},
			{"FROM:<shop@acme.example>", " NOTIFY=FAILURE,DELAY", 0},
			{"FROM:<shop@acme.example>", " NOTIFY=NEVER", 0},
			{"FROM:<shop@acme.example>", "", 0},
			{"FROM:<>", " NOTIFY=SUCCESS", 0},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := new(relaytest.Upstream)
			if !test.dsn {
				up.Extensions = slices.DeleteFunc(relaytest.DefaultExtensions(), func(e string) bool { return e == "DSN" })
			}
			w := newUnstartedWireTo(t, up)
			w.start()
			for _, row := range test.rows {
				row.run(w, test.dsn)
			}
		})
	}
}

type successRow struct {
	from   string // of MAIL, with its parameters
	params string // of RCPT
	want   int    // how many reports
}

func (row successRow) run(w *wire, dsn bool) {
	w.Helper()
	before := len(w.up.Received())
	c, err := w.login()
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	if ok, _ := c.Extension("DSN"); !ok {
		w.Error("the relay doesn't announce DSN")
	}
	for _, command := range []string{"MAIL " + row.from, "RCPT TO:<bob@example.com>" + row.params, "DATA", hello + "."} {
		if err := c.Text.PrintfLine("%s", command); err != nil {
			w.Fatal(err)
		}
		if code, text, err := c.Text.ReadResponse(0); err != nil || code >= 400 {
			w.Fatalf("%q is answered %d %s, %v", command, code, text, err)
		}
	}
	w.eventually()
	got := w.up.Received()[before:]
	if len(got) != 1+row.want {
		w.Fatalf("%s%s: %d messages were handed on, want the message and %d reports", row.from, row.params, len(got), row.want)
	}
	if passed := slices.Equal(got[0].To[0].Params, strings.Fields(row.params)); passed != (dsn || row.params == "") {
		w.Errorf("%s%s: the upstream was told %q", row.from, row.params, got[0].To[0].Params)
	}
	for _, d := range got[1:] {
		p := parse(w.T, string(d.Content))
		if d.From != "" || d.To[0].Address != "shop@acme.example" || p.status[1].Get("Action") != "relayed" || p.status[1].Get("Remote-Mta") != "dns; 127.0.0.1" {
			w.Errorf("%s%s: the report is from %q to %+v:\n%s", row.from, row.params, d.From, d.To, d.Content)
		}
	}
}

// Recipients with NOTIFY=SUCCESS are in one report, failed ones in another.
func TestRelayedReport(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.taken = noDSN
		b.sink.script = func(_ context.Context, m *relay.Message) error {
			return refuse(m, final(550, "5.1.1", "no such user"), "bad")
		}
	}, func(b *bench) {
		m := message(1, "shop@acme.example", "bob@example.com", "bad@example.com", "silent@example.com", "carol@example.com")
		m.Options = relay.Options{Return: "FULL", EnvelopeID: "order 7"}
		for _, i := range []int{0, 1, 3} {
			m.To[i].Notify = []string{"SUCCESS", "FAILURE"}
		}
		m.To[3].OriginalRecipient = "rfc822;carol@elsewhere.example"
		b.forward(m)
		b.pass(time.Second)
		b.wantDepth(0)
		var relayed, failed []parsed
		for _, n := range b.from("") {
			if len(n.to) != 1 || n.to[0] != "shop@acme.example" || n.message.Identity.Tenant != "acme" || n.message.To[0].Notify[0] != "NEVER" {
				t.Errorf("the report goes to %+v of %v", n.message.To, n.message.Identity)
			}
			switch p := parse(t, n.data); p.status[1].Get("Action") {
			case "relayed":
				relayed = append(relayed, p)
			case "failed":
				failed = append(failed, p)
			}
		}
		if len(relayed) != 1 || len(failed) != 1 {
			t.Fatalf("%d reports of success and %d of failure, want one each", len(relayed), len(failed))
		}
		if len(failed[0].status) != 2 || strings.Contains(failed[0].parts[0], "bob@") {
			t.Errorf("the bounce says\n%s", failed[0].parts[0])
		}
		checkRelayed(t, m, relayed[0])
	})
}

func checkRelayed(t *testing.T, m *relay.Message, p parsed) {
	t.Helper()
	if got, want := p.header.Get("Subject"), "Your message was sent on"; got != want {
		t.Errorf("the subject is %q, want %q", got, want)
	}
	for _, want := range []string{"bob@example.com", "carol@example.com", "mx.example.com", "does not confirm", "250 2.6.0 queued as 7", m.ID} {
		if !strings.Contains(p.parts[0], want) {
			t.Errorf("the text doesn't say %q:\n%s", want, p.parts[0])
		}
	}
	if len(p.status) != 3 {
		t.Fatalf("the status has %d groups, want one for each of bob and carol:\n%s", len(p.status), p.parts[1])
	}
	wantFields(t, p.status[0], map[string]string{"Reporting-Mta": "dns; relay.test", "Original-Envelope-Id": "order 7"})
	wantFields(t, p.status[1], map[string]string{"Original-Recipient": "", "Final-Recipient": "rfc822; bob@example.com", "Action": "relayed"})
	wantFields(t, p.status[2], map[string]string{
		"Original-Recipient": "rfc822; carol@elsewhere.example", "Final-Recipient": "rfc822; carol@example.com",
		"Action": "relayed", "Status": "2.6.0", "Remote-Mta": "dns; mx.example.com", "Diagnostic-Code": "smtp; 250 2.6.0 queued as 7",
		"Will-Retry-Until": "",
	})
	// RET is for failures alone (RFC 3461 section 4.3).
	if p.types[2] != "text/rfc822-headers" || p.parts[2] != "From: shop@acme.example\r\nSubject: hello\r\n" {
		t.Errorf("returned is %s %q, want the header", p.types[2], p.parts[2])
	}
}

func TestWhatIsKnownOfTheNextServer(t *testing.T) {
	with := relay.NextHop{Host: "with.example", Reply: "250 2.0.0 ok", DSN: true}
	without := relay.NextHop{Host: "without.example", Reply: "250 2.1.5 ok"}
	for _, test := range []struct {
		name   string
		taken  []relay.NextHop
		status string // "": no report
		host   string // the Remote-MTA
		reply  string // the Diagnostic-Code
	}{
		{"with DSN", []relay.NextHop{with}, "", "", ""},
		{"without", []relay.NextHop{without}, "2.1.5", "dns; without.example", "smtp; 250 2.1.5 ok"},
		{"no enhanced code", []relay.NextHop{{Host: "a.example", Reply: "250 ok"}}, "2.0.0", "dns; a.example", "smtp; 250 ok"},
		{"one that doesn't fit", []relay.NextHop{{Host: "a.example", Reply: "250 5.1.1 hm"}}, "2.0.0", "dns; a.example", "smtp; 250 5.1.1 hm"},
		{"not a reply of SMTP", []relay.NextHop{{Host: "api.example", Reply: "id 4711"}}, "2.0.0", "dns; api.example", ""},
		{"more lines than one", []relay.NextHop{{Host: "a\r\nX: y", Reply: "250 ok\r\nX: y"}}, "2.0.0", "dns; a X: y", "smtp; 250 ok X: y"},
		{"nothing", []relay.NextHop{}, "2.0.0", "", ""},
		{"two servers with DSN", []relay.NextHop{with, with}, "", "", ""},
		{"the second without", []relay.NextHop{with, without}, "2.1.5", "dns; without.example", "smtp; 250 2.1.5 ok"},
		{"the first without", []relay.NextHop{without, with}, "2.1.5", "dns; without.example", "smtp; 250 2.1.5 ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(b *bench) { b.sink.taken = test.taken }, func(b *bench) {
				b.forward(askSuccess())
				b.pass(time.Second)
				b.wantDepth(0)
				got := b.from("")
				if (len(got) > 0) != (test.status != "") {
					t.Fatalf("%d reports", len(got))
				}
				if len(got) > 0 {
					p := parse(t, got[0].data)
					wantFields(t, p.status[1], map[string]string{
						"Action": "relayed", "Status": test.status, "Remote-Mta": test.host, "Diagnostic-Code": test.reply, "X": "",
					})
				}
			})
		})
	}
}

func TestRelayedText(t *testing.T) {
	for _, want := range []string{"Übergeben: bob@example.com", ""} {
		inBubble(t, func(b *bench) {
			b.sink.taken = noDSN
			b.q.Bounce = func(n queue.Notice) string {
				if n.Kind != queue.RelayedNotice || n.Recipients[0].Reply.Host != "mx.example.com" || n.Recipients[0].Reply.Text != "queued as 7" {
					t.Errorf("the notice is %+v", n)
				}
				return want
			}
		}, func(b *bench) {
			b.forward(askSuccess())
			b.pass(time.Second)
			b.wantDepth(0)
			got := b.from("")
			if (len(got) > 0) != (want != "") {
				t.Fatalf("%d reports with the text %q", len(got), want)
			}
			if len(got) > 0 && !strings.Contains(parse(t, got[0].data).parts[0], want) {
				t.Errorf("the report doesn't say %q:\n%s", want, got[0].data)
			}
		})
	}
}

// A crash between keeping the report and recording the delivery: the message goes
// again, as it may, but not the report.
func TestCrashBetweenReportAndOutcome(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.sink.taken = noDSN
		first := newBench(b.T)
		first.sink.taken = noDSN
		first.q.Spool = &badSpool{Spool: b.spool, settle: func(context.Context, []store.Outcome, func() ([]store.Outcome, error)) ([]store.Outcome, error) {
			return nil, errors.New("the line is down")
		}}
		first.start()
		first.forward(askSuccess())
		b.pass(time.Second)
		first.stop()
		b.wantDepth(2) // the message and its report
	}, func(b *bench) {
		b.pass(10 * minute)
		if n := len(b.from("")); n != 1 {
			t.Errorf("%d reports were sent, want 1", n)
		}
		b.wantDepth(0)
	})
}

// If the report can't be kept, the message isn't sent again for it.
func TestReportThatCannotBeKept(t *testing.T) {
	inBubble(t, func(b *bench) {
		puts := 0
		b.sink.taken = noDSN
		b.q.Spool = &badSpool{Spool: b.spool, put: func(_ context.Context, put func() error) error {
			if puts++; puts == 2 {
				return errors.New("no room")
			}
			return put()
		}}
	}, func(b *bench) {
		b.forward(askSuccess())
		b.pass(hour)
		if n := tries(b, "bob@example.com"); n != 1 {
			t.Errorf("the message was sent %d times, want once", n)
		}
		if n := len(of[*queue.Delivered](b.events)); n != 1 {
			t.Errorf("%d delivered events, want 1", n)
		}
		b.wantDepth(0)
	})
}
