// Package netd connects a device to its network: it brings up the loopback and
// the first Ethernet link, asks for an address by DHCP and keeps the lease,
// writes the name servers down, and says by the property net.online whether
// there is an address and a route.
package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"mios/device/property"
	"mios/internal/atomicfile"
)

// A Link is what netd knows of a network interface.
type Link struct {
	Index    int
	Name     string
	Ethernet bool
	Loopback bool
	Carrier  bool // it is up and its other end is there
	Gone     bool // it was removed
}

// A Config is what a lease says of the network.
type Config struct {
	Address netip.Prefix
	Routers []netip.Addr // the first is used
	Routes  []Route      // where there are any, Routers are not used (RFC 3442)
	DNS     []netip.Addr
	Search  []string
	Host    string
	MTU     int // 0 means the link's own

	Renew, Expire time.Duration // since the lease began
}

// A Route goes to a network through a router, which may be missing.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Kernel is the kernel's side: links, addresses, routes.
type Kernel interface {
	// Watch sends all links and then each change, until ctx ends.
	Watch(ctx context.Context) (<-chan Link, error)
	Up(l Link) error
	Apply(l Link, c Config) error
	Clear(l Link) error
}

// A Client asks a link's DHCP server. It keeps what it needs to renew.
type Client interface {
	// Lease asks for a new lease, or, with renew, for more of the last.
	// [ErrRefused] means that the last is no longer ours.
	Lease(ctx context.Context, l Link, renew bool) (Config, error)
}

// ErrRefused is a DHCP server's no to a renewal.
var ErrRefused = errors.New("the DHCP server takes the address back")

// A Daemon is netd. All fields must be set.
type Daemon struct {
	Kernel Kernel
	DHCP   Client
	Set    func(ctx context.Context, name, value string) error // a property
	Resolv string                                              // path of resolv.conf
	Log    *slog.Logger
}

// Between two tries to get a lease.
const (
	firstWait = time.Second
	lastWait  = time.Minute
)

// Run works until ctx ends; the error is ctx's, or that the kernel cannot be
// watched.
func (d *Daemon) Run(ctx context.Context) error {
	links, err := d.Kernel.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	ours := Link{Index: -1}       // the link in use
	stop := func() {}             // ends its keeping
	known := make(map[int]string) // links that were brought up
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l, ok := <-links:
			if !ok {
				return errors.Join(ctx.Err(), errors.New("watch links: the kernel says no more"))
			}
			if l.Gone {
				delete(known, l.Index)
			} else if known[l.Index] == "" && (l.Ethernet || l.Loopback) {
				known[l.Index] = l.Name
				if err := d.Kernel.Up(l); err != nil {
					d.Log.Error("bring link up", "link", l.Name, "err", err)
				}
			}
			switch {
			case l.Ethernet && l.Carrier && !l.Gone && ours.Index < 0:
				ours = l
				stop = d.start(ctx, l)
			case l.Index == ours.Index && (l.Gone || !l.Carrier):
				stop()
				d.Log.Info("link is down", "link", l.Name)
				ours, stop = Link{Index: -1}, func() {}
			}
		}
	}
}

// start keeps a lease on the link until the function that it returns is
// called, which returns when all is cleared.
func (d *Daemon) start(ctx context.Context, l Link) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Log.Info("link is up", "link", l.Name)
		d.keep(ctx, l)
	}()
	return func() { cancel(); <-done }
}

// keep gets leases, one after the other, until ctx ends.
func (d *Daemon) keep(ctx context.Context, l Link) {
	wait := firstWait
	for ctx.Err() == nil {
		c, err := d.DHCP.Lease(ctx, l, false)
		if err == nil {
			err = d.apply(ctx, l, c)
		}
		if err != nil {
			if ctx.Err() == nil {
				d.Log.Warn("no lease", "link", l.Name, "err", err, "again", wait)
			}
			sleep(ctx, wait+rand.N(wait/4))
			wait = min(2*wait, lastWait)
			continue
		}
		wait = firstWait
		d.renew(ctx, l, c)
		d.offline(l)
	}
}

// renew holds a lease and returns when it has run out, was taken back, or ctx
// ended.
func (d *Daemon) renew(ctx context.Context, l Link, c Config) {
	expiry := time.Now().Add(c.Expire)
	next := c.Renew
	for sleep(ctx, next) {
		asked := time.Now()
		fresh, err := d.DHCP.Lease(ctx, l, true)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if err := d.apply(ctx, l, fresh); err != nil {
				d.Log.Warn("lease cannot be used", "link", l.Name, "err", err)
				return
			}
			expiry, next = asked.Add(fresh.Expire), fresh.Renew
			continue
		case errors.Is(err, ErrRefused), !time.Now().Before(expiry):
			d.Log.Warn("lease is lost", "link", l.Name, "err", err)
			return
		}
		// RFC 2131, 4.4.5: half of the time that remains, at least a minute.
		next = min(max(time.Until(expiry)/2, time.Minute), time.Until(expiry))
		d.Log.Warn("lease was not renewed", "link", l.Name, "err", err, "again", next.Round(time.Second))
	}
}

// sleep waits and tells whether ctx goes on.
func sleep(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// apply makes a lease the device's configuration and says so.
func (d *Daemon) apply(ctx context.Context, l Link, c Config) error {
	if err := d.Kernel.Apply(l, c); err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(d.Resolv, resolvConf(c), 0o644); err != nil {
		return err
	}
	props := []property.Property{{Name: "net.hostname", Value: property.Clip(c.Host)}}
	for i := range 2 {
		p := property.Property{Name: fmt.Sprintf("net.dns%d", i+1)}
		if i < len(c.DNS) {
			p.Value = c.DNS[i].String()
		}
		props = append(props, p)
	}
	online := "0"
	if len(c.Routers)+len(c.Routes) > 0 {
		online = "1"
	}
	// The last says that all of it is there.
	for _, p := range append(props, property.Property{Name: "net.online", Value: online}) {
		if err := d.Set(ctx, p.Name, p.Value); err != nil {
			return err
		}
	}
	d.Log.Info("online", "link", l.Name, "address", c.Address, "routers", c.Routers, "dns", c.DNS, "lease", c.Expire)
	return nil
}

// offline undoes apply.
func (d *Daemon) offline(l Link) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.Set(ctx, "net.online", "0"); err != nil {
		d.Log.Error("property", "err", err)
	}
	if err := d.Kernel.Clear(l); err != nil {
		d.Log.Warn("clear link", "link", l.Name, "err", err)
	}
}

// resolvConf returns a resolv.conf: at most three servers are read from it
// (resolv.conf(5)).
func resolvConf(c Config) []byte {
	var b strings.Builder
	if len(c.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(c.Search, " "))
	}
	for i, s := range c.DNS {
		if i < 3 {
			fmt.Fprintf(&b, "nameserver %s\n", s)
		}
	}
	return []byte(b.String())
}
