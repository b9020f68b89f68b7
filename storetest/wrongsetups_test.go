package storetest_test

import (
	"context"
	"errors"
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

// wrongSetups are ways to write a Setups wrongly.
var wrongSetups = map[string]struct {
	make        func(store.Setups) store.Setups
	name, words string
}{
	"the last write wins": {
		make:  func(s store.Setups) store.Setups { return lastSetup{s} },
		name:  "Set/Version",
		words: "ErrConflict: the setup has another Version",
	},
	"a domain has one setup": {
		make:  func(s store.Setups) store.Setups { return onePerDomain{s} },
		name:  "Setup/OfItsKey",
		words: "ErrNotFound: there is none of this key.",
	},
	"what is missing is empty": {
		make:  func(s store.Setups) store.Setups { return emptySetup{s} },
		name:  "Setup/OfItsKey",
		words: "ErrNotFound: there is none of this key.",
	},
	"the old holder keeps its version": {
		make:  func(s store.Setups) store.Setups { return keepsVersion{s} },
		name:  "Set/Holds",
		words: "and their Version is one more",
	},
	"only the old holder changes": {
		make:  func(s store.Setups) store.Setups { return keepsClaims{s} },
		name:  "Set/EndsClaims",
		words: "all other setups of the domain change in the same step",
	},
	"a new setup may hold": {
		make:  func(s store.Setups) store.Setups { return holdsNew{s} },
		name:  "Set/Version",
		words: "a new one does not hold",
	},
	"any version is dropped": {
		make:  func(s store.Setups) store.Setups { return dropsAny{s} },
		name:  "Drop/Version",
		words: "there is none of this key with this Version",
	},
	"each process has its holder": {
		make:  func(s store.Setups) store.Setups { return &ownHolder{Setups: s, held: make(map[string]store.Setup)} },
		name:  "Handles/SeeEachOther",
		words: "every later call by any process sees it",
	},
	"what is due is read, then written": {
		make:  func(s store.Setups) store.Setups { return readsDue{s} },
		name:  "Due/OneCallerEach",
		words: "Each method is atomic",
	},
	"what is due is sorted by name": {
		make:  func(s store.Setups) store.Setups { return sortsDue{s} },
		name:  "Due/LongestFirst",
		words: "those that are due longest first",
	},
	"what is due gets a new version": {
		make:  func(s store.Setups) store.Setups { return countsDue{s} },
		name:  "Due/HiddenUntil",
		words: "Their Versions stay.",
	},
	"the version is read, then written": {
		make:  func(s store.Setups) store.Setups { return &readsThenHolds{Setups: s} },
		name:  "Race/OneHolds",
		words: "Each method is atomic",
	},
	"the list has the setups of other domains": {
		make:  func(s store.Setups) store.Setups { return listsAll{s} },
		name:  "Of/Domains",
		words: "SetupsOf returns the setups that a tenant has of some domains",
	},
	"what fails counts as settled": {
		make:  func(s store.Setups) store.Setups { return hidesFailing{s} },
		name:  "Open/States",
		words: "have another State than settled",
	},
	"what waits hides what fails": {
		make:  func(s store.Setups) store.Setups { return waitsFirst{s} },
		name:  "Open/HoldersFirst",
		words: "Those that hold their domain come first",
	},
	"no limit means all": {
		make:  func(s store.Setups) store.Setups { return openAll{s} },
		name:  "Open/NoLimit",
		words: "Zero and less: none.",
	},
	"the context is ignored": {
		make:  func(s store.Setups) store.Setups { return deafSetups{s} },
		name:  "Context/Ended",
		words: "A context that has already ended makes a method fail",
	},
	"times are kept in milliseconds": {
		make:  func(s store.Setups) store.Setups { return roundsSetups{s} },
		name:  "Text/AsGiven",
		words: "are returned as they were given",
	},
	"texts are cut to fit the column": {
		make:  func(s store.Setups) store.Setups { return cutsSetups{s} },
		name:  "Text/NeverCut",
		words: "but never cuts them",
	},
}

type listsAll struct{ store.Setups }

func (s listsAll) SetupsOf(ctx context.Context, tenant store.TenantID, _ []string) ([]store.Setup, error) {
	return s.Setups.OpenSetups(ctx, tenant, "", 1000)
}

type hidesFailing struct{ store.Setups }

func (s hidesFailing) OpenSetups(ctx context.Context, tenant store.TenantID, settled string, limit int) ([]store.Setup, error) {
	list, err := s.Setups.OpenSetups(ctx, tenant, settled, limit)
	return slices.DeleteFunc(list, func(su store.Setup) bool { return su.Holds }), err
}

type waitsFirst struct{ store.Setups }

func (s waitsFirst) OpenSetups(ctx context.Context, tenant store.TenantID, settled string, limit int) ([]store.Setup, error) {
	list, err := s.Setups.OpenSetups(ctx, tenant, settled, 1000)
	slices.Reverse(list)
	return list[:min(len(list), max(limit, 0))], err
}

type openAll struct{ store.Setups }

func (s openAll) OpenSetups(ctx context.Context, tenant store.TenantID, settled string, limit int) ([]store.Setup, error) {
	if limit <= 0 {
		limit = 1000
	}
	return s.Setups.OpenSetups(ctx, tenant, settled, limit)
}

type lastSetup struct{ store.Setups }

func (s lastSetup) SetSetup(ctx context.Context, su store.Setup) error {
	is, _ := s.Setup(ctx, su.Domain, su.Tenant, su.Added)
	su.Version = is.Version
	return s.Setups.SetSetup(ctx, su)
}

type onePerDomain struct{ store.Setups }

func (s onePerDomain) Setup(ctx context.Context, domain string, tenant store.TenantID, added time.Time) (store.Setup, error) {
	su, err := s.Setups.Setup(ctx, domain, tenant, added)
	if errors.Is(err, store.ErrNotFound) {
		return s.Setups.Setup(ctx, domain, tenant, added.Add(time.Microsecond))
	}
	return su, err
}

type emptySetup struct{ store.Setups }

func (s emptySetup) Setup(ctx context.Context, domain string, tenant store.TenantID, added time.Time) (store.Setup, error) {
	su, _ := s.Setups.Setup(ctx, domain, tenant, added)
	return su, ctx.Err()
}

type keepsVersion struct{ store.Setups }

func (s keepsVersion) SetSetup(ctx context.Context, su store.Setup) error {
	old, err := s.HoldingSetup(ctx, su.Domain)
	if set := s.Setups.SetSetup(ctx, su); set != nil || err != nil || !su.Holds || old.Token == su.Token {
		return set
	}
	lost, err := s.Setup(ctx, old.Domain, old.Tenant, old.Added)
	if err != nil {
		return err
	}
	if err := s.DropSetup(ctx, lost); err != nil {
		return err
	}
	lost.Version = 0
	return s.Setups.SetSetup(ctx, lost)
}

// keepsClaims leaves the Token of setups that did not hold the domain.
type keepsClaims struct{ store.Setups }

func (s keepsClaims) Setup(ctx context.Context, domain string, tenant store.TenantID, added time.Time) (store.Setup, error) {
	su, err := s.Setups.Setup(ctx, domain, tenant, added)
	if su.Token == "" && su.Version == 2 {
		su.Token = "token of " + string(tenant)
	}
	return su, err
}

type holdsNew struct{ store.Setups }

func (s holdsNew) SetSetup(ctx context.Context, su store.Setup) error {
	if !su.Holds || su.Version != 0 {
		return s.Setups.SetSetup(ctx, su)
	}
	su.Holds = false
	if err := s.Setups.SetSetup(ctx, su); err != nil {
		return err
	}
	su.Holds, su.Version = true, 1
	return s.Setups.SetSetup(ctx, su)
}

type dropsAny struct{ store.Setups }

func (s dropsAny) DropSetup(ctx context.Context, su store.Setup) error {
	is, err := s.Setup(ctx, su.Domain, su.Tenant, su.Added)
	if err != nil {
		return err
	}
	return s.Setups.DropSetup(ctx, is)
}

// ownHolder remembers who holds a domain.
type ownHolder struct {
	store.Setups
	mu   sync.Mutex
	held map[string]store.Setup
}

func (s *ownHolder) HoldingSetup(ctx context.Context, domain string) (store.Setup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if su, ok := s.held[domain]; ok {
		if su.Version == 0 {
			return su, store.ErrNotFound
		}
		return su, nil
	}
	su, err := s.Setups.HoldingSetup(ctx, domain)
	s.held[domain] = su
	return su, err
}

func (s *ownHolder) SetSetup(ctx context.Context, su store.Setup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, su.Domain)
	return s.Setups.SetSetup(ctx, su)
}

