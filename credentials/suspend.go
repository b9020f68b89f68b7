package credentials

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// SuspendUser suspends a user: no further message of it is accepted, on any node.
// Every client of the user is told the reason when it tries to send. It can still log
// in, so that its last connection goes on telling whether it is in use. SuspendUser
// replaces an earlier reason.
//
// The reason has 1 to 200 characters of ASCII, at least one of them visible, without
// control characters; otherwise the error is an [InvalidError]. SMTP replies are ASCII
// (RFC 5321 section 4.2). White space around it is trimmed.
//
// The mail that waits in the queue is not held; see queue.Admin.
func (t Tenant) SuspendUser(ctx context.Context, username, reason string) error {
	reason, err := cleanReason(reason)
	if err != nil {
		return err
	}
	return t.suspendUser(ctx, username, reason, nil)
}

// ReplaceSuspension is [Tenant.SuspendUser] for a user whose Suspended is seen, or
// [Tenant.ResumeUser] for it if the reason is empty. If the Suspended is another by
// now, the error is store.ErrConflict and nothing changes. So a caller who may end
// some suspensions does not end another one that is set meanwhile.
func (t Tenant) ReplaceSuspension(ctx context.Context, username, seen, reason string) error {
	if reason != "" {
		var err error
		if reason, err = cleanReason(reason); err != nil {
			return err
		}
	}
	return t.suspendUser(ctx, username, reason, &seen)
}

func cleanReason(reason string) (string, error) {
	reason, err := cleanText("reason", reason, 200, "it is longer than 200 characters")
	if err == nil && !mailtext.IsASCII(reason) {
		err = &InvalidError{Field: "reason", Reason: "it holds characters beyond ASCII, which an SMTP reply cannot hold"}
	}
	return reason, err
}

// ResumeUser ends the suspension of a user, if there is one. A suspension of its
// domain stays.
func (t Tenant) ResumeUser(ctx context.Context, username string) error {
	return t.suspendUser(ctx, username, "", nil)
}

// suspendUser sets why a user is suspended. If seen is not nil, that must be the
// reason until then.
func (t Tenant) suspendUser(ctx context.Context, username, reason string, seen *string) error {
	u, err := t.User(ctx, username)
	if err != nil {
		return err
	}
	if err := t.m.Store.SuspendUser(ctx, t.id, username, reason, seen); err != nil {
		return fmt.Errorf("credentials: suspend user %s: %w", username, err)
	}
	t.m.emit(suspension(t.id, u.Domain, username, reason))
	return nil
}

// SuspendDomain is [Tenant.SuspendUser] for every user that the domain has or gets.
//
// It does not keep the tenant from deleting the domain and adding it again as a new
// domain, which is not suspended. To stop a tenant, suspend all of it in your product:
// see the example of relay.Server.AllowUser.
func (t Tenant) SuspendDomain(ctx context.Context, name, reason string) error {
	reason, err := cleanReason(reason)
	if err != nil {
		return err
	}
	return t.suspendDomain(ctx, name, reason)
}

// ResumeDomain ends the suspension of a domain, if there is one. Suspensions of its
// users stay.
func (t Tenant) ResumeDomain(ctx context.Context, name string) error {
	return t.suspendDomain(ctx, name, "")
}

func (t Tenant) suspendDomain(ctx context.Context, name, reason string) error {
	name, err := t.domain(name)
	if err != nil {
		return err
	}
	if err := t.m.Store.SuspendDomain(ctx, t.id, name, reason); err != nil {
		what := "suspend"
		if reason == "" {
			what = "resume"
		}
		return fmt.Errorf("credentials: %s domain %s: %w", what, name, err)
	}
	t.m.emit(suspension(t.id, name, "", reason))
	return nil
}

// A SuspendedError means that an Identity is valid, but may not send. Match it with
// [errors.As].
type SuspendedError struct {
	Domain string // the suspended domain; empty if the user is suspended
	Reason string // for the client
}

// Error returns what is suspended and the reason in one line.
func (e *SuspendedError) Error() string {
	if e.Domain != "" {
		return "credentials: the domain " + e.Domain + " is suspended: " + e.Reason
	}
	return "credentials: the user is suspended: " + e.Reason
}

// suspendedError returns why the user may not send, or nil.
func suspendedError(u store.User) error {
	switch {
	case u.Suspended != "":
		return &SuspendedError{Reason: u.Suspended}
	case u.DomainSuspended != "":
		return &SuspendedError{Domain: u.Domain, Reason: u.DomainSuspended}
	}
	return nil
}

// Suspended reports that a user or a domain was suspended.
type Suspended struct {
	Tenant   store.TenantID
	Domain   string
	Username string // empty if the domain was suspended
	Reason   string
}

// Resumed reports that the suspension of a user or a domain was ended.
type Resumed struct {
	Tenant   store.TenantID
	Domain   string
	Username string // empty if it was the suspension of the domain
}

// suspension returns the event of a suspension, or of its end if the reason is empty.
func suspension(tenant store.TenantID, domain, username, reason string) Event {
	if reason == "" {
		return &Resumed{Tenant: tenant, Domain: domain, Username: username}
	}
	return &Suspended{Tenant: tenant, Domain: domain, Username: username, Reason: reason}
}

// Revokes returns false: the sessions of a suspended user stay.
func (*Suspended) Revokes(Identity) bool { return false }

// Revokes returns false.
func (*Resumed) Revokes(Identity) bool { return false }

func (*Suspended) event() string { return "suspended" }
func (*Resumed) event() string   { return "resumed" }

func (e *Suspended) attrs() []slog.Attr {
	return append((&Resumed{e.Tenant, e.Domain, e.Username}).attrs(), slog.String("reason", e.Reason))
}

func (e *Resumed) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("tenant", string(e.Tenant)), slog.String("domain", e.Domain)}
	if e.Username != "" {
		attrs = append(attrs, slog.String("username", e.Username))
	}
	return attrs
}
