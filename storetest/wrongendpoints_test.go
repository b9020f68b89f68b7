package storetest_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// wrongEndpoints are ways to write an Endpoints wrongly.
var wrongEndpoints = map[string]struct {
	make        func(store.Endpoints) store.Endpoints
	name, words string
}{
	"the last write wins": {
		make:  func(s store.Endpoints) store.Endpoints { return lastEndpoint{s} },
		name:  "Set/Version",
		words: "ErrConflict: it has another Version",
	},
	"a slot may be taken twice": {
		make:  func(s store.Endpoints) store.Endpoints { return anySlot{s} },
		name:  "Set/Slot",
		words: "No two endpoints of a tenant have the same Slot",
	},
	"the slot is looked at, then written": {
		make:  func(s store.Endpoints) store.Endpoints { return looksThenTakes{s} },
		name:  "Race/OnePerSlot",
		words: "Each method is atomic",
	},
	"the attempts of what is dropped stay": {
		make:  func(s store.Endpoints) store.Endpoints { return &keepsAttempts{Endpoints: s} },
		name:  "Drop/WithItsAttempts",
		words: "DropEndpoint removes an endpoint and its attempts.",
	},
	"the drop of what does not exist succeeds": {
		make:  func(s store.Endpoints) store.Endpoints { return dropsNone{s} },
		name:  "Drop/WithItsAttempts",
		words: "ErrNotFound: the tenant has none of this ID.",
	},
	"IDs are looked up as a prefix": {
		make:  func(s store.Endpoints) store.Endpoints { return cutsIDs{s} },
		name:  "Text/AnyID",
		words: "An ID that no endpoint can have is not found",
	},
	"endpoints are sorted by ID": {
		make:  func(s store.Endpoints) store.Endpoints { return byID{s} },
		name:  "List/OfTenants",
		words: "by tenant and Slot",
	},
	"only the first tenants are read": {
		make:  func(s store.Endpoints) store.Endpoints { return someTenants{s} },
		name:  "List/OfTenants",
		words: "of up to 1,000 tenants",
	},
	"what is kept is counted over all endpoints": {
		make:  func(s store.Endpoints) store.Endpoints { return keepsOverAll{s} },
		name:  "Attempts/Keep",
		words: "Of each endpoint that it adds to",
	},
	"the attempts that came last are kept": {
		make:  func(s store.Endpoints) store.Endpoints { return keepsLatest{s} },
		name:  "Attempts/Keep",
		words: "in the order of IDs",
	},
	"an attempt is changed": {
		make: func(s store.Endpoints) store.Endpoints {
			return &changesAttempts{Endpoints: s, changed: make(map[string]string)}
		},
		name:  "Attempts/LeftOut",
		words: "and one whose key is there already",
	},
	"the oldest attempts come first": {
		make:  func(s store.Endpoints) store.Endpoints { return oldestFirst{s} },
		name:  "Attempts/LastFirst",
		words: "those with the last IDs first",
	},
	"an attempt may come after the drop": {
		make:  func(s store.Endpoints) store.Endpoints { return &addsLate{Endpoints: s} },
		name:  "Race/AttemptsOfADropped",
		words: "Each method is atomic",
	},
	"what is kept is read, then written": {
		make:  func(s store.Endpoints) store.Endpoints { return readsThenAdds{s} },
		name:  "Race/Keep",
		words: "Each method is atomic",
	},
	"the context is ignored": {
		make:  func(s store.Endpoints) store.Endpoints { return deafEndpoints{s} },
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail",
	},
	"each process has its endpoints": {
		make: func(s store.Endpoints) store.Endpoints {
			return &cachesEndpoints{Endpoints: s, lists: make(map[store.TenantID][]store.Endpoint)}
		},
		name:  "Handles/SeeEachOther",
		words: "every later call by any process sees it",
	},
	"times are kept in milliseconds": {
		make:  func(s store.Endpoints) store.Endpoints { return roundsEndpoints{s} },
		name:  "Text/AsGiven",
		words: "are returned as they were given",
	},
	"texts are cut to fit the column": {
		make:  func(s store.Endpoints) store.Endpoints { return cutsEndpoints{s} },
		name:  "Text/NeverCut",
		words: "but never cuts them",
	},
}

