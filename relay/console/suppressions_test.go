package console_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// withSuppressions gives the console a list with an address of each tenant.
func (f *fixture) withSuppressions() {
	f.Helper()
	f.console.Suppressions = &suppress.List{Store: f.store.(*memory.Store)}
	for tenant, address := range map[store.TenantID]string{"acme": "Bob@example.net", "rival": "rita@example.net"} {
		if err := f.console.Suppressions.Add(f.Context(), tenant, address, store.SuppressedByPerson, "asked us by <phone>"); err != nil {
			f.Fatal(err)
		}
	}
}

// learned puts addresses on acme's list that no person has added.
func (f *fixture) learned(list ...store.Suppression) {
	f.Helper()
	for i := range list {
		list[i].Tenant, list[i].Since, list[i].Changed = "acme", time.Now().UTC().Truncate(time.Microsecond), time.Now().UTC().Truncate(time.Microsecond)
	}
	if _, err := f.store.(store.Suppressions).Suppress(f.Context(), list); err != nil {
		f.Fatal(err)
	}
}

var suppressionCalls = []apiCall{
	{"GET", "/suppressions", "", 200, nil},
	{"GET", "/suppressions?source=person&limit=1", "", 200, nil},
	{"GET", "/suppressions?source=whim", "", 422, nil},
	{"POST", "/suppressions", `{"address":"carol@example.net","reason":"moved"}`, 201, nil},
	{"POST", "/suppressions", `{"address":"carol@example.net","reason":"moved"}`, 201, nil},
	{"POST", "/suppressions", `{"address":"carol"}`, 422, []as{french}},
	{"GET", "/suppressions/{address}", "", 200, nil},
	{"GET", "/suppressions/{address}", "", 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/suppressions/{address}/remove", `{}`, 404, []as{header("Test-Tenant", "rival")}},
	{"POST", "/suppressions/{address}/remove", `{}`, 204, nil},
	{"POST", "/suppressions/{address}/remove", `{}`, 404, nil},
}

// A person sees why mail to an address is refused, adds one, and removes one.
func TestSuppressions(t *testing.T) {
	f := newFixture(t)
	f.withSuppressions()
	f.learned(store.Suppression{
		Address: "old@xn--mller-kva.example", Source: store.SuppressedByReply, Until: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Microsecond),
		Reason: "mx.example replied 550 5.1.1 <b>No such user</b>", Site: "mx.example",
	})
	var changes []console.Change
	f.console.OnChange = func(_ *http.Request, c console.Change) { changes = append(changes, c) }
	reader := false
	f.console.May = func(_ *http.Request, a console.Action) error {
		if reader && a != console.ViewSuppressions {
			return errors.New("reader")
		}
		return nil
	}
	f.want(f.get("suppressions"), 200, ">bob@example.net<", "Added by hand", "old@müller.example", "Refused by the server", `aria-current="true">Suppression list<`)
	f.want(f.get("suppressions", french), 200, "<h1>Liste de suppression</h1>", "Refusée par le serveur")
	one := f.get("suppressions/old@xn--mller-kva.example")
	f.want(one, 200, "The mail server of mx.example refused the address", "550 5.1.1 &lt;b&gt;No such user&lt;/b&gt;", "Removing it does not help if the mailbox does not exist", `method="post" action="./../suppressions/old@xn--mller-kva.example/remove"`)
	f.want(f.get("suppressions/rita@example.net"), http.StatusNotFound, "Not on the list")

	r := f.post("suppressions", []string{"address", " Dave@Example.NET ", "reason", "left\nus"})
	f.want(r, http.StatusSeeOther)
	if to := r.Header().Get("Location"); to != "./suppressions/dave@example.net?done=suppressed" {
		t.Errorf("got Location %s", to)
	}
	f.want(f.get("suppressions/dave@example.net?done=suppressed", header("Sec-Fetch-Site", "same-origin")), 200, "Mail to it is refused from now on.", "left us", "It stays until you remove it.")
	f.want(f.post("suppressions", []string{"address", "dave", "reason", "why not"}), http.StatusUnprocessableEntity, `value="dave"`, `value="why not"`, "an address looks like name@example.com", " open>")
	f.want(f.post("suppressions/dave@example.net/remove", nil), http.StatusSeeOther)
	f.want(f.post("suppressions/dave@example.net/remove", nil), http.StatusNotFound)
	want := []console.Change{
		{Action: console.AddSuppression, Tenant: "acme", Object: "dave@example.net"},
		{Action: console.RemoveSuppression, Tenant: "acme", Object: "dave@example.net"},
	}
	if !slices.Equal(changes, want) {
		t.Errorf("got the changes %+v, want %+v", changes, want)
	}
	reader = true
	for _, path := range []string{"suppressions", "suppressions/bob@example.net"} {
		if page := f.get(path); page.Code != 200 || strings.Contains(page.body, `method="post"`) {
			t.Errorf("got status %d for a reader, or a form:\n%s", page.Code, page.body)
		}
	}
	f.want(f.post("suppressions/bob@example.net/remove", nil), http.StatusForbidden)
	f.want(f.post("suppressions", []string{"address", "x@example.net"}), http.StatusForbidden)
}

// The list has pages, a search and a filter, which stay from page to page. The file has
// the whole list, and no cell that a spreadsheet would compute.
func TestSuppressionPages(t *testing.T) {
	f := newFixture(t)
	f.withSuppressions()
	list := []store.Suppression{{Address: "=cmd@example.net", Source: store.SuppressedByComplaint, Reason: "+1, \"quoted\""}}
	for i := range 1100 {
		list = append(list, store.Suppression{Address: fmt.Sprintf("user%04d@example.com", i), Source: store.SuppressedByReply, Reason: "550 no"})
		if len(list) == 1000 {
			f.learned(list...)
			list = nil
		}
	}
	f.learned(list...)
	page := f.get("suppressions?search=USER&source=reply")
	f.want(page, 200, "user0000@", "user0049@", `href="?after=user0049%40example.com&amp;search=USER&amp;source=reply"`, `<option value="reply" selected>`,
		`href="./suppressions.csv?search=USER&amp;source=reply"`)
	next := f.get("suppressions?search=USER&source=reply&after=user0049%40example.com")
	f.want(next, 200, "user0050@", `href="?search=USER&amp;source=reply"`)
	f.want(f.get("suppressions?source=report"), 200, "No address is on the list for this reason.")
	f.want(f.get("suppressions?search=nobody"), 200, "No results for")

	r := f.get("suppressions.csv")
	f.want(r, 200)
	rows, err := csv.NewReader(strings.NewReader(r.body)).ReadAll()
	if err != nil || len(rows) != 1103 || r.Header().Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Fatalf("got %d rows, %v, %v", len(rows), err, r.Header())
	}
	if row := rows[1]; row[0] != "'=cmd@example.net" || row[1] != "complaint" || row[4] != `'+1, "quoted"` {
		t.Errorf("got the row %q", row)
	}
	f.want(f.get("suppressions.csv?search=USER0001&source=reply"), 200, "user0001@example.com,reply,")
	f.want(f.get("suppressions.csv?source=whim"), http.StatusUnprocessableEntity)
	f.want(f.get("suppressions.csv", header("Test-Tenant", "rival")), 200, "rita@example.net")
}
