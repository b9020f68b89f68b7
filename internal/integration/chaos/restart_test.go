//go:build unix

package chaos_test

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
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
// on. Nothing is lost, and only what it was delivering arrives twice: the relay that took
// over may be the first to deliver it, because the frozen one goes on in the middle of a
// dialogue with the upstream.
func TestNodeFrozen(t *testing.T) {
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, func(c relaytest.Command) relaytest.Answer {
				if c.Verb == "RCPT" {
					time.Sleep(20 * time.Millisecond) // so that some are frozen before they send the content
				}
				return relaytest.Answer{}
			})
			nodes := startNodes(t, b, b.create(t), s, func(n *node) { n.Lease = 4 * time.Second })
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
			wantStalled(t, s, nodes)
			t.Logf("%d messages got 250, %v were delivered again", l.accepted(), s.repeats())
		})
	}
}

// wantStalled fails the test if a message arrived twice although no relay was taken for
// dead while it was delivering it. A relay that gets no CPU for the time of a lease is
// as good as frozen, and its log says so.
func wantStalled(t *testing.T, s *sink, nodes []*node) {
	t.Helper()
	deaths, most := make(map[string]int), 0
	for _, n := range nodes {
		deaths[n.hostname()] = n.log.count("other nodes have taken this one for dead")
		most += deaths[n.hostname()] * n.inFlight()
	}
	repeats := 0
	for recipient, list := range s.all() {
		repeats += len(list) - 1
		alive := slices.DeleteFunc(slices.Clone(list), func(a arrival) bool { return deaths[a.node] > 0 })
		if len(alive) > 1 {
			t.Errorf("%s was delivered by %s and again by %s, neither of which was taken for dead", recipient, alive[0].node, alive[1].node)
		}
	}
	if repeats > most {
		t.Errorf("%d deliveries were made again, want at most %d; relays were taken for dead so often: %v", repeats, most, deaths)
	}
}

func sendSignal(t *testing.T, n *node, sig syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}