// versionOf returns the version of an endpoint, 0 if there is none.
func versionOf(ctx context.Context, s store.Endpoints, e store.Endpoint) int64 {
	list, _ := s.ListEndpoints(ctx, []store.TenantID{e.Tenant})
	for _, is := range list {
		if is.ID == e.ID {
			return is.Version
		}
	}
	return 0
}

type lastEndpoint struct{ store.Endpoints }

func (s lastEndpoint) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	e.Version = versionOf(ctx, s, e)
	return s.Endpoints.SetEndpoint(ctx, e)
}

type anySlot struct{ store.Endpoints }

func (s anySlot) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	if e.Version == 0 && e.ID == "c" {
		e.Slot = 99
	}
	return s.Endpoints.SetEndpoint(ctx, e)
}

type looksThenTakes struct{ store.Endpoints }

func (s looksThenTakes) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	list, err := s.ListEndpoints(ctx, []store.TenantID{e.Tenant})
	if err != nil {
		return err
	}
	for _, is := range list {
		if e.Version == 0 && is.Slot%1000 == e.Slot%1000 {
			return store.ErrConflict
		}
	}
	time.Sleep(time.Millisecond)
	for e.Version == 0 && s.Endpoints.SetEndpoint(ctx, e) != nil {
		e.Slot += 1000
	}
	return nil
}

type keepsAttempts struct {
	store.Endpoints
	left []store.EndpointAttempt
}

func (s *keepsAttempts) DropEndpoint(ctx context.Context, tenant store.TenantID, id string) error {
	s.left, _ = s.ListEndpointAttempts(ctx, tenant, id, 9)
	return s.Endpoints.DropEndpoint(ctx, tenant, id)
}

func (s *keepsAttempts) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	err := s.Endpoints.SetEndpoint(ctx, e)
	s.AddEndpointAttempts(ctx, s.left, 9)
	return err
}

type dropsNone struct{ store.Endpoints }

func (s dropsNone) DropEndpoint(ctx context.Context, tenant store.TenantID, id string) error {
	s.Endpoints.DropEndpoint(ctx, tenant, id)
	return ctx.Err()
}

type byID struct{ store.Endpoints }

func (s byID) ListEndpoints(ctx context.Context, tenants []store.TenantID) ([]store.Endpoint, error) {
	list, err := s.Endpoints.ListEndpoints(ctx, tenants)
	slices.SortStableFunc(list, func(a, b store.Endpoint) int {
		if a.Tenant == b.Tenant && a.ID < b.ID {
			return -1
		}
		return 0
	})
	return list, err
}

type someTenants struct{ store.Endpoints }

func (s someTenants) ListEndpoints(ctx context.Context, tenants []store.TenantID) ([]store.Endpoint, error) {
	return s.Endpoints.ListEndpoints(ctx, tenants[:min(len(tenants), 100)])
}

type keepsOverAll struct{ store.Endpoints }

func (s keepsOverAll) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	return s.Endpoints.AddEndpointAttempts(ctx, list[max(0, len(list)-keep):], keep)
}

type keepsLatest struct{ store.Endpoints }

func (s keepsLatest) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	if len(list) == 1 && keep == 3 { // it makes room for the one that has come
		keep = 2
	}
	return s.Endpoints.AddEndpointAttempts(ctx, list, keep)
}

type changesAttempts struct {
	store.Endpoints
	changed map[string]string
}

func (s *changesAttempts) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	for _, a := range list {
		s.changed[a.ID] = a.Reason
	}
	return s.Endpoints.AddEndpointAttempts(ctx, list, keep)
}

func (s *changesAttempts) ListEndpointAttempts(ctx context.Context, tenant store.TenantID, endpoint string, limit int) ([]store.EndpointAttempt, error) {
	list, err := s.Endpoints.ListEndpointAttempts(ctx, tenant, endpoint, limit)
	for i := range list {
		list[i].Reason = s.changed[list[i].ID]
	}
	return list, err
}

type oldestFirst struct{ store.Endpoints }

func (s oldestFirst) ListEndpointAttempts(ctx context.Context, tenant store.TenantID, endpoint string, limit int) ([]store.EndpointAttempt, error) {
	list, err := s.Endpoints.ListEndpointAttempts(ctx, tenant, endpoint, limit)
	slices.Reverse(list)
	return list, err
}

