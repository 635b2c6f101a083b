package netd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Netlink is Linux.
type Netlink struct{}

// Watch implements [Kernel].
func (Netlink) Watch(ctx context.Context) (<-chan Link, error) {
	updates := make(chan netlink.LinkUpdate, 16)
	failed := make(chan error, 1)
	if err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting: true,
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	}); err != nil {
		return nil, err
	}
	links := make(chan Link)
	go func() {
		defer close(links)
		for u := range updates {
			select {
			case links <- linkOf(u):
			case <-failed:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return links, nil
}

func linkOf(u netlink.LinkUpdate) Link {
	a := u.Attrs()
	return Link{
		Index: a.Index, Name: a.Name,
		Loopback: a.Flags&net.FlagLoopback != 0,
		Ethernet: a.EncapType == "ether" && u.Type() == "device",
		Carrier:  a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0,
		Gone:     u.Header.Type == unix.RTM_DELLINK,
	}
}

// Up implements [Kernel].
func (Netlink) Up(l Link) error {
	nl, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(nl)
}

// Apply implements [Kernel]: it sets the address, removes others of the same
// family, and sets the routes.
func (Netlink) Apply(l Link, c Config) error {
	nl, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return err
	}
	if c.MTU != 0 && c.MTU != nl.Attrs().MTU {
		if err := netlink.LinkSetMTU(nl, c.MTU); err != nil {
			return fmt.Errorf("set MTU %d: %w", c.MTU, err)
		}
	}
	want := &netlink.Addr{IPNet: ipNet(c.Address)}
	if err := netlink.AddrReplace(nl, want); err != nil {
		return fmt.Errorf("set address %v: %w", c.Address, err)
	}
	have, err := netlink.AddrList(nl, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range have {
		if !a.Equal(*want) {
			if err := netlink.AddrDel(nl, &a); err != nil {
				return fmt.Errorf("remove address %v: %w", a.IPNet, err)
			}
		}
	}
	for _, r := range c.routes() {
		route := &netlink.Route{LinkIndex: l.Index, Dst: ipNet(r.To.Masked())}
		switch {
		case !r.Via.IsValid():
			route.Scope = netlink.SCOPE_LINK
		case !c.Address.Contains(r.Via):
			route.Flags = int(netlink.FLAG_ONLINK)
			fallthrough
		default:
			route.Gw = net.IP(r.Via.AsSlice())
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("set route to %v: %w", r.To, err)
		}
	}
	return nil
}

// routes returns the routes that the lease means.
func (c Config) routes() []Route {
	if len(c.Routes) > 0 {
		return c.Routes
	}
	if len(c.Routers) > 0 {
		return []Route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), c.Routers[0]}}
	}
	return nil
}

// Clear implements [Kernel]: the link's addresses go, and with them its
// routes.
func (Netlink) Clear(l Link) error {
	nl, err := netlink.LinkByIndex(l.Index)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := netlink.AddrList(nl, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range list {
		err = errors.Join(err, netlink.AddrDel(nl, &a))
	}
	return err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
