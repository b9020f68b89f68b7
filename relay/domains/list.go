package domains

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// States returns what is known of domains of one tenant, in their order. It makes no
// records: a domain whose first records were not made yet is Unverified and has none.
// The Store is asked once for up to 500 domains. The error is a failure of the Store.
func (m *Manager) States(ctx context.Context, tenant store.TenantID, list []store.Domain) ([]Domain, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	setups, err := m.Store.SetupsOf(ctx, tenant, names)
	if err != nil {
		return nil, fmt.Errorf("domains: states: %w", err)
	}
	type key struct {
		name  string
		added int64
	}
	byKey := make(map[key]*store.Setup)
	for i := range setups {
		byKey[key{setups[i].Domain, setups[i].Added.UnixMicro()}] = &setups[i]
	}
	all := make([]Domain, len(list))
	for i := range list {
		all[i] = Domain{Tenant: tenant, Name: list[i].Name, State: Unverified, Since: list[i].Created}
		if s := byKey[key{list[i].Name, list[i].Created.UnixMicro()}]; s != nil {
			all[i] = m.domain(s)
		}
	}
	return all, nil
}

// NotVerified returns domains of a tenant whose State is not Verified: at most limit of
// them, those that failed first, then those that are failing, each in the order of
// their names. It leaves out domains whose first records were not made yet: the first
// call of Domain makes them.
func (m *Manager) NotVerified(ctx context.Context, tenant store.TenantID, limit int) ([]Domain, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	setups, err := m.Store.OpenSetups(ctx, tenant, string(Verified), limit)
	if err != nil {
		return nil, fmt.Errorf("domains: not verified: %w", err)
	}
	var list []Domain
	for i := range setups {
		d, err := m.Domains.Domain(ctx, tenant, setups[i].Domain)
		switch {
		case err == nil && d.Created.Equal(setups[i].Added):
			list = append(list, m.domain(&setups[i]))
		case err != nil && !errors.Is(err, store.ErrNotFound): // otherwise it was deleted
			return nil, fmt.Errorf("domains: not verified: %w", err)
		}
	}
	order := []State{Failed, Failing, Unverified}
	slices.SortFunc(list, func(a, b Domain) int {
		return cmp.Or(slices.Index(order, a.State)-slices.Index(order, b.State), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}
