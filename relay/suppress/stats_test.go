package suppress_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store"
)

// Stats count what was learned and refused, each change once.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		is := func(want suppress.Stats) {
			t.Helper()
			if got := l.Stats(); got.Learned != want.Learned || got.Forgotten != want.Forgotten || got.Refused != want.Refused || got.Stops != want.Stops {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		is(suppress.Stats{})
		e := l.bounced("bob@example.net", noSuchUser)
		l.learn(e)
		l.learn(e)
		l.refused("bob@example.net", "bob@example.net")
		l.allowed("eve@example.net")
		is(suppress.Stats{Learned: 1, Refused: 2})
		if n := l.Stats().Remembered; n < 1 || n > 20 {
			t.Errorf("%d addresses are remembered", n)
		}
		time.Sleep(time.Hour)
		l.learn(l.delivered("bob@example.net"))
		is(suppress.Stats{Learned: 1, Forgotten: 1, Refused: 2})
		for i := range 30 {
			l.learn(l.event(store.EventHardBounced, fmt.Sprintf("u%d@big.example", i), "mx.big.example", noSuchUser))
		}
		is(suppress.Stats{Learned: 20, Forgotten: 20, Refused: 2, Stops: 1})
	})
}
