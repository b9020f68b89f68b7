package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// A Resolver looks names up. [*net.Resolver] is one. Names given to it end in a
// dot. An error that is a [*net.DNSError] with IsNotFound means that no such records
// exist; any other error means that the look-up failed. Its methods are called from
// many goroutines at once.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) // network is "ip4" or "ip6"
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error) // only for CheckSelf
}

const (
	// dnsTime is how long one look-up may take.
	dnsTime = 20 * time.Second

	// routeTime is how long a domain's hosts are remembered, so that a busy domain
	// is not looked up with each message.
	routeTime = time.Minute

	// failTime is how long a failed look-up is remembered, so that the messages
	// that waited for it don't repeat it one after the other.
	failTime = time.Second

	// keepHosts is how many hosts of a domain are remembered at most; MaxHosts
	// are tried of these.
	keepHosts = 20

	// maxAddrs is how many addresses of a host are tried.
	maxAddrs = 4
)

func (f *Forwarder) resolver() Resolver {
	if f.Resolver == nil {
		return net.DefaultResolver
	}
	return f.Resolver
}

// A hostList is the hosts that take a domain's mail.
type hostList struct {
	names []string // best first
	site  string   // names those with the best preference
}

// lookupHosts returns the hosts that take a domain's mail, best first (RFC 5321
// section 5.1).
func (f *Forwarder) lookupHosts(ctx context.Context, domain string) (hostList, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	records, err := f.resolver().LookupMX(ctx, domain+".")
	switch {
	case len(records) > 0: // err is then about other, malformed records
		return f.pickHosts(domain, records)
	case err != nil && !isNotFound(err):
		return hostList{}, dnsTrouble(domain, err)
	}
	// Only a domain without MX records is its own host.
	if _, err := f.lookupAddrs(ctx, domain); isNotFound(err) {
		return hostList{}, final(550, "5.1.2", "the domain "+domain+" doesn't exist or takes no mail")
	} else if err != nil {
		return hostList{}, dnsTrouble(domain, err)
	}
	if domain == f.ownName() {
		return hostList{}, loops(domain)
	}
	return hostList{names: []string{domain}, site: domain}, nil
}

// pickHosts makes an ordered list of MX records.
func (f *Forwarder) pickHosts(domain string, records []*net.MX) (hostList, error) {
	if len(records) == 1 && records[0].Host == "." {
		return hostList{}, final(556, "5.1.10", "the domain "+domain+" takes no mail (null MX)") // RFC 7505 section 4
	}
	// Equals in random order; the Resolver may still use its list.
	records = slices.Clone(records)
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	slices.SortStableFunc(records, func(a, b *net.MX) int { return cmp.Compare(a.Pref, b.Pref) })

	own, limit := f.ownName(), 1<<16
	var hosts, best []string
	bestPref := 0
	seen := make(map[string]bool)
	for _, r := range records {
		host, ok := hostName(r.Host) // an IP address is not one
		if ok && host == own {
			limit = min(limit, int(r.Pref))
		}
	}
	usable := false
	for _, r := range records {
		host, ok := hostName(r.Host)
		usable = usable || ok
		if ok && int(r.Pref) < limit && !seen[host] && len(hosts) < keepHosts {
			seen[host] = true
			hosts = append(hosts, host)
			if len(hosts) == 1 {
				bestPref = int(r.Pref)
			}
			if int(r.Pref) == bestPref {
				best = append(best, host)
			}
		}
	}
	switch {
	case !usable:
		return hostList{}, final(550, noAddress, "the MX records of "+domain+" name no valid host")
	case len(hosts) == 0:
		return hostList{}, loops(domain)
	}
	slices.Sort(best)
	return hostList{names: hosts, site: strings.Join(best, ",")}, nil
}

// loops is the refusal of mail that would come back to where it is (RFC 5321
// section 5.1).
func loops(domain string) error {
	return final(554, "5.4.6", "mail for "+domain+" would loop: this server is its best mail host")
}

func (f *Forwarder) ownName() string {
	name := f.Hostname
	if name == "" {
		name, _ = os.Hostname()
	}
	own, _ := hostName(name)
	return own
}

// addrs returns the addresses of a host that may be tried.
func (f *Forwarder) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	all, err := f.lookupAddrs(ctx, host)
	switch {
	case isNotFound(err):
		return nil, final(550, noAddress, "the mail host "+host+" has no address")
	case err != nil:
		return nil, dnsTrouble(host, err)
	}
	var allowed []netip.Addr
	for _, a := range all {
		if len(allowed) < maxAddrs && f.allowed(a) {
			allowed = append(allowed, a)
		}
	}
	if allowed == nil {
		// The sender is not told the address: it could look up the names of this network so.
		f.logger().InfoContext(ctx, "mx: a mail host has only addresses that are not allowed", "host", host, "address", all[0])
		return nil, later("4.4.4", "the mail host "+host+" has no address that is allowed")
	}
	return allowed, nil
}

// lookupAddrs returns the addresses of a host, IPv6 and IPv4 in turns. The two are
// looked up separately: if one look-up fails and the other finds nothing, the host may
// still have an address, so that is an error.
func (f *Forwarder) lookupAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	var six []netip.Addr
	var sixErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		six, sixErr = f.lookupFamily(ctx, "ip6", host)
	}()
	four, fourErr := f.lookupFamily(ctx, "ip4", host)
	<-done

	all := make([]netip.Addr, 0, len(six)+len(four))
	for i := range max(len(six), len(four)) {
		for _, list := range [][]netip.Addr{six, four} {
			if i < len(list) {
				all = append(all, list[i].Unmap().WithZone(""))
			}
		}
	}
	switch {
	case len(all) > 0:
		return all, nil
	case sixErr != nil && !isNotFound(sixErr):
		return nil, sixErr
	case fourErr != nil && !isNotFound(fourErr):
		return nil, fourErr
	}
	return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
}

// lookupFamily looks up the addresses of one family, if Network allows it.
func (f *Forwarder) lookupFamily(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if f.Network != "" && f.Network != network {
		return nil, nil
	}
	return f.resolver().LookupNetIP(ctx, network, host+".")
}

// allowed reports whether an address may be connected to.
func (f *Forwarder) allowed(a netip.Addr) bool {
	if f.AllowAddr != nil {
		return f.AllowAddr(a)
	}
	return IsPublic(a)
}

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func dnsTrouble(name string, err error) error {
	why := "the look-up failed"
	var dns *net.DNSError
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &dns) && dns.IsTimeout {
		why = "no answer in time"
	}
	return later("4.4.3", fmt.Sprintf("DNS does not say where mail for %s goes: %s", name, why))
}
