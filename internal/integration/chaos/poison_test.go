//go:build unix

package chaos_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// TestDeadlyMessage has a relay whose process dies at one message, and that is started
// again each time. The message is held after five deaths, and everything else is
// delivered.
func TestDeadlyMessage(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, nil)
			n := b.node(t, s)
			n.Node = "relay"
			n.start(t)
			o := n.operator(t)
			n.kill()
			neighbours := o.send(t, "acme", "example.net", 100)
			poison := o.send(t, "acme", deadly, 1)[0]
			neighbours = append(neighbours, o.send(t, "other", "example.net", 100)...)
			deaths := 0
			for ; deaths < 10; deaths++ {
				n.launch(t)
				if !n.diesBefore(t, func() bool { return len(n.became("held")) > 0 }) {
					break
				}
			}
			eventually(t, "all neighbours arrive", func() bool {
				all := s.all()
				return !slices.ContainsFunc(neighbours, func(r string) bool { return len(all[r]) == 0 })
			})
			if deaths != 5 {
				t.Errorf("the message was held after %d deaths, want 5", deaths)
			}
			if held := n.became("held"); len(held) != 1 || held[poison] != 1 {
				t.Errorf("held: %v, want %s", held, poison)
			}
			n.wantDepth(t, 1, 1)
			wantRepeats(t, s, n)
		})
	}
}

// diesBefore reports whether the process ends before done returns true.
func (n *node) diesBefore(t *testing.T, done func() bool) (died bool) {
	t.Helper()
	eventually(t, n.name+" has died or is done", func() bool {
		select {
		case <-n.exited:
			died = true
		default:
		}
		return died || done()
	})
	return died
}

// TestDeployments restarts three relays in good order, eight times each, while mail
// comes in and the upstream is slow. Nothing is held, and nothing arrives twice.
func TestDeployments(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, nil)
			nodes := startNodes(t, b, b.create(t), s, func(*node) {})
			l := &load{conns: 6, pause: 5 * time.Millisecond, large: 40}
			stop := l.run(t, nodes...)
			for i := range 8 * len(nodes) {
				n := nodes[i%len(nodes)]
				before := l.accepted()
				eventually(t, "mail is accepted", func() bool { return l.accepted() > before+10 })
				sendSignal(t, n, syscall.SIGTERM)
				<-n.exited
				n.start(t)
			}
			stop()
			s.wantAll(t, l, nodes...)
			nodes[0].wantDepth(t, 0, 0)
			for _, n := range nodes {
				if held := n.became("held"); len(held) > 0 {
					t.Errorf("held: %v", held)
				}
			}
			if times := s.repeats(); len(times) > 0 {
				t.Errorf("%v were delivered again", times)
			}
			t.Logf("%d messages got 250, refused: %v", l.accepted(), l.stages)
		})
	}
}
