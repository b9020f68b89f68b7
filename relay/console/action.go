package console

import (
	"net/http"

	"github.com/gatepost-mail/gatepost/store"
)

// An Action is something that a visitor sees or does.
type Action string

// The actions on domains and SMTP users.
const (
	ViewDomains   Action = "view-domains" // domains, SMTP users and their settings, without passwords
	AddDomain     Action = "add-domain"
	DeleteDomain  Action = "delete-domain"
	CheckDomain   Action = "check-domain" // look at its DNS records now
	ChangeKey     Action = "change-key"   // replace the key of a domain, or use a TXT record
	ViewQuota     Action = "view-quota"   // what is used of limits
	AddUser       Action = "add-user"
	RenameUser    Action = "rename-user"
	ResetPassword Action = "reset-password"
	SendTest      Action = "send-test"    // send a test message in the name of a user
	SuspendUser   Action = "suspend-user" // pause a user, and end that
	DeleteUser    Action = "delete-user"
)

// A Change is what a visitor has changed.
type Change struct {
	Action   Action
	Tenant   store.TenantID
	Domain   string // as lower-case A-labels; empty if the change is about none
	Username string // of the SMTP user; empty if the change is about none

	// Object is what else was changed: the ID of a message, an address, the ID of an
	// endpoint; of a user who was added or renamed it is the name. An [Operator] tells
	// how many deliveries were changed and how they were selected, such as
	// "hold 2 destination=one.example".
	Object string

	// Detail says what was done if the Action stands for several things: "rotate" or
	// "use-txt" of ChangeKey; "pause" or "resume" of SuspendUser; "reset", "rotate" (the old password works on for a while) or
	// "end-overlap" of ResetPassword; "change", "on" or "off" of ChangeWebhook; "rotate"
	// or "end-old-secret" of RotateWebhook. Otherwise it is empty.
	Detail string
}

// May reports whether the visitor may do something, for the buttons of the pages.
func (req *request) May(a Action) bool { return req.site.may(req.r, a) == nil }

// changed tells the embedder of a change that was made.
func (req *request) changed(c Change) {
	c.Tenant = req.tenantID
	if req.site.onChange != nil {
		req.site.onChange(req.r, c)
	}
}

// allow returns the function that decides about actions.
func allow(may func(*http.Request, Action) error) func(*http.Request, Action) error {
	if may == nil {
		return func(*http.Request, Action) error { return nil }
	}
	return may
}
