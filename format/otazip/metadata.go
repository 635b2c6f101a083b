package otazip

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mios/internal/protowire"
)

// A Type is AOSP's OtaMetadata.OtaType.
type Type int64

// The types.
const (
	Unknown Type = 0
	AB      Type = 1 // for devices with slots
	Block   Type = 2
	Brick   Type = 3
)

func (t Type) String() string {
	if names := [...]string{"UNKNOWN", "AB", "BLOCK", "BRICK"}; t >= 0 && int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", int64(t))
}

// Metadata is AOSP's OtaMetadata: what a package is from and to.
type Metadata struct {
	Type          Type
	Wipe          bool // user data
	Downgrade     bool // the build it brings is older
	PropertyFiles []PropertyFile
	Precondition  DeviceState // what may take it
	Postcondition DeviceState // what it brings
	Retrofit      bool        // of dynamic partitions
	RequiredCache int64       // bytes; of devices without slots
	SPLDowngrade  bool        // of the security patch level, permitted

	unknown []byte
	written uint // bit 0: precondition, 1: postcondition, though empty
}

// A PropertyFile is a list of where pieces are in the package, under its name:
// "payload.bin:1484:2189,metadata:69:696", NAME:OFFSET:SIZE, in bytes.
type PropertyFile struct{ Name, Value string }

// A DeviceState is AOSP's DeviceState.
type DeviceState struct {
	Device        []string // ro.product.device, of each that the package is for
	Build         []string // fingerprints
	Incremental   string   // ro.build.version.incremental
	Timestamp     int64    // of the build, in seconds since 1970
	SDKLevel      string
	SecurityPatch string // YYYY-MM-DD
	Partitions    []PartitionState

	unknown []byte
}

// A PartitionState is AOSP's PartitionState.
type PartitionState struct {
	Name    string
	Device  []string
	Build   []string // fingerprints
	Version string   // its build's time, in seconds since 1970; of a boot image its kernel's

	unknown []byte
}

// ParseMetadata reads metadata.pb strictly: what it accepts, Encode gives back
// byte for byte.
func ParseMetadata(b []byte) (*Metadata, error) {
	m := new(Metadata)
	if err := decode(MetadataProtoName, b, m, &m.unknown); err != nil {
		return nil, err
	}
	return m, nil
}

// Encode returns the message.
func (m *Metadata) Encode() []byte { return m.encode() }

func (m *Metadata) field(x *protowire.Field) (bool, error) {
	switch x.Num {
	case 1:
		return number(x, (*int64)(&m.Type))
	case 2:
		return boolean(x, &m.Wipe)
	case 3:
		return boolean(x, &m.Downgrade)
	case 4:
		p := new(PropertyFile)
		if err := want(x, protowire.Bytes); err != nil {
			return true, err
		}
		err := decode(MetadataProtoName, x.B, p, new([]byte))
		m.PropertyFiles = append(m.PropertyFiles, *p)
		return true, err
	case 5:
		m.written |= 1
		return m.Precondition.read(x)
	case 6:
		m.written |= 2
		return m.Postcondition.read(x)
	case 7:
		return boolean(x, &m.Retrofit)
	case 8:
		return number(x, &m.RequiredCache)
	case 9:
		return boolean(x, &m.SPLDowngrade)
	}
	return false, nil
}

func (m *Metadata) encode() []byte {
	b := appendNumber(nil, 1, int64(m.Type))
	b = appendBool(b, 2, m.Wipe)
	b = appendBool(b, 3, m.Downgrade)
	for _, p := range m.PropertyFiles {
		b = protowire.AppendBytes(b, 4, p.encode())
	}
	for i, s := range []*DeviceState{&m.Precondition, &m.Postcondition} {
		if e := s.encode(); len(e) > 0 || m.written&(1<<i) != 0 {
			b = protowire.AppendBytes(b, protowire.Number(5+i), e)
		}
	}
	b = appendBool(b, 7, m.Retrofit)
	b = appendNumber(b, 8, m.RequiredCache)
	b = appendBool(b, 9, m.SPLDowngrade)
	return append(b, m.unknown...)
}

