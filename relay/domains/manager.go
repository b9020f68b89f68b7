package domains

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/store"
)

// A Resolver looks names up, which end in a dot. [*net.Resolver] is one. The error for
// a name without such records is a [*net.DNSError] with IsNotFound; any other error
// means that the answer is unknown.
type Resolver interface {
	LookupCNAME(ctx context.Context, name string) (string, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// A Manager says which DNS records the owner of a domain has to publish, looks whether
// they are there, and lets the users of a domain send once they are. Set the fields,
// then use its methods; they may be called from several goroutines. The fields must not
// be changed after that. A Manager must not be copied. Any number of Managers in any
// number of processes may share a Store; their settings must be the same.
type Manager struct {
	// Store keeps what is known of each domain. Required.
	Store store.Setups

	// Domains tells whether a tenant still has a domain, and since when. The
	// [store.Store] of package credentials has the method. Required.
	Domains interface {
		Domain(ctx context.Context, tenant store.TenantID, name string) (store.Domain, error)
	}

	// Zone, if set, is a zone of the product, such as dkim.relay.example, in which it
	// publishes [Manager.ZoneRecords] once. Owners then publish a CNAME for each of
	// Selectors, and nothing more when keys change. If Zone is empty, each domain gets
	// an RSA key of its own, which its owner publishes as a TXT record.
	//
	// Zone must not change once a domain has CNAMEs: they would be wrong, and their
	// domains would fail. If it is empty then, the log has an error and no such domain
	// changes its state.
	Zone string

	// Selectors are those that owners publish a CNAME for, also before there is a key
	// for each: keys can then be replaced in turns. Nil means gp1 and gp2. It is used
	// with Zone.
	Selectors []string

	// Shared are the keys that sign for all domains with CNAMEs. Each has one of
	// Selectors and no Domain. To replace gp1 by gp2, publish the record of gp2, wait
	// for a day, then give the key of gp2 here instead. Required with Zone.
	Shared []dkim.Key

	// ReturnPath, if set, is the host that owners may point bounces.THEIRDOMAIN at
	// with a CNAME, so that SPF passes for their own domain and late bounces come
	// back: see package relay/bounces. Check it with bounces.CheckDomain.
	ReturnPath string

	// Secret, of at least 32 bytes, seals the keys of domains in the Store
	// (AES-256-GCM). If it is lost, mail of domains with keys of their own waits in
	// the queue. The zero Password means that keys are stored as they are.
	Secret credentials.Password

	// Resolvers are asked one after another until one sees what is wanted, so that one
	// with an old answer in its memory delays no domain. A record counts as missing only
	// if all of them say so. Nil means the system's resolver.
	Resolvers []Resolver

	// Grace is how long a domain sends on after its records have gone. Zero means 3
	// days.
	Grace time.Duration

	// AllowUnverified lets the users of a domain send before it is proved. It is
	// for a product that knows the owners of its domains. States are kept all the same.
	// A domain that another tenant has proved is refused.
	AllowUnverified bool

	// OnChange, if set, is told of each change of State by the process that made it,
	// at least once, also if that process ends. A State that lasts
	// less than a minute may be left out. Its context ends after 20 seconds, and it must
	// return then, since other domains wait for it. If it takes longer or panics, it is
	// called again about a minute later.
	OnChange func(ctx context.Context, d Domain)

	// Logger gets a line for each change of State. Nil means slog.Default().
	Logger *slog.Logger

	once   sync.Once
	broken error // why the Manager cannot be used
	aead   cipher.AEAD

	mu     sync.Mutex // guards the next three
	memory lru.Cache[string, *known]
	zoneAt time.Time // when the zone was last looked at
	zoneOK bool
}

// maxKnown is how many domains are remembered: about 200 MB if each has a key.
const maxKnown = 20_000

// ready prepares the Manager on its first use. It returns an error if a field is
// invalid.
func (m *Manager) ready() error {
	m.once.Do(func() {
		m.memory.Max = maxKnown
		m.broken = errors.Join(m.check(), m.makeSeal())
	})
	return m.broken
}

func (m *Manager) check() error {
	switch {
	case m.Store == nil:
		return errors.New("domains: Manager.Store is required")
	case m.Domains == nil:
		return errors.New("domains: Manager.Domains is required")
	}
	for _, name := range []string{m.Zone, m.ReturnPath} {
		if normal, err := credentials.NormalizeDomain(name); name != "" && (err != nil || normal != name) {
			return fmt.Errorf("domains: %q is not a host name in lower case without a dot at its end", name)
		}
	}
	if m.Zone == "" {
		return nil
	}
	if len(m.Shared) == 0 {
		return errors.New("domains: Manager.Zone needs a key in Manager.Shared: make one with dkim.GenerateRSA")
	}
	for _, key := range m.Shared {
		switch _, err := key.Record(); {
		case err != nil:
			return fmt.Errorf("domains: Manager.Shared: %w", err)
		case key.Domain != "":
			return fmt.Errorf("domains: Manager.Shared: the key %s has a Domain, leave it empty: it signs for the domain of each owner", key.Selector)
		case !slices.Contains(m.selectors(), key.Selector):
			return fmt.Errorf("domains: Manager.Shared: the selector %q is not one of Manager.Selectors", key.Selector)
		}
	}
	return nil
}

func (m *Manager) selectors() []string {
	if m.Selectors == nil {
		return []string{"gp1", "gp2"}
	}
	return m.Selectors
}

// shared returns the key of a selector, or nil if there is none.
func (m *Manager) shared(selector string) *dkim.Key {
	for i := range m.Shared {
		if m.Shared[i].Selector == selector {
			return &m.Shared[i]
		}
	}
	return nil
}

// system is the system's resolver. The one of C libraries may follow CNAMEs itself.
var system Resolver = &net.Resolver{PreferGo: true}

func (m *Manager) resolvers() []Resolver {
	if len(m.Resolvers) == 0 {
		return []Resolver{system}
	}
	return m.Resolvers
}

func (m *Manager) grace() time.Duration {
	if m.Grace <= 0 {
		return 72 * time.Hour
	}
	return m.Grace
}

func (m *Manager) logger() *slog.Logger { return cmp.Or(m.Logger, slog.Default()) }

// now returns the time as a Store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func wrap(op, domain string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("domains: %s %s: %w", op, domain, err)
}

// ErrDelegated is the error of Rotate and UseTXT for a domain whose CNAMEs lead to the
// keys in [Manager].Shared.
var ErrDelegated = errors.New("domains: the domain has CNAMEs: its keys are those of Manager.Shared")
