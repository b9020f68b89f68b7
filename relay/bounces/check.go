package bounces

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// A Resolver looks names up. [*net.Resolver] and every Resolver of package relay/mx
// are one. Names given to it end in a dot. An error that is a [*net.DNSError] with
// IsNotFound means that no such records exist.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) // network is "ip", "ip4" or "ip6"
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// checkTime is how long CheckDomain may take.
const checkTime = time.Minute

// CheckDomain reports whether the DNS is ready for return paths at domain: other
// servers find host, which receives the reports, and SPF (RFC 7208) allows each of
// addrs, the public addresses that mail leaves from. Without addrs, as behind a
// smarthost whose addresses are not known, CheckDomain only looks whether the
// domain has an SPF record.
//
// The error names every fault in a line of its own, and what to publish. A fault means
// that other servers may refuse all mail, so [Rewriter.Domain] should return ""
// until it is mended. A failed look-up is an error too. A nil Resolver means
// [net.DefaultResolver].
func CheckDomain(ctx context.Context, r Resolver, domain, host string, addrs ...netip.Addr) error {
	if r == nil {
		r = net.DefaultResolver
	}
	name, ok := mailtext.Domain(domain)
	if !ok {
		return fmt.Errorf("bounces: %q is not a host name", domain)
	}
	server, ok := mailtext.Domain(host)
	if !ok {
		return fmt.Errorf("bounces: %q is not a host name", host)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return errors.Join(checkMX(ctx, r, name, server), checkSPF(ctx, r, name, addrs))
}

// CheckSPF reports whether the SPF record of a domain (RFC 7208) allows each of addrs, the
// public addresses that mail leaves from. Without addrs it only looks whether the domain
// has one record. The error names every fault in a line of its own, and what to publish.
// A failed look-up is an error too. A nil Resolver means [net.DefaultResolver].
func CheckSPF(ctx context.Context, r Resolver, domain string, addrs ...netip.Addr) error {
	if r == nil {
		r = net.DefaultResolver
	}
	name, ok := mailtext.Domain(domain)
	if !ok {
		return fmt.Errorf("bounces: %q is not a host name", domain)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return checkSPF(ctx, r, name, addrs)
}

// checkMX checks that mail for a domain goes to a server.
func checkMX(ctx context.Context, r Resolver, domain, server string) error {
	publish := fmt.Sprintf("publish %s. MX 10 %s.", domain, server)
	if _, err := r.LookupNetIP(ctx, "ip", server+"."); isNotFound(err) {
		return fmt.Errorf("bounces: %s, which receives the reports, has no address: publish an A record for it", server)
	} else if err != nil {
		return fmt.Errorf("bounces: looking up %s: %w", server, err)
	}
	records, err := r.LookupMX(ctx, domain+".")
	switch {
	case len(records) == 0 && err != nil && !isNotFound(err):
		return fmt.Errorf("bounces: looking up the MX records of %s: %w", domain, err)
	case len(records) == 0 && domain == server: // it is its own mail host (RFC 5321 section 5.1)
		return nil
	case len(records) == 0:
		return fmt.Errorf("bounces: %s has no MX record: %s", domain, publish)
	}
	var hosts []string
	for _, mx := range records {
		hosts = append(hosts, strings.ToLower(strings.TrimSuffix(mx.Host, ".")))
	}
	if !slices.Contains(hosts, server) {
		return fmt.Errorf("bounces: the mail host of %s is %s, not %s: %s", domain, strings.Join(hosts, ", "), server, publish)
	}
	return nil
}

// checkSPF checks that a domain allows addresses to send.
func checkSPF(ctx context.Context, r Resolver, domain string, addrs []netip.Addr) error {
	var want strings.Builder
	for _, a := range addrs {
		kind := "ip4"
		if a.Unmap().Is6() {
			kind = "ip6"
		}
		fmt.Fprintf(&want, " %s:%s", kind, a.Unmap().WithZone(""))
	}
	publish := fmt.Sprintf("publish %s. TXT \"v=spf1%s ~all\"", domain, want.String())
	if len(addrs) == 0 {
		publish = fmt.Sprintf("publish the SPF record that your upstream asks for at %s.", domain)
	}
	record, err := (&spf{r: r}).record(ctx, domain)
	if errors.Is(err, errNoSPF) {
		return fmt.Errorf("bounces: %s has no SPF record: %s", domain, publish)
	} else if err != nil {
		return err
	}
	var errs []error
	for _, a := range addrs {
		s := &spf{r: r, addr: a.Unmap().WithZone("")}
		result, err := s.evaluate(ctx, domain, record)
		switch {
		case err != nil:
			errs = append(errs, err)
		case result != "pass":
			errs = append(errs, fmt.Errorf("bounces: the SPF record of %s does not allow %s (%s): %s", domain, s.addr, result, publish))
		}
	}
	return errors.Join(errs...)
}

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
