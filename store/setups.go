package store

import (
	"context"
	"time"
)

// A Setup is how one [Domain] is authenticated: what was asked of its owner, with which
// keys its mail is signed, and what the DNS said last. Package relay/domains has the
// rules, and makes every Setup.
//
// Domain, Tenant and Added are its key. Several tenants may have a domain of the same
// name, and a tenant may delete a domain and add it again: each has a Setup of its own.
type Setup struct {
	Domain string
	Tenant TenantID
	Added  time.Time // Created of the Domain

	// Token is random, and a part of the records that are asked for. It is empty if
	// another setup has taken the domain: then new records have to be asked for.
	Token string

	State string // as relay/domains says
	Told  string // the State that the product was told of last

	// Holds is true if the tenant has proved the domain, and no other tenant has
	// done so since. At most one Setup of a domain holds it.
	Holds bool

	Since   time.Time // when State last changed
	Checked time.Time // when the DNS was last asked; zero: never
	Next    time.Time // when it is due

	Secrets string // the keys, encoded by relay/domains
	Found   string // what the DNS said, encoded by relay/domains

	// Version is 1 when the Setup is new and grows with each change.
	Version int64
}

// A Setups keeps setups.
//
// Each method is atomic and safe for concurrent use, in any number of processes. When a
// method has returned nil, its change is durable, and every later call by any process
// sees it. A context that has already ended makes a method fail with its error and
// change nothing.
//
// Times come from the caller, in UTC and whole microseconds, and are returned as they
// were given. Domains and tenants are as the names of a [Store]. Token, State and Told are
// valid UTF-8 without U+0000, of up to 255 bytes. Secrets and Found hold any bytes, up to
// 65,536 each. An adapter may refuse longer texts with an error of its own, but never
// cuts them.
type Setups interface {
	// Setup returns one setup. ErrNotFound: there is none of this key.
	Setup(ctx context.Context, domain string, tenant TenantID, added time.Time) (Setup, error)

	// HoldingSetup returns the setup that holds a domain. ErrNotFound: none does.
	HoldingSetup(ctx context.Context, domain string) (Setup, error)

	// SetupsOf returns the setups that a tenant has of some domains, in no order. A
	// domain may have several, of different times.
	SetupsOf(ctx context.Context, tenant TenantID, domains []string) ([]Setup, error)

	// OpenSetups returns setups of a tenant that do not hold their domain or have another
	// State than settled: at most limit of them. Those that hold their domain come first,
	// by State in alphabetical order, if States have only letters from a to z. The rest is
	// in no order. Zero and less: none.
	OpenSetups(ctx context.Context, tenant TenantID, settled string, limit int) ([]Setup, error)

	// SetSetup adds or changes a setup. Version is the one that it has, 0 if there
	// is none; a new one does not hold. After the change the Version is one more.
	// ErrConflict: the setup has another Version; nothing is changed.
	//
	// If it holds and did not hold before, all other setups of the domain change in
	// the same step: their Holds is false, their Token is empty, their Next is
	// s.Checked, and their Version is one more.
	SetSetup(ctx context.Context, s Setup) error

	// DropSetup removes a setup. ErrConflict: there is none of this key with this
	// Version.
	DropSetup(ctx context.Context, s Setup) error

	// DueSetups returns setups whose Next is not after now, at most limit, those
	// that are due longest first, and sets their Next to until. No other call returns
	// one of them meanwhile. Their Versions stay. They are returned with the new
	// Next.
	DueSetups(ctx context.Context, now, until time.Time, limit int) ([]Setup, error)
}
