package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mios/internal/testkit"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// fake is a kernel, a DHCP server and a property service that note what
// happens, with the seconds since the start.
type fake struct {
	start time.Time
	links chan Link

	mu     sync.Mutex
	reply  func(renew bool) (Config, error)
	events []string
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, fmt.Sprintf("%d ", int(time.Since(f.start).Seconds()))+fmt.Sprintf(format, args...))
}

func (f *fake) answer(reply func(renew bool) (Config, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply = reply
}

func (f *fake) take() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.events
	f.events = nil
	return e
}

func (f *fake) Watch(context.Context) (<-chan Link, error) { return f.links, nil }
func (f *fake) Up(l Link) error                            { f.note("up %s", l.Name); return nil }
func (f *fake) Apply(l Link, c Config) error               { f.note("apply %s %v", l.Name, c.Address); return nil }
func (f *fake) Clear(l Link) error                         { f.note("clear %s", l.Name); return nil }

func (f *fake) Lease(_ context.Context, _ Link, renew bool) (Config, error) {
	f.mu.Lock()
	reply := f.reply
	f.mu.Unlock()
	c, err := reply(renew)
	f.note("lease renew=%v %v", renew, err)
	return c, err
}

func (f *fake) set(_ context.Context, name, value string) error {
	if name == "net.online" {
		f.note("online=%s", value)
	}
	return nil
}

var (
	lo   = Link{Index: 1, Name: "lo", Loopback: true, Carrier: true}
	eth0 = Link{Index: 2, Name: "eth0", Ethernet: true}
	good = Config{
		Address: netip.MustParsePrefix("10.0.2.15/24"), Routers: []netip.Addr{netip.MustParseAddr("10.0.2.2")},
		DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}, Search: []string{"lan"}, Renew: 50 * time.Second, Expire: 100 * time.Second,
	}
)

