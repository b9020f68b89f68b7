package main

import (
	"context"
	"errors"

	bolt "go.etcd.io/bbolt"

	"github.com/gatepost-mail/gatepost/store"
)

func (s Store) SetSortNames(ctx context.Context, tenant store.TenantID, sortNames map[string]string) error {
	return s.update(ctx, func(tx *bolt.Tx) error {
		for username, sortName := range sortNames {
			var r record
			err := get(tx, users, username, &r)
			if errors.Is(err, store.ErrNotFound) || err == nil && (r.User.Tenant != tenant || r.User.SortName != "") {
				continue
			}
			if err != nil {
				return err
			}
			r.User.SortName = sortName
			if err := put(tx, users, username, r); err != nil {
				return err
			}
		}
		return nil
	})
}
