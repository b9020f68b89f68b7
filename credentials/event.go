package credentials

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/gatepost-mail/gatepost/store"
)

// An Event reports that passwords were revoked, or that users were suspended. It is
// one of [*PasswordReset], [*PasswordRotated], [*OverlapEnded], [*UserDeleted],
// [*DomainDeleted], [*Suspended], [*Resumed] and [*NetworksSet], and contains no secret. A [Manager] reports
// the changes that were made through it. Changes by other processes on the same
// store cause no Event; [Manager.Validate] detects them. Later versions may add
// other events.
type Event interface {
	// Revokes reports whether the event revoked the identity, so that its
	// sessions have to end.
	Revokes(id Identity) bool

	event() string
	attrs() []slog.Attr
}

// PasswordReset reports that a user has a new password. Generation is the number
// of the new password, see [Identity].
type PasswordReset struct {
	Tenant     store.TenantID
	Domain     string
	Username   string
	Generation int64
}

// UserDeleted reports that a user was deleted.
type UserDeleted struct {
	Tenant   store.TenantID
	Domain   string
	Username string
}

// DomainDeleted reports that a domain was deleted with all its users.
type DomainDeleted struct {
	Tenant store.TenantID
	Domain string
}

// Revokes reports whether id belongs to the user and an older password.
func (e *PasswordReset) Revokes(id Identity) bool {
	return id.Tenant == e.Tenant && id.Domain == e.Domain && id.Username == e.Username && id.Generation < e.Generation
}

// Revokes reports whether id belongs to the user.
func (e *UserDeleted) Revokes(id Identity) bool {
	return id.Tenant == e.Tenant && id.Domain == e.Domain && id.Username == e.Username
}

// Revokes reports whether id belongs to the domain.
func (e *DomainDeleted) Revokes(id Identity) bool {
	return id.Tenant == e.Tenant && id.Domain == e.Domain
}

func (*PasswordReset) event() string { return "password reset" }
func (*UserDeleted) event() string   { return "user deleted" }
func (*DomainDeleted) event() string { return "domain deleted" }

func (e *PasswordReset) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", string(e.Tenant)), slog.String("domain", e.Domain),
		slog.String("username", e.Username), slog.Int64("generation", e.Generation)}
}

func (e *UserDeleted) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", string(e.Tenant)), slog.String("domain", e.Domain), slog.String("username", e.Username)}
}

func (e *DomainDeleted) attrs() []slog.Attr {
	return []slog.Attr{slog.String("tenant", string(e.Tenant)), slog.String("domain", e.Domain)}
}

// Subscribe calls handle for every event, as it calls OnEvent, until cancel is
// called. It is for parts of a program that start and stop: each relay.Server
// subscribes to end the sessions that an event revokes. cancel does not wait for
// calls of handle that have begun.
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

// A subscriber is a pointer to a func, because funcs cannot be compared.
type subscriber struct{ handle func(Event) }

// emit logs an event and calls the subscribers and OnEvent.
func (m *Manager) emit(e Event) {
	m.logger().LogAttrs(context.Background(), slog.LevelInfo, "credentials: "+e.event(), e.attrs()...)
	m.subscribersMu.Lock()
	subscribers := slices.Clone(m.subscribers)
	m.subscribersMu.Unlock()
	for _, s := range subscribers {
		m.call(s.handle, e)
	}
	if m.OnEvent != nil {
		m.call(m.OnEvent, e)
	}
}

// call calls handle and logs a panic in it. The caller of ResetPassword would
// otherwise lose the new password.
func (m *Manager) call(handle func(Event), e Event) {
	defer func() {
		if p := recover(); p != nil {
			m.logger().Error("credentials: panic in OnEvent or a subscriber",
				"event", e.event(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	handle(e)
}
