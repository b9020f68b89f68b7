package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/gatepost-mail/gatepost/store"
)

// The buckets of the database. Values are JSON.
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

func (s Store) AddDomain(ctx context.Context, d store.Domain, limit int) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		key := pair(string(d.Tenant), d.Name)
		if tx.Bucket(domains).Get(key) != nil || !d.Claim && tx.Bucket(owners).Get([]byte(d.Name)) != nil {
			return store.ErrTaken
		}
		if err := within(tx, domains, string(d.Tenant), limit); err != nil {
			return err
		}
		if !d.Claim {
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

// Domains and Users read everything and let the Query choose. That is quick enough for
// some thousand entries. A store for more has an index for each order.
func (s Store) Domains(ctx context.Context, tenant store.TenantID, q store.Query) (list []store.Domain, found store.Found, err error) {
	var all []store.Domain
	err = s.view(ctx, func(tx *bolt.Tx) error {
		return each(tx, domains, string(tenant), func(name string) error {
			d, err := domain(tx, tenant, name)
			all = append(all, d)
			return err
		})
	})
	if err == nil {
		list, found = q.Domains(all)
	}
	return list, found, err
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
	err = each(tx, ofDomains, key, func(username string) error {
		var r record
		err := get(tx, users, username, &r)
		d.Users++
		if r.User.LastConnection.After(d.LastConnection) {
			d.LastConnection = r.User.LastConnection
		}
		return err
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
		if err := each(tx, ofDomains, key, func(username string) error {
			gone = append(gone, username)
			return nil
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

func (s Store) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		if err := owns(tx, u.Tenant, u.Domain); err != nil {
			return err
		}
		if tx.Bucket(issued).Get([]byte(u.Username)) != nil {
			return store.ErrTaken
		}
		if err := within(tx, ofDomains, ownerOf(u), limit); err != nil {
			return err
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

func (s Store) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) (list []store.User, found store.Found, err error) {
	var all []store.User
	add := func(tx *bolt.Tx, domain string) error {
		return each(tx, ofDomains, string(pair(string(tenant), domain)), func(username string) error {
			var r record
			err := read(tx, username, &r)
			all = append(all, r.User)
			return err
		})
	}
	err = s.view(ctx, func(tx *bolt.Tx) error {
		if domain == "" {
			return each(tx, domains, string(tenant), func(name string) error { return add(tx, name) })
		}
		if err := owns(tx, tenant, domain); err != nil {
			return err
		}
		return add(tx, domain)
	})
	if err == nil {
		list, found = q.Users(all)
	}
	return list, found, err
}

func (s Store) RenameUser(ctx context.Context, tenant store.TenantID, username, name, sortName string) error {
	return s.change(ctx, username, func(r *record) error {
		if r.User.Tenant != tenant {
			return store.ErrNotFound
		}
		r.User.Name, r.User.SortName = name, sortName
		return nil
	})
}

func (s Store) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	return s.change(ctx, username, func(r *record) error {
		if r.User.Tenant != tenant {
			return store.ErrNotFound
		}
		if seen != nil && r.User.Suspended != *seen {
			return store.ErrConflict
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

// each calls f with the names of what the owner has, until f fails.
func each(tx *bolt.Tx, bucket []byte, owner string, f func(name string) error) error {
	c := tx.Bucket(bucket).Cursor()
	for key, _ := c.Seek(pair(owner, "")); key != nil; key, _ = c.Next() {
		name, ok := strings.CutPrefix(string(key), owner+"\x00")
		if !ok {
			return nil
		}
		if err := f(name); err != nil {
			return err
		}
	}
	return nil
}

// within returns ErrLimit if the owner has limit names or more, and there is a limit.
func within(tx *bolt.Tx, bucket []byte, owner string, limit int) error {
	n := 0
	err := each(tx, bucket, owner, func(string) error {
		n++
		return nil
	})
	if err == nil && limit > 0 && n >= limit {
		err = store.ErrLimit
	}
	return err
}
