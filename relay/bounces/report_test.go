package bounces_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

// reports returns the reports in testdata by name. All are about the same message of
// billing@acme.example.
func reports(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/reports/*.eml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d reports: %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[strings.TrimSuffix(filepath.Base(f), ".eml")], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// outcome returns what a Receiver makes of a report: a line for each call of Bounced.
func outcome(t *testing.T, report []byte) string {
	t.Helper()
	var b strings.Builder
	r := &bounces.Receiver{
		Secrets:   []credentials.Password{newSecret},
		Logger:    quiet,
		Forwarder: &relaytest.Recorder{},
		Bounced: func(_ context.Context, tenant store.TenantID, mail, recipient string, r *relay.ReplyError) error {
			if tenant != "acme" || mail != "0123456789abcdefghjkmnpqrs" {
				t.Errorf("got mail %s of %s", mail, tenant)
			}
			fmt.Fprintf(&b, "  %s: %v\n", recipient, r)
			return nil
		},
	}
	if err := r.Receive(t.Context(), "b-fx2tnyzz-billing@bounces.acme.example", bytes.NewReader(report)); err != nil {
		t.Error(err)
	}
	return b.String()
}

// What the servers of testdata/reports write is recorded as testdata/reports.txt
// says, with both kinds of line ends.
func TestReports(t *testing.T) {
	golden, err := os.ReadFile("testdata/reports.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for section := range strings.SplitSeq(string(golden), "\n\n") {
		name, lines, _ := strings.Cut(strings.TrimSpace(section), "\n")
		if lines != "" {
			lines += "\n"
		}
		want[name] = lines
	}
	all := reports(t)
	for name, report := range all {
		expected, ok := want[name]
		if !ok {
			t.Errorf("testdata/reports.txt has no section %s", name)
		}
		if delayed := strings.HasSuffix(name, "-delayed"); delayed != (expected == "") {
			t.Errorf("testdata/reports.txt: the section %s has the lines\n%s", name, expected)
		}
		for ending, report := range map[string][]byte{"LF": report, "CRLF": bytes.ReplaceAll(report, []byte("\n"), []byte("\r\n"))} {
			if got := outcome(t, report); got != expected {
				t.Errorf("%s with %s: got\n%swant\n%s", name, ending, got, expected)
			}
		}
	}
	for name := range want {
		if all[name] == nil {
			t.Errorf("testdata/reports.txt has a section %s, but there is no such report", name)
		}
	}
}
