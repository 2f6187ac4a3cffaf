package webhook

import (
	"net/netip"
	"slices"
)

// global6 is what IANA has given out of IPv6 as global unicast; all else - the
// unspecified and loopback addresses, those that stand for one of IPv4, unique
// local, link-local, multicast - lies outside.
var global6 = netip.MustParsePrefix("2000::/3")

// special are the networks within the rest that are not of the public internet, or
// lead elsewhere (the IANA special-purpose address registries).
var special = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // shared
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local, where clouds answer with credentials
	"168.63.129.16/32", // the same of one cloud (Azure)
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // 6to4 relays
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments, Teredo among them
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4
	"3fff::/20",        // documentation
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// allows says whether an address may be connected to.
func (p *poster) allows(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	in := func(n netip.Prefix) bool { return n.Contains(addr) }
	if slices.ContainsFunc(p.allowed, in) {
		return true
	}
	if addr.Is6() && !global6.Contains(addr) {
		return false
	}
	return addr.IsValid() && !slices.ContainsFunc(special, in)
}
