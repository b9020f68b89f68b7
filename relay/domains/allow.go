package domains

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/store"
)

// remember is how long an answer is used in this process without asking the Store. It is
// used for twice as long while another goroutine asks.
const remember = 5 * time.Second

// A known is what is remembered of a domain name. It is replaced as a whole when this
// process changes a setup of the name.
type known struct {
	verdicts map[store.TenantID]*verdict
	holder   *holder
}

// A verdict says whether the users of a tenant's domain may send.
type verdict struct {
	refusal error // nil if they may
	at      time.Time
	busy    bool // a goroutine asks the Store
}

// A holder is what the relay needs of the setup that holds a domain.
type holder struct {
	held       bool // whether a setup holds it
	tenant     store.TenantID
	added      time.Time
	token      string
	version    int64
	keys       []dkim.Key
	keysErr    error
	returnPath string
	at         time.Time
	busy       bool
}

// of returns what is remembered of a domain. The caller must hold m.mu.
func (m *Manager) of(domain string) *known {
	k, ok := m.memory.Get(domain)
	if !ok {
		k = &known{verdicts: make(map[store.TenantID]*verdict), holder: new(holder)}
		m.memory.Put(domain, k)
	}
	return k
}

func (m *Manager) forget(domain string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory.Delete(domain)
}

// usable reports whether an answer needs no new one.
func usable(at time.Time, busy bool) bool {
	age := time.Since(at)
	return age < remember || busy && age < 2*remember
}

// AllowUser refuses the users of a domain that does not send with 550 5.7.1 and the
// record that is missing. It is for [relay.Server].AllowUser. An error of the Store makes
// the server reply 451.
func (m *Manager) AllowUser(ctx context.Context, r *relay.PolicyRequest) error {
	tenant, domain := r.Identity.Tenant, r.Identity.Domain
	if err := m.ready(); err != nil {
		return err
	}
	m.mu.Lock()
	k := m.of(domain)
	v := k.verdicts[tenant]
	if v == nil {
		v = new(verdict)
		k.verdicts[tenant] = v
	}
	if usable(v.at, v.busy) {
		defer m.mu.Unlock()
		return v.refusal
	}
	v.busy = true
	m.mu.Unlock()

	at := time.Now()
	refusal, err := m.refusal(ctx, tenant, domain)
	m.mu.Lock()
	defer m.mu.Unlock()
	v.busy = false
	if err != nil {
		v.at = time.Time{}
		return wrap("domain", domain, err)
	}
	v.refusal, v.at = refusal, at
	return refusal
}

// refusal asks the Store whether a tenant's domain sends. It returns the reply if not.
func (m *Manager) refusal(ctx context.Context, tenant store.TenantID, domain string) (refusal, err error) {
	s, err := m.setup(ctx, tenant, &domain)
	if errors.Is(err, store.ErrNotFound) {
		return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: domain + " is deleted"}, nil
	}
	if err != nil {
		return nil, err
	}
	d := m.domain(&s)
	if d.Sends() {
		return nil, nil
	}
	if m.AllowUnverified {
		held, err := m.heldByOther(ctx, tenant, domain)
		if err != nil || !held {
			return nil, err
		}
	}
	return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: explain(&d)}, nil
}

// heldByOther reports whether another tenant has proved a domain and still has it.
func (m *Manager) heldByOther(ctx context.Context, tenant store.TenantID, domain string) (bool, error) {
	h, err := m.holder(ctx, domain)
	if err != nil || !h.held || h.tenant == tenant {
		return false, err
	}
	d, err := m.Domains.Domain(ctx, h.tenant, domain)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && d.Created.Equal(h.added), err
}

// maxExplain is the room for records in a refusal: a reply has at most 400 characters.
const maxExplain = 340

// explain says to a client why its domain does not send: which records are missing, and
// what was found instead. Records for which there is no room are counted.
func explain(d *Domain) string {
	text := d.Name + " is not verified"
	if d.State == Failed {
		text += " any more"
	}
	named, more := 0, 0
	for _, r := range d.Records {
		if !r.Required || r.Status == Right {
			continue
		}
		missing := fmt.Sprintf("%s needs %s%s", r.Name, wanted(&r), saw(&r))
		if named > 0 && len(text)+len(missing) > maxExplain {
			more++
			continue
		}
		separator := "; "
		if named == 0 {
			separator = ": "
		}
		text += separator + missing
		named++
	}
	if more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text + asOf(d.Checked)
}

// wanted says what a record must be.
func wanted(r *Record) string {
	if r.Type == "TXT" {
		return "the TXT record that was given to you"
	}
	return "a CNAME record that points to " + r.Value
}

// saw says what was found instead of a record.
func saw(r *Record) string {
	switch {
	case r.Status == NotChecked:
		return ""
	case r.Status == Unknown:
		return " (the DNS gave no answer)"
	case len(r.Found) > 0:
		return " (found was " + mailtext.OneLine(strings.Join(r.Found, ", "), 100) + ")"
	}
	return " (nothing was found)"
}

// asOf names the time of the last look, not its age: package history counts equal refusals
// together.
func asOf(checked time.Time) string {
	if checked.IsZero() {
		return "; the DNS was not asked yet"
	}
	return "; seen at " + checked.UTC().Format("2006-01-02 15:04 MST")
}

// holder returns what is known of the setup that holds a domain.
func (m *Manager) holder(ctx context.Context, domain string) (holder, error) {
	if err := m.ready(); err != nil {
		return holder{}, err
	}
	m.mu.Lock()
	k := m.of(domain)
	if old := *k.holder; usable(old.at, old.busy) {
		m.mu.Unlock()
		return old, nil
	}
	k.holder.busy = true
	old := *k.holder
	m.mu.Unlock()

	h, err := m.readHolder(ctx, domain, &old)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		k.holder.busy, k.holder.at = false, time.Time{}
		return holder{}, err
	}
	k.holder = &h
	return h, nil
}

// readHolder reads the setup that holds a domain, and its keys unless they are those of
// before.
func (m *Manager) readHolder(ctx context.Context, domain string, old *holder) (holder, error) {
	h := holder{at: time.Now()}
	s, err := m.Store.HoldingSetup(ctx, domain)
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	h.held, h.tenant, h.added, h.token, h.version = true, s.Tenant, s.Added, s.Token, s.Version
	if name := "bounces." + domain; m.ReturnPath != "" && readLook(&s).Records[name].Right {
		h.returnPath = name
	}
	// The token tells a domain from the one that was deleted, whose Version may be equal.
	if old.token == h.token && old.version == h.version && old.keysErr == nil {
		h.keys = old.keys
		return h, nil
	}
	h.keys, h.keysErr = m.signing(&s)
	return h, nil
}
