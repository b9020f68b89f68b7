package console_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// keepHistory gives the console a history that nothing works on.
func (f *fixture) keepHistory() { f.console.History = &history.History{Store: f.store.(store.History)} }

// applyHistory makes activities of what was recorded.
func (f *fixture) applyHistory() {
	f.Helper()
	if _, err := f.console.History.Tenant("acme").Erase(f.Context(), "nobody@nowhere.example"); err != nil {
		f.Fatal(err)
	}
}

// A customer pauses and resumes a user, and cannot end a suspension by the operator.
func TestPause(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	path := userPath(u)
	var changes []console.Change
	f.console.OnChange = func(_ *http.Request, c console.Change) { changes = append(changes, c) }
	suspended := func() string { return must(f.acme.User(t.Context(), u.Username)).Suspended }

	f.want(f.post(path+"/pause", []string{"reason", "休み"}), http.StatusUnprocessableEntity, "beyond ASCII", `aria-invalid="true"`, `value="休み"`)
	r := f.post(path+"/pause", []string{"reason", " Fermé jusqu’à août "})
	f.want(r, http.StatusSeeOther)
	if got, want := suspended(), "paused by its owner: Ferme jusqu'a aout"; got != want {
		t.Errorf("got the reason %q, want %q", got, want)
	}
	f.want(f.get(path+"?done=user-paused", fromHere), 200, "The user is paused.", "Reason: Ferme jusqu&#39;a aout", "End the pause", "This user is paused and cannot send")
	f.want(f.get("domains/acme.example"), 200, `<span class="gatepost-tag">Paused</span>`)
	f.want(f.post(path+"/resume", nil), http.StatusSeeOther)
	if got := suspended(); got != "" {
		t.Errorf("got the reason %q, want none", got)
	}
	f.want(f.post(path+"/pause", nil), http.StatusSeeOther)
	f.want(f.post(path+"/resume", nil), http.StatusSeeOther)
	if len(changes) != 4 || changes[0].Action != console.SuspendUser || changes[0].Object == "" || changes[1].Object != "" {
		t.Errorf("got the changes %+v, want four of suspend-user", changes)
	}

	if err := f.acme.SuspendUser(t.Context(), u.Username, "spam was reported"); err != nil {
		t.Fatal(err)
	}
	page := f.get(path)
	f.want(page, 200, "spam was reported", "Contact support")
	if strings.Contains(page.body, "/resume") || strings.Contains(page.body, "/pause") {
		t.Error("got a button to end a suspension by the operator, want none")
	}
	for _, what := range []string{"/pause", "/resume"} {
		f.want(f.post(path+what, nil), http.StatusConflict, "suspended by the operator")
	}
	if got := suspended(); got != "spam was reported" {
		t.Errorf("got the reason %q, want that of the operator", got)
	}
}

// suspendsFirst is a store on which an operator suspends a user just before a tenant
// pauses it or ends its pause.
type suspendsFirst struct{ store.Store }

func (s suspendsFirst) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	if err := s.Store.SuspendUser(ctx, tenant, username, "spam was reported", nil); err != nil {
		return err
	}
	return s.Store.SuspendUser(ctx, tenant, username, reason, seen)
}

// A suspension by the operator stays if a customer pauses the user, or ends its pause, at
// the same time.
func TestPauseWhileSuspended(t *testing.T) {
	for _, what := range []string{"/pause", "/resume"} {
		f := newFixture(t)
		u, _ := f.user(f.acme, "acme.example", "shop")
		if what == "/resume" {
			f.want(f.post(userPath(u)+"/pause", nil), http.StatusSeeOther)
		}
		told := f.told()
		f.credentials.Store = suspendsFirst{f.store}
		f.want(f.post(userPath(u)+what, nil), http.StatusConflict, "suspended by the operator")
		if got := must(f.acme.User(t.Context(), u.Username)).Suspended; got != "spam was reported" || len(*told) > 0 {
			t.Errorf("%s: got the reason %q and the changes %q, want the reason of the operator and no change", what, got, *told)
		}
	}
}

