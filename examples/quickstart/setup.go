package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

const (
	databaseFile = "gatepost.db"

	// tenant is the only customer here. A product has one for each of its own.
	tenant store.TenantID = "quickstart"

	firstDomain = "mycompany.example"
	firstName   = "first tool"
)

// openDatabase opens the database, or makes it.
func openDatabase(ctx context.Context) (st *sqlstore.Store, closeDatabase func() error, err error) {
	// Nobody else is to read it. SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(databaseFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+databaseFile+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, nil, err
	}
	st = sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(ctx); err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("%s: %w", databaseFile, err)
	}
	return st, db.Close, nil
}

// An issued is an SMTP user, with its password if it was made just now.
type issued struct {
	user     store.User
	password credentials.Password
}

// setUp makes sure that there is a domain, the one named if one is, and that
// it has a user. Without a new password the user is just one of the domain's.
func setUp(ctx context.Context, t credentials.Tenant, domain string) (issued, error) {
	domain, err := chooseDomain(ctx, t, domain)
	if err != nil {
		return issued{}, err
	}
	users, err := t.Users(ctx, domain, store.Page{Limit: 1})
	if errors.Is(err, store.ErrNotFound) {
		_, err = t.AddDomain(ctx, domain)
	}
	if err != nil {
		return issued{}, err
	}
	if len(users) > 0 {
		return issued{user: users[0]}, nil
	}
	user, password, err := t.AddUser(ctx, domain, firstName)
	return issued{user, password}, err
}

// chooseDomain returns the domain that is named, or else the oldest.
func chooseDomain(ctx context.Context, t credentials.Tenant, named string) (string, error) {
	if named != "" {
		return credentials.NormalizeDomain(named)
	}
	domains, err := t.Domains(ctx, store.Page{})
	if err != nil {
		return "", err
	}
	if len(domains) == 0 {
		return firstDomain, nil
	}
	oldest := slices.MinFunc(domains, func(a, b store.Domain) int { return a.Created.Compare(b.Created) })
	return oldest.Name, nil
}
