package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		db, err := bolt.Open(filepath.Join(t.TempDir(), "relay.db"), 0o600, &bolt.Options{Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		// One process at a time may open a bbolt file, so each handle is
		// another Store on the same one.
		return func() store.Store {
			st, err := NewStore(db)
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
	})
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, filepath.Join(t.TempDir(), "relay.db")); err != nil {
		t.Fatal(err)
	}
	const want = "Web shop sends for acme.example\nits username again: store: already taken\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
