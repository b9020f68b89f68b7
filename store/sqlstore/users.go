package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/cursor"
)

// AddUser implements [store.Store].
func (s *Store) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	if err := errors.Join(fits(string(u.Tenant), u.Domain, u.Username), fitsLong(u.Name, u.SortName, u.Suspended, hash)); err != nil {
		return failed("add user", err)
	}
	err := s.inTx(ctx, func(tx tx) error {
		n, err := tx.exec(ctx, `INSERT INTO {usernames} (username) VALUES (?) ON CONFLICT DO NOTHING`, u.Username)
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrTaken
		}
		// The lock keeps the domain from being deleted before the commit. With a limit
		// it also keeps other calls from adding users to it.
		domain := `SELECT 1 FROM {domains} WHERE name = ? AND tenant = ? FOR SHARE`
		if limit > 0 {
			domain = `SELECT 1 FROM {domains} WHERE name = ? AND tenant = ? FOR UPDATE`
		}
		ok, err := tx.exists(ctx, domain, u.Domain, string(u.Tenant))
		if err != nil {
			return err
		}
		if !ok {
			return store.ErrNotFound
		}
		_, err = tx.exec(ctx, `INSERT INTO {users} (`+userColumns+`, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			string(u.Tenant), u.Domain, u.Username, u.Name, u.SortName, u.Generation, u.Created.UnixMicro(), u.PasswordSet.UnixMicro(),
			u.LastConnection.UnixMicro(), addrText(u.LastConnectionFrom), u.Suspended, networksText(u.Networks), hash)
		if err != nil || limit <= 0 {
			return err
		}
		return tx.within(ctx, limit, `SELECT COUNT(*) FROM {users} WHERE tenant = ? AND domain = ?`, string(u.Tenant), u.Domain)
	})
	return failed("add user", err)
}

// User implements [store.Store].
func (s *Store) User(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	u, err := s.user(ctx, tenant, username)
	return u, failed("look up user", err)
}

func (s *Store) user(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	u, _, _, err := s.lookup(ctx, username)
	if err == nil && u.Tenant != tenant {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.User{}, err
	}
	return u, nil
}

// Users implements [store.Store].
func (s *Store) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	l := listing[store.User]{
		s: s, q: q, key: "username",
		rows:  rowsOfList{` FROM {users} AS l WHERE l.tenant = ?`, []any{string(tenant)}},
		read:  `SELECT ` + readColumns + ` FROM %s JOIN {users} AS u ON u.username = k.entry`,
		scan:  func(rows *sql.Rows) (store.User, error) { return scanUser(rows.Scan) },
		place: func(u store.User) cursor.Cursor { return placeOf(q, u.SortName, u.LastConnection, u.Username) },
	}
	if domain != "" {
		l.rows = rowsOfList{l.rows.text + ` AND l.domain = ?`, []any{string(tenant), domain}}
	}
	l.plain = l.rows
	list, found, err := l.list(ctx)
	if err == nil && domain != "" && len(list) == 0 {
		err = s.hasDomain(ctx, tenant, domain)
	}
	return list, found, failed("list users", err)
}

// hasDomain returns ErrNotFound if the tenant has no such domain.
func (s *Store) hasDomain(ctx context.Context, tenant store.TenantID, domain string) error {
	st, err := s.prepared(ctx, `SELECT 1 FROM {domains} WHERE name = ? AND tenant = ?`)
	if err != nil {
		return err
	}
	ok, err := exists(st.QueryRowContext(ctx, domain, string(tenant)))
	if err == nil && !ok {
		err = store.ErrNotFound
	}
	return err
}

// RenameUser implements [store.Store].
func (s *Store) RenameUser(ctx context.Context, tenant store.TenantID, username, name, sortName string) error {
	if err := fitsLong(name, sortName); err != nil {
		return failed("rename user", err)
	}
	err := s.change(
		func() (int64, error) {
			return s.exec(ctx, `UPDATE {users} SET name = ?, sort_name = ? WHERE username = ? AND tenant = ?`, name, sortName, username, string(tenant))
		},
		func() (bool, error) {
			u, err := s.user(ctx, tenant, username)
			return u.Name == name && u.SortName == sortName, err
		})
	return failed("rename user", err)
}

// SetSortNames implements [store.Store].
func (s *Store) SetSortNames(ctx context.Context, tenant store.TenantID, sortNames map[string]string) error {
	if err := fitsLong(slices.Collect(maps.Values(sortNames))...); err != nil {
		return failed("set sort names", err)
	}
	usernames := slices.Sorted(maps.Keys(sortNames)) // so two transactions lock rows in the same order
	return failed("set sort names", s.inTx(ctx, func(tx tx) error {
		for _, username := range usernames {
			if _, err := tx.exec(ctx, `UPDATE {users} SET sort_name = ? WHERE username = ? AND tenant = ? AND sort_name = ''`, sortNames[username], username, string(tenant)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// SuspendUser implements [store.Store].
func (s *Store) SuspendUser(ctx context.Context, tenant store.TenantID, username, reason string, seen *string) error {
	if err := fitsLong(reason); err != nil {
		return failed("suspend user", err)
	}
	query, args := `UPDATE {users} SET suspended = ? WHERE username = ? AND tenant = ?`, []any{reason, username, string(tenant)}
	if seen != nil {
		query, args = query+` AND suspended = ?`, append(args, *seen)
	}
	err := s.change(
		func() (int64, error) { return s.exec(ctx, query, args...) },
		func() (bool, error) {
			u, err := s.user(ctx, tenant, username)
			if err == nil && seen != nil && u.Suspended != *seen {
				err = store.ErrConflict
			}
			return u.Suspended == reason, err
		})
	return failed("suspend user", err)
}

// SetNetworks implements [store.Store].
func (s *Store) SetNetworks(ctx context.Context, tenant store.TenantID, username string, networks []netip.Prefix) error {
	text := networksText(networks)
	if err := shorter(maxNetworks, []string{text}); err != nil {
		return failed("set networks", err)
	}
	err := s.change(
		func() (int64, error) {
			return s.exec(ctx, `UPDATE {users} SET networks = ? WHERE username = ? AND tenant = ?`, text, username, string(tenant))
		},
		func() (bool, error) {
			u, err := s.user(ctx, tenant, username)
			return slices.Equal(u.Networks, networks), err
		})
	return failed("set networks", err)
}

// networksText is the text of networks in a column.
func networksText(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, network := range networks {
		texts[i] = network.String()
	}
	return strings.Join(texts, " ")
}

// SetPassword implements [store.Store].
func (s *Store) SetPassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at time.Time) error {
	if err := fitsLong(hash); err != nil {
		return failed("set password", err)
	}
	err := s.ofGeneration(ctx, tenant, username, generation, false, func() (int64, error) {
		return s.exec(ctx, `UPDATE {users} SET `+endOverlap+`, hash = ?, password_set = ?, generation = generation + 1
			WHERE username = ? AND tenant = ? AND generation = ?`,
			hash, at.UnixMicro(), username, string(tenant), generation)
	})
	return failed("set password", err)
}

// never is the zero time in a column, and endOverlap sets the columns of a user without
// an old password.
const (
	never      = `-62135596800000000`
	endOverlap = `old_hash = '', old_generation = -1, old_until = ` + never + `, old_connection = ` + never + `, new_connection = ` + never
)

// RotatePassword implements [store.Store].
func (s *Store) RotatePassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at, until time.Time) error {
	if err := fitsLong(hash); err != nil {
		return failed("rotate password", err)
	}
	err := s.ofGeneration(ctx, tenant, username, generation, false, func() (int64, error) {
		// MySQL assigns one after the other, so what is read comes before what it is
		// read from.
		return s.exec(ctx, `UPDATE {users} SET old_hash = hash, old_generation = generation, old_until = ?,
			old_connection = CASE WHEN last_connection < password_set THEN `+never+` ELSE last_connection END,
			new_connection = `+never+`, hash = ?, password_set = ?, generation = generation + 1
			WHERE username = ? AND tenant = ? AND generation = ?`,
			until.UnixMicro(), hash, at.UnixMicro(), username, string(tenant), generation)
	})
	return failed("rotate password", err)
}

// EndOverlap implements [store.Store].
func (s *Store) EndOverlap(ctx context.Context, tenant store.TenantID, username string, generation int64) error {
	err := s.ofGeneration(ctx, tenant, username, generation, true, func() (int64, error) {
		return s.exec(ctx, `UPDATE {users} SET `+endOverlap+` WHERE username = ? AND tenant = ? AND generation = ?`, username, string(tenant), generation)
	})
	return failed("end overlap", err)
}

// ofGeneration calls update, as change does, for a user of the given generation. With
// ends, a user without an old password is as wanted.
func (s *Store) ofGeneration(ctx context.Context, tenant store.TenantID, username string, generation int64, ends bool, update func() (int64, error)) error {
	return s.change(update, func() (bool, error) {
		u, err := s.user(ctx, tenant, username)
		if err == nil && u.Generation != generation {
			err = store.ErrConflict
		}
		return ends && err == nil && u.OldUntil.IsZero(), err
	})
}

// DeleteUser implements [store.Store].
func (s *Store) DeleteUser(ctx context.Context, tenant store.TenantID, username string) error {
	n, err := s.exec(ctx, `DELETE FROM {users} WHERE username = ? AND tenant = ?`, username, string(tenant))
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return failed("delete user", err)
}

// RecordLogin implements [store.Store]. It runs one statement, and a second one only
// if the first changes nothing.
func (s *Store) RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error {
	// As in RotatePassword the order matters. newer are the columns of a user with two
	// passwords.
	const newer = `old_generation = generation - 1 AND generation = ? AND `
	const query = `UPDATE {users} SET
		last_from = CASE WHEN last_connection < ? THEN ? ELSE last_from END,
		last_connection = CASE WHEN last_connection < ? THEN ? ELSE last_connection END,
		new_connection = CASE WHEN ` + newer + `new_connection < ? THEN ? ELSE new_connection END,
		old_connection = CASE WHEN ` + newer + `old_connection < ? THEN ? ELSE old_connection END
		WHERE username = ? AND (last_connection < ? OR ` + newer + `new_connection < ? OR ` + newer + `old_connection < ?)`
	t, next := at.UnixMicro(), generation+1
	args := []any{t, addrText(from), t, t, generation, t, t, next, t, t, username, t, generation, t, next, t}
	err := s.change(
		func() (int64, error) { return s.exec(ctx, query, args...) },
		func() (bool, error) {
			_, _, _, err := s.lookup(ctx, username)
			return true, err
		})
	return failed("record login", err)
}

// change calls update, which changes one user or domain and returns the number of
// changed rows. If update changes no row, change calls look, which returns an error,
// or true if the row already is as wanted; MySQL does not count such a row. If look
// returns false, another caller has changed the row in between, and change calls
// update again.
func (s *Store) change(update func() (int64, error), look func() (bool, error)) error {
	for range maxTries {
		if n, err := update(); err != nil || n > 0 {
			return err
		}
		if done, err := look(); err != nil || done {
			return err
		}
	}
	return errors.New("too many conflicting updates")
}

// addrText is the text of an address; the zero Addr is empty.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// The sizes of columns in bytes. They are checked here because MySQL cuts longer
// texts unless it is in strict mode.
const (
	maxKey  = 255
	maxLong = 1024

	maxNetworks = 8192
)

// isText reports whether texts can be in a text column, and so in a comparison with one:
// PostgreSQL returns an error for any other.
func isText(texts ...string) bool {
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return false
		}
	}
	return true
}

func fits(keys ...string) error {
	return shorter(maxKey, keys)
}

func fitsLong(texts ...string) error {
	return shorter(maxLong, texts)
}

func shorter(size int, texts []string) error {
	for _, text := range texts {
		if len(text) > size {
			return fmt.Errorf("text of %d bytes is too long, the maximum is %d", len(text), size)
		}
	}
	return nil
}
