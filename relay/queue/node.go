package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A node is what the Spool knows this Queue as while Run works. Other nodes leave
// its deliveries alone as long as its beat grows.
type node struct {
	mu      sync.Mutex
	id      string    // "" while it has not joined
	joined  time.Time // when it joined, by the Spool's clock
	renewed time.Time // when the last call of Renew began that succeeded
	onWall  time.Time // the same, by this machine's clock
	missed  map[string]missed
	skewed  bool // this machine's clock is too far from the Spool's
	warned  bool // the log says so
}

// A missed is how often in a row another node's beat had not grown.
type missed struct {
	beat  int64
	times int
}

// beatsMissed is how many beats of another node have to be missing before it is
// taken for dead. Beats come four times in a lease.
const beatsMissed = 3

// errReplaced means that another process has joined under this node's name.
var errReplaced = errors.New("queue: another process has started as the same node: give each process a Node name of its own")

func (q *Queue) beatEvery() time.Duration { return max(q.leaseFor()/4, time.Millisecond) }

// nodeID returns the ID under which this Queue leases; "" means that it can't.
func (q *Queue) nodeID() string {
	q.node.mu.Lock()
	defer q.node.mu.Unlock()
	return q.node.id
}

// joined returns when this node joined.
func (q *Queue) joined() time.Time {
	q.node.mu.Lock()
	defer q.node.mu.Unlock()
	return q.node.joined
}

// keepNode joins the Spool and keeps the node alive until ctx ends. It returns an
// error if another process has taken its name.
func (q *Queue) keepNode(ctx context.Context, r *run) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := q.beatEvery()
		switch err := q.beat(ctx, r); {
		case errors.Is(err, errReplaced):
			return err
		case err != nil && ctx.Err() == nil:
			q.logger().Error("queue: the node can't be renewed, trying again", "error", err)
			wait = min(wait, beatAgain)
		}
		timer.Reset(wait)
	}
}

// beatAgain is how soon a Renew that failed is repeated.
const beatAgain = time.Second

// beat renews the node, or joins if there is none, and looks at the other nodes.
func (q *Queue) beat(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, min(spoolTime, max(q.leaseFor()/8, time.Second)))
	defer cancel()
	id := q.nodeID()
	if id == "" {
		var err error
		if id, err = q.join(ctx); err != nil {
			return err
		}
		q.trials(r)
	}
	asked, onWall := time.Now(), q.wall()
	now, err := q.Spool.Renew(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return q.lostNode(ctx, r)
	}
	if err != nil {
		q.rest()
		return err
	}
	q.clock.read(asked, now)
	q.checkSkew(now)
	q.node.mu.Lock()
	first := q.node.id == ""
	if first {
		q.node.joined = q.now()
	}
	q.node.id, q.node.renewed, q.node.onWall = id, asked, onWall
	q.node.mu.Unlock()
	q.dispatcher.pause(false)
	if first {
		r.wakeUp()
	}
	return q.watch(ctx, r, id)
}

// join adds this node under a new ID.
func (q *Queue) join(ctx context.Context) (id string, err error) {
	id = q.kind() + strings.ToLower(rand.Text())
	name := q.nodeName()
	if name == "" {
		name = id
		q.warnNameless(ctx)
	}
	return id, q.Spool.Join(ctx, store.Node{ID: id, Name: name})
}

// warnNameless says in the log what a node without a name costs, if there may have been
// one before this one.
func (q *Queue) warnNameless(ctx context.Context) {
	nodes, err := q.Spool.Nodes(ctx)
	if err == nil && len(nodes) > 0 {
		q.logger().Warn("queue: Queue.Node is empty: what another node, or this one, was sending when it died waits until Queue.Lease is over",
			"nodes", len(nodes), "lease", q.leaseFor())
	}
}

