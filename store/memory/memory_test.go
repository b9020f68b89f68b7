package memory_test

import (
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		st := new(memory.Store)
		return func() store.Store { return st }
	})
}

func TestSpool(t *testing.T) {
	storetest.RunSpool(t, func(t *testing.T) func() store.Spool {
		st := new(memory.Store)
		return func() store.Spool { return st }
	})
}

func TestSuppressions(t *testing.T) {
	storetest.RunSuppressions(t, func(t *testing.T) func() store.Suppressions {
		st := new(memory.Store)
		return func() store.Suppressions { return st }
	})
}

func TestHistory(t *testing.T) {
	storetest.RunHistory(t, func(t *testing.T) func() store.History {
		st := new(memory.Store)
		return func() store.History { return st }
	})
}

func TestAllowances(t *testing.T) {
	storetest.RunAllowances(t, func(t *testing.T) func() store.Allowances {
		st := new(memory.Store)
		return func() store.Allowances { return st }
	})
}

func TestSetups(t *testing.T) {
	storetest.RunSetups(t, func(t *testing.T) func() store.Setups {
		st := new(memory.Store)
		return func() store.Setups { return st }
	})
}

func TestEndpoints(t *testing.T) {
	storetest.RunEndpoints(t, func(t *testing.T) func() store.Endpoints {
		st := new(memory.Store)
		return func() store.Endpoints { return st }
	})
}