type readsDue struct{ store.Setups }

// DueSetups reads the same setups for two callers that come at once.
func (s readsDue) DueSetups(ctx context.Context, now, until time.Time, limit int) ([]store.Setup, error) {
	list, err := s.Setups.DueSetups(ctx, now, now, limit)
	time.Sleep(time.Millisecond)
	for i := range list {
		list[i].Next = until
		su := list[i]
		is, _ := s.Setup(ctx, su.Domain, su.Tenant, su.Added)
		su.Version = is.Version
		s.SetSetup(ctx, su)
	}
	return list, err
}

type sortsDue struct{ store.Setups }

func (s sortsDue) DueSetups(ctx context.Context, now, until time.Time, limit int) ([]store.Setup, error) {
	list, err := s.Setups.DueSetups(ctx, now, until, limit)
	slices.SortFunc(list, func(a, b store.Setup) int { return strings.Compare(b.Domain, a.Domain) })
	return list, err
}

type countsDue struct{ store.Setups }

func (s countsDue) DueSetups(ctx context.Context, now, until time.Time, limit int) ([]store.Setup, error) {
	list, err := s.Setups.DueSetups(ctx, now, until, limit)
	for i := range list {
		s.SetSetup(ctx, list[i])
		list[i].Version++
	}
	return list, err
}

