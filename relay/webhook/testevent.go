package webhook

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A Result is what [Sender.Test] found.
type Result struct {
	Status int           // the status of HTTP; 0 without an answer
	Took   time.Duration // how long the request took
}

// Test sends an event of the type "webhook.test" to an endpoint, once and without the
// queue. The error is nil if the endpoint took it; otherwise it says why not, in
// words that may be shown to the tenant. The Sender needs no Endpoints and no Queue.Spool
// for it: a process that only has the forms can test too.
func (s *Sender) Test(ctx context.Context, e Endpoint) (Result, error) {
	a, err := s.test(ctx, &e)
	return Result{Status: a.Status, Took: a.Took}, err
}

// testType is the type of the event that Test sends.
const testType = "webhook.test"

// test is Test, and describes the request.
func (s *Sender) test(ctx context.Context, e *Endpoint) (store.EndpointAttempt, error) {
	s.connect()
	began, id := time.Now(), "test_"+relay.NewID()
	p := payload{Type: testType, Timestamp: stamp(began), Data: struct{}{}}
	body, err := p.encode()
	if err != nil {
		return store.EndpointAttempt{}, err
	}
	resp, err := s.post(ctx, e, id, body)
	a := attemptOf(began, resp, err)
	a.Endpoint, a.Event, a.Type = e.ID, id, testType
	if err != nil {
		return a, err
	}
	if f := refusal(resp); f != nil {
		return a, f
	}
	return a, nil
}
