package relay

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// notSent are texts of go-smtp that no client of the relay can get, with the
// reason. TestReplies wants every other text in the table of replies.
var notSent = map[string]string{
	"Error: bad syntax":               "translate gives no empty command",
	"This is a LMTP server, use LHLO": "the relay does not speak LMTP",
	"This is not a LMTP server":       "translate gives no LHLO",
	"<":                               "the relay does not speak LMTP",
	"Hello %s":                        "appendReply replaces it",
	"Hello ":                          "appendReply replaces it",
	"%v %s Service Ready":             "appendReply replaces it",
	"SIZE %v":                         "appendExtensions replaces it",
	"LIMITS RCPTMAX=%v":               "appendExtensions replaces it",
	"DELIVERBY %d":                    "appendExtensions replaces it",
	"MT-PRIORITY %s":                  "appendExtensions replaces it",
	"Was expecting MAIL arg syntax of FROM:<address>": "translate gives a fixed MAIL",
	"Unable to parse MAIL ESMTP parameters":           "translate gives a fixed MAIL",
	"Unable to parse SIZE as an integer":              "translate gives a fixed MAIL",
	"Unknown BODY value":                              "translate gives a fixed MAIL",
	"Unknown RET value":                               "translate gives a fixed MAIL",
	"Malformed ENVID parameter value":                 "translate gives a fixed MAIL",
	"Malformed AUTH parameter value":                  "translate gives a fixed MAIL",
	"Malformed AUTH parameter mailbox":                "translate gives a fixed MAIL",
	"Unknown MAIL FROM argument":                      "translate gives a fixed MAIL",
	"Was expecting RCPT arg syntax of TO:<address>":   "translate gives a fixed RCPT",
	"Unable to parse RCPT ESMTP parameters":           "translate gives a fixed RCPT",
	"Maximum limit of %v recipients reached":          "the session has the limit",
	"Malformed NOTIFY parameter value":                "translate gives a fixed RCPT",
	"Malformed ORCPT parameter value":                 "translate gives a fixed RCPT",
	"Malformed RRVS parameter value":                  "translate gives a fixed RCPT",
	"Malformed BY parameter value":                    "translate gives a fixed RCPT",
	"BY parameter is below server minimum":            "translate gives a fixed RCPT",
	"Malformed MT-PRIORITY parameter value":           "translate gives a fixed RCPT",
	"MT-PRIORITY is outside valid range":              "translate gives a fixed RCPT",
	"Unknown RCPT TO argument":                        "translate gives a fixed RCPT",
	"TLS is required":                                 "AllowInsecureAuth is set",
	"Already running in TLS":                          "go-smtp does not know of TLS",
	"Ready to start TLS":                              "go-smtp does not know of TLS",
	"Handshake error":                                 "go-smtp does not know of TLS",
	"DATA not allowed for BINARYMIME messages":        "parseMail refuses BINARYMIME",
	"Missing chunk size argument":                     "translateBDAT gives a size",
	"Too many arguments":                              "translateBDAT gives one or two",
	"Unknown BDAT argument":                           "translateBDAT gives none but LAST",
	"Malformed size argument":                         "translateBDAT gives a small number",
	"Max message size exceeded":                       "appendReply replaces it",
	"OK: queued":                                      "Data never returns nil",
	"Error: transaction failed: ":                     "Data returns no other error than an SMTPError",
	"Too busy. Try again later.":                      "Reject is not called",
	"Bad command":                                     "translate gives no malformed command",
	"Too long line, closing connection":               "MaxLineLength is 0",
	"Idle timeout, bye bye":                           "conn.Read returns no other error than io.EOF",
	"Connection error, sorry":                         "conn.Read returns no other error than io.EOF",
}

// TestReplies reads the source of go-smtp: every text that it could send to a
// client is replaced, or cannot be sent.
func TestReplies(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emersion/go-smtp").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	call := regexp.MustCompile(`(?:writeResponse|protocolError)\((?:\d+|code), [^"\n]*"([^"]*)"`)
	other := regexp.MustCompile(`(?:Message: +|return \d+, EnhancedCode{[^}]*}, |Sprintf\(|msg := fmt\.Sprintf\(|\[\]string\{)"([^"]*)"`)
	found := 0
	for _, file := range []string{"conn.go", "server.go"} {
		source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(call.FindAllSubmatch(source, -1), other.FindAllSubmatch(source, -1)...) {
			found++
			text := string(m[1])
			if notSent[text] == "" && !strings.HasSuffix(text, " is not implemented") && !isReplaced(text) {
				t.Errorf("go-smtp can answer %q: add it to replies or to notSent", text)
			}
		}
	}
	if found < 80 {
		t.Errorf("got %d texts of go-smtp, want at least 80: the patterns miss some", found)
	}
}

func isReplaced(text string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(text), "%v", ".*")
	for theirs := range replies {
		if regexp.MustCompile(`^\d+ (\d\.\d\.\d )?` + pattern + "$").MatchString(theirs) {
			return true
		}
	}
	return false
}
