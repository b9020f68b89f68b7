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
// them, those that failed first, then those that are failing, then the others. If there
// are more than limit, it says nothing about which of the last kind they are. Domains of
// one State that it returns are in the order of their names. It leaves out domains whose
// first records were not made yet: the first call of Domain makes them. It may return too
// few if the Store still has the setups of very many domains that were deleted.
func (m *Manager) NotVerified(ctx context.Context, tenant store.TenantID, limit int) ([]Domain, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	var list []Domain
	for _, times := range []int{1, 4, 16} { // more than limit only if domains were deleted
		setups, err := m.Store.OpenSetups(ctx, tenant, string(Verified), times*limit)
		if err == nil {
			list, err = m.existing(ctx, setups, limit)
		}
		if err != nil {
			return nil, fmt.Errorf("domains: not verified: %w", err)
		}
		if len(list) == limit || len(setups) < times*limit {
			break
		}
	}
	order := []State{Failed, Failing, Unverified}
	slices.SortFunc(list, func(a, b Domain) int {
		return cmp.Or(slices.Index(order, a.State)-slices.Index(order, b.State), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

// existing returns the domains of the first setups whose domain was not deleted, at most
// limit of them.
func (m *Manager) existing(ctx context.Context, setups []store.Setup, limit int) (list []Domain, err error) {
	for i := range setups {
		if len(list) == limit {
			break
		}
		d, err := m.Domains.Domain(ctx, setups[i].Tenant, setups[i].Domain)
		switch {
		case err == nil && d.Created.Equal(setups[i].Added):
			list = append(list, m.domain(&setups[i]))
		case err != nil && !errors.Is(err, store.ErrNotFound): // otherwise it was deleted
			return nil, err
		}
	}
	return list, nil
}
