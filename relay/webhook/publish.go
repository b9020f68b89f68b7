package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/hook"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	// putsAtOnce is how many calls of Put a call of Publish makes at once. A Spool
	// may let them share a commit.
	putsAtOnce = 16

	// maxPayload is how large the payload of Send may be.
	maxPayload = 64 << 10

	// maxReason is how many bytes of a reason are sent.
	maxReason = 1000

	// maxKept is how many requests that Publish has kept are remembered.
	maxKept = 10_000

	// maxID is how long the ID of an event may be.
	maxID = 128
)

// Publish keeps a request for each event, and for each endpoint that wants it. It is
// for [history.History].Publish. When it returns nil, all requests are durable, except
// those that were left out. With an error some of them may be: the caller should repeat the
// call later. A repetition changes nothing for requests that wait, and for the last 10,000
// that this process has kept. It repeats others that were delivered, under the same
// webhook-id.
//
// Events of one message are kept in the order given. An error of Endpoints or of the
// Spool is an error of Publish. If the Spool is full, events are left out, because
// otherwise the history would wait for room, with the events of all tenants: see
// [SenderStats].Dropped. An event without a usable ID is logged and left out.
func (s *Sender) Publish(ctx context.Context, events []store.Event) error {
	if err := s.prepare(); err != nil {
		return err
	}
	known := make(map[store.TenantID][]Endpoint)
	var lanes [putsAtOnce][]*relay.Message
	for i := range events {
		e := &events[i]
		p := payloadOf(e)
		if p.Type == "" {
			continue
		}
		endpoints, ok := known[e.Tenant]
		if !ok {
			var err error
			if endpoints, err = s.endpoints(ctx, e.Tenant); err != nil {
				return err
			}
			known[e.Tenant] = endpoints
		}
		m, err := message(e.Tenant, e.ID, e.Time, p, endpoints)
		if err != nil { // it would fail again
			s.Queue.Logger.Error("webhook: an event cannot be sent, it is left out", "tenant", e.Tenant, "error", err)
			continue
		}
		if m == nil || s.hasKept(m.ID) {
			continue
		}
		m.Identity.Domain, m.Identity.Username = e.Domain, e.Username
		lane := &lanes[maphash.String(seed, e.Mail)%putsAtOnce]
		*lane = append(*lane, m)
	}
	kept, err := s.putAll(ctx, lanes[:])
	s.remember(kept)
	return err
}

// hasKept reports whether Publish has kept the request, as far as that is remembered.
func (s *Sender) hasKept(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, _ := s.kept.Get(id)
	return kept
}

// remember remembers the requests that a call of Publish has kept. A repetition leaves
// them out: either this call failed, or what its caller did afterwards.
func (s *Sender) remember(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept.Max = maxKept
	for _, id := range ids {
		s.kept.Put(id, true)
	}
}

var seed = maphash.MakeSeed()

