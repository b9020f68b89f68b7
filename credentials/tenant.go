package credentials

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"github.com/gatepost-mail/gatepost/store"
)

// A Tenant gives access to the domains and users of one tenant. For those of
// another tenant its methods return store.ErrNotFound, as if they did not exist.
// [Manager.Tenant] returns a Tenant.
//
// Methods take domain names in any form that [NormalizeDomain] accepts.
type Tenant struct {
	m  *Manager
	id store.TenantID
}

// Tenant returns the tenant with the given ID. It does not check that the tenant
// exists, because the embedding product keeps the tenants. If the ID is empty,
// every method of the Tenant fails. So a mistake that loses the ID gives no
// access.
func (m *Manager) Tenant(id store.TenantID) Tenant { return Tenant{m, id} }

func (t Tenant) ready() error {
	if t.m == nil || t.id == "" {
		return errNoTenant
	}
	return t.m.ready()
}

// AddDomain adds a sending domain. The error is an [InvalidError] if the name is
// not a valid domain or a public suffix such as co.uk, and store.ErrTaken if the tenant
// has the domain already or, unless Manager.ClaimDomains is set, any other tenant has it.
// It is store.ErrLimit if the tenant has as many domains as Manager.Limits allows.
//
// AddDomain proves nothing: a tenant can add a domain that is not its own, and its users
// can then send as it. A relay that is open to strangers needs package relay/domains,
// which lets the users of a domain send once its owner has published DNS records for
// this tenant. Without it, add only domains that you know to be the tenant's.
func (t Tenant) AddDomain(ctx context.Context, name string) (store.Domain, error) {
	name, err := t.domain(name)
	if err != nil {
		return store.Domain{}, err
	}
	if suffix, icann := publicsuffix.PublicSuffix(name); icann && suffix == name {
		return store.Domain{}, invalidDomain("it is a suffix under which a registry sells names; use a name below it")
	}
	limit, _, err := t.Limits(ctx)
	if err != nil {
		return store.Domain{}, err
	}
	d := store.Domain{Tenant: t.id, Name: name, SortName: foldDomain(name), Created: now(), Claim: t.m.ClaimDomains}
	if err := t.m.Store.AddDomain(ctx, d, limit); err != nil {
		return store.Domain{}, fmt.Errorf("credentials: add domain %s: %s%w", name, t.holderOf(ctx, name, err), err)
	}
	return d, nil
}

// holderOf says who has a domain that could not be added because it is taken.
func (t Tenant) holderOf(ctx context.Context, name string, err error) string {
	if !errors.Is(err, store.ErrTaken) {
		return ""
	}
	switch _, err := t.m.Store.Domain(ctx, t.id, name); {
	case err == nil:
		return "the tenant has it: "
	case errors.Is(err, store.ErrNotFound):
		return "another tenant has it: "
	}
	return ""
}

// Domain returns one domain.
func (t Tenant) Domain(ctx context.Context, name string) (store.Domain, error) {
	name, err := t.domain(name)
	if err != nil {
		return store.Domain{}, err
	}
	d, err := t.m.Store.Domain(ctx, t.id, name)
	if err != nil {
		return store.Domain{}, fmt.Errorf("credentials: domain %s: %w", name, err)
	}
	return d, nil
}

// Domains lists the tenant's domains, a page at a time. The search is for a part of
// their names, without regard to case and accents.
func (t Tenant) Domains(ctx context.Context, q store.Query) ([]store.Domain, store.Found, error) {
	if err := t.ready(); err != nil {
		return nil, store.Found{}, err
	}
	q.Search = fold(q.Search)
	domains, found, err := t.m.Store.Domains(ctx, t.id, q)
	if err != nil {
		return nil, store.Found{}, fmt.Errorf("credentials: list domains: %w", err)
	}
	return domains, found, nil
}

// Limits returns how many domains the tenant may have, and how many users each of them.
// Zero means any number. They are those of Manager.Limits.
func (t Tenant) Limits(ctx context.Context) (domains, users int, err error) {
	if err := t.ready(); err != nil || t.m.Limits == nil {
		return 0, 0, err
	}
	domains, users, err = t.m.Limits(ctx, t.id)
	if err != nil {
		return 0, 0, fmt.Errorf("credentials: limits of tenant %s: %w", t.id, err)
	}
	return domains, users, nil
}

