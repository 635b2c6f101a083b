package qemu_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
)

// onTheWire returns the addresses that a device sent IP packets to, from a
// capture of its network in the pcap format.
func onTheWire(t *testing.T, file string) []netip.Addr {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const header, record, ethernet = 24, 16, 14
	if len(b) < header || binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 {
		t.Fatalf("%s is not a capture: %d bytes", file, len(b))
	}
	self := netip.MustParseAddr("10.0.2.15")
	var to []netip.Addr
	add := func(from, dst netip.Addr) {
		if (from == self || from.IsUnspecified() || from.Is6()) && !slices.Contains(to, dst) {
			to = append(to, dst)
		}
	}
	for b = b[header:]; len(b) >= record; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if n > len(b)-record {
			break // the last record is still being written
		}
		p := b[record : record+n]
		b = b[record+n:]
		if len(p) < ethernet {
			continue
		}
		kind, ip := binary.BigEndian.Uint16(p[12:]), p[ethernet:]
		switch {
		case kind == 0x0800 && len(ip) >= 20:
			add(netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20])))
		case kind == 0x86dd && len(ip) >= 40:
			add(netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40])))
		}
	}
	return to
}

// checkWire fails if a device talked to a host that its product does not name:
// the repository's, and beside it only what the network itself consists of
// (DHCP's broadcast, the name server that DHCP named, IPv6's link).
func checkWire(t *testing.T, file string) {
	t.Helper()
	to := onTheWire(t, file)
	if len(to) == 0 {
		t.Error("the capture has no packet of the device's: nothing was watched")
	}
	allowed := []string{"10.0.2.2", "10.0.2.3", "255.255.255.255"}
	var strangers []string
	for _, a := range to {
		link := a.Is6() && (a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.MustParseAddr("fec0::2"))
		if !link && !slices.Contains(allowed, a.String()) {
			strangers = append(strangers, a.String())
		}
	}
	if len(strangers) > 0 {
		t.Errorf("the device talked to %v, which its product does not name", strangers)
	}
	fmt.Fprintf(t.Output(), "on the wire: %v\n", to)
}
