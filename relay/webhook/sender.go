package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/relay/internal/hook"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
)

// A Sender sends events to the endpoints of their tenants.
//
// Fill in the fields, and call Run in a goroutine of its own. The fields must not be
// changed after the first call of a method. Any number of Senders, in any number of
// processes, may share a Spool. Methods are safe for concurrent use.
type Sender struct {
	// Queue keeps the events. Its Spool is required, and it must not be the Spool of the
	// relay's queue: with one Spool, each queue leases what the other has put in, and puts
	// it back for a minute. Nothing is lost, and both log an error at most once an hour. On
	// SQL a Spool of its own is a second store with another TablePrefix.
	//
	// Node names this process, as in [queue.Queue], in at most 246 bytes: each process
	// that shares this Spool needs another one. It may be the Node of the relay's queue
	// in the same process.
	//
	// Next, Destination and Bounce must be nil. Workers of zero means 256: raise it if
	// hundreds of endpoints may hang at the same time. A nil Retry means the schedule
	// of the package's documentation. Everything else is as in [queue.Queue].
	// Queue.Logger is the Sender's as well; its lines get the attribute
	// queue=webhooks. Use &s.Queue for Stats and metrics.
	Queue queue.Queue

	// Endpoints returns the endpoints of a tenant: [Manager.Endpoints], or a function of
	// the product. It is called once for each tenant
	// in a call of Publish, and once for each request. While it fails, Publish fails,
	// for all tenants. Required.
	Endpoints func(ctx context.Context, tenant store.TenantID) ([]Endpoint, error)

	// OnGone, if set, is told that an endpoint answered 410: it wants no more
	// events. It is called for each such answer, from many goroutines at once. Until
	// Endpoints leaves the endpoint out, it is sent the next events too. e is as
	// Endpoints returned it before the request: its URL may have been changed since.
	OnGone func(tenant store.TenantID, e Endpoint)

	// OnAttempt, if set, is told of each request of the queue. It is called from many
	// goroutines at once, and the endpoint's next events wait for it.
	// [Manager.OnAttempt] keeps the last requests for a screen.
	OnAttempt func(store.EndpointAttempt)

	// AllowAddr says which addresses may be connected to. Nil means [mx.IsPublic]; a
	// function that restricts addresses further should call that too. A test with an
	// endpoint on its own machine sets this and AllowHTTP:
	//
	//	hooks.AllowHTTP, hooks.AllowAddr = true, netip.Addr.IsLoopback
	//
	// In production that would let a customer reach the services of the machine.
	AllowAddr func(netip.Addr) bool

	// AllowHTTP allows URLs without TLS. It is for tests, as in AllowAddr.
	AllowHTTP bool

	// TLSConfig, if set, adds to how TLS is done: which roots to trust, a client
	// certificate.
	TLSConfig *tls.Config

	// Timeout is how long an endpoint may take to answer, from the look-up of its
	// name to the end of the header. Zero and less mean 15 seconds.
	Timeout time.Duration

	prepared  sync.Once
	connected sync.Once
	client    http.Client
	log       *slog.Logger  // of the client
	err       error         // why the fields are wrong
	resolver  *net.Resolver // nil: net.DefaultResolver

	mu      sync.Mutex
	pauses  map[string]pause        // of endpoints that asked for one
	kept    lru.Cache[string, bool] // by ID whether Publish has kept what it got last
	dropped int64                   // what it had no room for
	warned  time.Time               // when the log said so
}

// Run sends events until ctx ends. It then waits for requests under way as
// [queue.Queue.Run] does. It returns an error if it cannot begin, because a field is wrong
// or Run is being called already, and if another process has started as the same
// Queue.Node.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	defer s.client.CloseIdleConnections()
	if err := s.Queue.Run(ctx); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

// prepare checks and sets the fields before the first use.
func (s *Sender) prepare() error {
	s.prepared.Do(func() {
		q := &s.Queue
		switch {
		case s.Endpoints == nil:
			s.err = errors.New("webhook: Sender.Endpoints is required")
		case q.Spool == nil:
			s.err = errors.New("webhook: Sender.Queue.Spool is required")
		case q.Next != nil || q.Destination != nil || q.Bounce != nil:
			s.err = errors.New("webhook: Next, Destination and Bounce of Sender.Queue must be nil: the Sender sets them")
		}
		if s.err != nil {
			return
		}
		s.connect()
		q.Next, q.Destination = hook.Forwarder(s.forward), destination
		if q.Workers <= 0 {
			q.Workers = 256
		}
		if q.Retry == nil {
			q.Retry = retry
		}
		if q.Logger == nil {
			q.Logger = slog.Default()
		}
		q.Logger = q.Logger.With(slog.String("queue", "webhooks"))
	})
	return s.err
}

func (s *Sender) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return 15 * time.Second
}

// schedule is how long an event waits after each attempt; the last pause repeats.
// Standard Webhooks recommends longer pauses at the end, but then an endpoint that
// comes back after a day would wait half a day for its events.
var schedule = [...]time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 4 * time.Hour}

// retry returns the pause after an attempt. Chance spreads out what failed together.
func retry(attempt int) time.Duration {
	wait := schedule[min(max(attempt, 1), len(schedule))-1]
	return wait + rand.N(wait/5)
}

// recipientOf returns the queue's recipient for an endpoint.
func recipientOf(tenant store.TenantID, endpoint string) string {
	return endpoint + "@" + string(tenant)
}

// destination gives each endpoint of each tenant a name of at most 255 bytes.
func destination(recipient string) string {
	if len(recipient) <= 255 {
		return recipient
	}
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:])
}
