package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// attempt returns the attempt of a number, with something in each field.
func attempt(tenant store.TenantID, endpoint string, n int) store.EndpointAttempt {
	return store.EndpointAttempt{
		Tenant: tenant, Endpoint: endpoint, ID: fmt.Sprintf("%08d", n), At: day.Add(time.Duration(n) * time.Microsecond), Took: time.Second + time.Microsecond,
		Event: fmt.Sprint("event ", n), Type: "message.delivered", Attempt: 2, Status: 503, Reason: "it answered 503",
	}
}

// attempts returns the attempts of numbers.
func attempts(tenant store.TenantID, endpoint string, numbers ...int) (list []store.EndpointAttempt) {
	for _, n := range numbers {
		list = append(list, attempt(tenant, endpoint, n))
	}
	return list
}

// add adds attempts, which has to work.
func (t *endpointer) add(keep int, list ...store.EndpointAttempt) {
	t.Helper()
	if err := t.AddEndpointAttempts(t.Context(), list, keep); err != nil {
		t.Fatalf("AddEndpointAttempts: %v", err)
	}
}

// tried checks the attempts of an endpoint, through both handles.
func (t *endpointer) tried(tenant store.TenantID, endpoint string, limit int, want ...store.EndpointAttempt) {
	t.Helper()
	for _, s := range []store.Endpoints{t.Endpoints, t.second()} {
		got, err := s.ListEndpointAttempts(t.Context(), tenant, endpoint, limit)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ListEndpointAttempts(%q, %q, %d):\n got %+v, %v\nwant %+v", tenant, endpoint, limit, got, err, want)
		}
	}
}

var endpointAttemptPromises = []endpointsPromise{
	{
		name: "Attempts/Keep",
		words: "AddEndpointAttempts adds up to 1,000 attempts. Of each endpoint that it adds to, it keeps the last attempts in the order of IDs, " +
			"as many as keep says, and removes the others.",
		check: func(t *endpointer) {
			for i, tenant := range []store.TenantID{acme, acme, rival} {
				t.set(newEndpoint(tenant, string("aba"[i]), i))
			}
			t.add(3, attempts(acme, "b", 1, 2)...)
			t.add(3, slices.Concat(attempts(acme, "a", 5, 1), attempts(rival, "a", 9, 8, 7, 6), attempts(acme, "a", 4, 2))...)
			t.tried(acme, "a", 9, attempts(acme, "a", 5, 4, 2)...)
			t.tried(rival, "a", 9, attempts(rival, "a", 9, 8, 7)...)
			t.add(3, attempts(acme, "a", 3, 6)...) // 3 has come late
			t.tried(acme, "a", 9, attempts(acme, "a", 6, 5, 4)...)
			t.add(3, attempts(acme, "a", 1)...)
			t.tried(acme, "a", 9, attempts(acme, "a", 6, 5, 4)...)
			t.add(1, attempts(rival, "a", 10)...)
			t.tried(rival, "a", 9, attempts(rival, "a", 10)...)
			t.tried(acme, "b", 9, attempts(acme, "b", 2, 1)...)
			t.add(1)
			var many []store.EndpointAttempt
			for n := range 1000 {
				many = append(many, attempt(acme, "b", n))
			}
			t.add(50, many...)
			slices.Reverse(many)
			t.tried(acme, "b", 1000, many[:50]...)
		},
	},
	{
		name:  "Attempts/LeftOut",
		words: "It leaves out an attempt of an endpoint that does not exist, and one whose key is there already.",
		check: func(t *endpointer) {
			t.set(newEndpoint(acme, "a", 0))
			again := attempt(acme, "a", 1)
			again.Reason = "another"
			t.add(9, attempt(rival, "a", 1), attempt(acme, "b", 1), attempt(acme, "a", 1))
			t.add(9, again, attempt(acme, "a", 2))
			t.tried(acme, "a", 9, attempts(acme, "a", 2, 1)...)
			t.set(newEndpoint(rival, "a", 0))
			t.set(newEndpoint(acme, "b", 1))
			t.tried(rival, "a", 9)
			t.tried(acme, "b", 9)
		},
	},
	{
		name:  "Attempts/LastFirst",
		words: "ListEndpointAttempts returns the attempts of an endpoint, at most limit, those with the last IDs first.",
		check: func(t *endpointer) {
			t.set(newEndpoint(acme, "a", 0))
			t.add(9, attempts(acme, "a", 2, 10, 1, 3)...)
			t.tried(acme, "a", 9, attempts(acme, "a", 10, 3, 2, 1)...)
			t.tried(acme, "a", 2, attempts(acme, "a", 10, 3)...)
			t.tried(acme, "a", 0)
			t.tried(rival, "a", 9)
		},
	},
	{
		name:  "Race/AttemptsOfADropped",
		words: "Each method is atomic and safe for concurrent use, in any number of processes.",
		check: func(t *endpointer) {
			for round := range rounds {
				id := fmt.Sprint(round)
				t.set(newEndpoint(acme, id, 0))
				var wg sync.WaitGroup
				for racer := range racers {
					s := []store.Endpoints{t.Endpoints, t.second()}[racer%2]
					wg.Go(func() {
						var err error
						if racer == 0 {
							err = s.DropEndpoint(t.Context(), acme, id)
						} else {
							err = s.AddEndpointAttempts(t.Context(), attempts(acme, id, racer, racer+100, racer+200), 5)
						}
						if err != nil {
							t.Errorf("DropEndpoint beside AddEndpointAttempts: %v", err)
						}
					})
				}
				wg.Wait()
				t.tried(acme, id, 9)
			}
		},
	},
	{
		name:  "Race/Keep",
		words: "Each method is atomic and safe for concurrent use, in any number of processes.",
		check: func(t *endpointer) {
			t.set(newEndpoint(acme, "a", 0))
			for range rounds {
				var wg sync.WaitGroup
				for racer := range racers {
					s := []store.Endpoints{t.Endpoints, t.second()}[racer%2]
					wg.Go(func() {
						for n := range 5 {
							if err := s.AddEndpointAttempts(t.Context(), attempts(acme, "a", n*racers+racer), 5); err != nil {
								t.Errorf("AddEndpointAttempts: %v", err)
							}
						}
					})
				}
				wg.Wait()
				last := 5 * racers
				t.tried(acme, "a", last, attempts(acme, "a", last-1, last-2, last-3, last-4, last-5)...)
			}
		},
	},
}
