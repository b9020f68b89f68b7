package console_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/console"
)

// A visitor sees buttons only for what May allows, and cannot do anything else.
func TestMay(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	allowed := []console.Action{console.ViewDomains}
	f.console.May = func(_ *http.Request, a console.Action) error {
		if slices.Contains(allowed, a) {
			return nil
		}
		return errors.New("reader")
	}
	for _, page := range []response{f.get(""), f.get("domains/acme.example"), f.get(userPath(u))} {
		f.want(page, http.StatusOK)
		for _, button := range []string{`method="post"`, "/add", "/rename", "/reset", "/delete", "/pause"} {
			if strings.Contains(page.body, button) {
				t.Errorf("got %s on the page of a reader, want none:\n%s", button, page.body)
			}
		}
	}
	for _, path := range []string{addPath, "domains/acme.example/delete", userPath(u) + "/rename", userPath(u) + "/reset", userPath(u) + "/pause", userPath(u) + "/delete"} {
		f.want(f.get(path), http.StatusForbidden, "No permission")
		f.want(f.post(path, []string{"name", "x", "key", "k", "confirm", "shop", "generation", "1"}), http.StatusForbidden)
		r, problem := f.call(path, `{}`)
		f.want(r, http.StatusForbidden)
		if problem["code"] != "not-allowed" {
			t.Errorf("%s: got the problem %v, want not-allowed", path, problem["code"])
		}
	}
	f.want(f.post("", []string{"name", "new.example"}), http.StatusForbidden)
	allowed = append(allowed, console.RenameUser)
	f.want(f.post(userPath(u)+"/rename", []string{"name", "x"}), http.StatusSeeOther)
	allowed = nil
	f.want(f.get(""), http.StatusForbidden)
}

