package adb

import (
	"slices"
	"strings"
)

// A Banner is the payload of CNXN: who a peer is and what it can do.
type Banner struct {
	Type       string // "host" or "device", "recovery", "sideload", "bootloader"
	Properties []Property
	Features   []string
}

// A Property is a name and value of a banner, such as ro.product.model.
type Property struct{ Name, Value string }

// String returns the banner as it is sent: "TYPE::NAME=VALUE;...;features=A,B".
// Bytes of a value that would end it (';' and NUL) become '_'.
func (b Banner) String() string {
	clean := strings.NewReplacer(";", "_", "\x00", "_")
	var s strings.Builder
	s.WriteString(b.Type + "::")
	for _, p := range b.Properties {
		s.WriteString(p.Name + "=" + clean.Replace(p.Value) + ";")
	}
	return s.String() + "features=" + strings.Join(b.Features, ",")
}

// Has says whether the peer has a feature.
func (b Banner) Has(feature string) bool { return slices.Contains(b.Features, feature) }

// ParseBanner reads the payload of a CNXN. Like AOSP's it takes what it knows
// and skips the rest: old peers send "host::" and a NUL, and no properties.
func ParseBanner(payload []byte) Banner {
	s := strings.TrimRight(string(payload), "\x00")
	var b Banner
	var rest string
	b.Type, rest, _ = strings.Cut(s, ":")
	_, rest, _ = strings.Cut(rest, ":") // the serial number, unused
	for part := range strings.SplitSeq(rest, ";") {
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
		case name == "features":
			for f := range strings.SplitSeq(value, ",") {
				if f != "" {
					b.Features = append(b.Features, f)
				}
			}
		default:
			b.Properties = append(b.Properties, Property{name, value})
		}
	}
	return b
}
