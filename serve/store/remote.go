package store

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"mios"
)

// A Proxy is a network of proxies that stand before the store: what they say of
// whom they ask for is believed.
type Proxy = netip.Prefix

// ParseProxies reads addresses and networks, with commas between. Its errors
// wrap [mios.ErrInvalid].
func ParseProxies(list string) (proxies []Proxy, err error) {
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		p, err := netip.ParsePrefix(word)
		if addr, addrErr := netip.ParseAddr(word); addrErr == nil {
			p, err = netip.PrefixFrom(addr.Unmap().WithZone(""), addr.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("proxy %q: %w: want an address such as 127.0.0.1, or a network such as 10.0.0.0/8", word, mios.ErrInvalid)
		}
		proxies = append(proxies, p.Masked())
	}
	return proxies, nil
}

// remoteOf is the address that a request comes from: of IPv6 the network, for a
// caller has the rest to choose from. Behind proxies it is the last one in
// X-Forwarded-For that is none of theirs; what stands before that is only a claim.
func (s *Service) remoteOf(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !s.proxy(addr) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = before.Unmap().WithZone("")
	}
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
	return addr.String()
}

func (s *Service) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(s.Proxies, func(p Proxy) bool { return p.Contains(a) })
}
