package console_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
)

// told returns what OnChange is told, one line for each change.
func (f *fixture) told() *[]string {
	list := new([]string)
	f.console.OnChange = func(_ *http.Request, c console.Change) {
		object := c.Object
		if c.Action == console.SendTest {
			object = "id"
		}
		*list = append(*list, fmt.Sprintf("%s %s %s", c.Action, c.Detail, object))
	}
	return list
}

// OnChange is told of each change once, and can tell the changes apart. It is not told of
// a request that has changed nothing.
func TestChangesAreTold(t *testing.T) {
	f := newFixture(t)
	f.withWebhooks()
	f.withSuppressions()
	f.sends(func(*relay.Message) error { return nil })
	f.console.Overlap = time.Hour
	told := f.told()
	u, _ := f.user(f.acme, "acme.example", "shop")
	do := func(path string, pairs ...string) {
		t.Helper()
		if r := f.post(path, pairs); r.Code >= 400 {
			t.Errorf("%s: got status %d:\n%s", path, r.Code, r.body)
		}
	}
	at := userPath(u)
	do(at+"/rename", "name", " shop ")
	do(at+"/rename", "name", "till")
	do(at+"/rename", "name", "till")
	do("suppressions", "address", "dave@example.net", "reason", "left")
	do("suppressions", "address", "Dave@example.net", "reason", " left ")
	do("suppressions", "address", "dave@example.net", "reason", "moved")
	do(at + "/resume")
	do(at+"/pause", "reason", "closed")
	do(at+"/pause", "reason", "closed")
	do(at + "/resume")
	do(at + "/end-overlap")
	do(at+"/reset", "generation", "1")
	do(at+"/reset", "generation", "2", "overlap", "true")
	login := time.Now().UTC().Add(time.Second).Truncate(time.Microsecond)
	if err := f.store.RecordLogin(t.Context(), u.Username, 3, login, netip.MustParseAddr("203.0.113.7")); err != nil {
		t.Fatal(err)
	}
	do(at + "/end-overlap")
	do(at + "/end-overlap")
	do("webhooks/w/on")
	do("webhooks/w/off")
	do("webhooks/w/off")
	do("webhooks/w/on")
	do("webhooks/w/test")
	do("webhooks/w/end-old-secret")
	set := must(f.console.Webhooks.Get(t.Context(), "acme", "w")).SecretSet.Format(time.RFC3339Nano)
	do("webhooks/w/rotate", "secret_set", set)
	do("webhooks/w/end-old-secret")
	do("webhooks/w/change", "url", "https://crm.example/", "which", "all")
	do("webhooks/w/change", "url", "https://crm.example/", "which", "all")
	want := []string{
		"rename-user  till", "add-suppression  dave@example.net", "add-suppression  dave@example.net",
		"suspend-user pause paused by its owner: closed", "suspend-user resume ", "reset-password reset ", "reset-password rotate ",
		"reset-password end-overlap ", "change-webhook off w", "change-webhook on w", "test-webhook  w", "rotate-webhook rotate w",
		"rotate-webhook end-old-secret w", "change-webhook change w",
	}
	if !slices.Equal(*told, want) {
		t.Errorf("got\n%q, want\n%q", *told, want)
	}
}

// A form for a test message that is sent again is not told again.
func TestTestMessageIsToldOnce(t *testing.T) {
	f := newFixture(t)
	first := ""
	f.sends(func(m *relay.Message) error {
		if first != "" {
			return &relay.TakenError{ID: first}
		}
		first = m.ID
		return nil
	})
	told := f.told()
	u, _ := f.user(f.acme, "acme.example", "shop")
	for range 3 {
		f.want(f.post(userPath(u)+"/test", []string{"to", "bob@example.com", "key", "k"}), http.StatusSeeOther)
		time.Sleep(20 * time.Millisecond) // message IDs hold the time
	}
	if want := []string{"send-test  id"}; !slices.Equal(*told, want) {
		t.Errorf("got %q, want %q", *told, want)
	}
}

// The page says how long both secrets of a webhook work.
func TestRotationInWords(t *testing.T) {
	for overlap, want := range map[time.Duration][2]string{
		0: {"For 1 day, requests", "with the old one too"}, 90 * time.Minute: {"For 90 minutes, requests", "with the old one too"},
		-1: {"The old secret ends at once", "with this secret only"},
	} {
		f := newFixture(t)
		f.withWebhooks()
		f.console.Webhooks.Overlap = overlap
		form := f.get("webhooks/w/rotate")
		f.want(form, 200, want[0])
		set := must(f.console.Webhooks.Get(t.Context(), "acme", "w")).SecretSet.Format(time.RFC3339Nano)
		f.want(f.post("webhooks/w/rotate", []string{"secret_set", set}), 200, want[1])
	}
}
