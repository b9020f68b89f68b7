package smarthost

import (
	"errors"
	"sync"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
	"github.com/gatepost-mail/gatepost/store"
)

// refusedTenants is how many tenants in a row an upstream may refuse for good at
// MAIL before that is taken for a refusal of this relay.
const refusedTenants = 3

// refusals counts tenants whose MAIL the upstream refused for good since it took one.
type refusals struct {
	mu      sync.Mutex
	tenants map[store.TenantID]bool
}

// An ourFault is a refusal of MAIL that is about this relay and not about the
// message: a block list, a closed account. Mail waits for a person then.
type ourFault struct{ error }

func (ourFault) Temporary() bool   { return true }
func (ourFault) Unreachable() bool { return true }

// judge returns err, or an ourFault if the upstream refuses the mail of every tenant.
// The refusal is only text in it, so that it does not become an answer to a sender.
func (r *refusals) judge(tenant store.TenantID, err error) error {
	var e *outbound.Error
	refused := errors.As(err, &e) && e.Step == outbound.Mail && !e.Temporary()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case refused:
		if r.tenants == nil {
			r.tenants = make(map[store.TenantID]bool)
		}
		if len(r.tenants) < refusedTenants {
			r.tenants[tenant] = true
		}
	case err == nil || errors.As(err, new(*relay.RefusedError)) || e != nil && e.Step > outbound.Mail:
		r.tenants = nil // it took a MAIL
	}
	if !refused || len(r.tenants) < refusedTenants {
		return err
	}
	return ourFault{errors.New("the upstream refuses MAIL of every tenant: " + e.Error())}
}