// With Overlap the old password may work on, once for one form, and ends when a tool
// has used the new one.
func TestResetWithOverlap(t *testing.T) {
	f := newFixture(t)
	f.console.Overlap = 48 * time.Hour
	u, old := f.user(f.acme, "acme.example", "shop")
	path := userPath(u)
	if form := f.get(path + "/reset"); strings.Contains(form.body, `type="radio"`) {
		t.Error("before the first login: got a choice, want none")
	}
	if !f.worksFor(u, old.Reveal()) {
		t.Fatal("got a password that does not work")
	}
	f.want(f.get(path+"/reset"), 200, `type="radio"`, "works for 2 days as well")
	inputs := []string{"generation", "1", "overlap", "true"}
	page := f.post(path+"/reset", inputs)
	f.want(page, 200, "The old one works as well until")
	if !f.worksFor(u, old.Reveal()) {
		t.Error("got an old password that does not work, want it to work")
	}
	f.want(f.post(path+"/reset", inputs), http.StatusConflict, "already reset")
	f.want(f.post(path+"/end-overlap", nil), http.StatusConflict, "not in use")
	if page := f.get(path); !strings.Contains(page.body, "A tool still used it") || strings.Contains(page.body, "/end-overlap") {
		t.Errorf("got no word about the old password or a button to end it, want the word only:\n%s", page.body)
	}
	if !f.worksFor(u, passwordIn(page)) {
		t.Error("got a new password that does not work, want it to work")
	}
	f.want(f.get(path), 200, "/end-overlap")
	f.want(f.post(path+"/end-overlap", nil), http.StatusSeeOther)
	if f.worksFor(u, old.Reveal()) || !f.worksFor(u, passwordIn(page)) {
		t.Error("got an old password that works or a new one that does not, want only the new one")
	}
	f.console.Overlap = 0
	f.want(f.post(path+"/reset", []string{"generation", "2", "overlap", "true"}), http.StatusUnprocessableEntity)
}

// The page of a user says what was refused, in the words of the customer.
func TestConnectionSaysWhatIsWrong(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	path := userPath(u) + "/connection"
	f.want(f.get(path), 200, "Waiting for the first connection…", `data-gatepost-live="`, `role="status"`)
	f.keepHistory()
	client := relay.Client{Remote: netip.MustParseAddr("203.0.113.7"), Identity: credentials.IdentityOf(u)}
	login := func(cause relay.LoginCause, code int) relay.Event {
		return &relay.LoginRefused{Client: client, Username: u.Username, Cause: cause, Code: code, Reason: "x"}
	}
	message := func(field relay.Field, from, reason string) relay.Event {
		return &relay.MessageRefused{Client: client, Field: field, From: from, Code: 550, Reason: reason}
	}
	for _, test := range []struct {
		event        relay.Event
		want, advice string
		code         string
	}{
		{login(relay.CauseNoTLS, 538), "Login without encryption from 203.0.113.x", "Choose SSL/TLS or STARTTLS", "advice.no-tls"},
		{login(relay.CauseWrongPassword, 535), "Wrong password from 203.0.113.x", "Copy the present one", "advice.password"},
		{login(relay.CauseNetwork, 535), "Login from 203.0.113.x, which is not allowed", "reset the password", "advice.network"},
		{login(relay.CauseTooManyTries, 421), "Too many logins from 203.0.113.x", "in a few minutes", "advice.logins"},
		{login(relay.CauseForeignIdentity, 535), "Login refused from 203.0.113.x", "a second name beside the username", "advice.identity"},
		{message(relay.FieldMailFrom, "x@other.example", "MAIL FROM: domain other.example is not allowed, this user sends from acme.example only"),
			"Mail from x@other.example refused", "at acme.example only", "advice.sender-domain"},
		{message(relay.FieldMailFrom, "x@acme.example", "the user is suspended: spam"), "Mail from x@acme.example refused", "550 the user is suspended: spam", "advice.suspended"},
		{message(relay.FieldData, "x@acme.example", "the message holds a NUL byte"), "Mail from x@acme.example refused", "550 the message holds a NUL byte", "advice.content"},
	} {
		time.Sleep(2 * time.Millisecond) // the newest comes first
		f.console.History.OnRelayEvent(test.event)
		f.applyHistory()
		f.want(f.get(path), 200, test.want, test.advice, "gatepost-live-refused")
		_, document := f.call(path, "", func(r *http.Request) { r.Method = http.MethodGet })
		first := document["problems"].([]any)[0].(map[string]any)
		if document["state"] != "refused" || first["advice_code"] != test.code {
			t.Errorf("got the state %v and the problem %v, want refused and %s", document["state"], first["advice_code"], test.code)
		}
	}
	f.want(f.get(userPath(u)), 200, "What was refused lately", "Refused before sending")
}

