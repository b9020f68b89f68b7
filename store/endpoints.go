package store

import (
	"context"
	"time"
)

// An Endpoint is a URL to which events of a tenant are sent. Tenant and ID are its key.
// Package relay/webhook has the rules, and makes every Endpoint.
type Endpoint struct {
	Tenant TenantID
	ID     string

	// Slot is a number from 0. No two endpoints of a tenant have the same Slot, so the
	// Slots below a limit are how many endpoints a tenant may have. It never changes.
	Slot int

	Created time.Time // never changes

	Types  string // the types of events that it wants, as relay/webhook writes them
	Sealed string // the URL and the secrets, encoded by relay/webhook

	Off      string    // why it gets no events, for people; empty if it gets them
	OffSince time.Time // since when; zero if it gets them
	Failing  time.Time // since when requests fail; zero if the last one did not fail

	// Version is 1 when the Endpoint is new and grows with each change.
	Version int64
}

// An EndpointAttempt is a request that was made to an endpoint. Tenant, Endpoint and ID
// are its key. IDs sort by time.
type EndpointAttempt struct {
	Tenant   TenantID
	Endpoint string // its ID
	ID       string

	At      time.Time     // when the request began
	Took    time.Duration // until the answer, or until the request was given up
	Event   string        // the ID of the event, which is the webhook-id
	Type    string        // the type of the event
	Attempt int           // which attempt at this event it was, from 1; 0 for a test
	Status  int           // the status of HTTP; 0 without an answer
	Reason  string        // why the attempt failed, for people; empty if it did not
}

// An Endpoints keeps endpoints, and the last requests to each.
//
// Each method is atomic and safe for concurrent use, in any number of processes. When a
// method has returned nil, its change is durable, and every later call by any process
// sees it. A context that has already ended makes a method fail with its error and
// change nothing.
//
// Times and durations come from the caller, in whole microseconds and times in UTC, and
// are returned as they were given. Tenants and the IDs of endpoints and attempts are as
// the names of a [Store]. An ID that no endpoint can have is not found, whatever its bytes
// are. Other texts hold any bytes: Sealed has up to 65,536, the others
// have up to 1,024. An adapter may refuse longer texts with an error of its own, but never
// cuts them.
type Endpoints interface {
	// SetEndpoint adds or changes an endpoint. Version is the one that it has, 0 if
	// there is none. After the change the Version is one more. ErrConflict: it has
	// another Version, or it is new and another endpoint of the tenant has its Slot;
	// nothing is changed.
	SetEndpoint(ctx context.Context, e Endpoint) error

	// DropEndpoint removes an endpoint and its attempts. ErrNotFound: the tenant has
	// none of this ID.
	DropEndpoint(ctx context.Context, tenant TenantID, id string) error

	// ListEndpoints returns all endpoints of up to 1,000 tenants, by tenant and Slot. No
	// tenant is in a list twice.
	ListEndpoints(ctx context.Context, tenants []TenantID) ([]Endpoint, error)

	// AddEndpointAttempts adds up to 1,000 attempts. Of each endpoint that it adds to, it
	// keeps the last attempts in the order of IDs, as many as keep says, and removes
	// the others. It leaves out an attempt of an endpoint that does not exist, and one
	// whose key is there already.
	AddEndpointAttempts(ctx context.Context, list []EndpointAttempt, keep int) error

	// ListEndpointAttempts returns the attempts of an endpoint, at most limit, those with
	// the last IDs first.
	ListEndpointAttempts(ctx context.Context, tenant TenantID, endpoint string, limit int) ([]EndpointAttempt, error)
}
