package credentials

import (
	"fmt"
	"slices"

	"github.com/gatepost-mail/gatepost/store"
)

// A Kind says what happened in an [Event].
type Kind int

// The kinds of events.
const (
	PasswordReset Kind = iota + 1 // Username has a new password, number Generation
	UserDeleted                   // Username is gone
	DomainDeleted                 // Domain is gone, and every user of it
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case PasswordReset:
		return "password reset"
	case UserDeleted:
		return "user deleted"
	case DomainDeleted:
		return "domain deleted"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// An Event tells that passwords stopped working through this Manager. It holds
// no secret. What other processes do on the same store makes no event here;
// [Manager.Validate] sees it.
type Event struct {
	Kind     Kind
	Tenant   store.TenantID
	Domain   string
	Username string // "" in DomainDeleted

	// Generation is the number of the new password in PasswordReset, and of
	// the last one in UserDeleted.
	Generation int64
}

// Revokes reports whether the event made the identity worthless: whether a
// session of it must end.
func (e Event) Revokes(id Identity) bool {
	if id.Tenant != e.Tenant || id.Domain != e.Domain {
		return false
	}
	switch e.Kind {
	case PasswordReset:
		return id.Username == e.Username && id.Generation < e.Generation
	case UserDeleted:
		return id.Username == e.Username
	case DomainDeleted:
		return true
	}
	return false
}

// Subscribe has handle called for every event, until cancel is called. Calls
// come after the store has confirmed and before the method that caused them
// returns, from its goroutine: handle must be quick, and safe for concurrent
// use. A call that has begun when cancel is called isn't waited for.
func (m *Manager) Subscribe(handle func(Event)) (cancel func()) {
	s := &subscriber{handle}
	m.subscribersMu.Lock()
	defer m.subscribersMu.Unlock()
	m.subscribers = append(m.subscribers, s)
	return func() {
		m.subscribersMu.Lock()
		defer m.subscribersMu.Unlock()
		m.subscribers = slices.DeleteFunc(m.subscribers, func(o *subscriber) bool { return o == s })
	}
}

// subscriber gives a func an identity, by which it is found again.
type subscriber struct{ handle func(Event) }

func (m *Manager) publish(e Event) {
	m.subscribersMu.Lock()
	subscribers := slices.Clone(m.subscribers)
	m.subscribersMu.Unlock()
	for _, s := range subscribers {
		s.handle(e)
	}
}
