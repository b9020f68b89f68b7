package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/gatepost-mail/gatepost/store"
)

// The buckets of the database. Values are JSON. bbolt keeps keys in byte order,
// which is the order of a store's lists.
var (
	domains   = []byte("domains")   // by tenant, NUL, name: store.Domain
	owners    = []byte("owners")    // by name, of domains that are no claims: tenant
	users     = []byte("users")     // by username: record
	ofDomains = []byte("ofDomains") // by tenant, NUL, domain, NUL, username: nothing
	issued    = []byte("issued")    // by username, for ever: nothing
)

// A Store is a store.Store in a bbolt file. A bbolt transaction is atomic,
// durable when it commits, and the only one that writes, so every method is one
// transaction and there is nothing else to think of.
type Store struct{ db *bolt.DB }

var _ store.Store = Store{}

// record is a user with its hash, as the users bucket keeps it.
type record struct {
	User store.User
	Hash string
	Old  string // the hash before, while a rotation overlaps
}

// NewStore returns a Store in an open database.
func NewStore(db *bolt.DB) (Store, error) {
	return Store{db}, db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{domains, owners, users, ofDomains, issued} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s Store) AddDomain(ctx context.Context, d store.Domain) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		key := pair(string(d.Tenant), d.Name)
		if tx.Bucket(domains).Get(key) != nil {
			return store.ErrTaken
		}
		if !d.Claim {
			if tx.Bucket(owners).Get([]byte(d.Name)) != nil {
				return store.ErrTaken
			}
			if err := tx.Bucket(owners).Put([]byte(d.Name), []byte(d.Tenant)); err != nil {
				return err
			}
		}
		d.Users, d.LastConnection = 0, time.Time{} // found out when it is read
		return put(tx, domains, string(key), d)
	})
}

func (s Store) Domain(ctx context.Context, tenant store.TenantID, name string) (d store.Domain, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		d, err = domain(tx, tenant, name)
		return err
	})
	return d, err
}

func (s Store) Domains(ctx context.Context, tenant store.TenantID, page store.Page) (list []store.Domain, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		return each(tx, domains, string(tenant), page.After, func(name string) (more bool, err error) {
			if found(page.Search, name) {
				d, err := domain(tx, tenant, name)
				if err != nil {
					return false, err
				}
				list = append(list, d)
			}
			return len(list) < page.Size(), nil
		})
	})
	return list, err
}

func (s Store) DomainsNamed(ctx context.Context, name string) (list []store.Domain, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		return tx.Bucket(domains).ForEach(func(key, _ []byte) error { // an index would be quicker
			tenant, ok := strings.CutSuffix(string(key), "\x00"+name)
			if !ok || strings.Contains(tenant, "\x00") {
				return nil
			}
			d, err := domain(tx, store.TenantID(tenant), name)
			list = append(list, d)
			return err
		})
	})
	return list, err
}

// domain reads a domain and sums up its users.
func domain(tx *bolt.Tx, tenant store.TenantID, name string) (d store.Domain, err error) {
	key := string(pair(string(tenant), name))
	if err := get(tx, domains, key, &d); err != nil {
		return d, err
	}
	err = each(tx, ofDomains, key, "", func(username string) (more bool, err error) {
		var r record
		err = get(tx, users, username, &r)
		d.Users++
		if r.User.LastConnection.After(d.LastConnection) {
			d.LastConnection = r.User.LastConnection
		}
		return true, err
	})
	return d, err
}

func (s Store) SuspendDomain(ctx context.Context, tenant store.TenantID, name, reason string) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		key := string(pair(string(tenant), name))
		var d store.Domain
		if err := get(tx, domains, key, &d); err != nil {
			return err
		}
		d.Suspended = reason
		return put(tx, domains, key, d)
	})
}

func (s Store) DeleteDomain(ctx context.Context, tenant store.TenantID, name string) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		if err := owns(tx, tenant, name); err != nil {
			return err
		}
		key := string(pair(string(tenant), name))
		var gone []string // a bucket must not change while it is read
		if err := each(tx, ofDomains, key, "", func(username string) (more bool, err error) {
			gone = append(gone, username)
			return true, nil
		}); err != nil {
			return err
		}
		for _, username := range gone {
			if err := remove(tx, key, username); err != nil {
				return err
			}
		}
		if owner := tx.Bucket(owners).Get([]byte(name)); string(owner) == string(tenant) {
			if err := tx.Bucket(owners).Delete([]byte(name)); err != nil {
				return err
			}
		}
		return tx.Bucket(domains).Delete([]byte(key))
	})
}

func (s Store) AddUser(ctx context.Context, u store.User, hash string) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		if err := owns(tx, u.Tenant, u.Domain); err != nil {
			return err
		}
		if tx.Bucket(issued).Get([]byte(u.Username)) != nil {
			return store.ErrTaken
		}
		if err := tx.Bucket(issued).Put([]byte(u.Username), nil); err != nil {
			return err
		}
		if err := tx.Bucket(ofDomains).Put(pair(ownerOf(u), u.Username), nil); err != nil {
			return err
		}
		r := record{User: u, Hash: hash}
		r.endOverlap()
		return put(tx, users, u.Username, r)
	})
}

func (s Store) User(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	u, _, _, err := s.Lookup(ctx, username)
	if err == nil && u.Tenant != tenant {
		return store.User{}, store.ErrNotFound
	}
	return u, err
}

