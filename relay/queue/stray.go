package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay/internal/hook"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is about a Spool that was given both to the queue of the relay and to that of
// a webhook.Sender. Each then leases what the other has put in. It must not send that, and
// it must not give it up.

// strayTime is for how long what another kind of queue has put in is put back.
const strayTime = time.Minute

// strays says when the log has last said that the Spool has something of another kind of
// queue.
type strays struct {
	mu   sync.Mutex
	said time.Time
}

// strayPause is how often that is logged at most.
const strayPause = time.Hour

var (
	errRequestHere = errors.New("queue: the Spool has requests of a webhook.Sender, which wait: set Sender.Queue.Spool to a Spool of its own")
	errMailHere    = errors.New("queue: the Spool of the webhooks has mail, which waits: set Sender.Queue.Spool to a Spool of its own, and use Sender.Queue for no mail")
)

// forWebhooks reports whether this is the queue of a webhook.Sender.
func (q *Queue) forWebhooks() bool {
	_, ok := q.Next.(hook.Forwarder)
	return ok
}

// The first letter of the ID of a node says what kind of queue it is.
const (
	mailKind = "m"
	hookKind = "w"

	kindLength = 27 // of such an ID; older ones have 26
)

func (q *Queue) kind() string {
	if q.forWebhooks() {
		return hookKind
	}
	return mailKind
}

// nodeName returns the name under which this Queue joins; "" if it has none. A queue of
// webhooks has a name that no queue of mail has: a node that joins removes the one of the
// same name.
func (q *Queue) nodeName() string {
	if q.Node != "" && q.forWebhooks() {
		return hookPrefix + q.Node
	}
	return q.Node
}

const hookPrefix = "webhooks "

// maxNode returns how many bytes Node may have. The name of a [store.Node] may have 255.
func (q *Queue) maxNode() int {
	if q.forWebhooks() {
		return 255 - len(hookPrefix)
	}
	return 255
}

// checkKind logs that another node that lives is of the other kind. Both go on: a mistake
// in one process must not stop the others.
func (q *Queue) checkKind(n store.Node) {
	if len(n.ID) == kindLength && n.ID[:1] != q.kind() {
		q.sayStray("node", n.Name)
	}
}

// errStray is what is said of messages of the other kind.
func (q *Queue) errStray() error {
	if q.forWebhooks() {
		return errMailHere
	}
	return errRequestHere
}

// sayStray logs that the Spool has messages or nodes of the other kind.
func (q *Queue) sayStray(attrs ...any) {
	if q.strays.mayTell(q.now()) {
		q.logger().Error(q.errStray().Error(), attrs...)
	}
}

// mayTell reports whether the log has not said it for a while. The caller then logs.
func (s *strays) mayTell(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.said.IsZero() && now.Sub(s.said) < strayPause {
		return false
	}
	s.said = now
	return true
}

// leaseOwn leases what the request asks for, and makes jobs of it. It puts back what
// another kind of queue has put into the Spool. n is how many deliveries were leased.
func (q *Queue) leaseOwn(ctx context.Context, r *run, request store.LeaseRequest) (own []*job, n int, err error) {
	leased, err := q.Spool.Lease(ctx, request)
	if err != nil {
		q.unsure()
		return nil, 0, err
	}
	own = q.jobsOf(leased)
	var strays []*job
	own = slices.DeleteFunc(own, func(j *job) bool {
		stray := q.isStray(&j.parcel.mail)
		if stray {
			strays = append(strays, j)
		}
		return stray
	})
	if len(strays) > 0 {
		m := &strays[0].parcel.mail
		q.sayStray("id", m.ID, "tenant", m.Tenant, "messages", len(strays))
		q.putBack(r, strays, strayTime)
	}
	return own, len(leased), nil
}

// isStray reports whether a mail is of another kind of queue. One that can't be read does
// not show that, and is held.
func (q *Queue) isStray(m *store.Mail) bool {
	return !isUnread(m) && hook.IsRequest(m.ID, m.Tenant, m.EnvelopeID) != q.forWebhooks()
}
