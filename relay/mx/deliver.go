package mx

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

// A domainState holds what is known of a domain.
type domainState struct {
	once   sync.Once
	holder chan struct{} // a lock for the fields below; it is full while locked

	hosts    hostList
	err      error     // instead of hosts
	lookedUp time.Time // when hosts or err was learned
	sts      stsState
}

// lock waits until no other goroutine looks the domain up. If none does, lock succeeds
// even if ctx has ended.
func (d *domainState) lock(ctx context.Context) error {
	d.once.Do(func() { d.holder = make(chan struct{}, 1) })
	select {
	case d.holder <- struct{}{}:
		return nil
	default:
	}
	select {
	case d.holder <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *domainState) unlock() { <-d.holder }

// A route is where a domain's mail goes, and how.
type route struct {
	hosts  []string // best first
	site   string   // whose limits apply
	policy *policy  // nil means none
	unsure bool     // the look-up of the policy failed
}

// route looks up where a domain's mail goes, or returns what is remembered.
func (f *Forwarder) route(ctx context.Context, domain string) (route, error) {
	d := f.domains.get(domain)
	if err := f.renewPolicy(ctx, domain, d); err != nil {
		return route{}, err
	}
	if err := d.lock(ctx); err != nil {
		return route{}, err
	}
	defer d.unlock()
	if err := f.updateHosts(ctx, domain, d); err != nil {
		return route{}, err
	}
	f.updatePolicy(ctx, domain, &d.sts)
	if err := ctx.Err(); err != nil {
		return route{}, err
	}
	return route{hosts: d.hosts.names, site: d.hosts.site, policy: d.sts.valid(time.Now()), unsure: d.sts.unsure}, nil
}

// updateHosts brings the domain's hosts up to date.
func (f *Forwarder) updateHosts(ctx context.Context, domain string, d *domainState) error {
	age := time.Since(d.lookedUp)
	switch {
	case d.err != nil && age < failTime:
		return d.err
	case d.hosts.names != nil && age < routeTime:
		return nil
	}
	hosts, err := f.lookupHosts(ctx, domain)
	if ctx.Err() == nil { // otherwise err is about ctx, not about the domain
		d.hosts, d.err, d.lookedUp = hosts, err, time.Now()
	}
	return err
}

// requireTLS returns an error if mail with REQUIRETLS must not go this way. The names
// of the hosts must be authenticated (RFC 8689 section 4.2.1): by an MTA-STS policy in
// enforce mode, or because the only host is the domain itself, whose certificate then
// proves it. Whether DNSSEC says the same can't be known here.
func (r *route) requireTLS(domain string) error {
	switch {
	case r.policy != nil && r.policy.mode == enforce:
		return nil
	case len(r.hosts) == 1 && r.hosts[0] == domain:
		return nil
	case r.unsure:
		// Not unreachable: mail without REQUIRETLS need not wait.
		return &relay.ReplyError{Code: 451, Enhanced: "4.7.5", Text: "the message has REQUIRETLS, and the MTA-STS policy of " + domain + " can't be fetched right now"}
	}
	return final(550, noRequireTLS, "the message has REQUIRETLS, and no MTA-STS policy says which are the mail hosts of "+domain)
}

// deliver asks one host after the other.
func (f *Forwarder) deliver(ctx context.Context, m *relay.Message, domain string, r route) (err error) {
	t, err := f.pool.Admit(ctx, r.site, m.NoWait)
	if err != nil {
		return err
	}
	defer func() { err = t.Done(err) }()
	var result failure
	tried, more := 0, or(f.MaxHosts, 5)
	for _, host := range last(&f.silence, r.hosts, func(h string) string { return h }) {
		if tried == more {
			break
		}
		p, err := f.protect(ctx, m, domain, host, r.policy)
		if err == nil {
			tried++
			err = f.send(ctx, t, m, p, host)
		}
		if err == nil {
			return nil
		}
		v := judge(err, m)
		if v == settled || ctx.Err() != nil {
			return err
		}
		f.logger().LogAttrs(ctx, slog.LevelDebug, "mx: host failed",
			slog.String("message", m.ID), slog.String("host", host), slog.String("error", err.Error()))
		result.add(v, err)
		if outbound.Throttled(err) {
			more = min(more, tried+1)
		}
	}
	return result.err
}

// A failure is what is reported if no host takes a message: of the errors with the
// smallest verdict, the one of the furthest step.
type failure struct {
	err     error
	verdict verdict
}

func (f *failure) add(v verdict, err error) {
	if f.err == nil || v < f.verdict || v == f.verdict && stepOf(err) > stepOf(f.err) {
		f.verdict, f.err = v, err
	}
}

// stepOf returns how far the dialogue with a host came; -1 if none began.
func stepOf(err error) outbound.Step {
	var e *outbound.Error
	if errors.As(err, &e) {
		return e.Step
	}
	if errors.As(err, new(*relay.RefusedError)) {
		return outbound.Rcpt
	}
	return -1
}

// protect decides how a connection to a host must be protected. It returns an error
// for a host that an enforced policy of the domain does not name.
func (f *Forwarder) protect(ctx context.Context, m *relay.Message, domain, host string, p *policy) (protection, error) {
	if p != nil && !p.matches(host) {
		f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: mail host violates the MTA-STS policy",
			slog.String("domain", domain), slog.String("host", host), slog.String("mode", p.mode))
		if p.mode == enforce {
			return 0, later("4.7.5", "the MTA-STS policy of "+domain+" doesn't allow the mail host "+host)
		}
	}
	switch {
	case m.Options.RequireTLS, p != nil && p.mode == enforce:
		return verified, nil
	case f.RequireTLS:
		return encrypted, nil
	case p != nil:
		return observed, nil
	}
	return opportunistic, nil
}

// send hands the message to one host.
func (f *Forwarder) send(ctx context.Context, t *outbound.Ticket, m *relay.Message, p protection, host string) error {
	answer, err := t.Send(ctx, p.key(host), m)
	var e *outbound.Error
	if ctx.Err() == nil && !errors.As(err, new(*relay.BusyError)) {
		f.silence.note(host, errors.As(err, &e) && e.Silent())
	}
	switch {
	case err == nil:
		f.logger().LogAttrs(ctx, slog.LevelDebug, "mx: message delivered",
			slog.String("message", m.ID), slog.String("host", host), slog.String("reply", answer))
	case m.Options.RequireTLS && lacksTLS(err):
		return final(550, noRequireTLS, "the message has REQUIRETLS, and "+err.Error())
	case tlsFailed(err) && ctx.Err() == nil:
		f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: TLS failed, mail waits", slog.String("host", host), slog.String("error", err.Error()))
	}
	return err
}
