package avbtool

import (
	"cmp"
	"crypto"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mios/format/avb"
)

// A Content says what a vbmeta image holds, beside the descriptor of the image
// that it is put into.
type Content struct {
	Algorithm             avb.Algorithm
	Key                   crypto.Signer // not used with [avb.None]
	PublicKeyMetadata     []byte
	RollbackIndex         uint64
	RollbackIndexLocation uint32
	Flags                 avb.Flags
	Release               string // as [Release]
	Chains                []*avb.ChainPartitionDescriptor
	Properties            []*avb.PropertyDescriptor
	Cmdlines              []string
	SetupRootfs           string   // image file whose hash tree's kernel command lines are added
	Include               []string // image files whose descriptors are taken over
}

// RequiredMinor returns the minor version of AVB 1 that a loader must know for
// the content, to which an image's own descriptor may add.
func (c *Content) RequiredMinor() (uint32, error) {
	minor := uint32(0)
	if c.RollbackIndexLocation > 0 {
		minor = 2
	}
	for _, d := range c.Chains {
		if d.Flags&avb.FlagDoNotUseAB != 0 {
			minor = max(minor, 3)
		}
	}
	for _, name := range c.Include {
		m, err := Read(name)
		if err != nil {
			return 0, err
		}
		minor = max(minor, m.RequiredMinor)
	}
	return minor, nil
}

// Make returns a signed vbmeta image of the content.
func Make(c *Content) ([]byte, error) { return c.encode(nil, nil) }

// encode returns the signed vbmeta image that has own as its first descriptor,
// if it is not nil, and sets up the hash tree of rootfs, if that is not nil.
func (c *Content) encode(own avb.Descriptor, rootfs *avb.HashtreeDescriptor) ([]byte, error) {
	minor, err := c.RequiredMinor()
	if err != nil {
		return nil, err
	}
	m := &avb.VBMeta{
		RequiredMinor: minor, RollbackIndex: c.RollbackIndex, RollbackIndexLocation: c.RollbackIndexLocation,
		Flags: c.Flags, Release: c.Release, PublicKeyMetadata: c.PublicKeyMetadata,
	}
	if own != nil {
		m.Descriptors = append(m.Descriptors, own)
	}
	if err := c.checkChains(); err != nil {
		return nil, err
	}
	for _, d := range c.Chains {
		m.Descriptors = append(m.Descriptors, d)
	}
	for _, d := range c.Properties {
		m.Descriptors = append(m.Descriptors, d)
	}
	if c.SetupRootfs != "" {
		other, err := Read(c.SetupRootfs)
		if err != nil {
			return nil, err
		}
		d := other.Hashtree()
		if d == nil {
			return nil, fmt.Errorf("%s: it has no hash tree to set up: give an image that mios avb add-hashtree made", c.SetupRootfs)
		}
		m.Descriptors = append(m.Descriptors, RootfsCmdlines(d)...)
	}
	if rootfs != nil {
		m.Descriptors = append(m.Descriptors, RootfsCmdlines(rootfs)...)
	}
	for _, s := range c.Cmdlines {
		m.Descriptors = append(m.Descriptors, &avb.KernelCmdlineDescriptor{Cmdline: s})
	}
	included, err := c.included()
	if err != nil {
		return nil, err
	}
	m.Descriptors = append(m.Descriptors, included...)
	if err := m.Sign(c.Key, c.Algorithm); err != nil {
		return nil, err
	}
	return m.Bytes()
}

func (c *Content) checkChains() error {
	used := map[uint32]string{c.RollbackIndexLocation: "the image itself"}
	for _, d := range c.Chains {
		if by, ok := used[d.RollbackIndexLocation]; ok {
			return fmt.Errorf("chain partition %s: rollback index location %d is that of %s: give each its own", d.PartitionName, d.RollbackIndexLocation, by)
		}
		used[d.RollbackIndexLocation] = d.PartitionName
	}
	return nil
}

// included returns the descriptors of other images: those of partitions last,
// by kind and name, and of two for the same partition the later.
func (c *Content) included() (out []avb.Descriptor, err error) {
	named := map[string]avb.Descriptor{}
	for _, name := range c.Include {
		m, err := Read(name)
		if err != nil {
			return nil, err
		}
		for _, d := range m.Descriptors {
			if key := partitionKey(d); key != "" {
				named[key] = d
			} else {
				out = append(out, d)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(named)) {
		out = append(out, named[key])
	}
	return out, nil
}

// partitionKey is what avbtool sorts the descriptors of partitions by; "" is
// for the others.
func partitionKey(d avb.Descriptor) string {
	switch d := d.(type) {
	case *avb.ChainPartitionDescriptor:
		return "AvbChainPartitionDescriptor_" + d.PartitionName
	case *avb.HashDescriptor:
		return "AvbHashDescriptor_" + d.PartitionName
	case *avb.HashtreeDescriptor:
		return "AvbHashtreeDescriptor_" + d.PartitionName
	}
	return ""
}

// RootfsCmdlines are the kernel command lines by which a kernel without a
// ramdisk mounts the partition of a hash tree as its root: with dm-verity, or
// without where it is disabled.
func RootfsCmdlines(d *avb.HashtreeDescriptor) []avb.Descriptor {
	blocks := d.ImageSize / uint64(cmp.Or(d.DataBlockSize, avb.BlockSize))
	const device = "PARTUUID=$(ANDROID_SYSTEM_PARTUUID)"
	words := []string{
		`dm="1 vroot none ro 1,0`, fmt.Sprint(d.ImageSize / 512), "verity", fmt.Sprint(d.DMVerityVersion), device, device,
		fmt.Sprint(d.DataBlockSize), fmt.Sprint(d.HashBlockSize), fmt.Sprint(blocks), fmt.Sprint(blocks),
		d.HashAlgorithm, fmt.Sprintf("%x", d.RootDigest), fmt.Sprintf("%x", d.Salt),
	}
	var options []string
	if d.Flags&avb.FlagCheckAtMostOnce != 0 {
		options = append(options, "check_at_most_once")
	}
	options = append(options, "$(ANDROID_VERITY_MODE)", "ignore_zero_blocks")
	if d.FECRoots > 0 {
		covered := fmt.Sprint(d.FECOffset / uint64(cmp.Or(d.DataBlockSize, avb.BlockSize)))
		options = append(options, "use_fec_from_device", device, "fec_roots", fmt.Sprint(d.FECRoots), "fec_blocks", covered, "fec_start", covered)
	}
	words = append(append(words, fmt.Sprint(len(options))), options...)
	return []avb.Descriptor{
		&avb.KernelCmdlineDescriptor{Flags: avb.CmdlineOnlyIfHashtreeEnabled, Cmdline: strings.Join(words, " ") + `" root=/dev/dm-0`},
		&avb.KernelCmdlineDescriptor{Flags: avb.CmdlineOnlyIfHashtreeDisabled, Cmdline: "root=" + device},
	}
}
