package chaos_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// TestNodeKilled kills one of three relays on one database. The others go on, and
// take over what it had to do when its leases have ended, and not before.
func TestNodeKilled(t *testing.T) {
	services.OnlyLong(t)
	t.Parallel()
	s := newSink(t, nil)
	dsn := services.Postgres(t)
	nodes := make([]*node, 3)
	for i := range nodes {
		nodes[i] = nodeOn(backend{driver: "pgx", dialect: sqlstore.Postgres}, dsn, s)
		nodes[i].name, nodes[i].Lease = fmt.Sprintf("node%d", i), 4*time.Second
		nodes[i].start(t)
		_, nodes[i].username, nodes[i].password = nodes[0].account()
	}
	s.shut()                                           // so that there is work to take over
	l := &load{conns: 6, pause: 20 * time.Millisecond} // a large message is not leased at first
	stop := l.run(t, nodes...)
	dead := nodes[0]
	eventually(t, "each node has work", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		work := make(map[string]int)
		for _, name := range l.kept {
			work[name]++
		}
		return len(work) == len(nodes) && work[dead.name] > 5*dead.Workers
	})
	dead.kill()
	killed := time.Now()
	s.open()
	kept := l.accepted()
	eventually(t, "the other nodes take mail", func() bool { return l.accepted() > kept+50 })
	stop()
	s.wantAll(t, l, nodes[1:]...)
	nodes[1].wantDepth(t, 0, 0)

	taken := 0
	for recipient, list := range s.all() {
		token := tokenOf(recipient)
		last := list[len(list)-1]
		if l.kept[token] != dead.name || strings.HasPrefix(last.node, dead.name) {
			continue
		}
		taken++
		if wait := last.at.Sub(killed); wait < dead.Lease/4 { // a node may have renewed itself a quarter of the lease before
			t.Errorf("%s was delivered by %s %v after the kill, before %s had missed three beats", recipient, last.node, wait, dead.name)
		}
		if wait := last.at.Sub(killed); wait > dead.Lease+15*time.Second {
			t.Errorf("%s waited %v after the kill", recipient, wait)
		}
	}
	if taken == 0 {
		t.Error("nothing was taken over")
	}
	for name, times := range s.repeats() {
		if !strings.HasPrefix(name, dead.name) || times > dead.inFlight() {
			t.Errorf("%d deliveries by %s were made again", times, name)
		}
	}
	t.Logf("%d messages got 250, %d of them were taken over, %v were delivered again", l.accepted(), taken, s.repeats())
}
