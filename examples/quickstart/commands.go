package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// A command is what the program does instead of running the relay. It returns
// what is to be printed.
type command func(ctx context.Context, st *sqlstore.Store, o options) (document, error)

func runCommand(ctx context.Context, o options) error {
	if _, err := os.Stat(databaseFile); err != nil {
		return fmt.Errorf("%w; run the relay here first, it makes the database", err)
	}
	st, closeDatabase, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	defer closeDatabase()
	doc, err := o.command(ctx, st, o)
	if err != nil {
		return err
	}
	return printer{json: o.json}.print(doc)
}

// tenantIn returns the tenant for whom the commands act.
func tenantIn(st *sqlstore.Store) credentials.Tenant {
	return (&credentials.Manager{Store: st}).Tenant(tenant)
}

func addUser(ctx context.Context, st *sqlstore.Store, o options) (document, error) {
	t := tenantIn(st)
	domain, err := chooseDomain(ctx, t, o.domain)
	if err != nil {
		return nil, err
	}
	user, password, err := t.AddUser(ctx, domain, o.argument)
	if err != nil {
		return nil, unknownDomain(err, domain)
	}
	return accessTo(o.listen, o.listenTLS).with(issued{user, password}), nil
}

// unknownDomain says ErrNotFound in words.
func unknownDomain(err error, domain string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no domain %s; run the relay with -domain %s to add it", domain, domain)
	}
	return err
}

func resetPassword(ctx context.Context, st *sqlstore.Store, o options) (document, error) {
	t := tenantIn(st)
	user, err := t.User(ctx, o.argument)
	if err != nil {
		return nil, unknownUser(err, o.argument)
	}
	password, err := t.ResetPassword(ctx, o.argument)
	if errors.Is(err, store.ErrConflict) {
		return nil, fmt.Errorf("somebody else reset %s at the same moment; their password is the right one", o.argument)
	}
	if err != nil {
		return nil, unknownUser(err, o.argument)
	}
	return accessTo(o.listen, o.listenTLS).with(issued{user, password}), nil
}

func deleteUser(ctx context.Context, st *sqlstore.Store, o options) (document, error) {
	t := tenantIn(st)
	if err := t.DeleteUser(ctx, o.argument); err != nil {
		return nil, unknownUser(err, o.argument)
	}
	return deleted{Username: o.argument}, nil
}

// unknownUser says ErrNotFound in words.
func unknownUser(err error, username string) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no user %.64q; -list shows those there are", username)
	}
	return err
}

func listUsers(ctx context.Context, st *sqlstore.Store, o options) (document, error) {
	t := tenantIn(st)
	list := listing{Users: []listed{}}
	if o.domain != "" {
		domain, err := credentials.NormalizeDomain(o.domain)
		if err == nil {
			err = unknownDomain(list.add(ctx, t, domain), domain)
		}
		return list, err
	}
	var page store.Page
	for {
		domains, err := t.Domains(ctx, page)
		if err != nil || len(domains) == 0 {
			return list, err
		}
		for _, d := range domains {
			if err := list.add(ctx, t, d.Name); err != nil {
				return nil, err
			}
		}
		page.After = domains[len(domains)-1].Name
	}
}

// add adds the users of a domain to the list.
func (l *listing) add(ctx context.Context, t credentials.Tenant, domain string) error {
	var page store.Page
	for {
		users, err := t.Users(ctx, domain, page)
		if err != nil || len(users) == 0 {
			return err
		}
		for _, u := range users {
			l.Users = append(l.Users, listed{
				Name: u.Name, Username: u.Username, Domain: u.Domain,
				LastConnection: u.LastConnection, LastConnectionFrom: u.LastConnectionFrom,
			})
		}
		page.After = users[len(users)-1].Username
	}
}

// inWords returns an error as the person at the terminal is told it.
func inWords(err error) string {
	var invalid *credentials.InvalidError
	switch {
	case errors.As(err, &invalid):
		return fmt.Sprintf("the %s is not possible: %s", invalid.Field, invalid.Reason)
	case errors.Is(err, syscall.EADDRINUSE):
		return err.Error() + "; does the relay run already? -listen and -listen-tls take other ports"
	}
	return err.Error()
}