// OnChange is told of each change that was made, and of nothing else.
func TestOnChange(t *testing.T) {
	f := newFixture(t)
	var got []console.Change
	f.console.OnChange = func(r *http.Request, c console.Change) {
		if r.Header.Get("Test-Visitor") != "anna" {
			t.Error("got another request, want that of the visitor")
		}
		got = append(got, c)
	}
	anna := header("Test-Visitor", "anna")
	f.want(f.post("", []string{"name", "New.example"}, anna), http.StatusSeeOther)
	f.want(f.post("", []string{"name", "x"}, anna), http.StatusUnprocessableEntity)
	f.want(f.post("domains/new.example/add", []string{"name", "shop", "key", "k"}, anna), http.StatusCreated)
	f.want(f.post("domains/new.example/add", []string{"name", "shop", "key", "k"}, anna), http.StatusConflict)
	list, _, err := f.acme.Users(t.Context(), "new.example", pageOfAll)
	if err != nil || len(list) != 1 {
		t.Fatalf("Users: got %d, %v, want one", len(list), err)
	}
	u := list[0]
	path := userPath(u)
	f.want(f.post(path+"/rename", []string{"name", "till"}, anna), http.StatusSeeOther)
	f.want(f.post(path+"/reset", []string{"generation", "1"}, anna), http.StatusOK)
	f.want(f.post(path+"/reset", []string{"generation", "1"}, anna), http.StatusConflict)
	f.want(f.post(path+"/delete", []string{"confirm", "other"}, anna), http.StatusUnprocessableEntity)
	f.want(f.post(path+"/delete", []string{"confirm", "till"}, anna), http.StatusSeeOther)
	f.want(f.post("domains/new.example/delete", []string{"confirm", "new.example"}, anna), http.StatusSeeOther)
	f.get("", anna)
	const domain = "new.example"
	want := []console.Change{
		{Action: console.AddDomain, Tenant: "acme", Domain: domain},
		{Action: console.AddUser, Tenant: "acme", Domain: domain, Username: u.Username, Object: "shop"},
		{Action: console.RenameUser, Tenant: "acme", Domain: domain, Username: u.Username, Object: "till"},
		{Action: console.ResetPassword, Tenant: "acme", Domain: domain, Username: u.Username, Detail: "reset"},
		{Action: console.DeleteUser, Tenant: "acme", Domain: domain, Username: u.Username},
		{Action: console.DeleteDomain, Tenant: "acme", Domain: domain},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A further language is one file, in which texts may be missing. A file of a built-in
// language changes texts.
func TestTexts(t *testing.T) {
	f := newFixture(t)
	f.console.Design.Texts = fstest.MapFS{
		"pt-br.json": {Data: []byte(`{"domains": "Domínios", "direction": "ltr"}`)},
		"ar.json":    {Data: []byte(`{"direction": "rtl"}`)},
		"en.json":    {Data: []byte(`{"domains": "Sites"}`)},
	}
	f.want(f.get("", header("Accept-Language", "pt-BR, en;q=0.5")), 200, `lang="pt-br"`, "<h1>Domínios</h1>", "Add domain")
	f.want(f.get("", header("Accept-Language", "ar")), 200, `dir="rtl"`)
	f.want(f.get(""), 200, "<h1>Sites</h1>", "Add domain")
	f.want(f.get("", french), 200, "<h1>Domaines</h1>")
}

// The links between the parts can be left to the Layout, which is told the part.
func TestNoTabs(t *testing.T) {
	f := newFixture(t)
	f.complete()
	f.want(f.get("webhooks"), 200, `<nav class="gatepost-tabs" aria-label="Sections">`)
	f = newFixture(t)
	f.complete()
	f.console.Design.NoTabs = true
	f.console.Design.Layout = func(w io.Writer, _ *http.Request, p console.Page) error {
		_, err := fmt.Fprintf(w, "part=%s %s", p.Part, p.Body)
		return err
	}
	page := f.get("webhooks")
	f.want(page, 200, "part=webhooks ")
	if strings.Contains(page.body, "gatepost-tabs") {
		t.Errorf("got links between the parts with NoTabs, want none:\n%s", page.body)
	}
}

// Language goes before Accept-Language.
func TestLanguageOfTheProduct(t *testing.T) {
	f := newFixture(t)
	f.console.Design.Language = func(r *http.Request) string { return r.Header.Get("Test-Language") }
	for language, want := range sorted(map[string]string{"fr": "Domaines", "fr-CA": "Domaines", "en": "Domains", "xx": "Domains", "": "Domains"}) {
		f.want(f.get("", header("Test-Language", language)), 200, "<h1>"+want+"</h1>")
	}
	f.want(f.get("", french), 200, "<h1>Domaines</h1>")
}

// Times are in the visitor's time zone.
func TestLocation(t *testing.T) {
	f := newFixture(t)
	u, _ := f.user(f.acme, "acme.example", "shop")
	zone := time.FixedZone("ADT", -3*60*60)
	f.console.Design.Location = func(r *http.Request) *time.Location {
		if r.Header.Get("Test-Zone") == "" {
			return nil
		}
		return zone
	}
	f.want(f.get(userPath(u)), 200, u.Created.Format("2006-01-02 15:04:05 UTC"))
	f.want(f.get(userPath(u), header("Test-Zone", "x")), 200, u.Created.In(zone).Format("2006-01-02 15:04:05 ADT"), u.Created.In(zone).Format(time.RFC3339))
}

// Tools adds settings, replaces those of a name that is there, and removes others.
func TestTools(t *testing.T) {
	f := newFixture(t)
	f.console.Tools = fstest.MapFS{
		"myshop.txt":    {Data: []byte("{{define \"name\"}}My Shop <1>{{end -}}\nhost={{.Host}} user={{.Username}} from={{.Domain}}\n")},
		"wordpress.txt": {Data: []byte("{{define \"name\"}}WP{{end}}ours {{.Port}}")},
		"msmtp.txt":     {},
	}
	page := f.post(addPath, []string{"name", "shop", "key", "k"})
	f.want(page, http.StatusCreated, "<summary>My Shop &lt;1&gt;</summary>", "host=smtp.example.com user=", "from=acme.example", "<summary>WP</summary>", ">ours 465<")
	if strings.Contains(page.body, "msmtp") {
		t.Error("got msmtp, want it removed")
	}
}

// Files that cannot be used are errors of the handler, and the log says which.
func TestWrongFiles(t *testing.T) {
	for want, set := range sorted(map[string]func(*console.Handler){
		"Design.Texts: de.json":  func(h *console.Handler) { h.Design.Texts = fstest.MapFS{"de.json": {Data: []byte("{")}} },
		"Handler.Tools: a.txt":   func(h *console.Handler) { h.Tools = fstest.MapFS{"a.txt": {Data: []byte("{{.Nothing}}")}} },
		"Handler.Tools: A B.txt": func(h *console.Handler) { h.Tools = fstest.MapFS{"A B.txt": {Data: []byte("x")}} },
		`Handler.Parts has`:      func(h *console.Handler) { h.Parts = []console.Part{"shop"} },
		"Handler.Parts is empty": func(h *console.Handler) { h.Parts = []console.Part{} },
		"Design.Accent":          func(h *console.Handler) { h.Design.Accent = "blue" },
	}) {
		f := newFixture(t)
		set(f.console)
		f.want(f.get(""), http.StatusInternalServerError)
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("got the log %s, want %q in it", f.log, want)
		}
	}
}
