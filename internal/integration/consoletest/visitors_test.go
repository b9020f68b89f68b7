package consoletest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Domains and users of another tenant look like ones that do not exist.
func TestOtherTenants(t *testing.T) {
	p, b := start(t), open(t, look{})
	rival := p.Credentials.Tenant("rival")
	if _, err := rival.AddDomain(t.Context(), "rival.example"); err != nil {
		t.Fatal(err)
	}
	u, _, err := rival.AddUser(t.Context(), "rival.example", "theirs")
	if err != nil {
		t.Fatal(err)
	}
	page := func(path string) string {
		b.goTo(p.url + path)
		b.heading("Not found")
		return eval[string](b, `document.documentElement.outerHTML`)
	}
	for theirs, missing := range sorted(map[string]string{
		"domains/rival.example":                                "domains/nothing.example",
		"domains/rival.example/users/" + u.Username:            "domains/nothing.example/users/smtpaaaaaaaaaaaaaaaa",
		"domains/acme.example/users/" + u.Username:             "domains/acme.example/users/smtpaaaaaaaaaaaaaaaa",
		"domains/rival.example/users/" + u.Username + "/reset": "domains/nothing.example/users/x/reset",
	}) {
		if page(theirs) != page(missing) {
			t.Errorf("%s: got another page than %s, want the same", theirs, missing)
		}
	}
}

// A page of another site cannot change anything.
func TestCrossSitePost(t *testing.T) {
	p, b := start(t), open(t, look{})
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%sdomains/%s/users/%s/delete"><input name="confirm" value="test"><button>Win a prize</button></form>`,
			p.url, p.Domain, p.Username)
	}))
	t.Cleanup(evil.Close)
	b.goTo(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1))
	b.follow("Win a prize", "Request refused")
	if p.users(t) != 1 {
		t.Error("got no user, want the one that another site tried to delete")
	}
}

func TestFrench(t *testing.T) {
	p, b := start(t), open(t, look{language: "fr-FR,fr;q=0.9,en;q=0.8"})
	b.goTo(p.url)
	b.heading("Domaines")
	if got := eval[string](b, `document.documentElement.lang`); got != "fr" {
		t.Errorf("got language %q, want fr", got)
	}
	b.fill("Ajouter un domaine", "info@shop.example")
	b.press("Ajouter le domaine")
	b.until(`document.querySelector(".gatepost-error")?.textContent === "Saisie refusée\u00a0: c’est une adresse électronique, pas un domaine."`)
	b.follow(p.Domain, p.Domain)
	b.accessible("domain")
	b.follow("Ajouter un utilisateur", "Ajouter un utilisateur")
	b.fill("Nom", "Boutique")
	b.follow("Enregistrer", "Configurer Boutique")
	b.accessible("credentials")
	b.shoot("french-3-credentials")
	b.press(p.Domain)
	b.follow("Quitter", p.Domain)
	b.follow("Boutique", "Boutique")
	b.shoot("french-4-details")
	b.follow("Réinitialiser le mot de passe", "Réinitialiser le mot de passe de Boutique")
	b.shoot("french-5-reset")
}

func TestNamesAsTyped(t *testing.T) {
	p, b := start(t), open(t, look{width: 360, height: 740})
	for _, name := range []string{`<script>alert(1)</script>`, strings.Repeat("🦄", 64), strings.Repeat("x", 64)} {
		b.goTo(p.url + "domains/" + p.Domain + "/add")
		b.fill("Name", name)
		b.follow("Save", "Set up "+name)
		b.accessible("credentials of " + name)
		b.click(".gatepost-check input")
		b.follow("Done", p.Domain)
		b.follow(name, name)
		b.accessible("details of " + name)
	}
	b.goTo(p.url + "domains/" + p.Domain)
	b.accessible("list")
	b.shoot("phone-2-names")
	if len(b.dialogs) > 0 {
		t.Error("got a dialog, want no script from a name")
	}
}
