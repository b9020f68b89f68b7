package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// userColumns are the columns of a user without its hash. readColumns are those that
// scanUser reads, from {users} AS u. A domain's suspension is read where it is kept: so
// it holds for users that are added at the same time, also by an older program, and a
// large domain is suspended with one write.
const (
	userColumns     = `tenant, domain, username, name, sort_name, generation, created, password_set, last_connection, last_from, suspended, networks`
	plainColumns    = userColumns + `, old_generation, old_until, old_connection, new_connection`
	domainSuspended = `COALESCE((SELECT d.suspended FROM {domains} AS d WHERE d.name = u.domain AND d.tenant = u.tenant), '')`
	readColumns     = plainColumns + `, ` + domainSuspended
)

// Lookup implements [store.Store]. It runs one query, by primary key.
func (s *Store) Lookup(ctx context.Context, username string) (u store.User, hash, old string, err error) {
	u, hash, old, err = s.lookup(ctx, username)
	return u, hash, old, failed("look up user", err)
}

func (s *Store) lookup(ctx context.Context, username string) (u store.User, hash, old string, err error) {
	if s.dialect == SQLite {
		u, err = s.lookupJoined(ctx, username, &hash, &old)
	}
	if s.dialect != SQLite || errors.Is(err, errSeparator) {
		u, err = s.lookupColumns(ctx, username, &hash, &old)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.User{}, "", "", err
	}
	if u.OldUntil.IsZero() {
		old = ""
	}
	return u, hash, old, nil
}

func (s *Store) lookupColumns(ctx context.Context, username string, hash, old *string) (store.User, error) {
	st, err := s.prepared(ctx, `SELECT `+readColumns+`, hash, old_hash FROM {users} AS u WHERE username = ?`)
	if err != nil {
		return store.User{}, err
	}
	return scanUser(st.QueryRowContext(ctx, username).Scan, hash, old)
}

// separator is between the columns of selectJoined.
const separator = "\x1f"

// selectJoined selects all columns of a look-up as one. A driver of SQLite takes about as
// long for three columns as SQLite takes to find the row. Without a name, the column has the
// whole expression as its name, which a driver copies at each call.
var selectJoined = `SELECT ` + strings.Join(append(strings.Split(plainColumns, ", "), domainSuspended, `hash`, `old_hash`), ` || '`+separator+`' || `) + ` AS joined FROM {users} AS u WHERE username = ?`

// errSeparator means that a column contains the separator, so that lookupColumns has to
// read the user.
var errSeparator = errors.New("a column contains the separator")

// lookupJoined is lookupColumns for SQLite, or returns errSeparator.
func (s *Store) lookupJoined(ctx context.Context, username string, hash, old *string) (store.User, error) {
	st, err := s.prepared(ctx, selectJoined)
	if err != nil {
		return store.User{}, err
	}
	var joined string
	if err := st.QueryRowContext(s.unwatched(ctx), username).Scan(&joined); err != nil {
		return store.User{}, err
	}
	return scanUser(func(to ...any) error { return split(joined, to) }, hash, old)
}

// split scans the columns of a joined text.
func split(joined string, to []any) error {
	if strings.Count(joined, separator) != len(to)-1 {
		return errSeparator
	}
	var err error
	for _, p := range to {
		var column string
		column, joined, _ = strings.Cut(joined, separator)
		switch p := p.(type) {
		case *string:
			*p = column
		case *store.TenantID:
			*p = store.TenantID(column)
		case *int64:
			var fault error
			if *p, fault = strconv.ParseInt(column, 10, 64); fault != nil {
				err = fault
			}
		default:
			err = fmt.Errorf("a column is scanned into a %T", p)
		}
	}
	return err
}

// scanUser reads readColumns with scan, and the columns after them into more.
func scanUser(scan func(...any) error, more ...any) (store.User, error) {
	var u store.User
	var created, passwordSet, lastConnection, oldGeneration, oldUntil, oldConnection, newConnection int64
	var from, networks string
	to := append(make([]any, 0, 20), &u.Tenant, &u.Domain, &u.Username, &u.Name, &u.SortName, &u.Generation,
		&created, &passwordSet, &lastConnection, &from, &u.Suspended, &networks,
		&oldGeneration, &oldUntil, &oldConnection, &newConnection, &u.DomainSuspended)
	if err := scan(append(to, more...)...); err != nil {
		return store.User{}, err
	}
	u.Created = time.UnixMicro(created).UTC()
	u.PasswordSet = time.UnixMicro(passwordSet).UTC()
	u.LastConnection = time.UnixMicro(lastConnection).UTC()
	if oldGeneration == u.Generation-1 {
		u.OldUntil = time.UnixMicro(oldUntil).UTC()
		u.OldConnection = time.UnixMicro(oldConnection).UTC()
		u.NewConnection = time.UnixMicro(newConnection).UTC()
	}
	for text := range strings.FieldsSeq(networks) {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return store.User{}, fmt.Errorf("user %q: %w", u.Username, err)
		}
		u.Networks = append(u.Networks, network)
	}
	if from != "" {
		var err error
		if u.LastConnectionFrom, err = netip.ParseAddr(from); err != nil {
			return store.User{}, fmt.Errorf("user %q: %w", u.Username, err)
		}
	}
	return u, nil
}
