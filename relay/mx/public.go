package mx

import "net/netip"

// notPublic are the ranges that IsPublic leaves out. Of IPv6 only 2000::/3 has been
// assigned.
var (
	notPublic = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // the host of every virtual machine in Azure, with its metadata and DNS
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	)
	unicast6 = netip.MustParsePrefix("2000::/3")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(list ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, s := range list {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}

// IsPublic reports whether an address can be reached from everywhere: whether it is
// in none of the ranges that the IANA registries set aside for private networks,
// carriers, loopback, links, tests, multicast or the future (RFC 6890), and does not
// lead to an IPv4 address through another network (6to4, Teredo). It leaves out
// 168.63.129.16 too, which in Azure is the host of the virtual machine. An address of NAT64
// counts as the IPv4 address in it: in a network without IPv4, all hosts that have no
// other are found so (RFC 6052, RFC 6147). It is the default of Forwarder.AllowAddr.
func IsPublic(a netip.Addr) bool {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if a.Is6() && !unicast6.Contains(a) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}
