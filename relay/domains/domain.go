package domains

import (
	"context"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A State says whether the users of a domain may send.
type State string

// The states.
const (
	Unverified State = "unverified" // its records were not seen yet: it does not send
	Verified   State = "verified"   // its records are there
	Failing    State = "failing"    // its records have gone: it sends until Grace is over
	Failed     State = "failed"     // Grace is over: it does not send
)

// A Domain is a domain of a tenant, its state, and the records that its owner publishes.
type Domain struct {
	Tenant  store.TenantID
	Name    string
	State   State
	Since   time.Time // when State last changed
	Checked time.Time // when the DNS was last asked; zero: never
	Next    time.Time // when it is asked next
	Until   time.Time // until when a Failing domain sends; zero for all other states
	Records []Record
}

// Sends reports whether the users of the domain may send.
func (d *Domain) Sends() bool { return d.State == Verified || d.State == Failing }

// A Purpose says what a record is for.
type Purpose string

// The purposes.
const (
	DKIM       Purpose = "dkim"        // the key that signs (RFC 6376)
	ReturnPath Purpose = "return-path" // where bounces go, whose SPF record counts (RFC 7208)
	DMARC      Purpose = "dmarc"       // the policy of the domain (RFC 7489)
)

// A Record is a DNS record that the owner of a domain publishes.
type Record struct {
	Purpose  Purpose
	Type     string // "CNAME" or "TXT"
	Name     string // without a dot at its end
	Value    string // of a TXT record, its whole text
	Required bool   // the domain is verified only with it

	// The result of the last look.
	Status Status
	Found  []string // what is there, if it is not Right
	Reason string   // for people: what to do, if it is not Right
}

// A Status says what was seen of a record.
type Status string

// The statuses.
const (
	NotChecked Status = "not checked"
	Right      Status = "right"
	Missing    Status = "missing"
	Wrong      Status = "wrong"
	Unknown    Status = "unknown" // the DNS gave no answer: this changes no State
)

// Domain returns a domain of the tenant with its records. The first call makes them.
// [store.ErrNotFound]: the tenant has no such domain.
func (m *Manager) Domain(ctx context.Context, tenant store.TenantID, name string) (Domain, error) {
	s, err := m.setup(ctx, tenant, &name)
	if err != nil {
		return Domain{}, wrap("domain", name, err)
	}
	return m.domain(&s), nil
}

// Check looks at the DNS now, at most once in ten seconds, and returns what it saw. It
// takes up to 40 seconds if name servers do not answer, and up to 20 more if it calls
// OnChange.
func (m *Manager) Check(ctx context.Context, tenant store.TenantID, name string) (Domain, error) {
	s, err := m.setup(ctx, tenant, &name)
	if err != nil {
		return Domain{}, wrap("check", name, err)
	}
	if time.Since(s.Checked) >= atMost {
		// Writing the time first makes sure that one of several callers looks.
		s.Checked = now()
		if err = m.write(ctx, &s); err == nil {
			err = m.process(ctx, &s)
		}
		if err == nil || isConflict(err) {
			s, err = m.setup(ctx, tenant, &name)
		}
		if err != nil {
			return Domain{}, wrap("check", name, err)
		}
	}
	return m.domain(&s), nil
}

// atMost is how often Check looks.
const atMost = 10 * time.Second

// Rotate makes a new key for a domain that has one of its own. It is in the records of
// the domain from then on, and signs once its record is seen; the old key's record may
// go a week after that. If a new key waits for its record already, Rotate changes
// nothing. The error is [ErrDelegated] for a domain with CNAMEs.
func (m *Manager) Rotate(ctx context.Context, tenant store.TenantID, name string) error {
	return wrap("rotate the key of", name, m.change(ctx, tenant, &name, func(s *store.Setup) (bool, error) {
		keys := readKeys(s)
		switch {
		case len(keys) == 0:
			return false, ErrDelegated
		case keys[0].Seen.IsZero():
			return false, nil
		}
		return true, m.addKey(s)
	}))
}

// UseTXT makes a domain one with a key of its own, for an owner whose DNS provider
// replaces CNAMEs by what they lead to: then [Manager].Zone does not work. The owner
// publishes the TXT record that the domain has from then on. To go back, delete the
// domain and add it again. A domain whose CNAMEs were seen keeps them: the error is
// [ErrDelegated] then.
func (m *Manager) UseTXT(ctx context.Context, tenant store.TenantID, name string) error {
	return wrap("make a key for", name, m.change(ctx, tenant, &name, func(s *store.Setup) (bool, error) {
		switch {
		case s.Secrets != "":
			return false, nil
		case s.Holds:
			return false, ErrDelegated
		}
		return true, m.addKey(s)
	}))
}

// ZoneRecords returns what the product publishes in Zone: a wildcard TXT record for
// each of Selectors, which answers for the CNAMEs of all owners. A selector without a key
// in Shared has a record without a key, so that its CNAMEs lead somewhere; when its key is
// published later, put the key's record in its place.
func (m *Manager) ZoneRecords() ([]Record, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	var list []Record
	if m.Zone == "" {
		return nil, nil
	}
	for _, selector := range m.selectors() {
		r := Record{Purpose: DKIM, Type: "TXT", Name: "*." + selector + "." + m.Zone, Value: "v=DKIM1; p=", Required: true, Status: NotChecked}
		if key := m.shared(selector); key != nil {
			r.Value = publicRecord(*key)
		}
		list = append(list, r)
	}
	return list, nil
}

// setup returns the setup of a tenant's domain, and makes one if there is none. It
// normalizes the name.
func (m *Manager) setup(ctx context.Context, tenant store.TenantID, name *string) (store.Setup, error) {
	if err := m.ready(); err != nil {
		return store.Setup{}, err
	}
	normal, err := credentials.NormalizeDomain(*name)
	if err != nil {
		return store.Setup{}, err
	}
	*name = normal
	d, err := m.Domains.Domain(ctx, tenant, normal)
	if err != nil {
		return store.Setup{}, err
	}
	return m.setupOf(ctx, &d)
}
