package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A field that is not understood is an error: without it, more would be selected.
func TestOperatorRefusesFields(t *testing.T) {
	d := newDesk(t)
	long := strings.Repeat("x", 256)
	for _, test := range []struct{ field, value string }{
		{"state", "Held"}, {"state", `held\u0000`}, {"to", "any"}, {"said", long}, {"said", `451\u0000`}, {"message", long}, {"username", long},
		{"recipient", long}, {"destination", long}, {"after", long}, {"tenant", "acme" + long}, {"delivery", "m1.00000" + long},
	} {
		body := `{"do":"cancel","tenant":"acme","` + test.field + `":"` + test.value + `"}`
		r := d.post("change", body)
		var problem struct{ Code, Field string }
		if err := json.Unmarshal([]byte(r.body), &problem); err != nil || r.Code != 422 || problem.Code != "invalid" || problem.Field != test.field {
			t.Errorf("%s: got status %d and %+v, want 422, invalid and %s", body, r.Code, problem, test.field)
		}
	}
	for i := range 6 {
		if id := fmt.Sprintf("m%d", i); d.state(id) != "waits" {
			t.Errorf("%s: got %s, want it to wait", id, d.state(id))
		}
	}
	for _, path := range []string{"deliveries?state=Held", "change?do=cancel&tenant=acme&state=Held", "queue?to=any", "pause?to=any&tenant=acme"} {
		d.shows(d.do("GET", path, nil), 422)
	}
	d.shows(d.post("change", `{"do":"cancel","tenant":"acme","state":"","to":""}`), 200, `"done":3`)
}

// OnChange is told how a change was selected: by message, and with a text that has spaces.
func TestOperatorTellsTheSelection(t *testing.T) {
	d := newDesk(t)
	d.shows(d.post("change", `{"do":"hold","message":"m1"}`), 200)
	d.shows(d.post("change", `{"do":"cancel","tenant":"acme","said":"451 4.7.1 ","state":"waiting"}`), 200, `"done":3`)
	d.shows(d.post("change", `{"do":"cancel","message":"m9"}`), 200, `"done":0`)
	want := []console.Change{
		{Action: console.HoldQueue, Tenant: "rival", Object: "hold 1 message=m1"},
		{Action: console.CancelQueue, Tenant: "acme", Object: `cancel 3 state=waiting said="451 4.7.1"`},
	}
	if !slices.Equal(d.changes, want) {
		t.Errorf("OnChange was told of %+v, want %+v", d.changes, want)
	}
}

// A brokenSpool fails to settle after a number of calls.
type brokenSpool struct {
	*memory.Store
	calls int
}

func (s *brokenSpool) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	if s.calls--; s.calls < 0 {
		return nil, errors.New("disk full")
	}
	return s.Store.Settle(ctx, outcomes)
}

// If the store fails in the middle, OnChange is told of what was changed before, and
// pages count anew.
func TestOperatorTellsOfAPart(t *testing.T) {
	d := newDesk(t)
	var list []store.Delivery
	for n := range 2500 {
		list = append(list, store.Delivery{N: n, Recipient: fmt.Sprintf("r%d@three.example", n), Destination: "three.example", Next: received})
	}
	m := store.Mail{ID: "n1", Tenant: "acme", Domain: "acme.example", Username: d.username, Received: received, Size: 5}
	if err := d.st.Put(t.Context(), m, list, strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	d.shows(d.do("GET", "queue?destination=three.example", nil), 200, "2,500 recipients wait")
	d.op.Queue.Spool = &brokenSpool{d.st, 1}
	d.shows(d.post("change", `{"do":"cancel","destination":"three.example"}`), 500)
	want := []console.Change{{Action: console.CancelQueue, Object: "cancel 1000 destination=three.example"}}
	if !slices.Equal(d.changes, want) {
		t.Errorf("OnChange was told of %+v, want %+v", d.changes, want)
	}
	d.shows(d.do("GET", "queue?destination=three.example", nil), 200, "1,500 recipients wait")
	d.shows(d.post("change", `{"do":"cancel","destination":"three.example"}`), 500)
	if len(d.changes) > 1 {
		t.Errorf("OnChange was told of %+v, which did not happen", d.changes[1:])
	}
}

// A destination is found however it is written, and the form says how much it has.
func TestOperatorNormalizesDestinations(t *testing.T) {
	d := newDesk(t)
	d.put("u1", "acme", "eve@xn--bcher-kva.example")
	d.put("u2", "acme", "eve@EU.Pool")
	d.shows(d.do("GET", "pause?destination=One.Example", nil), 200, "wait now: <strong>4</strong>", `value="one.example"`)
	d.shows(d.do("GET", "pause?destination=b%C3%BCcher.example.", nil), 200, "<strong>1</strong>", `value="xn--bcher-kva.example"`)
	d.shows(d.do("GET", "pause?destination=EU.Pool", nil), 200, "<strong>1</strong>", `value="EU.Pool"`)
	d.shows(d.do("GET", "pause?destination=ome.example", nil), 200, "<strong>0</strong>")
	d.shows(d.do("GET", "pause?tenant=rival", nil), 200, "<strong>3</strong>")
	d.shows(d.post("pause", `{"destination":"One.Example"}`), 204)
	list, err := d.st.Suspensions(t.Context())
	if err != nil || len(list) != 1 || list[0].Destination != "one.example" {
		t.Errorf("got %+v, %v, want a suspension of one.example", list, err)
	}
	d.shows(d.post("resume", `{"destination":"ONE.example"}`), 204)
	if err := d.st.Suspend(t.Context(), store.Suspension{Destination: "Two.Example", By: "bob", Since: received}); err != nil {
		t.Fatal(err)
	}
	d.shows(d.post("resume", `{"destination":"Two.Example"}`), 204)
	d.shows(d.post("change", `{"do":"hold","destination":"One.EXAMPLE"}`), 200, `"done":4`)
}