// DeleteDomain deletes a domain and all its users in one step. This cannot be
// undone. Their passwords stop working and their sessions end. Accepted mail is
// still delivered. Any tenant can add the name again, as a new domain without
// users.
func (t Tenant) DeleteDomain(ctx context.Context, name string) error {
	name, err := t.domain(name)
	if err != nil {
		return err
	}
	if err := t.m.Store.DeleteDomain(ctx, t.id, name); err != nil {
		return fmt.Errorf("credentials: delete domain %s: %w", name, err)
	}
	t.m.emit(&DomainDeleted{Tenant: t.id, Domain: name})
	return nil
}

// AddUser adds an SMTP user to a domain and generates its username and password.
// Only this call returns the password: the store keeps only its hash.
// A username is 20 lower-case letters and digits, a password 26 upper-case
// letters and digits.
//
// The name describes the user to people, for example as the tool it is for. It
// has 1 to 64 characters, at least one of them visible, without control
// characters and characters that change the direction of text; otherwise the error
// is an [InvalidError]. AddUser trims white space
// around the name. Names need not be unique.
//
// AddUser waits for the hash of the password as long as ctx allows. If 256
// passwords of the tenant wait already, the error is [ErrBusy]. Tenants are served
// round robin. If the domain has as many users as Manager.Limits allows, the error is
// store.ErrLimit.
func (t Tenant) AddUser(ctx context.Context, domain, name string) (store.User, Password, error) {
	domain, err := t.domain(domain)
	if err != nil {
		return store.User{}, Password{}, err
	}
	// Usernames have 79 random bits, so they do not collide. A retry helps if
	// the store returned ErrTaken for a call that it had executed before.
	for try := 1; ; try++ {
		u, password, err := t.addUser(ctx, domain, name, generateUsername())
		if try == 3 || !errors.Is(err, store.ErrTaken) {
			return u, password, err
		}
	}
}

// addUser adds a user to a domain whose name is normalized.
func (t Tenant) addUser(ctx context.Context, domain, name, username string) (store.User, Password, error) {
	name, err := cleanName(name)
	if err != nil {
		return store.User{}, Password{}, err
	}
	_, limit, err := t.Limits(ctx)
	if err != nil {
		return store.User{}, Password{}, err
	}
	password, hash, err := t.newPassword(ctx, t.m.newPHC)
	if err != nil {
		return store.User{}, Password{}, err
	}
	at := now()
	u := store.User{Tenant: t.id, Domain: domain, Username: username, Name: name, SortName: fold(name), Generation: 1, Created: at, PasswordSet: at}
	if err := t.m.Store.AddUser(ctx, u, hash, limit); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("the tenant has no such domain: %w", err)
		}
		return store.User{}, Password{}, fmt.Errorf("credentials: add user to %s: %w", domain, err)
	}
	return u, password, nil
}

// User returns one user.
func (t Tenant) User(ctx context.Context, username string) (store.User, error) {
	if err := t.username(username); err != nil {
		return store.User{}, err
	}
	u, err := t.m.Store.User(ctx, t.id, username)
	if err != nil {
		return store.User{}, fmt.Errorf("credentials: user %s: %w", username, err)
	}
	return u, nil
}

// Users lists the users of a domain, or of all domains of the tenant if domain is empty,
// a page at a time. The search is for a part of their names or usernames, without regard
// to case and accents.
func (t Tenant) Users(ctx context.Context, domain string, q store.Query) ([]store.User, store.Found, error) {
	err := t.ready()
	if domain != "" {
		domain, err = t.domain(domain)
	}
	if err != nil {
		return nil, store.Found{}, err
	}
	q.Search = fold(q.Search)
	users, found, err := t.users(ctx, domain, q)
	if err != nil {
		return nil, store.Found{}, fmt.Errorf("credentials: list users of %s: %w", cmp.Or(domain, "all domains"), err)
	}
	return users, found, nil
}

// RenameUser changes the user's descriptive name, as in [Tenant.AddUser].
// Nothing else depends on it.
func (t Tenant) RenameUser(ctx context.Context, username, name string) error {
	if err := t.username(username); err != nil {
		return err
	}
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	if err := t.m.Store.RenameUser(ctx, t.id, username, name, fold(name)); err != nil {
		return fmt.Errorf("credentials: rename user %s: %w", username, err)
	}
	return nil
}

