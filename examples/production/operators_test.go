package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The pages are for those only who know the name and the password.
func TestOperatorPages(t *testing.T) {
	q := &queue.Queue{Spool: new(memory.Store)}
	upstream := &smarthost.Forwarder{Addr: "127.0.0.1:1"}
	defer upstream.Close()
	h := operatorPages(&console.Operator{Queue: q, Brakes: brakes(q, upstream)}, "alice", credentials.NewPassword("correct horse"))
	for password, want := range map[string]int{"": 401, "wrong": 401, "correct horse": 200} {
		for _, name := range []string{"alice", "bob"} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept", "text/html")
			r.SetBasicAuth(name, password)
			h.ServeHTTP(w, r)
			if name == "bob" {
				want = 401
			}
			if w.Code != want || (want == 200) != strings.Contains(w.Body.String(), "No mail waits") {
				t.Errorf("%s with %q: got %d, want %d", name, password, w.Code, want)
			}
		}
	}
}
