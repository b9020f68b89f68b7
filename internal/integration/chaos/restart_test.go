//go:build unix

package chaos_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRestartGoesOn kills a relay that has accepted mail and not delivered it. After
// a restart under the same node name, the relay delivers all of it at once, although a
// lease lasts a minute.
func TestRestartGoesOn(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, nil)
			n := b.node(t, s)
			n.Node = "relay"
			n.start(t)
			s.shut()
			l := &load{conns: 4, pause: time.Millisecond}
			send(t, l, 200, n)
			n.kill()
			s.open()
			n.start(t)
			started := time.Now()
			s.wantAll(t, l, n)
			if took := time.Since(started); took > 30*time.Second { // a second or two on an idle machine
				t.Errorf("what the killed relay had was delivered %v after the restart: it waited for the lease", took)
			}
			n.wantDepth(t, 0, 0)
			wantRepeats(t, s, n)
		})
	}
}

// TestNodeFrozen stops one of three relays for longer than the lease, and lets it go
// on. Nothing is lost, and only what it was delivering arrives twice.
func TestNodeFrozen(t *testing.T) {
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, nil)
			dsn := b.create(t)
			nodes := make([]*node, 3)
			for i := range nodes {
				nodes[i] = nodeOn(b, dsn, s)
				nodes[i].name, nodes[i].Node, nodes[i].Lease = fmt.Sprintf("node%d", i), fmt.Sprintf("node%d", i), 4*time.Second
				nodes[i].start(t)
				_, nodes[i].username, nodes[i].password = nodes[0].account()
			}
			l := &load{conns: 6, pause: 5 * time.Millisecond}
			stop := l.run(t, nodes...)
			frozen := nodes[0]
			for range 2 {
				before := l.accepted()
				eventually(t, "the relays take mail", func() bool { return l.accepted() > before+100 })
				sendSignal(t, frozen, syscall.SIGSTOP)
				time.Sleep(2 * frozen.Lease)
				sendSignal(t, frozen, syscall.SIGCONT)
				time.Sleep(frozen.Lease / 2)
			}
			stop()
			s.wantAll(t, l, nodes...)
			nodes[1].wantDepth(t, 0, 0)
			for name, times := range s.repeats() {
				if !strings.HasPrefix(name, frozen.name) || times > 2*frozen.inFlight() {
					t.Errorf("%d deliveries by %s were made again", times, name)
				}
			}
			t.Logf("%d messages got 250, %v were delivered again", l.accepted(), s.repeats())
		})
	}
}

func sendSignal(t *testing.T, n *node, sig syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}