func (p *PropertyFile) field(x *protowire.Field) (bool, error) {
	switch x.Num {
	case 1:
		return text(x, &p.Name)
	case 2:
		return text(x, &p.Value)
	}
	return false, nil
}

// encode writes an entry of a map: both fields, also empty ones.
func (p *PropertyFile) encode() []byte {
	return protowire.AppendBytes(protowire.AppendBytes(nil, 1, p.Name), 2, p.Value)
}

func (s *DeviceState) read(x *protowire.Field) (bool, error) {
	if err := want(x, protowire.Bytes); err != nil {
		return true, err
	}
	return true, decode(MetadataProtoName, x.B, s, &s.unknown)
}

func (s *DeviceState) field(x *protowire.Field) (bool, error) {
	switch x.Num {
	case 1:
		return texts(x, &s.Device)
	case 2:
		return texts(x, &s.Build)
	case 3:
		return text(x, &s.Incremental)
	case 4:
		return number(x, &s.Timestamp)
	case 5:
		return text(x, &s.SDKLevel)
	case 6:
		return text(x, &s.SecurityPatch)
	case 7:
		if err := want(x, protowire.Bytes); err != nil {
			return true, err
		}
		var p PartitionState
		err := decode(MetadataProtoName, x.B, &p, &p.unknown)
		s.Partitions = append(s.Partitions, p)
		return true, err
	}
	return false, nil
}

func (s *DeviceState) encode() []byte {
	b := appendTexts(nil, 1, s.Device)
	b = appendTexts(b, 2, s.Build)
	b = appendText(b, 3, s.Incremental)
	b = appendNumber(b, 4, s.Timestamp)
	b = appendText(b, 5, s.SDKLevel)
	b = appendText(b, 6, s.SecurityPatch)
	for i := range s.Partitions {
		b = protowire.AppendBytes(b, 7, s.Partitions[i].encode())
	}
	return append(b, s.unknown...)
}

func (p *PartitionState) field(x *protowire.Field) (bool, error) {
	switch x.Num {
	case 1:
		return text(x, &p.Name)
	case 2:
		return texts(x, &p.Device)
	case 3:
		return texts(x, &p.Build)
	case 4:
		return text(x, &p.Version)
	}
	return false, nil
}

func (p *PartitionState) encode() []byte {
	b := appendText(nil, 1, p.Name)
	b = appendTexts(b, 2, p.Device)
	b = appendTexts(b, 3, p.Build)
	b = appendText(b, 4, p.Version)
	return append(b, p.unknown...)
}

// Text returns the metadata as updaters of old read it: KEY=VALUE lines, sorted.
func (m *Metadata) Text() string {
	yes := func(b bool) string { return map[bool]string{true: "yes"}[b] }
	kind := m.Type.String()
	if m.Type != AB && m.Type != Block {
		kind = ""
	}
	lines := map[string]string{
		"ota-type": kind, "ota-wipe": yes(m.Wipe), "ota-retrofit-dynamic-partitions": yes(m.Retrofit),
		"ota-downgrade": yes(m.Downgrade), "spl-downgrade": yes(m.SPLDowngrade),
	}
	maps.DeleteFunc(lines, func(_, v string) bool { return v == "" })
	lines["ota-required-cache"] = strconv.FormatInt(m.RequiredCache, 10)
	post, pre := &m.Postcondition, &m.Precondition
	lines["post-build"] = strings.Join(post.Build, "|")
	lines["post-build-incremental"] = post.Incremental
	lines["post-sdk-level"] = post.SDKLevel
	lines["post-security-patch-level"] = post.SecurityPatch
	lines["post-timestamp"] = strconv.FormatInt(post.Timestamp, 10)
	lines["pre-device"] = strings.Join(pre.Device, "|")
	if len(pre.Build) > 0 {
		lines["pre-build"] = strings.Join(pre.Build, "|")
		lines["pre-build-incremental"] = pre.Incremental
	}
	for _, p := range m.PropertyFiles {
		lines[p.Name] = p.Value
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s=%s\n", k, lines[k])
	}
	return b.String()
}
