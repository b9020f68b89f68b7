package credentials

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/gatepost-mail/gatepost/store"
)

// The limits on the networks of a user.
const (
	maxNetworks = 100
	minBits4    = 8
	minBits6    = 19
)

// ErrNetwork means that the password is right, and the client is not in one of the
// networks that the user may log in from. It matches [ErrDenied]: the client must get
// the same answer as for a wrong password.
var ErrNetwork = fmt.Errorf("%w: from a network that is not allowed", ErrDenied)

// SetNetworks sets the networks that the user may log in from: at most 100, none wider
// than /8, or /19 for IPv6; otherwise the error is an [InvalidError]. An empty list
// allows all addresses, which is how a user begins.
//
// A login from elsewhere fails with [ErrNetwork]. The client is told the same as for a
// wrong password, after the same work, so that a client elsewhere does not learn whether
// a password is right. A client without an IP address is elsewhere.
//
// SetNetworks sorts the list, drops repeated networks and the host bits of an address,
// and takes an IPv4 network that is written as an IPv6 one (::ffff:192.0.2.0/120) for
// what it is. It applies to the next login on every node. Sessions that are open go
// on; [Tenant.ResetPassword] ends them.
func (t Tenant) SetNetworks(ctx context.Context, username string, networks []netip.Prefix) error {
	networks, err := cleanNetworks(networks)
	if err != nil {
		return err
	}
	u, err := t.User(ctx, username)
	if err != nil {
		return err
	}
	if err := t.m.Store.SetNetworks(ctx, t.id, username, networks); err != nil {
		return fmt.Errorf("credentials: set networks of %s: %w", username, err)
	}
	t.m.emit(&NetworksSet{Tenant: t.id, Domain: u.Domain, Username: username, Networks: networks})
	return nil
}

// cleanNetworks returns networks in the form in which they are stored.
func cleanNetworks(networks []netip.Prefix) ([]netip.Prefix, error) {
	invalid := func(reason string) ([]netip.Prefix, error) {
		return nil, &InvalidError{Field: "networks", Reason: reason}
	}
	clean := make([]netip.Prefix, 0, len(networks))
	for _, network := range networks {
		if network.Addr().Is4In6() && network.Bits() >= 96 {
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		switch {
		case !network.IsValid():
			return invalid("it has a network that is not valid, write one as 192.0.2.0/24")
		case network.Bits() < minBits4, network.Addr().Is6() && network.Bits() < minBits6:
			return invalid("it has a network that is wider than /8, or /19 for IPv6")
		}
		clean = append(clean, network.Masked())
	}
	slices.SortFunc(clean, netip.Prefix.Compare)
	if clean = slices.Compact(clean); len(clean) > maxNetworks {
		return invalid("it has more than 100 networks")
	}
	return clean, nil
}

// mayLogInFrom reports whether an address is in one of the user's networks.
func mayLogInFrom(u store.User, from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return len(u.Networks) == 0 ||
		slices.ContainsFunc(u.Networks, func(network netip.Prefix) bool { return network.Contains(from) })
}

// NetworksSet reports from which networks a user may log in now; none means all.
type NetworksSet struct {
	Tenant   store.TenantID
	Domain   string
	Username string
	Networks []netip.Prefix
}

// Revokes returns false: the sessions of the user stay.
func (*NetworksSet) Revokes(Identity) bool { return false }

func (*NetworksSet) event() string { return "networks set" }

func (e *NetworksSet) attrs() []slog.Attr {
	return append((&Resumed{e.Tenant, e.Domain, e.Username}).attrs(), slog.Any("networks", e.Networks))
}
