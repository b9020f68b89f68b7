package main

import (
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// A destination is where the relay's mail goes: the outbox, or an upstream.
type destination struct {
	relay.Forwarder `json:"-"`

	Outbox   string `json:"outbox,omitempty"`   // the directory
	Upstream string `json:"upstream,omitempty"` // host and port

	close func() error
}

// openDestination is where a product says what becomes of its mail. Here it is
// handed to the upstream while the client waits, if there is one.
func openDestination(upstream *smarthost.Forwarder) (destination, error) {
	if upstream != nil {
		return destination{Forwarder: upstream, Upstream: upstream.Addr, close: upstream.Close}, nil
	}
	box, err := openOutbox()
	return destination{Forwarder: box, Outbox: box.dir, close: func() error { return nil }}, err
}