// readsThenHolds looks at the version and finds the old holder before it changes the
// new one.
type readsThenHolds struct {
	store.Setups
	also sync.Map // setups that hold as well
}

func (s *readsThenHolds) SetSetup(ctx context.Context, su store.Setup) error {
	if is, _ := s.Setups.Setup(ctx, su.Domain, su.Tenant, su.Added); is.Version != su.Version {
		return store.ErrConflict
	}
	old, err := s.HoldingSetup(ctx, su.Domain)
	time.Sleep(time.Millisecond)
	is, _ := s.Setups.Setup(ctx, su.Domain, su.Tenant, su.Added)
	su.Version = is.Version
	if set := s.Setups.SetSetup(ctx, su); set != nil {
		return set
	}
	s.also.Store(su.Tenant, su.Holds)
	if err == nil && old.Tenant != su.Tenant {
		s.also.Delete(old.Tenant)
	}
	return nil
}

func (s *readsThenHolds) Setup(ctx context.Context, domain string, tenant store.TenantID, added time.Time) (store.Setup, error) {
	su, err := s.Setups.Setup(ctx, domain, tenant, added)
	if holds, ok := s.also.Load(tenant); ok {
		su.Holds = holds.(bool)
	}
	return su, err
}

type deafSetups struct{ store.Setups }

func (s deafSetups) SetSetup(ctx context.Context, su store.Setup) error {
	return s.Setups.SetSetup(context.WithoutCancel(ctx), su)
}

type roundsSetups struct{ store.Setups }

func (s roundsSetups) SetSetup(ctx context.Context, su store.Setup) error {
	su.Since = su.Since.Truncate(time.Millisecond)
	return s.Setups.SetSetup(ctx, su)
}

type cutsSetups struct{ store.Setups }

func (s cutsSetups) SetSetup(ctx context.Context, su store.Setup) error {
	su.Secrets = su.Secrets[:min(len(su.Secrets), 65_536)]
	return s.Setups.SetSetup(ctx, su)
}

func TestSetupsMistakes(t *testing.T) {
	for name, m := range wrongSetups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suiteFails(t, "TestWrongSetups", name, m.name, m.words)
		})
	}
}

// TestWrongSetups is run by TestSetupsMistakes, in a process of its own.
func TestWrongSetups(t *testing.T) {
	m, ok := wrongSetups[os.Getenv(variable)]
	if !ok {
		t.Skip("only TestSetupsMistakes runs this")
	}
	storetest.RunSetups(t, func(*testing.T) func() store.Setups {
		right := new(memory.Store)
		return func() store.Setups { return m.make(right) }
	})
}
