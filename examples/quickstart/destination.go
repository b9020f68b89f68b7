package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store"
)

// A destination is where the relay's mail goes: the outbox, or an upstream.
type destination struct {
	relay.Forwarder `json:"-"`

	Outbox   string `json:"outbox,omitempty"`   // the directory
	Upstream string `json:"upstream,omitempty"` // host and port
	Waiting  int64  `json:"waiting,omitempty"`  // for an upstream that isn't given: recipients, of an earlier run

	run   func(ctx context.Context) error // hands on what waits, until ctx ends
	close func() error
}

// openDestination is where a product says what becomes of its mail. Here it is
// queued for the upstream, if there is one. A file needs no queue.
func openDestination(ctx context.Context, upstream *smarthost.Forwarder, spool store.Spool, out printer, logger *slog.Logger) (destination, error) {
	if upstream == nil {
		waiting, err := spool.Depth(ctx)
		if err != nil {
			return destination{}, err
		}
		box, err := openOutbox()
		return destination{
			Forwarder: box, Outbox: box.dir, Waiting: waiting.Deliveries,
			run:   func(context.Context) error { return nil },
			close: func() error { return nil },
		}, err
	}
	q := &queue.Queue{Spool: spool, Next: upstream, Hostname: hostname, Node: "quickstart", Retry: retry, OnEvent: out.queueEvent, Logger: logger}
	return destination{Forwarder: q, Upstream: upstream.Addr, run: q.Run, close: upstream.Close}, nil
}

// start begins to hand on what waits, and returns what ends that.
func (d destination) start() (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// retry makes who tries out an outage see the mail go soon after its end: after
// a second at first, and a minute at most. A product leaves Queue.Retry nil, which
// knocks less often.
func retry(attempt int) time.Duration { return min(time.Second<<min(attempt-1, 6), time.Minute) }
