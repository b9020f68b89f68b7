package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func Example() {
	ctx := context.Background()
	st := new(memory.Store)

	now := time.Now().UTC().Truncate(time.Microsecond)
	fmt.Println(st.AddDomain(ctx, store.Domain{Tenant: "acme", Name: "acme.example", Created: now}, 0))
	fmt.Println(st.AddDomain(ctx, store.Domain{Tenant: "rival", Name: "acme.example", Created: now}, 0))

	list, _, err := st.Domains(ctx, "acme", store.Query{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range list {
		fmt.Println(d.Tenant, d.Name)
	}
	// Output:
	// <nil>
	// store: already taken
	// acme acme.example
}
