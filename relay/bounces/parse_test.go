package bounces_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/store"
)

// intact is a report that the tests damage.
const intact = `Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

This is a report.
--b1
Content-Type: text/plain

Sorry.
--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.com
Original-Envelope-Id: E1

Original-Recipient: rfc822; bob@example.com
Final-Recipient: rfc822; bob@mail.example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; store.example.com
Diagnostic-Code: smtp; 550 5.1.1 no such
  mailbox

Final-Recipient: rfc822; eve@example.com
Action: delayed
Status: 4.2.2
--b1
Content-Type: message/rfc822

Message-ID: <m1@acme.example>
X-Bounce-Token: t1

Hello.
--b1--
`

var whole = &bounces.Report{
	EnvelopeID: "E1", ReportingMTA: "mail.example.com", MessageID: "<m1@acme.example>", Token: "t1",
	Recipients: []bounces.Recipient{
		{
			Original: "bob@example.com", Final: "bob@mail.example.com", Action: bounces.ActionFailed, Status: "5.1.1",
			RemoteMTA: "store.example.com", DiagnosticType: "smtp", Diagnostic: "550 5.1.1 no such mailbox",
		},
		{Final: "eve@example.com", Action: bounces.ActionDelayed, Status: "4.2.2"},
	},
}

// A report is understood whatever happened to it on the way.
func TestParseDamaged(t *testing.T) {
	encoded := func(encoding, body string) string {
		before, rest, _ := strings.Cut(intact, "message/delivery-status\n\n")
		_, after, _ := strings.Cut(rest, "Status: 4.2.2\n")
		return before + "message/delivery-status\nContent-Transfer-Encoding: " + encoding + "\n\n" + body + "\n" + after
	}
	for name, report := range map[string]string{
		"intact":                 intact,
		"CRLF":                   strings.ReplaceAll(intact, "\n", "\r\n"),
		"no end":                 strings.TrimSuffix(intact, "--b1--\n"),
		"no last line end":       strings.TrimSuffix(intact, "\n--b1--\n"),
		"no empty line":          strings.Replace(intact, "mailbox\n\nFinal", "mailbox\nFinal", 1),
		"no empty lines":         strings.Replace(strings.Replace(intact, "mailbox\n\nFinal", "mailbox\nFinal", 1), "E1\n\nOriginal", "E1\nOriginal", 1),
		"more empty lines":       strings.Replace(intact, "E1\n\nOriginal", "E1\n \n\n\nOriginal", 1),
		"multipart/mixed":        strings.Replace(intact, "multipart/report; report-type=delivery-status", "multipart/mixed", 1),
		"no boundary":            strings.Replace(intact, `; boundary="b1"`, "", 1),
		"a broken parameter":     strings.Replace(intact, "report-type=delivery-status", "report-type=delivery status; charset=", 1),
		"boundary, no quotes":    strings.Replace(intact, `boundary="b1"`, "boundary=b1 (a comment", 1),
		"case":                   strings.NewReplacer("Content-Type", "CONTENT-TYPE", "message/delivery-status", "Message/Delivery-Status", "rfc822;", "RFC822 ;", "failed", "Failed").Replace(intact),
		"angle brackets":         strings.NewReplacer("bob@example.com", "<bob@example.com>", "bob@mail.example.com", "<bob@mail.example.com>").Replace(intact),
		"comments":               strings.NewReplacer("Action: failed", "Action: failed (bad luck)", "5.1.1\nRem", "5.1.1 (no mailbox)\nRem", "dns; store.example.com", "dns; store.example.com (192.0.2.1)").Replace(intact),
		"dots":                   strings.NewReplacer("dns; store.example.com", "dns; store.example.com.").Replace(intact),
		"white space behind":     strings.ReplaceAll(intact, "--b1\n", "--b1 \t\n"),
		"rfc822-headers":         strings.Replace(intact, "message/rfc822", "text/rfc822-headers", 1),
		"utf-8 types":            strings.NewReplacer("message/rfc822", "message/global", "message/delivery-status", "message/global-delivery-status", "rfc822; bob", "utf-8; bob").Replace(intact),
		"global headers":         strings.Replace(intact, "message/rfc822", "message/global-headers", 1),
		"in another multipart":   "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n" + intact + "--b0--\n",
		"in four multiparts":     nested(4) + intact,
		"quoted-printable":       encoded("quoted-printable", strings.NewReplacer("mail.example.com\nOri", "mail=2Eexample.com\nOri", "no such\n  ", "no such =\n").Replace(statusOf(intact))),
		"base64":                 encoded("base64", base64Lines(statusOf(intact))),
		"junk in the status":     strings.Replace(intact, "Action: failed", "junk\nAction: failed", 1),
		"junk in front":          strings.Replace(intact, "This is a report.", "--b\n--b11\n--\n", 1),
		"a report passed on too": strings.Replace(intact, "Hello.\n", "Hello.\nFinal-Recipient: rfc822; x@example.com\nAction: failed\n", 1),
	} {
		got, err := bounces.Parse(strings.NewReader(report))
		if err != nil || !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, whole)
		}
	}
}

