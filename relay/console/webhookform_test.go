package console_test

import (
	"net/http"
	"strings"
	"testing"
)

// The password of a webhook survives a change of its address on the same server, and is
// not given to another server.
func TestWebhookPasswordIsKept(t *testing.T) {
	f := newFixture(t)
	f.withWebhooks()
	const path = "webhooks/w/change"
	kept := func(want string) {
		t.Helper()
		if e := must(f.console.Webhooks.Get(t.Context(), "acme", "w")); e.URL != want {
			t.Errorf("got the address %s, want %s", e.URL, want)
		}
	}
	f.want(f.postKinds(path, "https://bob:hunter2@crm.example/a", "all"), http.StatusSeeOther)
	f.want(f.postKinds(path, "https://bob:xxxxx@crm.example/b", "all"), http.StatusSeeOther)
	kept("https://bob:hunter2@crm.example/b")
	r, _ := f.call(path, `{"url":"https://bob:xxxxx@crm.example/c"}`)
	f.want(r, 200)
	kept("https://bob:hunter2@crm.example/c")
	for _, other := range []string{"https://bob:xxxxx@other.example/c", "https://eve:xxxxx@crm.example/c", "http://bob:xxxxx@crm.example/c"} {
		f.want(f.postKinds(path, other, "all"), http.StatusUnprocessableEntity, "type the password again", `value="`+other+`"`)
	}
	kept("https://bob:hunter2@crm.example/c")
	f.want(f.postKinds(path, "https://bob:new@other.example/c", "all"), http.StatusSeeOther)
	kept("https://bob:new@other.example/c")
}

// A refused webhook says why, in every language.
func TestWebhookReasons(t *testing.T) {
	f := newFixture(t)
	f.withWebhooks()
	f.console.Webhooks.Sender.AllowAddr = nil
	long := "https://crm.example/" + strings.Repeat("x", 2048)
	for _, test := range []struct{ url, kind, want string }{
		{"ftp://crm.example", "", "the address must begin with https://"},
		{long, "", "it has 2068 bytes, at most 2048 are allowed"},
		{"https://10.0.0.7/", "", "10.0.0.7"},
		{"https://crm.example", "a%20b", "is not a type such as"},
	} {
		kinds := []string{"all"}
		if test.kind != "" {
			kinds = []string{"some", test.kind}
		}
		f.want(f.postKinds("webhooks/add", test.url, kinds[0], kinds[1:]...), http.StatusUnprocessableEntity, test.want)
	}
	r, document := f.call("webhooks/add", `{"url":"`+long+`"}`, french)
	f.want(r, http.StatusUnprocessableEntity)
	if detail, _ := document["detail"].(string); !strings.Contains(detail, "https://") || !strings.Contains(detail, "2068") {
		t.Errorf("got the detail %q, want what is needed and the reason", detail)
	}
}
