package console_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
)

// mayOnly makes visitors do only the actions that the returned list has.
func (f *fixture) mayOnly(actions ...console.Action) *[]console.Action {
	f.console.May = func(_ *http.Request, a console.Action) error {
		if !slices.Contains(actions, a) {
			return errors.New("not for this visitor")
		}
		return nil
	}
	return &actions
}

// A visitor who may only see domains is told nothing of messages, and sees no address of
// a part that another handler has.
func TestViewDomainsAlone(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.sends(func(*relay.Message) error { return nil })
	f.console.Parts = []console.Part{console.Domains}
	f.console.Elsewhere = map[console.Part]string{console.Activity: "/mail/", console.Statistics: "/counts/"}
	u, _ := f.user(f.acme, "acme.example", "shop")
	test, other := sent(store.EventAccepted, "t1", "bob@example.com", 0), sent(store.EventAccepted, "m1", "eve@example.net", 0)
	refused := sent(store.EventRefused, "", "carol@example.net", 0)
	test.From, refused.Field, refused.Reason = "test@acme.example", "RCPT TO", "no such user"
	for _, e := range []*store.Event{&test, &other, &refused} {
		e.Username = u.Username
		e.Time = e.Time.Add(time.Second)
	}
	f.happened(test, other, refused)
	secrets := []string{"bob@example.com", "eve@example.net", "carol@example.net", "Your &lt;order", "m1", "/mail/", "/counts/", "in the last 30 days"}
	may := f.mayOnly(console.ViewDomains)
	for _, path := range []string{userPath(u), userPath(u) + "/connection"} {
		for _, client := range []as{browser, program} {
			page := f.get(path, client)
			f.want(page, 200)
			for _, secret := range secrets {
				if strings.Contains(page.body, secret) {
					t.Errorf("%s: got %q, want it only for visitors who may see it:\n%s", path, secret, page.body)
				}
			}
		}
	}
	f.want(f.get(userPath(u)+"/test/t1"), http.StatusForbidden)
	*may = []console.Action{console.ViewDomains, console.SendTest}
	f.want(f.get(userPath(u)+"/test/t1"), 200, "bob@example.com")
	f.want(f.get(userPath(u)+"/test/m1"), http.StatusNotFound)
	*may = []console.Action{console.ViewDomains, console.ViewActivity}
	f.want(f.get(userPath(u)+"/test/t1"), 200, "bob@example.com")
	f.want(f.get(userPath(u)), 200, `href="/mail/?username=`)
}
