package avb

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

const descriptorHeaderSize = 16 // tag and length

// The layouts on disk after tag and length, big-endian. What follows them is
// the name, salt, digest and so on, then zeros to a multiple of 8.
type hashtreeLayout struct {
	DMVerityVersion                        uint32
	ImageSize, TreeOffset, TreeSize        uint64
	DataBlockSize, HashBlockSize, FECRoots uint32
	FECOffset, FECSize                     uint64
	HashAlgorithm                          [32]byte
	NameLen, SaltLen, DigestLen            uint32
	Flags                                  DescriptorFlags
	Reserved                               [60]byte
}

type hashLayout struct {
	ImageSize                   uint64
	HashAlgorithm               [32]byte
	NameLen, SaltLen, DigestLen uint32
	Flags                       DescriptorFlags
	Reserved                    [60]byte
}

type chainLayout struct {
	RollbackIndexLocation uint32
	NameLen, KeyLen       uint32
	Flags                 DescriptorFlags
	Reserved              [60]byte
}

type cmdlineLayout struct {
	Flags  CmdlineFlags
	Length uint32
}

type propertyLayout struct{ KeyLen, ValueLen uint64 }

// parseDescriptors reads the descriptors that fill b, which starts at off of
// the vbmeta image.
func parseDescriptors(b []byte, off int64) ([]Descriptor, error) {
	var ds []Descriptor
	for len(b) > 0 {
		if len(b) < descriptorHeaderSize {
			return nil, bad(off, "descriptor %d: %d bytes left, want %d", len(ds), len(b), descriptorHeaderSize)
		}
		tag, n := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		if n%8 != 0 || n > uint64(len(b)-descriptorHeaderSize) {
			return nil, bad(off+8, "descriptor %d: %d bytes, %d left", len(ds), n, len(b)-descriptorHeaderSize)
		}
		d, err := parseDescriptor(tag, b[descriptorHeaderSize:][:n], off+descriptorHeaderSize)
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
		b = b[descriptorHeaderSize+n:]
		off += descriptorHeaderSize + int64(n)
	}
	return ds, nil
}

func parseDescriptor(tag uint64, b []byte, off int64) (Descriptor, error) {
	c := &cursor{b: b, start: b, off: off}
	var d Descriptor
	switch tag {
	case TagProperty:
		var l propertyLayout
		c.fixed(&l)
		d = &PropertyDescriptor{Key: string(c.terminated(l.KeyLen)), Value: c.terminated(l.ValueLen)}
	case TagHashtree:
		var l hashtreeLayout
		c.fixed(&l)
		d = &HashtreeDescriptor{
			l.DMVerityVersion, l.ImageSize, l.TreeOffset, l.TreeSize,
			l.DataBlockSize, l.HashBlockSize, l.FECRoots, l.FECOffset, l.FECSize,
			c.text(l.HashAlgorithm[:]), c.name(l.NameLen), c.bytes(uint64(l.SaltLen)), c.bytes(uint64(l.DigestLen)), l.Flags,
		}
		c.zeros(l.Reserved[:])
	case TagHash:
		var l hashLayout
		c.fixed(&l)
		d = &HashDescriptor{
			l.ImageSize, c.text(l.HashAlgorithm[:]),
			c.name(l.NameLen), c.bytes(uint64(l.SaltLen)), c.bytes(uint64(l.DigestLen)), l.Flags,
		}
		c.zeros(l.Reserved[:])
	case TagKernelCmdline:
		var l cmdlineLayout
		c.fixed(&l)
		d = &KernelCmdlineDescriptor{l.Flags, c.name(l.Length)}
	case TagChainPartition:
		var l chainLayout
		c.fixed(&l)
		if c.err == nil && l.RollbackIndexLocation == 0 {
			c.err = bad(off, "chain partition descriptor with rollback index location 0")
		}
		d = &ChainPartitionDescriptor{l.RollbackIndexLocation, c.name(l.NameLen), c.bytes(uint64(l.KeyLen)), l.Flags}
		c.zeros(l.Reserved[:])
	default:
		return &UnknownDescriptor{tag, append([]byte(nil), b...)}, nil
	}
	if c.err == nil && (len(c.b) >= 8 || nonZero(c.b) >= 0) {
		c.fail("descriptor of tag %d: %d bytes too many, or padding that is not zero", tag, len(c.b))
	}
	if c.err != nil {
		return nil, c.err
	}
	return d, nil
}

// cursor takes a descriptor apart; after its first error it yields nothing.
type cursor struct {
	b, start []byte
	off      int64 // of start in the vbmeta image
	err      error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = bad(c.off+int64(len(c.start)-len(c.b)), format, args...)
	}
}

