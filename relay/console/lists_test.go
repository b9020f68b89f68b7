package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// shown returns the names of the users that a page lists.
func shown(page response) (names []string) {
	for _, found := range regexp.MustCompile(`class="gatepost-name"><a [^>]*><bdi>([^<]*)<`).FindAllStringSubmatch(page.body, -1) {
		names = append(names, html.UnescapeString(found[1]))
	}
	return names
}

// link returns where the link with a text, or with rel, leads on the page of path.
func (f *fixture) link(page response, path, pattern string) string {
	f.Helper()
	found := regexp.MustCompile(`<a [^>]*href="(\?[^"]*)"` + pattern).FindStringSubmatch(page.body)
	if found == nil {
		f.Fatalf("got no link %s, want one:\n%s", pattern, page.body)
	}
	return path + html.UnescapeString(found[1])
}

// read reads JSON.
func (f *fixture) read(path string) (response, map[string]any) {
	f.Helper()
	r := f.get(path, program)
	var document map[string]any
	if err := json.Unmarshal([]byte(r.body), &document); err != nil {
		f.Fatalf("got body %q, want JSON: %v", r.body, err)
	}
	return r, document
}

// The links of a list lead to the next and the previous page, and keep the search and
// the order.
func TestPreviousAndNext(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 120 {
		want = append(want, fmt.Sprintf("Shop %03d", i))
		f.user(f.acme, "acme.example", want[i])
	}
	slices.Reverse(want)
	const path = "domains/acme.example"
	first := f.get(path + "?search=shop&sort=-name")
	f.want(first, 200, "120 of 120", `aria-sort="descending"`)
	second := f.get(f.link(first, path, ` rel="next"`))
	third := f.get(f.link(second, path, ` rel="next"`))
	again := f.get(f.link(third, path, ` rel="prev"`))
	for i, page := range map[int]response{0: first, 50: second, 100: third} {
		if got := shown(page); !slices.Equal(got, want[i:min(i+50, 120)]) {
			t.Errorf("the page from %d: got %q", i, got)
		}
	}
	if got := shown(again); !slices.Equal(got, want[50:100]) {
		t.Errorf("the second page from behind: got %q", got)
	}
	if strings.Contains(first.body, `rel="prev"`) || strings.Contains(third.body, `rel="next"`) {
		t.Error("got a link before the first page or after the last, want none")
	}
	r, document := f.read(path + "?search=SHOP+00&limit=4")
	f.want(r, 200)
	if document["matching"] != 10.0 || document["total"] != 120.0 || document["previous"] != nil || document["next"] == nil {
		t.Errorf("JSON: got %v of %v, previous %v, next %v", document["matching"], document["total"], document["previous"], document["next"])
	}
	_, document = f.read(fmt.Sprint(path, "?search=SHOP+00&limit=4&after=", document["next"]))
	if document["previous"] == nil || document["next"] == nil {
		t.Errorf("JSON, second page: got previous %v and next %v, want both", document["previous"], document["next"])
	}
}