func (s Store) Users(ctx context.Context, tenant store.TenantID, domain string, page store.Page) (list []store.User, err error) {
	err = s.view(ctx, func(tx *bolt.Tx) error {
		if err := owns(tx, tenant, domain); err != nil {
			return err
		}
		return each(tx, ofDomains, string(pair(string(tenant), domain)), page.After, func(username string) (more bool, err error) {
			var r record
			if err := read(tx, username, &r); err != nil {
				return false, err
			}
			if found(page.Search, r.User.Name, username) {
				list = append(list, r.User)
			}
			return len(list) < page.Size(), nil
		})
	})
	return list, err
}

func (s Store) RenameUser(ctx context.Context, tenant store.TenantID, username, name string) error {
	return s.change(ctx, username, func(r *record) error {
		if r.User.Tenant != tenant {
			return store.ErrNotFound
		}
		r.User.Name = name
		return nil
	})
}

func (s Store) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string) error {
	return s.change(ctx, username, func(r *record) error {
		if r.User.Tenant != tenant {
			return store.ErrNotFound
		}
		r.User.Suspended = reason
		return nil
	})
}

func (s Store) SetNetworks(ctx context.Context, tenant store.TenantID, username string, networks []netip.Prefix) error {
	return s.change(ctx, username, func(r *record) error {
		if r.User.Tenant != tenant {
			return store.ErrNotFound
		}
		r.User.Networks = append([]netip.Prefix(nil), networks...)
		return nil
	})
}

func (s Store) DeleteUser(ctx context.Context, tenant store.TenantID, username string) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		var r record
		if err := get(tx, users, username, &r); err != nil {
			return err
		}
		if r.User.Tenant != tenant {
			return store.ErrNotFound
		}
		return remove(tx, ownerOf(r.User), username)
	})
}

func (s Store) Lookup(ctx context.Context, username string) (u store.User, hash, old string, err error) {
	var r record
	err = s.view(ctx, func(tx *bolt.Tx) error { return read(tx, username, &r) })
	return r.User, r.Hash, r.Old, err
}

func (s Store) RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error {
	return s.change(ctx, username, func(r *record) error {
		u := &r.User
		if at.After(u.LastConnection) {
			u.LastConnection, u.LastConnectionFrom = at, from
		}
		if overlaps := !u.OldUntil.IsZero(); overlaps && generation == u.Generation && at.After(u.NewConnection) {
			u.NewConnection = at
		} else if overlaps && generation == u.Generation-1 && at.After(u.OldConnection) {
			u.OldConnection = at
		}
		return nil
	})
}

// change lets f change a user, and keeps what it made of it unless f fails.
func (s Store) change(ctx context.Context, username string, f func(*record) error) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		var r record
		if err := get(tx, users, username, &r); err != nil {
			return err
		}
		if err := f(&r); err != nil {
			return err
		}
		return put(tx, users, username, r)
	})
}

// view and update run f in a transaction, unless ctx has ended. bbolt itself
// knows no contexts.
func (s Store) view(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(f)
}

func (s Store) update(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.Update(f)
}

// read reads a user, and from its domain whether that is suspended.
func read(tx *bolt.Tx, username string, r *record) error {
	var d store.Domain
	if err := get(tx, users, username, r); err != nil {
		return err
	}
	err := get(tx, domains, string(pair(string(r.User.Tenant), r.User.Domain)), &d)
	r.User.DomainSuspended = d.Suspended
	return err
}

// owns returns ErrNotFound if the tenant has no such domain.
func owns(tx *bolt.Tx, tenant store.TenantID, domain string) error {
	if tx.Bucket(domains).Get(pair(string(tenant), domain)) == nil {
		return store.ErrNotFound
	}
	return nil
}

// ownerOf returns the key of a user's domain.
func ownerOf(u store.User) string { return string(pair(string(u.Tenant), u.Domain)) }

// remove deletes a user of the domain with a key, but not its username from those issued.
func remove(tx *bolt.Tx, domain, username string) error {
	if err := tx.Bucket(ofDomains).Delete(pair(domain, username)); err != nil {
		return err
	}
	return tx.Bucket(users).Delete([]byte(username))
}

func get(tx *bolt.Tx, bucket []byte, key string, v any) error {
	data := tx.Bucket(bucket).Get([]byte(key))
	if data == nil {
		return store.ErrNotFound
	}
	return json.Unmarshal(data, v)
}

func put(tx *bolt.Tx, bucket []byte, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put([]byte(key), data)
}

// pair is the key of an entry that belongs to an owner. Neither holds a NUL.
func pair(owner, name string) []byte { return []byte(owner + "\x00" + name) }

// each calls f with the names of what the owner has, after the one given, until
// f wants no more.
func each(tx *bolt.Tx, bucket []byte, owner, after string, f func(name string) (more bool, err error)) error {
	c := tx.Bucket(bucket).Cursor()
	for key, _ := c.Seek(pair(owner, after)); key != nil; key, _ = c.Next() {
		name, ok := strings.CutPrefix(string(key), owner+"\x00")
		if !ok {
			return nil
		}
		if name == after {
			continue // Seek finds it if it exists
		}
		if more, err := f(name); err != nil || !more {
			return err
		}
	}
	return nil
}

// found reports whether one of the texts contains what is searched for.
func found(search string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(search)) })
}
