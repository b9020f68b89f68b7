package history

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A record that is damaged holds up nothing, and the log names it.
func TestDamaged(t *testing.T) {
	st := &hooked{Store: new(memory.Store)}
	put(t, st, newLife("lost", 0).then(store.EventAccepted, 0).events...)
	put(t, st, sent(2)...)
	first := ""
	st.records = func(ctx context.Context, limit int) ([]store.Record, error) {
		list, err := st.Store.Records(ctx, limit)
		if first == "" {
			first = list[0].ID
		}
		if len(list) > 0 && list[0].ID == first {
			list[0].Events, list[0].Damage = nil, "unknown version 9"
		}
		return list, err
	}
	var log bytes.Buffer
	h := &History{Store: st, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if n, err := h.step(t.Context(), batch); n != 4 || err != nil {
		t.Fatalf("%d events applied, %v, want 4", n, err)
	}
	if j, err := h.Backlog(t.Context()); j.Records != 0 || err != nil {
		t.Errorf("backlog %+v, %v", j, err)
	}
	if !strings.Contains(log.String(), first) || strings.Count(log.String(), "cannot be read") != 1 {
		t.Errorf("the log is %q", log.String())
	}
}

// What an older version has set aside is applied by one that can read it: when that
// begins to apply, each hour, and before an address is erased.
func TestRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memory.Store)
		h := &History{Store: st, Logger: slog.New(slog.DiscardHandler), Retention: 400_000 * time.Hour}
		setAside := func(mail string) {
			t.Helper()
			put(t, st, newLife(mail, 0).then(store.EventAccepted, 0).events...)
			records, err := st.Records(t.Context(), 1)
			if err != nil || len(records) != 1 {
				t.Fatalf("records %+v, %v, want one", records, err)
			}
			if err := st.SetAside(t.Context(), records[0].ID); err != nil {
				t.Fatal(err)
			}
		}
		setAside("m1")
		stop := start(t, h)
		for want, mail := range []string{"m2", "m3"} {
			time.Sleep(61 * time.Minute)
			synctest.Wait()
			if c := total(t, st); c.Accepted != int64(want+1) {
				t.Errorf("%d recipients are counted, want %d", c.Accepted, want+1)
			}
			setAside(mail)
		}
		stop()
		if n, err := h.Tenant("acme").Erase(t.Context(), "bob0@example.com"); err != nil || n != 3 {
			t.Errorf("erased %d, %v, want all 3", n, err)
		}
	})
}
