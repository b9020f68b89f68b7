package smarthost

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
	"github.com/gatepost-mail/gatepost/store"
)

// refusedTenants is how many tenants in a row an upstream may refuse for good at
// MAIL before that is taken for a refusal of this relay.
const refusedTenants = 3

// doubtTime is how long after the first refusal of a message a further one is final,
// although the upstream has accepted no other mail.
const doubtTime = time.Hour

// maxDoubts is how many refused messages are remembered.
const maxDoubts = 10_000

// refusals tells refusals of this relay from those of a message. Both may be a 5yz to MAIL.
type refusals struct {
	mu      sync.Mutex
	tenants map[store.TenantID]bool  // whose MAIL was refused for good since one was accepted
	taken   int64                    // counts what was accepted
	doubts  lru.Cache[string, since] // by the ID of a refused message
}

// A since says when a message was refused first.
type since struct {
	taken int64 // of refusals, at that time
	at    time.Time
}

// An ourFault is a refusal of MAIL that is about this relay and not about the
// message: a block list, a closed account. Mail waits for a person then.
type ourFault struct{ error }

func (ourFault) Temporary() bool   { return true }
func (ourFault) Unreachable() bool { return true }

// A doubt is a refusal of MAIL that may be about this relay. The message is tried again,
// and is refused if the upstream has accepted other mail meanwhile, or after doubtTime.
// It does not wrap the reply, which must not become an answer to a sender.
type doubt struct{ cause *outbound.Error }

func (d doubt) Error() string {
	return d.cause.Error() + " (the message is tried again, because that may be about this server)"
}

func (doubt) Temporary() bool                  { return true }
func (d doubt) ServerReply() *relay.ReplyError { return d.cause.Reply }

// judge returns err, with an ourFault in place of a refusal of MAIL if the upstream refuses
// the mail of every tenant, or with a doubt. In both the refusal is only text, so that it
// does not become an answer to a sender. reached says that the upstream has accepted MAIL
// of the message; it may have refused the MAIL of a further transaction then.
func (r *refusals) judge(m *relay.Message, reached bool, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reached {
		r.tenants = nil
		r.taken++
	}
	e := mailRefusal(err)
	if e == nil {
		return err
	}
	if r.tenants == nil {
		r.tenants = make(map[store.TenantID]bool)
	}
	if len(r.tenants) < refusedTenants {
		r.tenants[m.Identity.Tenant] = true
	}
	if len(r.tenants) >= refusedTenants {
		return replaceRefusal(err, ourFault{errors.New("the upstream refuses MAIL of every tenant: " + e.Error())})
	}
	// Without a queue, which sets Partial, no attempt follows.
	if m.Partial && mayMeanUs(e.Reply) && !r.isSure(m.ID, reached) {
		return replaceRefusal(err, doubt{e})
	}
	return err
}

// mailRefusal returns the final refusal of MAIL that err is, or that it has for some of
// the recipients. It returns nil if there is none.
func mailRefusal(err error) *outbound.Error {
	var refused *relay.RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Recipients {
			if e := mailRefusal(r.Err); e != nil {
				return e
			}
		}
		return nil
	}
	var e *outbound.Error
	if errors.As(err, &e) && e.Step == outbound.Mail && !e.Temporary() {
		return e
	}
	return nil
}

// replaceRefusal returns err with another error in place of the refusal of MAIL. If err
// names recipients, the upstream may have the message for those that err does not name, so
// the result names the same.
func replaceRefusal(err, by error) error {
	var refused *relay.RefusedError
	if !errors.As(err, &refused) {
		return by
	}
	c := *refused
	c.Recipients = slices.Clone(c.Recipients)
	for i := range c.Recipients {
		if mailRefusal(c.Recipients[i].Err) != nil {
			c.Recipients[i].Err = by
		}
	}
	return &c
}

// isSure reports whether a refusal is about the message: the upstream has accepted other
// mail since it refused the message first, or that was doubtTime ago. If it has accepted a
// part of the message now, this refusal is the first.
func (r *refusals) isSure(id string, reached bool) bool {
	first, known := r.doubts.Get(id)
	if !known || reached {
		r.doubts.Max = maxDoubts
		r.doubts.Put(id, since{r.taken, time.Now()})
		return false
	}
	return r.taken > first.taken || time.Since(first.at) >= doubtTime
}

// mayMeanUs reports whether a refusal of MAIL may be about this relay: its address, its
// account. Most codes say that it is about the sender's address (553, X.1.Z), the size
// (552, X.3.4) or the parameters (RFC 5321 section 4.3.2, RFC 3463 section 3).
func mayMeanUs(re *relay.ReplyError) bool {
	if re == nil || re.Code == 553 || re.Code == 552 || re.Code == 555 || re.Code/10 == 50 {
		return false
	}
	return re.Enhanced == "" || strings.HasPrefix(re.Enhanced, "5.7.") || strings.HasPrefix(re.Enhanced, "5.0.")
}