// run runs a daemon in a bubble of its own time.
func run(t *testing.T, test func(t *testing.T, f *fake, resolv string)) {
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	synctest.Test(t, func(t *testing.T) {
		f := &fake{start: time.Now(), links: make(chan Link), reply: func(bool) (Config, error) { return good, nil }}
		d := &Daemon{Kernel: f, DHCP: f, Set: f.set, Resolv: resolv, Log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		test(t, f, resolv)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("events\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func up(l Link) Link { l.Carrier = true; return l }

func TestLeaseIsRenewed(t *testing.T) {
	run(t, func(t *testing.T, f *fake, resolv string) {
		f.links <- lo
		f.links <- eth0
		want(t, f.take(), "0 up lo", "0 up eth0")
		f.links <- up(eth0)
		want(t, f.take(), "0 lease renew=false <nil>", "0 apply eth0 10.0.2.15/24", "0 online=1")
		f.links <- Link{Index: 3, Name: "eth1", Ethernet: true, Carrier: true} // one is enough
		want(t, f.take(), "0 up eth1")
		if b, err := os.ReadFile(resolv); string(b) != "search lan\nnameserver 10.0.2.3\n" || err != nil {
			t.Errorf("resolv.conf = %q, %v", b, err)
		}
		time.Sleep(51 * time.Second)
		want(t, f.take(), "50 lease renew=true <nil>", "50 apply eth0 10.0.2.15/24", "50 online=1")
		f.links <- eth0 // the cable goes
		want(t, f.take(), "51 online=0", "51 clear eth0")
		f.links <- up(eth0)
		want(t, f.take(), "51 lease renew=false <nil>", "51 apply eth0 10.0.2.15/24", "51 online=1")
	})
}

func TestLeaseRunsOut(t *testing.T) {
	run(t, func(t *testing.T, f *fake, _ string) {
		f.links <- up(eth0)
		f.take()
		f.answer(func(bool) (Config, error) { return Config{}, errors.New("silence") })
		time.Sleep(100*time.Second + time.Millisecond)
		want(t, f.take(), "50 lease renew=true silence", "100 lease renew=true silence", "100 online=0", "100 clear eth0",
			"100 lease renew=false silence")
		f.answer(func(bool) (Config, error) { return good, nil })
		time.Sleep(2 * time.Second)
		want(t, f.take(), "101 lease renew=false <nil>", "101 apply eth0 10.0.2.15/24", "101 online=1")
		f.answer(func(renew bool) (Config, error) {
			if renew {
				return Config{}, ErrRefused
			}
			return good, nil
		})
		time.Sleep(51 * time.Second)
		got := f.take()
		if len(got) < 4 || !strings.HasSuffix(got[0], ErrRefused.Error()) || !strings.HasSuffix(got[1], "online=0") ||
			!strings.HasSuffix(got[3], "lease renew=false <nil>") {
			t.Errorf("after a refusal: %q", got)
		}
	})
}

func TestWaitGrows(t *testing.T) {
	run(t, func(t *testing.T, f *fake, _ string) {
		f.answer(func(bool) (Config, error) { return Config{}, errors.New("silence") })
		f.links <- up(eth0)
		time.Sleep(10 * time.Minute)
		if tries := len(f.take()); tries < 10 || tries > 20 {
			t.Errorf("%d tries in ten minutes, want 10 to 20", tries)
		}
	})
}

func TestConfigOf(t *testing.T) {
	ack, err := dhcpv4.New(
		dhcpv4.WithYourIP(net.IPv4(10, 0, 2, 15)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithRouter(net.IPv4(10, 0, 2, 2), net.IPv4zero),
		dhcpv4.WithDNS(net.IPv4(10, 0, 2, 3), net.IPv4bcast, net.IPv4(127, 0, 0, 1)),
		dhcpv4.WithLeaseTime(600),
		dhcpv4.WithOption(dhcpv4.OptDomainName("lan\nnameserver 6.6.6.6")),
		dhcpv4.WithOption(dhcpv4.OptHostName("box")),
		dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 0xdc})),
	)
	if err != nil {
		t.Fatal(err)
	}
	c, err := configOf(ack)
	want := Config{
		Address: netip.MustParsePrefix("10.0.2.15/24"), Routers: []netip.Addr{netip.MustParseAddr("10.0.2.2")},
		DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}, Host: "box", MTU: 1500, Renew: 5 * time.Minute, Expire: 10 * time.Minute,
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("configOf = %+v, %v, want %+v", c, err, want)
	}
	for _, ip := range []net.IP{net.IPv4zero, net.IPv4bcast, net.IPv4(224, 0, 0, 1), net.IPv4(127, 0, 0, 1), nil} {
		ack.YourIPAddr = ip
		if c, err := configOf(ack); err == nil {
			t.Errorf("address %v is accepted: %+v", ip, c)
		}
	}
}

func FuzzConfigOf(f *testing.F) {
	ack, err := dhcpv4.New(dhcpv4.WithYourIP(net.IPv4(10, 0, 2, 15)), dhcpv4.WithLeaseTime(1),
		dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: net.IPv4(1, 2, 3, 4)})))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ack.ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		ack, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		c, err := configOf(ack)
		if err != nil {
			return
		}
		if c.Renew <= 0 || c.Renew >= c.Expire || !c.Address.IsValid() {
			t.Errorf("configOf = %+v", c)
		}
		for line := range strings.Lines(string(resolvConf(c))) {
			if !strings.HasPrefix(line, "search ") && !strings.HasPrefix(line, "nameserver ") {
				t.Errorf("resolv.conf has the line %q", line)
			}
		}
	})
}

// TestNetlink holds that the kernel's loopback is seen; it changes nothing.
func TestNetlink(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	links, err := Netlink{}.Watch(ctx)
	if err != nil {
		t.Skipf("no netlink here: %v", err)
	}
	for l := range links {
		if l.Loopback {
			return
		}
	}
	t.Error("the kernel shows no loopback")
}