// ResetPassword generates a new password for the user. Only this call returns it.
// The old password stops working at once and its sessions end. The username, the
// name and the history do not change. If several resets run at the same time, one
// succeeds and the others return store.ErrConflict.
// ResetPassword waits for a hash as [Tenant.AddUser] does.
func (t Tenant) ResetPassword(ctx context.Context, username string) (Password, error) {
	u, err := t.User(ctx, username)
	if err != nil {
		return Password{}, err
	}
	return t.reset(ctx, u)
}

// reset replaces the password of generation u.Generation.
func (t Tenant) reset(ctx context.Context, u store.User) (Password, error) {
	password, hash, err := t.newPassword(ctx, t.m.newPHC)
	if err != nil {
		return Password{}, err
	}
	if err := t.m.Store.SetPassword(ctx, t.id, u.Username, u.Generation, hash, now()); err != nil {
		return Password{}, fmt.Errorf("credentials: reset password of %s: %w", u.Username, err)
	}
	t.m.emit(&PasswordReset{Tenant: t.id, Domain: u.Domain, Username: u.Username, Generation: u.Generation + 1})
	return password, nil
}

// DeleteUser deletes the user. This cannot be undone. Its password stops working
// at once, its sessions end, and its username is never issued again.
func (t Tenant) DeleteUser(ctx context.Context, username string) error {
	u, err := t.User(ctx, username)
	if err != nil {
		return err
	}
	if err := t.m.Store.DeleteUser(ctx, t.id, username); err != nil {
		return fmt.Errorf("credentials: delete user %s: %w", username, err)
	}
	t.m.emit(&UserDeleted{Tenant: t.id, Domain: u.Domain, Username: username})
	return nil
}

// domain checks the tenant and returns the normalized name.
func (t Tenant) domain(name string) (string, error) {
	if err := t.ready(); err != nil {
		return "", err
	}
	return NormalizeDomain(name)
}

// username checks the tenant and that a user may have the username.
func (t Tenant) username(username string) error {
	if err := t.ready(); err != nil {
		return err
	}
	if !plausible(username) {
		return fmt.Errorf("credentials: user %.40q: %w", username, store.ErrNotFound)
	}
	return nil
}

// newPassword returns a new password and its hash, which it makes with hash.
func (t Tenant) newPassword(ctx context.Context, hash func(password string) phc) (Password, string, error) {
	if err := t.m.queue.acquire(ctx, request{class: knownNetwork, owner: t.id}); err != nil {
		return Password{}, "", busy(err)
	}
	defer t.m.queue.release()
	p := generatePassword()
	h := hash(p.Reveal())
	t.m.work.Add(h.cost.work())
	return p, h.encode(), nil
}

// newPHC hashes a password with a new salt, at the Manager's cost.
func (m *Manager) newPHC(password string) phc { return newPHC(password, m.Cost.orDefault()) }

// usernameLetters excludes letters and digits that look alike.
const usernameLetters = "abcdefghjkmnpqrstuvwxyz23456789"

// generateUsername returns "smtp" and 16 random letters and digits, 79 bits.
func generateUsername() string {
	const n = len(usernameLetters)
	name := []byte("smtp")
	for b := make([]byte, 1); len(name) < 20; {
		if rand.Read(b); int(b[0]) < 256/n*n { // otherwise the first letters would be more frequent
			name = append(name, usernameLetters[int(b[0])%n])
		}
	}
	return string(name)
}

// cleanName returns a descriptive name in the form in which it is stored.
func cleanName(name string) (string, error) {
	return cleanText("name", name, 64, "it is longer than 64 characters")
}

// cleanText returns a text that a person typed, of at most so many characters, in the
// form in which it is stored. tooLong says that it has more.
func cleanText(field, text string, most int, tooLong string) (string, error) {
	invalid := func(reason string) (string, error) { return "", &InvalidError{Field: field, Reason: reason} }
	if !utf8.ValidString(text) {
		return invalid("it is not valid UTF-8")
	}
	text = strings.TrimSpace(text)
	switch {
	case !strings.ContainsFunc(text, visible):
		return invalid("it is empty")
	case utf8.RuneCountInString(text) > most:
		return invalid(tooLong)
	}
	if strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp)
	}) {
		return invalid("it holds a line break or another control character")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) }) {
		return invalid("it holds an invisible character that changes the direction of text")
	}
	return text, nil
}

// visible reports whether a character is visible.
func visible(r rune) bool {
	return !unicode.IsSpace(r) && !unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
