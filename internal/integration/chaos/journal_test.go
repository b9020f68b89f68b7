package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestKillRecords kills a relay that records what becomes of its mail, and that
// applies the records, at any moment. What was accepted and what was delivered is
// counted once for each recipient, and nothing else is.
func TestKillRecords(t *testing.T) {
	kills, backends := 10, backends
	if !services.Long() {
		kills, backends = 3, backends[:1]
	}
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, nil)
			n := b.node(t, s)
			n.Lease, n.Record = 2*time.Second, true
			n.start(t)
			l := &load{conns: 6, pause: 5 * time.Millisecond, large: 40, also: []string{"+two"}}
			crash(t, s, n, l, kills, n.kill)
			n.wantDepth(t, 0, 0)
			st := sqlstore.New(n.open(t), n.Dialect)
			eventually(t, "all records are applied", func() bool {
				j, err := st.Journal(t.Context())
				return err == nil && j.Records == 0
			})
			wantRecorded(t, st, l)
		})
	}
}

// wantRecorded checks that each recipient has been accepted once and delivered once.
func wantRecorded(t *testing.T, st store.History, l *load) {
	t.Helper()
	seen := make(map[string]bool)
	f := store.ActivityFilter{Limit: 1000}
	for {
		page, err := st.Activities(t.Context(), "acme", f)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.List {
			list, err := st.Recipients(t.Context(), "acme", a.Mail, store.RecipientFilter{})
			if err != nil || len(list) != 2 {
				t.Fatalf("%s has %d recipients, %v, want 2", a.Mail, len(list), err)
			}
			trail := list[a.N].Trail
			if strings.Count(trail, "a") != 1 || strings.Count(trail, "d") != 1 {
				t.Errorf("%s was recorded as %q, want one a for accepted and one d for delivered", a.Recipient, trail)
			}
			if seen[a.Recipient] {
				t.Errorf("%s is in two mails", a.Recipient)
			}
			seen[a.Recipient] = true
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	for token := range l.kept {
		for _, tag := range append([]string{""}, l.also...) {
			if to := token + tag + "@example.net"; !seen[to] {
				t.Errorf("%s got its 250 and was not recorded", to)
			}
		}
	}
	sums, err := st.Counts(t.Context(), "acme", store.CountFilter{})
	if err != nil || len(sums) != 1 || sums[0].Accepted != int64(len(seen)) || sums[0].Delivered != int64(len(seen)) {
		t.Errorf("counted %+v, %v, want %d accepted and delivered", sums, err, len(seen))
	}
	t.Logf("%d recipients", len(seen))
}

// applyRecords applies records until the process ends. Two goroutines do it at once,
// so that many calls of Apply fail because the other was first.
func applyRecords(st store.History) {
	for {
		if n, err := applySome(st); err != nil || n == 0 {
			if err != nil && !errors.Is(err, store.ErrConflict) {
				fmt.Fprintln(os.Stderr, "apply:", err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

var letters = map[store.EventKind]string{
	store.EventAccepted: "a", store.EventDelivered: "d", store.EventDeferred: "f", store.EventWaiting: "w", store.EventHardBounced: "h", store.EventSoftBounced: "s",
}

// applySome makes an activity of each recipient, with a letter for each event.
func applySome(st store.History) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	records, err := st.Records(ctx, 300)
	if err != nil || len(records) == 0 {
		return 0, err
	}
	type key struct {
		mail string
		n    int
	}
	at := make(map[key]int)
	count := store.Count{Tenant: "acme", Hour: time.Unix(0, 0).UTC(), Domain: domain}
	var c store.Changes
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID)
		for _, e := range r.Events {
			switch e.Kind {
			case store.EventAccepted:
				count.Accepted++
			case store.EventDelivered:
				count.Delivered++
			}
			k := key{e.Mail, e.N}
			if _, ok := at[k]; !ok {
				at[k] = len(c.Activities)
				c.Activities = append(c.Activities, store.ActivityChange{Activity: store.Activity{
					Tenant: e.Tenant, Mail: e.Mail, N: e.N, Recipient: e.Recipient, Received: e.Received, State: store.ActivityAccepted, Order: 1,
				}})
			}
			c.Activities[at[k]].Trail += letters[e.Kind]
		}
	}
	c.Counts = []store.Count{count}
	return len(records), st.Apply(ctx, ids, c)
}
