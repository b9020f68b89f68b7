package mx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// CheckSelf reports whether other hosts will believe that this server is Hostname:
// for each family of addresses that connections come from, Hostname must have the
// address, and the address a reverse entry (PTR) with Hostname. Many hosts refuse
// mail otherwise. The error names every disagreement in a line of its own; a program
// should log it when it starts, and go on.
//
// addrs are the public addresses that connections come from. If there are none,
// CheckSelf takes those that the system would use, which is wrong behind NAT and
// with a Dial of your own. It opens no connection.
func (f *Forwarder) CheckSelf(ctx context.Context, addrs ...netip.Addr) error {
	name := f.ownName()
	if name == "" || !strings.Contains(name, ".") {
		return fmt.Errorf("mx: the Hostname %q is not a full name, set Forwarder.Hostname", name)
	}
	if len(addrs) == 0 {
		addrs = f.sources()
	}
	if len(addrs) == 0 {
		return errors.New("mx: this machine has no route to the Internet")
	}
	var errs []error
	for _, a := range addrs {
		if err := f.checkAddr(ctx, name, a.Unmap().WithZone("")); err != nil {
			errs = append(errs, fmt.Errorf("mx: %w", err))
		}
	}
	return errors.Join(errs...)
}

// checkAddr checks one address that connections come from.
func (f *Forwarder) checkAddr(ctx context.Context, name string, a netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	if !IsPublic(a) {
		return fmt.Errorf("connections come from %s, which is not public: give CheckSelf the address that other hosts see", a)
	}
	network, kind := "ip4", "A"
	if a.Is6() {
		network, kind = "ip6", "AAAA"
	}
	known, err := f.resolver().LookupNetIP(ctx, network, name+".")
	switch {
	case err != nil && !isNotFound(err):
		return fmt.Errorf("looking up %s: %w", name, err)
	case !slices.ContainsFunc(known, func(k netip.Addr) bool { return k.Unmap() == a }):
		return fmt.Errorf("connections come from %s, but %s has no %s record with it", a, name, kind)
	}
	names, err := f.resolver().LookupAddr(ctx, a.String())
	switch {
	case isNotFound(err):
		return fmt.Errorf("%s has no reverse entry (PTR), it should be %s", a, name)
	case err != nil:
		return fmt.Errorf("looking up the reverse entry of %s: %w", a, err)
	case !slices.ContainsFunc(names, func(n string) bool { n, _ = hostName(n); return n == name }):
		return fmt.Errorf("the reverse entry (PTR) of %s is %s, it should be %s", a, strings.Join(names, " and "), name)
	}
	return nil
}

// sources returns the addresses that the system would connect from, one for each
// family that has a route. Nothing is sent: UDP has no connections.
func (f *Forwarder) sources() (addrs []netip.Addr) {
	for network, target := range map[string]string{"ip4": "192.0.2.1:25", "ip6": "[2001:db8::1]:25"} {
		if f.Network != "" && f.Network != network {
			continue
		}
		c, err := net.Dial("udp", target)
		if err != nil {
			continue
		}
		if udp, ok := c.LocalAddr().(*net.UDPAddr); ok {
			addrs = append(addrs, udp.AddrPort().Addr().Unmap())
		}
		c.Close()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}
