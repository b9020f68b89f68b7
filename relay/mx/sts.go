package mx

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"time"
)

const (
	// stsCheck is how often a domain's record is looked up, and the pause after a
	// policy could not be fetched.
	stsCheck = 10 * time.Minute

	// stsLeast is the minimum lifetime of a policy with a non-zero max_age.
	stsLeast = time.Minute

	// stsRefresh is how often an unchanged policy is fetched again, so that it
	// doesn't expire (RFC 8461 section 3.3). A policy that expires sooner is fetched
	// after half its lifetime, and if that fails, after half of the rest.
	stsRefresh = 24 * time.Hour

	// stsTime is how long fetching may take (RFC 8461 section 3.3).
	stsTime = time.Minute
)

// An stsState holds what is known of a domain's MTA-STS policy.
type stsState struct {
	policy  *policy // nil: none was ever seen
	id      string
	fetched time.Time
	check   time.Time // when to look for a newer policy
	unsure  bool      // the last look-up failed
}

// valid returns the policy that applies now; nil if there is none.
func (s *stsState) valid(now time.Time) *policy {
	if s.policy == nil || s.policy.mode == "none" || !now.Before(s.expires()) {
		return nil
	}
	return s.policy
}

func (s *stsState) expires() time.Time { return s.fetched.Add(s.policy.lifetime()) }

// fresh reports whether the policy needn't be fetched again.
func (s *stsState) fresh(now time.Time) bool {
	return s.policy != nil && now.Before(s.fetched.Add(min(stsRefresh, s.policy.lifetime()/2)))
}

// lifetime is how long a policy applies after it was fetched.
func (p *policy) lifetime() time.Duration {
	if p.maxAge == 0 {
		return 0
	}
	return max(p.maxAge, stsLeast)
}

// renewPolicy is updatePolicy for a domain whose policy is valid: other messages use
// the old policy and don't wait.
func (f *Forwarder) renewPolicy(ctx context.Context, domain string, d *domainState) error {
	if err := d.lock(ctx); err != nil {
		return err
	}
	now, s := time.Now(), d.sts
	due := s.valid(now) != nil && !now.Before(s.check)
	if due {
		d.sts.check = now.Add(min(stsCheck, s.expires().Sub(now)))
	}
	claim := d.sts.check
	d.unlock()
	if !due {
		return nil
	}
	f.updatePolicy(ctx, domain, &s)
	if err := d.lock(ctx); err != nil {
		return err
	}
	defer d.unlock()
	if d.sts.check.Equal(claim) { // otherwise it expired, and another message has looked
		d.sts = s
	}
	return nil
}

// updatePolicy brings s up to date. If that fails, a known policy still applies until
// it expires (RFC 8461 section 5.1); without one the domain counts as one without a
// policy.
func (f *Forwarder) updatePolicy(ctx context.Context, domain string, s *stsState) {
	now := time.Now()
	if now.Before(s.check) {
		return
	}
	id, err := f.lookupRecord(ctx, domain)
	if err == nil && id != "" && !(id == s.id && s.fresh(now)) {
		var p *policy
		if p, err = f.fetchPolicy(ctx, domain); err == nil {
			s.policy, s.id, s.fetched = p, id, now
		}
	}
	if ctx.Err() != nil {
		return // err is about ctx; the next message looks again
	}
	s.unsure = err != nil
	s.check = now.Add(stsCheck)
	if s.valid(now) != nil { // look again before it expires
		left := s.expires().Sub(now)
		s.check = now.Add(min(stsCheck, max(left/2, stsLeast/2), left))
	}
	if err != nil {
		f.logger().LogAttrs(ctx, slog.LevelWarn, "mx: MTA-STS policy could not be fetched",
			slog.String("domain", domain), slog.String("error", err.Error()), slog.Bool("older policy applies", s.valid(now) != nil))
	}
}

// lookupRecord returns the id of a domain's policy; "" if it has none.
func (f *Forwarder) lookupRecord(ctx context.Context, domain string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	txts, err := f.resolver().LookupTXT(ctx, "_mta-sts."+domain+".")
	if isNotFound(err) {
		return "", nil
	}
	return parseRecord(txts), err
}

// fetchPolicy fetches a domain's policy (RFC 8461 section 3.3).
func (f *Forwarder) fetchPolicy(ctx context.Context, domain string) (*policy, error) {
	ctx, cancel := context.WithTimeout(ctx, stsTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+domain+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server replied %d", resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return nil, fmt.Errorf("its type is not text/plain")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicy+1))
	if err != nil {
		return nil, err
	}
	p, err := parsePolicy(body)
	if err != nil {
		return nil, fmt.Errorf("the policy is invalid: %w", err)
	}
	return p, nil
}

// httpClient returns the client for policies. It follows no redirect (RFC 8461
// section 3.3).
func (f *Forwarder) httpClient() *http.Client {
	c := http.Client{Transport: &http.Transport{
		DialContext:            f.dialHTTPS,
		DisableKeepAlives:      true, // one host is asked once a day
		MaxResponseHeaderBytes: maxPolicy,
	}}
	if f.HTTPClient != nil {
		c = *f.HTTPClient
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// dialHTTPS connects only to addresses that mail may go to, because the owner of the
// domain decides where the name points.
func (f *Forwarder) dialHTTPS(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := f.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	for _, a := range addrs {
		d := net.Dialer{Timeout: stsTime / maxAddrs}
		if conn, err = d.DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