// A wrong password from where the tool connected before the reset is the old one.
func TestOldPasswordStillUsed(t *testing.T) {
	f := newFixture(t)
	f.keepHistory()
	u, _ := f.user(f.acme, "acme.example", "shop")
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Microsecond)
	if err := f.store.RecordLogin(t.Context(), u.Username, 1, at, netip.MustParseAddr("203.0.113.7")); err != nil {
		t.Fatal(err)
	}
	f.want(f.post(userPath(u)+"/reset", []string{"generation", "1"}), 200)
	for network, want := range map[string]string{"203.0.113.7": "Old password still used from 203.0.113.x", "198.51.100.1": "Wrong password from 198.51.100.x"} {
		f.console.History.OnRelayEvent(&relay.LoginRefused{
			Client:   relay.Client{Remote: netip.MustParseAddr(network), Identity: credentials.IdentityOf(u)},
			Username: u.Username, Cause: relay.CauseWrongPassword, Code: 535, Reason: "x",
		})
		f.applyHistory()
		f.want(f.get(userPath(u)+"/connection"), 200, want)
	}
	f.want(f.get(userPath(u)), 200, "Enter the new password in it.", "activity?username="+u.Username, "statistics?username="+u.Username, "state=rejected")
}

// A visitor who may see neither activity nor statistics sees none on the page of a user.
func TestUserPageAsksMay(t *testing.T) {
	f := newFixture(t)
	f.keepHistory()
	f.console.May = func(_ *http.Request, a console.Action) error {
		if a == console.ViewActivity || a == console.ViewStatistics {
			return errors.New("not for this visitor")
		}
		return nil
	}
	u, _ := f.user(f.acme, "acme.example", "shop")
	page := f.get(userPath(u))
	f.want(page, 200, "Settings for the tool")
	for _, hidden := range []string{"Sent in the last 30 days", "activity?", "statistics?"} {
		if strings.Contains(page.body, hidden) {
			t.Errorf("got %q, want it only for visitors who may see it", hidden)
		}
	}
}

func TestUnusedUser(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	if strings.Contains(f.get(userPath(u)).body, "more than 90 days") {
		t.Error("got a new user called unused, want it not")
	}
	at := time.Now().AddDate(0, 0, -91).UTC().Truncate(time.Microsecond)
	if err := f.store.RecordLogin(t.Context(), u.Username, 1, at, netip.MustParseAddr("203.0.113.7")); err != nil {
		t.Fatal(err)
	}
	f.want(f.get(userPath(u)), 200, "more than 90 days")
}

// sends gives the console a relay whose messages go to forward.
func (f *fixture) sends(forward func(*relay.Message) error) {
	f.console.Server = &relay.Server{
		Hostname: "relay.test", Credentials: f.credentials, Logger: slog.New(slog.DiscardHandler),
		Forwarder: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error { return forward(m) }),
	}
	f.Cleanup(func() { f.console.Server.Close() })
}

// A test message has the form of its language, and the user's domain; a refusal is on
// the form.
func TestTestMessage(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	path := userPath(u) + "/test"
	f.want(f.get(path), http.StatusNotFound)
	f.want(f.post(path, []string{"to", "bob@example.com"}), http.StatusNotFound)
	var sent []string
	var refuse error
	f.sends(func(m *relay.Message) error {
		if refuse != nil {
			return refuse
		}
		body, err := io.ReadAll(m.Content())
		sent = append(sent, m.From+" "+m.To[0].Address+"\n"+string(body))
		return err
	})
	f.console.TestRecipient = func(*http.Request) string { return "me@acme.example" }
	form := f.get(path, french)
	f.want(form, 200, `value="me@acme.example"`, "test@acme.example", `data-gatepost-into="gatepost-test"`)
	for _, to := range []string{"", "bob", "bob@example.com\r\nBcc: eve@example.com"} {
		f.want(f.post(path, []string{"to", to, "key", "k"}), http.StatusUnprocessableEntity, "not a mail address", `aria-invalid="true"`)
	}
	r := f.post(path, []string{"to", " Bob <bob@example.com> ", "key", f.hidden(form, "key")}, french)
	f.want(r, http.StatusSeeOther)
	if len(sent) != 1 || !strings.HasPrefix(sent[0], "test@acme.example bob@example.com\n") || !strings.Contains(sent[0], "Subject: Message de test\r\n") || !strings.Contains(sent[0], "To: <bob@example.com>") {
		t.Errorf("got %q, want one message to Bob", sent)
	}
	f.want(f.get(path+"/none"), 200, "Sent to the server…", `data-gatepost-live="`)
	refuse = &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "the plan has no more messages"}
	f.want(f.post(path, []string{"to", "bob@example.com", "key", "k"}), http.StatusUnprocessableEntity, "the plan has no more messages", `value="bob@example.com"`)
	f.want(f.get(userPath(u)), 200, "Send a test message")
	f.console.May = func(_ *http.Request, a console.Action) error {
		if a == console.SendTest {
			return errors.New("reader")
		}
		return nil
	}
}
