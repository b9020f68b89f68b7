package outbound

import (
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay"
)

// maxReason is how many bytes of what a server said are shown.
const maxReason = 500

// Brakes returns what holds messages back.
func (p *Pool) Brakes() (list []relay.Brake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for name, h := range p.health.All() {
		open, waiting := 0, 0
		s := p.sites[name]
		if s != nil {
			open, waiting = s.open-len(s.idle), len(s.waiters)
		} else {
			s = &site{name: name, health: h}
		}
		maxConns := h.limits.Conns
		if maxConns > 0 {
			maxConns = p.maxConns(s)
		}
		switch {
		case h.until.After(now):
			list = append(list, relay.Brake{Kind: relay.BrakePause, Site: name, Until: h.until, Reason: mailtext.OneLine(h.cause.Error(), maxReason)})
		case h.limits.Rate > 0 && h.nextSlot.After(now):
			list = append(list, relay.Brake{Kind: relay.BrakeRate, Site: name, Until: h.nextSlot})
		}
		if h.limit > 0 || maxConns > 0 && open >= maxConns {
			list = append(list, relay.Brake{Kind: relay.BrakeConnections, Site: name, Limit: maxConns, Waiting: waiting})
		}
	}
	return relay.SortBrakes(list)
}
