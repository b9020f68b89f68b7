package domains

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A look is what the DNS said of a domain. It is kept as the Found of a Setup.
type look struct {
	Records map[string]seen `json:"records"` // by name
	Misses  int             `json:"misses,omitempty"`
	Missed  time.Time       `json:"missed,omitzero"` // when the last miss was counted
	Gone    time.Time       `json:"gone,omitzero"`   // when the tenant was found to have deleted the domain
}

// A seen is what the DNS said of a record.
type seen struct {
	Status Status   `json:"status"`
	Found  []string `json:"found,omitempty"`
	Reason string   `json:"reason,omitempty"`
	Right  bool     `json:"right,omitempty"` // at the last look with an answer
	Ever   bool     `json:"ever,omitempty"`  // at any look
}

func readLook(s *store.Setup) (l look) {
	if json.Unmarshal([]byte(s.Found), &l) != nil || l.Records == nil {
		l.Records = make(map[string]seen) // as if the DNS had not been asked
	}
	return l
}

func (l *look) writeTo(s *store.Setup) {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // it has no value that cannot be encoded
	}
	s.Found = string(text)
}

// tries is how often a setup is read again because another caller has changed it.
const tries = 5

func isConflict(err error) bool { return errors.Is(err, store.ErrConflict) }

// ended reports whether another setup has taken the domain since the records of this one
// were asked for. They prove nothing any more.
func ended(s *store.Setup) bool {
	return s.Token == "" || !s.Holds && s.State != string(Unverified)
}

// setupOf returns the setup of a domain. It makes one if there is none, and begins anew
// with one that has ended.
func (m *Manager) setupOf(ctx context.Context, d *store.Domain) (store.Setup, error) {
	for try := 1; ; try++ {
		s, err := m.Store.Setup(ctx, d.Name, d.Tenant, d.Created)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s = store.Setup{Domain: d.Name, Tenant: d.Tenant, Added: d.Created, Told: string(Unverified)}
			err = m.begin(&s, false)
		case err == nil && ended(&s):
			err = m.begin(&s, s.Secrets != "")
			if s.State != s.Told {
				s.Next = s.Since // Run tells the product
			}
		default:
			return s, err
		}
		if err != nil {
			return s, err
		}
		if err := m.write(ctx, &s); !isConflict(err) || try == tries {
			return s, err
		}
	}
}

// begin makes a setup one of which nothing was seen. Records that were published for it
// before prove nothing any more.
func (m *Manager) begin(s *store.Setup, ownKey bool) error {
	s.Token = strings.ToLower(rand.Text()[:16])
	s.State, s.Since = string(Unverified), now()
	s.Checked, s.Next = time.Time{}, s.Since.Add(firstLook)
	s.Secrets, s.Found = "", ""
	if m.Zone == "" || ownKey {
		return m.addKey(s)
	}
	return nil
}

// write writes a setup and forgets what this process remembers of its domain.
func (m *Manager) write(ctx context.Context, s *store.Setup) error {
	err := m.Store.SetSetup(ctx, *s)
	if err == nil {
		s.Version++
	}
	m.forget(s.Domain)
	return err
}

// change calls f with the setup of a domain and writes what f has changed if f returns
// true. f is called again if another caller changes the setup in between.
func (m *Manager) change(ctx context.Context, tenant store.TenantID, name *string, f func(*store.Setup) (bool, error)) error {
	for try := 1; ; try++ {
		s, err := m.setup(ctx, tenant, name)
		if err != nil {
			return err
		}
		changed, err := f(&s)
		if err != nil || !changed {
			return err
		}
		s.Next = now() // to look for the record soon
		if err := m.write(ctx, &s); !isConflict(err) || try == tries {
			return err
		}
	}
}

// domain returns what the product sees of a setup.
func (m *Manager) domain(s *store.Setup) Domain {
	d := Domain{
		Tenant: s.Tenant, Name: s.Domain, State: m.state(s), Since: s.Since, Checked: s.Checked, Next: s.Next, Records: m.records(s),
	}
	if d.State == Failing {
		d.Until = d.Since.Add(m.grace())
	}
	return d
}

// state returns the state of a setup. One that has lost its domain to another tenant
// is unverified, and starts again when it is next due.
func (m *Manager) state(s *store.Setup) State {
	if !s.Holds {
		return Unverified
	}
	return State(s.State)
}
