package mx

import (
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"192.0.1.1":          true,
		"100.63.255.255":     true,
		"100.128.0.1":        true,
		"172.32.0.1":         true,
		"198.20.0.1":         true,
		"223.255.255.255":    true,
		"::ffff:8.8.8.8":     true,
		"64:ff9b::8.8.8.8":   true,
		"2001:200::1":        true,
		"2606:4700::1":       true,
		"2a00:1450:4001::1":  true,
		"0.1.2.3":            false,
		"10.0.0.1":           false,
		"100.64.0.1":         false, // carriers, container networks
		"100.100.100.200":    false, // metadata of a cloud
		"127.0.0.1":          false,
		"169.254.169.254":    false, // metadata of most clouds
		"168.63.129.16":      false, // metadata of Azure
		"64:ff9b::a83f:8110": false,
		"168.63.129.17":      true,
		"172.31.255.255":     false,
		"192.0.0.192":        false, // metadata of a cloud
		"192.0.2.1":          false,
		"192.88.99.1":        false,
		"192.168.0.1":        false,
		"198.19.255.255":     false,
		"198.51.100.1":       false,
		"203.0.113.1":        false,
		"224.0.0.1":          false,
		"240.0.0.1":          false,
		"255.255.255.255":    false,
		"::":                 false,
		"::1":                false,
		"::8.8.8.8":          false, // the old way of writing IPv4 addresses
		"::ffff:10.0.0.1":    false,
		"64:ff9b::10.0.0.1":  false,
		"64:ff9b:1::1":       false,
		"100::1":             false,
		"2001::1":            false, // Teredo
		"2001:1ff::1":        false,
		"2001:db8::1":        false,
		"2002:a00:1::1":      false, // 6to4 of 10.0.0.1
		"3fff:fff::1":        false,
		"4000::1":            false,
		"fc00::1":            false,
		"fe80::1":            false,
		"fe80::1%eth0":       false,
		"fec0::1":            false,
		"ff02::1":            false,
	} {
		if got := new(Forwarder).allowed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if IsPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}
