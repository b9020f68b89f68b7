package chaos_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// damages are what is done to the rows of one message each. In a statement $ID
// and $UPLOAD stand for the message's.
var damages = []struct {
	name, statement string
	large           bool   // the message is
	want            string // the event; "": it is that of another recipient
}{
	{"there is no mail in the row", `UPDATE gatepost_deliveries SET received = NULL, size = NULL, upload = NULL WHERE mail = $ID`, false, "held"},
	{"the content is none", `UPDATE gatepost_deliveries SET content = NULL WHERE mail = $ID`, false, "held"},
	{"the content is empty", `UPDATE gatepost_deliveries SET content = $NOTHING WHERE mail = $ID`, false, "held"},
	{"the content is cut short", `UPDATE gatepost_deliveries SET content = substr(content, 1, 100) WHERE mail = $ID`, false, "held"},
	{"the size is too small", `UPDATE gatepost_deliveries SET size = 10 WHERE mail = $ID`, false, "held"},
	{"the size is negative", `UPDATE gatepost_deliveries SET size = -1 WHERE mail = $ID`, false, "held"},
	{"the size is huge", `UPDATE gatepost_deliveries SET size = 4611686018427387904 WHERE mail = $ID`, false, "held"},
	{"the size is the largest", `UPDATE gatepost_deliveries SET size = 9223372036854775807 WHERE mail = $ID`, false, "held"},
	{"all pieces are gone", `DELETE FROM gatepost_contents WHERE upload = $UPLOAD`, true, "held"},
	{"a piece is gone", `DELETE FROM gatepost_contents WHERE upload = $UPLOAD AND n = 1`, true, "held"},
	{"a piece is too short", `UPDATE gatepost_contents SET content = substr(content, 1, 100) WHERE upload = $UPLOAD AND n = 0`, true, "held"},
	{"the upload is unknown", `UPDATE gatepost_deliveries SET upload = 'nonsense.x' WHERE mail = $ID`, true, "held"},
	{"the client's address is none", `UPDATE gatepost_deliveries SET remote = 'nonsense' WHERE mail = $ID`, false, "held"},
	{"the sender breaks the line", `UPDATE gatepost_deliveries SET sender = $INJECTION WHERE mail = $ID`, false, "bounced"},
	{"a parameter breaks the line", `UPDATE gatepost_deliveries SET body = $INJECTION WHERE mail = $ID`, false, "bounced"},
	{"the recipient breaks the line", `UPDATE gatepost_deliveries SET recipient = $INJECTION WHERE mail = $ID`, false, ""},
	{"notify is nonsense", `UPDATE gatepost_deliveries SET notify = $NONSENSE WHERE mail = $ID`, false, "bounced"},
	{"the attempts are negative", `UPDATE gatepost_deliveries SET attempts = -9000000000000000000 WHERE mail = $ID`, false, "delivered"},
	{"it is very old", `UPDATE gatepost_deliveries SET received = -9223372036854775807 WHERE mail = $ID`, false, "delivered"},
	{"it is from the future", `UPDATE gatepost_deliveries SET received = 9223372036854775807 WHERE mail = $ID`, false, "delivered"},
	{"it was due long ago", `UPDATE gatepost_deliveries SET next = -9223372036854775807 WHERE mail = $ID`, false, "delivered"},
	{"the number is another", `UPDATE gatepost_deliveries SET n = 7000000000 WHERE mail = $ID`, false, "held"},
	{"the lease is the last", `UPDATE gatepost_deliveries SET lease = 9223372036854775807 WHERE mail = $ID`, false, "delivered"},
}

// injection is what would be more than one line to the upstream.
const injection = "x@example.net>\r\nRCPT TO:<injected@example.net"

// TestDamagedRows damages rows of the spool by hand. Those messages are held,
// or given up, and the rest goes on.
func TestDamagedRows(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			var up atomic.Bool
			s := newSink(t, func(c relaytest.Command) relaytest.Answer {
				if !up.Load() {
					return relaytest.Answer{Text: "421 4.3.2 closing"}
				}
				return relaytest.Answer{}
			})
			n := b.node(t, s)
			n.Lease = time.Second
			n.start(t)
			l := &load{conns: 4, pause: time.Millisecond, large: 8}
			send(t, l, 100, n)
			n.kill()
			victims := damage(t, n, l)
			up.Store(true)
			n.start(t)
			s.wantAll(t, l, n)
			held := int64(0)
			for i, d := range damages {
				if d.want == "held" {
					held++
				}
				recipient := victims[i] + "@example.net"
				if d.want != "" {
					eventually(t, d.name+": "+d.want, func() bool { return n.became(d.want)[recipient] == 1 })
				}
				if got, want := len(s.all()[recipient]), btoi(d.want == "delivered"); got != want {
					t.Errorf("%s: arrived %d times, want %d", d.name, got, want)
				}
			}
			n.wantDepth(t, held, held)
			if got := s.all()["injected@example.net"]; len(got) > 0 {
				t.Errorf("what was put into a row came as a command to the upstream: %+v", got)
			}
		})
	}
}

// damage does all damages, each to another message. It removes the messages from
// the record of the load and returns their tokens.
func damage(t *testing.T, n *node, l *load) (victims []string) {
	t.Helper()
	db := n.open(t)
	tokens := slices.Sorted(maps.Keys(l.kept))
	for _, d := range damages {
		i := slices.IndexFunc(tokens, func(token string) bool { return l.isLarge(token) == d.large })
		token := tokens[i]
		tokens = slices.Delete(tokens, i, i+1)
		delete(l.kept, token)
		victims = append(victims, token)

		var id, upload string
		find := `SELECT mail, upload FROM gatepost_deliveries WHERE recipient = `
		if err := db.QueryRow(find+bytesLiteral(n.Dialect, token+"@example.net")).Scan(&id, &upload); err != nil {
			t.Fatal(err)
		}
		statement := strings.NewReplacer("$ID", "'"+id+"'", "$UPLOAD", "'"+upload+"'",
			"$INJECTION", bytesLiteral(n.Dialect, injection), "$NONSENSE", bytesLiteral(n.Dialect, "NONSENSE,,>"), "$NOTHING", bytesLiteral(n.Dialect, "")).Replace(d.statement)
		if n.Dialect == sqlstore.SQLite && strings.Contains(statement, "gatepost_contents") {
			damageFile(t, n, upload, statement)
		} else if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
	}
	return victims
}

// damageFile does to a content in a file what the statement does to one in a table.
func damageFile(t *testing.T, n *node, upload, statement string) {
	t.Helper()
	file, _, _ := strings.Cut(strings.TrimPrefix(n.DSN, "file:"), "?")
	path := filepath.Join(file+"-contents", upload)
	err := os.Truncate(path, 100)
	if strings.HasPrefix(statement, "DELETE") {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bytesLiteral is how bytes are written in a statement.
func bytesLiteral(d sqlstore.Dialect, text string) string {
	if d == sqlstore.Postgres {
		return fmt.Sprintf(`'\x%x'::bytea`, text)
	}
	return fmt.Sprintf("x'%x'", text)
}
