package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
)

// The search and the links between pages keep the filter and the size of the page.
func TestListsKeepTheirQuery(t *testing.T) {
	f := newFixture(t)
	f.withSuppressions()
	for i := range 12 {
		f.user(f.acme, "acme.example", fmt.Sprintf("Shop %02d", i))
	}
	const path = "domains/acme.example"
	page := f.get(path + "?never=true&limit=4")
	f.want(page, 200, `type="hidden" name="never" value="true"`, `type="hidden" name="limit" value="4"`)
	second := f.get(f.link(page, path, ` rel="next"`))
	if got := shown(second); len(got) != 4 || got[0] != "Shop 04" {
		t.Errorf("got the second page %q, want four from Shop 04", got)
	}
	if got := shown(f.get(f.link(second, path, `>First`))); len(got) != 4 || got[0] != "Shop 00" {
		t.Errorf("got the first page %q, want four from Shop 00", got)
	}
	for i := range 3 {
		if err := f.console.Suppressions.Add(t.Context(), "acme", fmt.Sprintf("x%d@example.com", i), store.SuppressedByPerson, ""); err != nil {
			t.Fatal(err)
		}
	}
	f.want(f.get("suppressions?limit=2"), 200, "limit=2")
	f.want(f.get("suppressions?limit=2&source=person"), 200, "limit=2", `type="hidden" name="limit" value="2"`)
}

// A message with one page of recipients has no link to the first page.
func TestNoFirstPageOfOne(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	bob, eve := sent(store.EventAccepted, "m1", "bob@example.com", time.Hour), sent(store.EventAccepted, "m1", "eve@example.net", time.Hour)
	eve.N = 1
	f.happened(bob, eve, after(eve, store.EventHardBounced, time.Second, gone))
	page := f.get("activity/m1?state=hard-bounced")
	f.want(page, 200, "eve@example.net")
	if strings.Contains(page.body, "First page") {
		t.Error("got a link to the first page, want none")
	}
	f.want(f.get("activity/m1?limit=1"), 200, "limit=1")
	f.want(f.get("activity/m1?limit=1&from=1"), 200, "First page")
}

// The list of suppressions is sent as a file to every client.
func TestFileForEveryClient(t *testing.T) {
	f := newFixture(t)
	f.withSuppressions()
	for _, accept := range []string{"*/*", "text/csv", "application/json", "text/html"} {
		r := f.get("suppressions.csv", header("Accept", accept))
		f.want(r, 200, "address,source,since")
	}
	r := f.get("suppressions.csv", func(r *http.Request) { r.Header.Del("Accept") })
	if f.want(r, 200); r.Header().Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("got the type %q, want CSV", r.Header().Get("Content-Type"))
	}
}

// The page for what does not exist names nothing else, and leads to the first part.
func TestNotFoundIsNeutral(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.console.Parts = []console.Part{console.Activity}
	page := f.get("activity/nothing")
	f.want(page, http.StatusNotFound, "There is nothing at this address.", ">Activity</a>")
	if strings.Contains(page.body, "omain") {
		t.Errorf("got a word about domains, want none:\n%s", page.body)
	}
	f.want(f.get("activity/nothing", french), http.StatusNotFound, "Il n’y a rien à cette adresse.")
	f = newFixture(t)
	f.want(f.get("nothing"), http.StatusNotFound, ">Domains</a>")
}

// The ID of a tool is not that of another element.
func TestToolsHaveTheirOwnIDs(t *testing.T) {
	f := newFixture(t)
	files := fstest.MapFS{}
	for _, name := range []string{"plain", "env", "url", "password", "server"} {
		files[name+".txt"] = &fstest.MapFile{Data: []byte("host {{.Host}}")}
	}
	f.console.Tools = files
	page := f.post(addPath, []string{"name", "shop", "key", "k"})
	f.want(page, http.StatusCreated, `id="gatepost-tool-plain"`)
	seen := make(map[string]bool)
	for _, id := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page.body, -1) {
		if seen[id[1]] {
			t.Errorf("got the ID %s twice, want it once", id[1])
		}
		seen[id[1]] = true
	}
}
