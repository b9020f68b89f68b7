package conformance_test

import (
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestSpool(t *testing.T) {
	for _, b := range slices.Concat(backends, variants) {
		t.Run(b.name, func(t *testing.T) {
			storetest.RunSpool(t, func(t *testing.T) func() store.Spool {
				dsn := b.create(t)
				return func() store.Spool { return b.open(t, dsn) }
			})
		})
	}
}