// lostNode is called when other nodes took this one for dead, or when another process
// has joined under its name. It gives up the jobs that wait.
func (q *Queue) lostNode(ctx context.Context, r *run) error {
	q.dispatcher.pause(true)
	q.node.mu.Lock()
	q.node.id = ""
	q.node.mu.Unlock()
	if q.Node != "" {
		nodes, err := q.Spool.Nodes(ctx)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if n.Name == q.nodeName() {
				return errReplaced
			}
		}
	}
	q.logger().Error("queue: other nodes have taken this one for dead, joining again")
	q.giveBack(r, q.dispatcher.waitingJobs())
	return errors.New("the node was removed")
}

// rest stops new attempts if the node has not been renewed for half a lease: other
// nodes may soon take it for dead.
func (q *Queue) rest() { q.dispatcher.pauseIf(q.isStale) }

// isStale reports whether the node has not been renewed for half a lease. The
// monotonic clock doesn't count the time for which a machine is suspended, so the
// other clock is asked too.
func (q *Queue) isStale() bool {
	q.node.mu.Lock()
	defer q.node.mu.Unlock()
	if q.node.id == "" {
		return true
	}
	since := max(time.Since(q.node.renewed), q.wall().Sub(q.node.onWall))
	return since > q.leaseFor()/2
}

// checkSkew compares this machine's clock with the Spool's time.
func (q *Queue) checkSkew(spool time.Time) {
	skew := q.wall().Sub(spool).Abs()
	q.node.mu.Lock()
	was := q.node.warned
	q.node.warned = skew > q.leaseFor()/4
	q.node.skewed = skew > q.leaseFor()/2
	skewed, warned := q.node.skewed, q.node.warned
	q.node.mu.Unlock()
	switch {
	case warned && !was && skewed:
		q.logger().Error("queue: this machine's clock differs from the Spool's, nothing is leased until it is set", "difference", skew)
	case warned && !was:
		q.logger().Warn("queue: this machine's clock differs from the Spool's", "difference", skew)
	case was && !warned:
		q.logger().Info("queue: this machine's clock agrees with the Spool's")
	}
}

func (q *Queue) isSkewed() bool {
	q.node.mu.Lock()
	defer q.node.mu.Unlock()
	return q.node.skewed
}

// watch removes nodes whose beat doesn't grow any more. It counts beats of its own
// and reads no clock, so neither clocks that differ nor a database that stalls make
// a node look dead.
func (q *Queue) watch(ctx context.Context, r *run, id string) error {
	nodes, err := q.Spool.Nodes(ctx)
	if err != nil {
		return err
	}
	seen := make(map[string]missed, len(nodes))
	for _, n := range nodes {
		if n.ID == id {
			continue
		}
		m, ok := q.node.missed[n.ID]
		if ok && m.beat == n.Beat {
			m.times++
		} else {
			m = missed{beat: n.Beat}
		}
		seen[n.ID] = m
		if ok && m.times == 0 {
			q.checkKind(n)
		}
		if m.times < beatsMissed {
			continue
		}
		switch err := q.Spool.Remove(ctx, n); {
		case errors.Is(err, store.ErrConflict): // it lives, or another node was faster
		case err != nil:
			return fmt.Errorf("removing node %s: %w", n.ID, err)
		default:
			q.logger().Warn("queue: a node has died, its deliveries are taken over", "node", n.Name, "id", n.ID)
		}
		q.trials(r)
	}
	q.node.missed = seen // only this goroutine uses it
	return nil
}

// leave removes this node, which has nothing leased any more.
func (q *Queue) leave(ctx context.Context) {
	id := q.nodeID()
	q.node.mu.Lock()
	q.node.id = ""
	q.node.mu.Unlock()
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	nodes, err := q.Spool.Nodes(ctx)
	for _, n := range nodes {
		if n.ID == id {
			err = q.Spool.Remove(ctx, n)
		}
	}
	if err != nil {
		q.logger().Warn("queue: the node can't be removed", "error", err)
	}
}
