// Command customstore shows how to give a relay a store of your own: store.go
// keeps domains and users in a bbolt file, and store_test.go shows that it
// keeps every promise of package store.
//
//	go run ./customstore
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/gatepost-mail/gatepost/store"
)

func main() {
	dir, err := os.MkdirTemp("", "customstore-*")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, filepath.Join(dir, "relay.db"))
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

// run adds a domain and a user to the store in the file, and looks the user up
// as a login would. The relay takes such a store as it takes any other.
func run(ctx context.Context, out io.Writer, path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	st, err := NewStore(db)
	if err != nil {
		return err
	}

	now := time.Now().UTC().Truncate(time.Microsecond)
	if err := st.AddDomain(ctx, store.Domain{Tenant: "acme", Name: "acme.example", Created: now}, 0); err != nil {
		return err
	}
	user := store.User{
		Tenant: "acme", Domain: "acme.example", Username: "smtpcuqyykq2mn6yab65", Name: "Web shop",
		Generation: 1, Created: now, PasswordSet: now,
	}
	if err := st.AddUser(ctx, user, "a hash of its password", 0); err != nil {
		return err
	}
	found, _, _, err := st.Lookup(ctx, "smtpcuqyykq2mn6yab65")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s sends for %s\n", found.Name, found.Domain)

	err = st.AddUser(ctx, user, "another hash", 0)
	fmt.Fprintf(out, "its username again: %v\n", err)
	return nil
}
