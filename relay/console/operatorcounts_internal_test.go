package console

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A change that is made while a count runs is in the next count. A page that was asked
// for after the change waits for that.
func TestCountsChangedDuringACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c counts
		waiting, runs := int64(5), 0
		slow := func(context.Context) ([]store.Backlog, error) {
			list := []store.Backlog{{Deliveries: waiting}}
			runs++
			time.Sleep(time.Second)
			return list, nil
		}
		want := func(n int64, of int) {
			t.Helper()
			list, _, err := c.get(t.Context(), slow)
			if err != nil || len(list) != 1 || list[0].Deliveries != n || runs != of {
				t.Errorf("got %+v, %v after %d counts, want %d after %d", list, err, runs, n, of)
			}
		}
		go c.get(t.Context(), slow)
		synctest.Wait() // it has counted 5, and takes until the end of the second
		waiting = 2
		c.changed()
		want(2, 2)
		want(2, 2) // the count is remembered
		waiting = 1
		c.changed()
		want(1, 3)
	})
}
