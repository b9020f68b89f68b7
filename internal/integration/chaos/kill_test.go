package chaos_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// TestKill kills a relay at any moment, again and again. Each message that got a
// 250 arrives. Only messages that were being delivered at a kill arrive twice.
func TestKill(t *testing.T) {
	kills, backends := 20, backends
	if !services.Long() {
		kills, backends = 4, backends[:1]
	}
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, nil)
			n := b.node(t, s)
			n.Lease = 2 * time.Second
			n.start(t)
			l := &load{conns: 6, pause: 10 * time.Millisecond, large: 40}
			settled := crash(t, s, n, l, kills, n.kill)
			n.wantDepth(t, 0, 0)
			wantRepeats(t, s, n)
			s.wantNoMore(t, settled)
			t.Logf("%d messages sent, %d got 250, %v were delivered again", l.sent.Load(), l.accepted(), s.repeats())
		})
	}
}

// crash ends a relay at any moment under load and starts it again, so many times.
// It fails the test if not everything arrives that got its 250. It returns how often
// what was settled before a crash had arrived by then.
func crash(t *testing.T, s *sink, n *node, l *load, times int, end func()) (settled map[string]int) {
	t.Helper()
	stop := l.run(t, n)
	settled = make(map[string]int)
	for range times {
		before := l.accepted()
		eventually(t, "the relay takes mail", func() bool { return l.accepted() > before })
		time.Sleep(rand.N(500 * time.Millisecond))
		end()
		arrived := s.all()
		for recipient := range n.became("delivered") {
			settled[recipient] = len(arrived[recipient])
		}
		n.start(t)
	}
	stop()
	s.wantAll(t, l, n)
	return settled
}

// wantNoMore fails the test if more has arrived of what was settled.
func (s *sink) wantNoMore(t *testing.T, settled map[string]int) {
	t.Helper()
	for recipient, list := range s.all() {
		if before := settled[recipient]; before > 0 && len(list) > before {
			t.Errorf("%s was delivered again after it was settled", recipient)
		}
	}
}

// wantRepeats fails the test if more was delivered again than a kill explains.
func wantRepeats(t *testing.T, s *sink, n *node) {
	t.Helper()
	for name, times := range s.repeats() {
		if times > n.inFlight() {
			t.Errorf("%d deliveries by %s were made again, more than %d can have been in flight", times, name, n.inFlight())
		}
	}
	for recipient, list := range s.all() {
		seen := make(map[string]bool)
		for _, a := range list {
			if seen[a.node] {
				t.Errorf("%s was delivered twice by the same process, %s", recipient, a.node)
			}
			seen[a.node] = true
		}
	}
	for recipient, times := range n.became("delivered") {
		if times > 1 {
			t.Errorf("%s was settled as delivered %d times", recipient, times)
		}
	}
}
