package webhook

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
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
	s.connect()
	began := time.Now()
	p := payload{Type: "webhook.test", Timestamp: stamp(began), Data: struct{}{}}
	body, err := p.encode()
	if err != nil {
		return Result{}, err
	}
	resp, err := s.post(ctx, &e, "test_"+relay.NewID(), body)
	r := Result{Took: time.Since(began)}
	if err != nil {
		return r, err
	}
	r.Status = resp.StatusCode
	if f := refusal(resp); f != nil {
		return r, f
	}
	return r, nil
}
