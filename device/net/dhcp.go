package netd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"mios"
)

// How long a DHCP server has to answer, and how often it is asked before
// [DHCP.Lease] gives up.
const (
	answerTime = 2 * time.Second
	answerTry  = 3
)

// DHCP is a DHCPv4 client (RFC 2131). The zero value is ready.
type DHCP struct {
	Host string // the name that the device asks for; may be ""

	mu    sync.Mutex
	lease *nclient4.Lease
}

// Lease implements [Client].
func (d *DHCP) Lease(ctx context.Context, l Link, renew bool) (Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := nclient4.New(l.Name, nclient4.WithTimeout(answerTime), nclient4.WithRetry(answerTry))
	if err != nil {
		return Config{}, fmt.Errorf("DHCP on %s: %w", l.Name, err)
	}
	defer c.Close()
	var mods []dhcpv4.Modifier
	if d.Host != "" {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptHostName(d.Host)))
	}
	var lease *nclient4.Lease
	if renew && d.lease != nil {
		lease, err = c.Renew(ctx, d.lease, mods...)
	} else {
		mods = append(mods, dhcpv4.WithRequestedOptions(dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute,
			dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionHostName))
		lease, err = c.Request(ctx, mods...)
	}
	var nak *nclient4.ErrNak
	if errors.As(err, &nak) {
		return Config{}, ErrRefused
	}
	if err != nil {
		return Config{}, fmt.Errorf("DHCP on %s: %w", l.Name, err)
	}
	d.lease = lease
	config, err := configOf(lease.ACK)
	if config.Host == "" {
		config.Host = d.Host
	}
	return config, err
}

// isHostName reports whether a server may call a device or a domain so:
// letters, digits, and dots and hyphens between them, 253 bytes at most. It is
// no regular expression: to compile one of that length costs every process of
// the device a millisecond.
func isHostName(s string) bool {
	for i, c := range []byte(s) {
		inner := i > 0 && i < len(s)-1
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case inner && (c == '.' || c == '-'):
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= 253
}

// defaultLease is for servers that name no time.
const defaultLease = time.Hour

// configOf reads what a server has granted. It trusts nothing in it: what is
// not well-formed is left out, and an address that no host can have is refused.
func configOf(ack *dhcpv4.DHCPv4) (Config, error) {
	addr, ok := hostAddr(ack.YourIPAddr)
	if !ok {
		return Config{}, fmt.Errorf("DHCP: %w: address %v", mios.ErrInvalid, ack.YourIPAddr)
	}
	ones, bits := ack.SubnetMask().Size()
	if bits != 32 || ones == 0 {
		ones = 24
	}
	c := Config{Address: netip.PrefixFrom(addr, ones)}
	for _, ip := range ack.Router() {
		if a, ok := hostAddr(ip); ok {
			c.Routers = append(c.Routers, a)
		}
	}
	for _, r := range ack.ClasslessStaticRoute() {
		to, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		n, _ := r.Dest.Mask.Size()
		via, _ := hostAddr(r.Router)
		if ok {
			c.Routes = append(c.Routes, Route{netip.PrefixFrom(to, n), via})
		}
	}
	for _, ip := range ack.DNS() {
		if a, ok := hostAddr(ip); ok {
			c.DNS = append(c.DNS, a)
		}
	}
	search := []string{ack.DomainName()}
	if labels := ack.DomainSearch(); labels != nil && len(labels.Labels) > 0 {
		search = labels.Labels
	}
	for _, s := range search {
		if isHostName(s) && len(c.Search) < 6 {
			c.Search = append(c.Search, s)
		}
	}
	if h := ack.HostName(); isHostName(h) {
		c.Host = h
	}
	if b := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		if n := int(b[0])<<8 | int(b[1]); n >= 576 && n <= 9000 {
			c.MTU = n
		}
	}
	c.Expire = max(ack.IPAddressLeaseTime(defaultLease), time.Minute)
	c.Renew = ack.IPAddressRenewalTime(c.Expire / 2)
	if c.Renew <= 0 || c.Renew >= c.Expire {
		c.Renew = c.Expire / 2
	}
	return c, nil
}

// hostAddr returns an IPv4 address that one host can have.
func hostAddr(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	ok = ok && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return a, ok
}
