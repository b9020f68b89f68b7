package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
)

const addPath = "domains/acme.example/add"

func TestPasswordIsShownOnce(t *testing.T) {
	f := newFixture(t)
	form := f.get(addPath)
	key := f.hidden(form, "key")
	page := f.post(addPath, []string{"name", "WordPress", "key", key})
	f.want(page, http.StatusCreated, "WordPress", "smtp.example.com", "587", "465")
	password := passwordIn(page)
	users := f.users()
	if len(users) != 1 || !f.worksFor(users[0], password) {
		t.Fatalf("got %d users and the password %q, want 1 user whose password works", len(users), password)
	}
	for _, setting := range []string{
		"SMTP_PASSWORD=" + password,
		"smtps://" + users[0].Username + ":" + password + "@smtp.example.com:465",
		"MAIL_PASSWORD=" + password,
		"[smtp.example.com]:465 " + users[0].Username + ":" + password,
		"--auth-password " + password,
	} {
		f.want(page, http.StatusCreated, setting)
	}
	// No header, log line or other page has the password.
	if got := page.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("got Cache-Control %q, want no-store", got)
	}
	for name, values := range page.Header() {
		if strings.Contains(strings.Join(values, " "), password) {
			t.Errorf("got the password in the header %s, want it only in the body", name)
		}
	}
	if strings.Contains(f.log.String(), password) {
		t.Error("got the password in the log, want it only in the body")
	}
	for _, path := range []string{"", "domains/acme.example", addPath, userPath(users[0]), userPath(users[0]) + "/reset"} {
		for _, change := range []as{program, header("Accept", "text/html")} {
			if strings.Contains(f.get(path, change).body, password) {
				t.Errorf("%s: got the password, want none", path)
			}
		}
	}
}

func userPath(u store.User) string { return "domains/" + u.Domain + "/users/" + u.Username }

func TestFormToAddIsGoodForOneUser(t *testing.T) {
	f := newFixture(t)
	key := f.hidden(f.get(addPath), "key")
	if other := f.hidden(f.get(addPath), "key"); other == key {
		t.Error("got the same key for two forms, want two keys")
	}
	password := passwordIn(f.post(addPath, []string{"name", "shop", "key", key}))
	again := f.post(addPath, []string{"name", "shop", "key", key})
	f.want(again, http.StatusConflict, "already added", "“shop”", "/reset")
	if passwordIn(again) != "" || strings.Contains(again.body, password) {
		t.Error("got a password in the response to a repeated form, want none")
	}
	users := f.users()
	if len(users) != 1 || !f.worksFor(users[0], password) {
		t.Errorf("got %d users, want 1 whose first password works", len(users))
	}
	// Another node refuses the form, too.
	node := &console.Handler{
		Credentials: &credentials.Manager{Store: f.store, Cost: credentials.Cost{MemoryKiB: 64, Time: 1, Threads: 1}},
		Tenant:      func(*http.Request) (store.TenantID, error) { return "acme", nil },
		SMTPHost:    "smtp.example.com",
	}
	one := f.handler
	f.handler = http.StripPrefix(strings.TrimSuffix(mount, "/"), node)
	f.want(f.post(addPath, []string{"name", "shop", "key", key}), http.StatusConflict, "already added")
	f.handler = one
	// The form is also refused after the user is deleted.
	f.want(f.post(userPath(users[0])+"/delete", []string{"confirm", "shop"}), http.StatusSeeOther)
	f.want(f.post(addPath, []string{"name", "shop", "key", key}), http.StatusConflict, "was deleted later")
	if users := f.users(); len(users) != 0 {
		t.Errorf("got %d users, want none", len(users))
	}
	// A form with a wrong name can be sent again.
	key = f.hidden(f.get(addPath), "key")
	refused := f.post(addPath, []string{"name", " ", "key", key})
	f.want(refused, http.StatusUnprocessableEntity, "it is empty", `aria-invalid="true"`)
	if f.hidden(refused, "key") != key {
		t.Error("got another key, want the same one")
	}
	f.want(f.post(addPath, []string{"name", "shop", "key", key}), http.StatusCreated)
	f.want(f.post(addPath, []string{"name", "shop"}), http.StatusUnprocessableEntity)
}

func TestFormToResetIsGoodForOneReset(t *testing.T) {
	f := newFixture(t)
	u, old := f.user(f.acme, "acme.example", "shop")
	path := userPath(u) + "/reset"
	form := f.get(path)
	f.want(form, http.StatusOK, "stops working at once", "Never")
	generation := f.hidden(form, "generation")
	page := f.post(path, []string{"generation", generation})
	f.want(page, http.StatusOK, u.Username)
	password := passwordIn(page)
	again := f.post(path, []string{"generation", generation})
	f.want(again, http.StatusConflict, "already reset", "Nothing was changed", "Reset it again")
	if strings.Contains(again.body, password) || passwordIn(again) != "" {
		t.Error("got a password in the response to a repeated form, want none")
	}
	if !f.worksFor(u, password) || f.worksFor(u, old.Reveal()) {
		t.Error("got another password that works, want only that of the first response")
	}
	f.want(f.post(path, nil), http.StatusBadRequest)
}

func TestIdempotencyKey(t *testing.T) {
	f := newFixture(t)
	key := header("Idempotency-Key", "7f0c")
	first, _ := f.call(addPath, `{"name":"shop"}`, key)
	f.want(first, http.StatusCreated)
	again, problem := f.call(addPath, `{"name":"shop"}`, key)
	f.want(again, http.StatusConflict)
	if problem["code"] != "added-before" {
		t.Errorf("got %v, want added-before", problem)
	}
	if got := len(f.users()); got != 1 {
		t.Errorf("got %d users, want 1", got)
	}
	reset, _ := f.call(userPath(f.users()[0])+"/reset", `{"generation":1}`)
	f.want(reset, http.StatusOK)
	reset, problem = f.call(userPath(f.users()[0])+"/reset", `{"generation":1}`)
	f.want(reset, http.StatusConflict)
	if problem["code"] != "reset-before" {
		t.Errorf("got %v, want reset-before", problem)
	}
	reset, _ = f.call(userPath(f.users()[0])+"/reset", `{}`)
	f.want(reset, http.StatusOK)
}
