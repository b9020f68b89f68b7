package suppress

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// AllowRecipient refuses a recipient that is on the list of the client's tenant. It is
// for [relay.Server].AllowRecipient. The reply says since when and why: 550 5.1.1 (RFC
// 3463 section 3.2) if a server has said that there is no such mailbox, and 550 5.7.1 if
// a person or a complaint has put the address on the list. An error of the Store makes
// the server reply 451.
func (l *List) AllowRecipient(ctx context.Context, r *relay.PolicyRequest) error {
	if l.Store == nil {
		return errStore
	}
	addr, ok := fold(r.Address)
	if !ok {
		return nil // it cannot be on the list
	}
	tenant := r.Identity.Tenant
	if may, err := l.mayHave(ctx, key{tenant, addr}); err != nil || !may {
		return wrap("read the list", err)
	}
	su, err := l.Store.Suppression(ctx, tenant, addr)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return wrap("look up a recipient", err)
	case !su.Suppresses(now()):
		return nil
	}
	l.refused.Add(1)
	return refusal(&su)
}

// refusal returns the reply to a client that names a suppressed address.
func refusal(su *store.Suppression) *relay.ReplyError {
	enhanced, why := "5.7.1", su.Reason
	switch su.Source {
	case store.SuppressedByReply, store.SuppressedByReport:
		enhanced = "5.1.1"
	case store.SuppressedByComplaint:
		why = strings.TrimSuffix("complaint, "+su.Reason, ", ")
	}
	text := fmt.Sprintf("<%s> is on the suppression list since %s", mailtext.OneLine(su.Address, 100), su.Since.Format("2 January 2006"))
	return &relay.ReplyError{Code: 550, Enhanced: enhanced, Text: strings.TrimSuffix(text+": "+why, ": ")}
}