// addsLate adds attempts after it has looked whether their endpoint exists.
type addsLate struct {
	store.Endpoints
	mu   sync.Mutex
	left []store.EndpointAttempt
}

func (s *addsLate) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	exists := versionOf(ctx, s, store.Endpoint{Tenant: list[0].Tenant, ID: list[0].Endpoint}) > 0
	time.Sleep(time.Millisecond)
	if exists && versionOf(ctx, s, store.Endpoint{Tenant: list[0].Tenant, ID: list[0].Endpoint}) == 0 {
		s.mu.Lock()
		s.left = append(s.left, list...)
		s.mu.Unlock()
	}
	return s.Endpoints.AddEndpointAttempts(ctx, list, keep)
}

func (s *addsLate) ListEndpointAttempts(ctx context.Context, tenant store.TenantID, endpoint string, limit int) ([]store.EndpointAttempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.left {
		if a.Endpoint == endpoint {
			return s.left, nil
		}
	}
	return s.Endpoints.ListEndpointAttempts(ctx, tenant, endpoint, limit)
}

// readsThenAdds writes the whole list of an endpoint, as it was a moment ago.
type readsThenAdds struct{ store.Endpoints }

func (s readsThenAdds) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	if len(list) != 1 || keep != 5 {
		return s.Endpoints.AddEndpointAttempts(ctx, list, keep)
	}
	a := list[0]
	old, err := s.ListEndpointAttempts(ctx, a.Tenant, a.Endpoint, keep-1)
	if err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	if err := s.Endpoints.AddEndpointAttempts(ctx, list, 0); err != nil {
		return err
	}
	return s.Endpoints.AddEndpointAttempts(ctx, append(old, a), keep)
}

type deafEndpoints struct{ store.Endpoints }

func (s deafEndpoints) DropEndpoint(ctx context.Context, tenant store.TenantID, id string) error {
	return s.Endpoints.DropEndpoint(context.WithoutCancel(ctx), tenant, id)
}

type cachesEndpoints struct {
	store.Endpoints
	mu    sync.Mutex
	lists map[store.TenantID][]store.Endpoint
}

func (s *cachesEndpoints) ListEndpoints(ctx context.Context, tenants []store.TenantID) ([]store.Endpoint, error) {
	if len(tenants) != 1 {
		return s.Endpoints.ListEndpoints(ctx, tenants)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if list, ok := s.lists[tenants[0]]; ok {
		return list, nil
	}
	list, err := s.Endpoints.ListEndpoints(ctx, tenants)
	s.lists[tenants[0]] = list
	return list, err
}

func (s *cachesEndpoints) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lists, e.Tenant)
	return s.Endpoints.SetEndpoint(ctx, e)
}

type roundsEndpoints struct{ store.Endpoints }

func (s roundsEndpoints) AddEndpointAttempts(ctx context.Context, list []store.EndpointAttempt, keep int) error {
	list = slices.Clone(list)
	for i := range list {
		list[i].At, list[i].Took = list[i].At.Truncate(time.Millisecond), list[i].Took.Truncate(time.Millisecond)
	}
	return s.Endpoints.AddEndpointAttempts(ctx, list, keep)
}

type cutsEndpoints struct{ store.Endpoints }

func (s cutsEndpoints) SetEndpoint(ctx context.Context, e store.Endpoint) error {
	e.Sealed = e.Sealed[:min(len(e.Sealed), 65_536)]
	return s.Endpoints.SetEndpoint(ctx, e)
}

func TestEndpointsMistakes(t *testing.T) {
	for name, m := range wrongEndpoints {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongEndpoints", name, m.name, m.words)
		})
	}
}

// TestWrongEndpoints is run by TestEndpointsMistakes, in a process of its own.
func TestWrongEndpoints(t *testing.T) {
	m, ok := wrongEndpoints[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestEndpointsMistakes runs this")
	}
	storetest.RunEndpoints(t, func(*testing.T) func() store.Endpoints {
		right := new(memory.Store)
		return func() store.Endpoints { return m.make(right) }
	})
}

type cutsIDs struct{ store.Endpoints }

func (s cutsIDs) DropEndpoint(ctx context.Context, tenant store.TenantID, id string) error {
	id, _, _ = strings.Cut(id, "\x00")
	return s.Endpoints.DropEndpoint(ctx, tenant, id)
}