// A list can be sorted by last connection, and shows what never connected.
func TestSortByConnection(t *testing.T) {
	f := newFixture(t)
	const path = "domains/acme.example"
	for i := range 12 {
		u, _ := f.user(f.acme, "acme.example", fmt.Sprintf("Shop %02d", i))
		if i < 3 {
			at := time.Now().Add(-[]time.Duration{time.Hour, 2000 * time.Hour, 3000 * time.Hour}[i]).UTC().Truncate(time.Microsecond)
			if err := f.store.RecordLogin(t.Context(), u.Username, 1, at, netip.MustParseAddr("192.0.2.1")); err != nil {
				t.Fatal(err)
			}
		}
	}
	byName := f.get(path)
	f.want(byName, 200, `aria-sort="ascending"`, `aria-sort="none"`)
	if n := strings.Count(byName.body, "unused for 90 days"); n != 1 {
		t.Errorf("got %d hints that a user is unused, want one", n)
	}
	recent := f.get(f.link(byName, path, `>Last connection`))
	if got := shown(recent); len(got) != 12 || !slices.Equal(got[:3], []string{"Shop 00", "Shop 01", "Shop 02"}) {
		t.Errorf("by last connection: got %q", got)
	}
	oldest := f.get(f.link(recent, path, `>Last connection`))
	if got := shown(oldest); len(got) != 12 || got[9] != "Shop 02" {
		t.Errorf("by last connection, the other way: got %q", got)
	}
	never := f.get(f.link(recent, path, `>Show only what never connected`))
	f.want(never, 200, "9 of 12", "Also show what has connected")
	if got := shown(never); len(got) != 9 || slices.Contains(got, "Shop 01") {
		t.Errorf("never connected: got %q", got)
	}
	f.want(f.get("?never=true", header("Test-Tenant", "rival")), 200, "rival.example")
	f.want(f.get(path+"?sort=size"), http.StatusUnprocessableEntity, "it must be name, -name, connection or -connection")
}

// The search of the first page is over domains, names and usernames.
func TestSearchOfEverything(t *testing.T) {
	f := newFixture(t)
	f.domain(f.acme, "müller.example")
	for i := range 11 {
		f.user(f.acme, "acme.example", fmt.Sprintf("Shop %02d", i))
	}
	u, _ := f.user(f.acme, "müller.example", "Müllers Kasse")
	f.want(f.get(""), 200, `role="search"`)
	for _, search := range []string{"MULLER", "m%C3%BCller"} {
		if got := shown(f.get("?search=" + search)); !slices.Equal(got, []string{"müller.example", "Müllers Kasse"}) {
			t.Errorf("%s: got %q, want the domain and the user", search, got)
		}
	}
	page := f.get("?search=" + u.Username[4:])
	f.want(page, 200, "1 of 1")
	if got := shown(page); !slices.Equal(got, []string{"Müllers Kasse"}) {
		t.Errorf("by username: got %q", got)
	}
	if got := shown(f.get("?search=shop")); len(got) != 10 {
		t.Errorf("got %d users, want the first 10", len(got))
	}
	f.want(f.get("?search=nothing"), 200, "No results for")
	if got := shown(f.get("?search=muller", header("Test-Tenant", "rival"))); len(got) > 0 {
		t.Errorf("another tenant: got %q, want none", got)
	}
}

// Pages say how many domains and users there are of how many, and refuse more.
func TestShownLimits(t *testing.T) {
	f := newFixture(t)
	f.want(f.get(""), 200)
	f.credentials.Limits = func(context.Context, store.TenantID) (int, int, error) { return 2, 1, nil }
	f.user(f.acme, "acme.example", "shop")
	f.want(f.get(""), 200, "You use 1 of 2 domains.")
	f.want(f.get("domains/acme.example"), 200, "You use 1 of 1 users of this domain.")
	f.want(f.post("", []string{"name", "b.example"}), http.StatusSeeOther)
	f.want(f.post("", []string{"name", "c.example"}), http.StatusConflict, "as many domains as you may have", `value="c.example"`)
	f.want(f.post("", []string{"name", "c.example"}, french), http.StatusConflict, "votre nombre maximal de domaines")
	f.want(f.post(addPath, []string{"name", "till", "key", "k"}), http.StatusConflict, "as many users as it may have", `value="till"`)
	r, document := f.call("", `{"name":"c.example"}`)
	f.want(r, http.StatusConflict)
	if document["code"] != "domain-limit" {
		t.Errorf("got code %v, want domain-limit", document["code"])
	}
	r, document = f.call(addPath, `{"name":"till"}`)
	f.want(r, http.StatusConflict)
	if document["code"] != "user-limit" {
		t.Errorf("got code %v, want user-limit", document["code"])
	}
	if _, document = f.read(""); document["limit"] != 2.0 || document["total"] != 2.0 {
		t.Errorf("got limit %v and total %v, want 2 and 2", document["limit"], document["total"])
	}
}