// putAll keeps messages: those of a lane one after the other, lanes at once. It
// returns the IDs of those that are kept.
func (s *Sender) putAll(ctx context.Context, lanes [][]*relay.Message) (kept []string, err error) {
	errs, done := make([]error, len(lanes)), make([][]string, len(lanes))
	var wg sync.WaitGroup
	for i, lane := range lanes {
		if len(lane) == 0 {
			continue
		}
		wg.Go(func() {
			for _, m := range lane {
				switch err := s.put(ctx, m); {
				case err == nil:
					done[i] = append(done[i], m.ID)
				case errors.Is(err, store.ErrFull):
					s.drop(m.ID)
				default:
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(done...), errors.Join(errs...)
}

// put hands a message to the queue. A message of the same ID is an earlier request
// for the same event.
func (s *Sender) put(ctx context.Context, m *relay.Message) error {
	if err := s.Queue.Forward(ctx, m); err != nil && !errors.Is(err, store.ErrTaken) {
		return fmt.Errorf("webhook: keeping event %s: %w", m.Options.EnvelopeID, err)
	}
	return nil
}

// drop counts a request for which the Spool is full, and logs that once a minute.
func (s *Sender) drop(id string) {
	if dropped, log := s.countDropped(id); log {
		s.Queue.Logger.Error("webhook: the Spool is full, events are left out", "dropped", dropped)
	}
}

// countDropped counts a request for which the Spool is full. If it is also full for a
// repetition of Publish, that counts once. log is true at most once a minute.
func (s *Sender) countDropped(id string) (dropped int64, log bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, again := s.kept.Get(id); again {
		return s.dropped, false
	}
	s.kept.Max = maxKept
	s.kept.Put(id, false)
	s.dropped++
	now := time.Now()
	if log = now.Sub(s.warned) >= time.Minute; log {
		s.warned = now
	}
	return s.dropped, log
}

// Send keeps a request for an event of the product's own, and for each endpoint of
// the tenant that wants it. When it returns nil, the request is durable. kind is the
// type, such as "domain.verified": words of letters, digits and "_", with dots
// between them. id is the webhook-id: 1 to 128 letters, digits, "-" and "_". A
// repetition with the same id changes nothing while the first request waits. data is
// encoded as JSON, at most 64 KiB.
func (s *Sender) Send(ctx context.Context, tenant store.TenantID, kind, id string, at time.Time, data any) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if !typeForm.MatchString(kind) {
		return fmt.Errorf("webhook: type %.100q is not words of letters, digits and _ with dots between them", kind)
	}
	endpoints, err := s.endpoints(ctx, tenant)
	if err != nil {
		return err
	}
	m, err := message(tenant, id, at, payload{Type: kind, Timestamp: stamp(at), Data: data}, endpoints)
	if err != nil || m == nil {
		return err
	}
	if m.Size() > maxPayload {
		return fmt.Errorf("webhook: the payload of event %s has %d bytes, at most %d are allowed", id, m.Size(), maxPayload)
	}
	return s.put(ctx, m)
}

var typeForm = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)

// endpoints returns the usable endpoints of a tenant.
func (s *Sender) endpoints(ctx context.Context, tenant store.TenantID) ([]Endpoint, error) {
	list, err := s.Endpoints(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("webhook: endpoints of tenant %q: %w", tenant, err)
	}
	usable := make([]Endpoint, 0, len(list))
	for _, e := range list {
		if !isName(e.ID, 64) || slices.ContainsFunc(usable, func(o Endpoint) bool { return o.ID == e.ID }) {
			s.Queue.Logger.Error("webhook: the ID of an endpoint is malformed or there twice, it gets no events",
				"tenant", tenant, "endpoint", e.ID)
			continue
		}
		usable = append(usable, e)
	}
	return usable, nil
}

// message makes a request for the endpoints that want it. It returns nil if none does.
func message(tenant store.TenantID, id string, at time.Time, p payload, endpoints []Endpoint) (*relay.Message, error) {
	if !isName(id, maxID) {
		return nil, fmt.Errorf("webhook: event ID %.200q is not 1 to %d letters, digits, - and _", id, maxID)
	}
	m := &relay.Message{
		ID:       hook.ID(tenant, id, at),
		Identity: credentials.Identity{Tenant: tenant},
		Options:  relay.Options{EnvelopeID: id},
	}
	for i := range endpoints {
		if endpoints[i].wants(p.Type) {
			m.To = append(m.To, relay.Recipient{Address: recipientOf(tenant, endpoints[i].ID)})
		}
	}
	if len(m.To) == 0 {
		return nil, nil
	}
	body, err := p.encode()
	if err != nil {
		return nil, fmt.Errorf("webhook: event %s: %w", id, err)
	}
	return m.WithContent(bytes.NewReader(body), int64(len(body))), nil
}

// encode returns the payload as JSON on one line.
func (p payload) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
