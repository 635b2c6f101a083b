package image

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"mios"
	"mios/format/avb"
	"mios/internal/digest"
)

// A partition is one that has been built.
type partition struct {
	name    string // without slot suffix
	file    string
	size    int64 // of the image, bytes
	limit   int64 // of the partition, bytes
	logical bool  // lies in super
	desc    avb.Descriptor
}

// A Manifest is what build.json in a build's folder says: all that the later
// stages need to know of a build.
type Manifest struct {
	Product       string      `json:"product"`
	Class         string      `json:"class"`
	Base          string      `json:"base,omitempty"` // "" is core
	Arch          mios.Arch   `json:"arch"`
	Variant       string      `json:"variant"`
	Version       string      `json:"version"`
	BuildTime     int64       `json:"build_time"` // seconds since 1970
	Channel       string      `json:"channel"`
	Regions       []string    `json:"regions,omitempty"`
	RollbackIndex uint64      `json:"rollback_index"`
	AVBKey        mios.Digest `json:"avb_key"` // SHA-256 of avb_pkmd.bin
	SuperSize     int64       `json:"super_size"`
	UserdataSize  int64       `json:"userdata_size"`
	Partitions    []Partition `json:"partitions"`

	// Of base aosp:
	SecurityPatch string  `json:"security_patch,omitempty"` // YYYY-MM-DD
	VirtualAB     bool    `json:"virtual_ab,omitempty"`     // slots share super, with snapshots
	Groups        []Group `json:"groups,omitempty"`         // of the logical partitions of a slot
}

// A Group limits logical partitions of one slot together.
type Group struct {
	Name       string   `json:"name"` // without slot suffix
	Size       int64    `json:"size"` // bytes
	Partitions []string `json:"partitions"`
}

// A Partition is one of a build's images.
type Partition struct {
	Name    string      `json:"name"` // without slot suffix
	File    string      `json:"file"` // in the build's folder
	Size    int64       `json:"size"` // of the image, bytes
	SHA256  mios.Digest `json:"sha256"`
	Limit   int64       `json:"partition_size"` // bytes
	Logical bool        `json:"logical"`        // lies in super
}

func (b *builder) manifest() error {
	pub, err := b.avbPublicKey()
	if err != nil {
		return err
	}
	p := b.Product.Partitions
	m := &Manifest{
		Product: b.Product.Name, Class: b.Product.Class, Arch: b.Arch, Variant: b.Variant, Version: b.Version,
		BuildTime: b.BuildTime.Unix(), Channel: b.Product.Channel, Regions: b.Product.Regions,
		RollbackIndex: b.rollbackIndex(), AVBKey: mios.Sum(pub), SuperSize: int64(p.Super), UserdataSize: int64(p.Userdata),
	}
	for _, p := range b.parts {
		sum, err := digest.File(b.path(p.file))
		if err != nil {
			return err
		}
		m.Partitions = append(m.Partitions, Partition{p.name, p.file, p.size, sum, p.limit, p.logical})
	}
	if err := b.spdx(m); err != nil {
		return err
	}
	b.out = m
	return m.write(b.dir)
}

// write writes the manifest into a build's folder.
func (m *Manifest) write(dir string) error {
	out, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, BuildFile), append(out, '\n'), 0o644)
}

// An Input is something that a build was made from.
type Input struct {
	Name, Version string // Version is "" where there is none
	License       string // SPDX; "" of a vendor's data, which is no work
	Comment       string
	SHA256        mios.Digest
}

// WriteManifest writes build.json and the list of all inputs, as [Build] does,
// for a build that was made by another way.
func WriteManifest(dir string, m *Manifest, inputs []Input) error {
	doc := m.document()
	for _, in := range inputs {
		doc.add(spdxPackage{
			Name: in.Name, Version: in.Version, Declared: cmp.Or(in.License, noLicense),
			Checksums: []spdxChecksum{{"SHA256", in.SHA256.String()}}, Comment: in.Comment,
		})
	}
	for _, p := range m.Partitions {
		doc.add(spdxPackage{
			Name: p.File, Version: m.Version, Declared: "NOASSERTION",
			Checksums: []spdxChecksum{{"SHA256", p.SHA256.String()}}, Comment: "an image of this build",
		})
	}
	return errors.Join(doc.write(dir, m), m.write(dir))
}

// ReadManifest reads the manifest in a build's folder.
func ReadManifest(dir string) (*Manifest, error) {
	name := filepath.Join(dir, BuildFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s holds no build: make one with \"mios build\": %w", dir, err)
	}
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	m := new(Manifest)
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("%s: %v: %w", name, err, mios.ErrInvalid)
	}
	for _, p := range m.Partitions {
		if p.File != filepath.Base(p.File) || p.Name == "" || p.Size < 0 || p.Size > p.Limit {
			return nil, fmt.Errorf("%s: partition %q in file %q: %w", name, p.Name, p.File, mios.ErrInvalid)
		}
	}
	return m, nil
}

// GroupSize is how many bytes of super the logical partitions of a slot may
// take: what metadata leaves, halved.
func (m *Manifest) GroupSize() int64 { return max(0, m.SuperSize-superMetadata) / 2 }

// SuperGroups returns the groups of logical partitions: of base core one, with
// all of them.
func (m *Manifest) SuperGroups() []Group {
	if m.Base == "aosp" {
		return m.Groups
	}
	g := Group{Name: GroupName, Size: m.GroupSize()}
	for _, p := range m.Partitions {
		if p.Logical {
			g.Partitions = append(g.Partitions, p.Name)
		}
	}
	return []Group{g}
}

// Find returns the partition of that name, or nil.
func (m *Manifest) Find(name string) *Partition {
	for i := range m.Partitions {
		if m.Partitions[i].Name == name {
			return &m.Partitions[i]
		}
	}
	return nil
}

// digestHex returns the SHA-256 of b in hexadecimal.
func digestHex(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