// statusOf returns the delivery status of a report.
func statusOf(report string) string {
	_, rest, _ := strings.Cut(report, "message/delivery-status\n\n")
	status, _, _ := strings.Cut(rest, "--b1\n")
	return status
}

// What is no report has no recipients.
func TestParseOther(t *testing.T) {
	attached := "Content-Type: message/rfc822\n\n" + intact
	for name, message := range map[string]string{
		"nothing":            "",
		"a vacation reply":   "Auto-Submitted: auto-replied\nSubject: away\n\nbob@example.com: I am away.\n<bob@example.com>:\nUntil Monday.\n",
		"a report passed on": attached,
		"a report attached":  "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\nLook.\n--b0\n" + attached + "--b0--\n",
		"a read receipt":     strings.NewReplacer("delivery-status", "disposition-notification").Replace(intact),
		"a complaint":        strings.NewReplacer("delivery-status", "feedback-report").Replace(intact),
		"too deep":           nested(5) + intact,
		"too far behind":     strings.Repeat("X-Field: x\n", 1<<17) + intact,
		"too many parts":     "Content-Type: multipart/mixed; boundary=b0\n\n" + strings.Repeat("--b0\n\n", 60) + "--b0\n" + intact,
		"no colon":           strings.ReplaceAll(intact, "Recipient:", "Recipient"),
		"only a boundary":    "Content-Type: multipart/report; boundary=\"\"\n\n--",
	} {
		got, err := bounces.Parse(strings.NewReader(message))
		if err != nil || len(got.Recipients) > 0 {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// nested returns the beginnings of multiparts in each other.
func nested(depth int) (s string) {
	for i := range depth {
		s += fmt.Sprintf("Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\n", i, i)
	}
	return s
}

// A report with many recipients is bounded.
func TestParseMany(t *testing.T) {
	many := strings.Replace(intact, "--b1\nContent-Type: message/rfc822", strings.Repeat("\nFinal-Recipient: rfc822; x@example.com\nAction: failed\n", 10000)+"--b1\nContent-Type: message/rfc822", 1)
	got, err := bounces.Parse(strings.NewReader(many))
	if err != nil || len(got.Recipients) != 500 || got.Token != "t1" {
		t.Errorf("got %d recipients and the token %q, %v; want 500", len(got.Recipients), got.Token, err)
	}
}

// No message makes the Receiver panic, or record what the token does not cover.
func FuzzReceive(f *testing.F) {
	for _, report := range reports(f) {
		f.Add(report)
	}
	f.Add([]byte(intact))
	f.Fuzz(func(t *testing.T, report []byte) {
		r := &bounces.Receiver{
			Secrets: []credentials.Password{newSecret}, Logger: quiet,
			Bounced: func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
				if tenant != "acme" || mail != "0123456789abcdefghjkmnpqrs" || !strings.HasSuffix(strings.TrimSuffix(recipient, " was passed on"), "@backend.example") {
					t.Errorf("Bounced was called for mail %s of %s to %s", mail, tenant, recipient)
				}
				if r.Code < 400 || r.Code > 599 || strings.ContainsAny(fmt.Sprint(r), "\r\n\x00") {
					t.Errorf("Bounced got the reply %q", r)
				}
				return nil
			},
			Forwarder: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
				var b bytes.Buffer
				if _, err := b.ReadFrom(m.Content()); err != nil {
					return err
				}
				if c := b.Bytes(); bytes.Contains(bytes.ReplaceAll(c, []byte("\r\n"), nil), []byte("\r")) || bytes.Count(c, []byte("\n")) != bytes.Count(c, []byte("\r\n")) {
					t.Errorf("a bare CR or LF was passed on: %q", c)
				}
				return nil
			}),
		}
		if err := r.Receive(t.Context(), "b-fx2tnyzz-billing@bounces.acme.example", bytes.NewReader(report)); err != nil && !strings.Contains(err.Error(), "too many servers") {
			t.Error(err)
		}
	})
}

// base64Lines encodes s in lines.
func base64Lines(s string) string {
	text := base64.StdEncoding.EncodeToString([]byte(s))
	var lines []string
	for len(text) > 76 {
		lines, text = append(lines, text[:76]), text[76:]
	}
	return strings.Join(append(lines, text), "\n")
}