func (c *cursor) fixed(v any) {
	n, err := binary.Decode(c.b, binary.BigEndian, v)
	if err != nil {
		c.fail("descriptor: %d bytes, want at least %d", len(c.b), binary.Size(v))
		return
	}
	c.b = c.b[n:]
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.fail("descriptor: field of %d bytes, %d left", n, len(c.b))
	}
	if c.err != nil {
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) bytes(n uint64) []byte { return append([]byte(nil), c.take(n)...) }

func (c *cursor) name(n uint32) string {
	b := c.take(uint64(n))
	if !utf8.Valid(b) {
		c.fail("descriptor: text is not UTF-8")
	}
	return string(b)
}

// terminated returns a field of n bytes that a NUL follows.
func (c *cursor) terminated(n uint64) []byte {
	b := c.bytes(n)
	if nul := c.take(1); c.err == nil && nul[0] != 0 {
		c.fail("property descriptor: no NUL at the end")
	}
	return b
}

func (c *cursor) text(field []byte) string {
	s, err := cString(field, c.off)
	if err != nil && c.err == nil {
		c.err = err
	}
	return s
}

func (c *cursor) zeros(field []byte) {
	if nonZero(field) >= 0 {
		c.fail("descriptor: reserved field is not zero")
	}
}

// appendDescriptor appends the encoded descriptor to b.
func appendDescriptor(b []byte, d Descriptor) ([]byte, error) {
	body, err := d.body()
	if err != nil {
		return nil, err
	}
	body = append(body, make([]byte, roundUp(len(body), 8)-len(body))...)
	b = binary.BigEndian.AppendUint64(b, d.Tag())
	b = binary.BigEndian.AppendUint64(b, uint64(len(body)))
	return append(b, body...), nil
}

// pack encodes a layout and what follows it.
func pack(layout any, parts ...[]byte) []byte {
	b, _ := binary.Append(nil, binary.BigEndian, layout) // cannot fail: layouts are of fixed size
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func algorithmField(name string) (f [32]byte, err error) {
	if len(name) >= len(f) {
		return f, fmt.Errorf("hash algorithm %q: name too long", name)
	}
	copy(f[:], name)
	return f, nil
}

func (d *PropertyDescriptor) body() ([]byte, error) {
	return pack(propertyLayout{uint64(len(d.Key)), uint64(len(d.Value))}, []byte(d.Key), []byte{0}, d.Value, []byte{0}), nil
}

func (d *HashtreeDescriptor) body() ([]byte, error) {
	alg, err := algorithmField(d.HashAlgorithm)
	return pack(hashtreeLayout{
		d.DMVerityVersion, d.ImageSize, d.TreeOffset, d.TreeSize,
		d.DataBlockSize, d.HashBlockSize, d.FECRoots, d.FECOffset, d.FECSize, alg,
		uint32(len(d.PartitionName)), uint32(len(d.Salt)), uint32(len(d.RootDigest)), d.Flags, [60]byte{},
	}, []byte(d.PartitionName), d.Salt, d.RootDigest), err
}

func (d *HashDescriptor) body() ([]byte, error) {
	alg, err := algorithmField(d.HashAlgorithm)
	return pack(hashLayout{
		d.ImageSize, alg, uint32(len(d.PartitionName)), uint32(len(d.Salt)), uint32(len(d.Digest)), d.Flags, [60]byte{},
	}, []byte(d.PartitionName), d.Salt, d.Digest), err
}

func (d *KernelCmdlineDescriptor) body() ([]byte, error) {
	return pack(cmdlineLayout{d.Flags, uint32(len(d.Cmdline))}, []byte(d.Cmdline)), nil
}

func (d *ChainPartitionDescriptor) body() ([]byte, error) {
	if d.RollbackIndexLocation == 0 {
		return nil, fmt.Errorf("chain partition %s: rollback index location 0 is the top level's: use 1 to 31", d.PartitionName)
	}
	return pack(chainLayout{
		d.RollbackIndexLocation, uint32(len(d.PartitionName)), uint32(len(d.PublicKey)), d.Flags, [60]byte{},
	}, []byte(d.PartitionName), d.PublicKey), nil
}

func (d *UnknownDescriptor) body() ([]byte, error) {
	if d.Number <= TagChainPartition || len(d.Data)%8 != 0 {
		return nil, fmt.Errorf("unknown descriptor of tag %d with %d bytes", d.Number, len(d.Data))
	}
	return append([]byte(nil), d.Data...), nil
}
