// Package chunks is the format of adaptive updates: a release's partitions as
// content-addressed chunks, from which a device with any other version makes
// the new one, fetching only what it has nowhere. Nothing in it depends on what
// a device has.
//
// A release has two files. The pack is the chunks one behind the other, in the
// order in which the partitions need them first: each once, as an xz stream of
// its own or, if that is not shorter, as it is. The index says which chunks a
// partition is made of: a root, which is small and for which somebody must
// vouch, and parts, one for a region of about a thousand chunks, which are
// fetched when a region is not already there as it should be. The root has the
// parts' hashes, the parts those of the chunks, and the root that of each whole
// partition.
//
// What a device can compute from the rest of a partition, dm-verity's hash tree
// and its FEC, is in no chunk.
//
// The format is ours; docs/adaptive.md specifies it.
package chunks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"mios"
	"mios/format/avb"
)

// Names of a release's files.
const (
	IndexFile = "chunks.index"
	PackFile  = "chunks.pack"
)

// Limits of the format.
const (
	MaxRoot       = 16 << 20 // bytes of a root
	MaxPart       = 1 << 20  // bytes of a part
	maxPartitions = 256
	maxName       = 64
	maxSize       = 1 << 42 // bytes of a partition, and of a pack
	maxAreas      = 2
	// regionChunks is how many chunks a region has that is not a partition's last.
	regionChunks = 1024
)

// A FormatError says where in a root or a part something is not as it must be.
// It wraps [mios.ErrInvalid].
type FormatError struct {
	What string // "root", "part"
	Off  int64
	Msg  string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("chunks: %s: offset %#x: %s", e.What, e.Off, e.Msg)
}

func (e *FormatError) Unwrap() error { return mios.ErrInvalid }

// An ID names a chunk by its content: the first half of its SHA-256, or zeros
// if all its bytes are zero. A whole SHA-256 stands over every partition.
type ID [16]byte

func (d ID) String() string { return hex.EncodeToString(d[:]) }

// Sum returns the name of a chunk's bytes.
func Sum(b []byte) ID {
	if allZero(b) {
		return ID{}
	}
	sum := sha256.Sum256(b)
	return ID(sum[:16])
}

// A Root is the beginning of an index.
type Root struct {
	Cutter     Cutter
	PackSize   int64 // bytes
	Partitions []Partition

	size int64 // bytes of its encoding
}

// A Partition is one that a release brings.
type Partition struct {
	Name    string // without a slot suffix
	Size    int64  // bytes
	SHA256  mios.Digest
	Areas   []Area // what is computed, in order
	Regions []Region
}

// A Kind says what an area is computed from.
type Kind uint8

// The kinds of areas.
const (
	HashTree Kind = 1 // dm-verity's, with a salt
	FEC      Kind = 2 // Reed-Solomon codes over what is before the area
)

func (k Kind) String() string {
	switch k {
	case HashTree:
		return "hash tree"
	case FEC:
		return "FEC"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Area is a part of a partition that no chunk brings.
type Area struct {
	Kind   Kind
	Offset int64  // bytes
	Size   int64  // bytes
	Covers int64  // bytes of the partition, from its start, that it is computed from
	Hash   string // of a hash tree: as avb.HashtreeDescriptor has it
	Salt   []byte // of a hash tree
	Roots  int    // of FEC: parity bytes a codeword
}

// A Region is a run of a partition's chunks.
type Region struct {
	Size     int64 // bytes of the partition, areas not counted
	Chunks   int
	PartSize int64 // bytes of its part in the index
	Part     mios.Digest
	// Sequence is the SHA-256 of what [Sequence] makes of the chunks: who has
	// the same chunks in the same order needs no part.
	Sequence mios.Digest
}

// AreasOf returns the areas of a partition that has the descriptor.
func AreasOf(d *avb.HashtreeDescriptor) []Area {
	areas := []Area{{
		Kind: HashTree, Offset: int64(d.TreeOffset), Size: int64(d.TreeSize), Covers: int64(d.ImageSize),
		Hash: d.HashAlgorithm, Salt: d.Salt,
	}}
	if d.FECSize > 0 {
		areas = append(areas, Area{
			Kind: FEC, Offset: int64(d.FECOffset), Size: int64(d.FECSize), Covers: int64(d.FECOffset), Roots: int(d.FECRoots),
		})
	}
	return areas
}

// A Span is a run of a partition's bytes.
type Span struct{ Offset, Size int64 }

// Spans returns what of the partition chunks bring: all that is outside its
// areas.
func (p *Partition) Spans() []Span {
	var spans []Span
	at := int64(0)
	for _, a := range p.Areas {
		if a.Offset > at {
			spans = append(spans, Span{at, a.Offset - at})
		}
		at = a.Offset + a.Size
	}
	if at < p.Size {
		spans = append(spans, Span{at, p.Size - at})
	}
	return spans
}

// A Chunk is a run of a partition's bytes.
type Chunk struct {
	Size int
	ID   ID
	// Pack and Packed are where in the pack it is, and how many bytes it has
	// there: as many as Size if it is not compressed.
	Pack   int64
	Packed int
}

// Zero tells whether all of the chunk's bytes are zero. Such a chunk is not in
// the pack, and its ID is all zeros too.
func (c *Chunk) Zero() bool { return c.ID == ID{} }

// Sequence hashes the chunks' sizes and names.
func Sequence(list []Chunk) mios.Digest {
	h := sha256.New()
	var b [20]byte
	for i := range list {
		c := &list[i]
		b[0], b[1], b[2], b[3] = byte(c.Size), byte(c.Size>>8), byte(c.Size>>16), byte(c.Size>>24)
		copy(b[4:], c.ID[:])
		h.Write(b[:])
	}
	return mios.Digest(h.Sum(nil))
}

// check says what is wrong with the root, or nothing.
func (r *Root) check() string {
	if err := r.Cutter.check(); err != nil {
		return err.Error()
	}
	if r.PackSize < 0 || r.PackSize > maxSize {
		return fmt.Sprintf("pack of %d bytes", r.PackSize)
	}
	if len(r.Partitions) == 0 || len(r.Partitions) > maxPartitions {
		return fmt.Sprintf("%d partitions", len(r.Partitions))
	}
	seen := map[string]bool{}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if seen[p.Name] {
			return fmt.Sprintf("partition %s is there twice", p.Name)
		}
		seen[p.Name] = true
		if why := p.check(); why != "" {
			return fmt.Sprintf("partition %q: %s", p.Name, why)
		}
	}
	return ""
}

func (p *Partition) check() string {
	switch {
	case !validName(p.Name):
		return "name is not of letters, digits, _ and -"
	case p.Size <= 0 || p.Size > maxSize:
		return fmt.Sprintf("%d bytes", p.Size)
	case len(p.Areas) > maxAreas:
		return fmt.Sprintf("%d areas", len(p.Areas))
	}
	at, inAreas := int64(0), int64(0)
	for i := range p.Areas {
		a := &p.Areas[i]
		if why := a.check(p, at); why != "" {
			return fmt.Sprintf("%v: %s", a.Kind, why)
		}
		at = a.Offset + a.Size
		inAreas += a.Size
	}
	left := p.Size - inAreas
	for i := range p.Regions {
		g := &p.Regions[i]
		last := i == len(p.Regions)-1
		switch {
		case g.Chunks <= 0 || g.Chunks > regionChunks || (!last && g.Chunks != regionChunks):
			return fmt.Sprintf("region %d: %d chunks", i, g.Chunks)
		case g.Size < int64(g.Chunks) || g.Size > left:
			return fmt.Sprintf("region %d: %d bytes, and %d are left", i, g.Size, left)
		case g.PartSize <= 0 || g.PartSize > MaxPart:
			return fmt.Sprintf("region %d: part of %d bytes", i, g.PartSize)
		}
		left -= g.Size
	}
	if left != 0 {
		return fmt.Sprintf("%d bytes are in no region", left)
	}
	return ""
}

func (a *Area) check(p *Partition, from int64) string {
	switch {
	case a.Size <= 0 || a.Offset < from || a.Offset > p.Size || a.Size > p.Size-a.Offset:
		return fmt.Sprintf("%d bytes at %d of %d", a.Size, a.Offset, p.Size)
	case a.Covers <= 0 || a.Covers > a.Offset || a.Covers%4096 != 0:
		return fmt.Sprintf("covers %d bytes and begins at %d", a.Covers, a.Offset)
	}
	switch a.Kind {
	case HashTree:
		n, err := avb.HashtreeSize(a.Covers, a.Hash)
		if err != nil {
			return err.Error()
		}
		if n != a.Size || len(a.Salt) > 255 || a.Roots != 0 {
			return fmt.Sprintf("%d bytes over %d, want %d", a.Size, a.Covers, n)
		}
	case FEC:
		if a.Roots < 2 || a.Roots > 24 || a.Hash != "" || len(a.Salt) > 0 {
			return fmt.Sprintf("%d roots", a.Roots)
		}
		if n := avb.FECSize(a.Covers, a.Roots); n != a.Size {
			return fmt.Sprintf("%d bytes over %d, want %d", a.Size, a.Covers, n)
		}
	default:
		return "is not known"
	}
	return ""
}

// allZero tells whether there is no other byte in b.
func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

// validName tells whether s is a partition's name.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}
