package avbtool

import (
	"fmt"
	"strings"

	"mios/format/avb"
)

// chained reads the image of a chain partition beside the image file name.
func chained(name string, d *avb.ChainPartitionDescriptor) (*Metadata, string, error) {
	file, err := Sibling(name, d.PartitionName)
	if err != nil {
		return nil, "", err
	}
	m, err := Read(file)
	return m, file, err
}

// VBMetaDigest returns the digest over the vbmeta image of the image file and
// of its chain partitions, as the loader hands it to the OS in
// androidboot.vbmeta.digest.
func VBMetaDigest(name, hash string) ([]byte, error) {
	m, err := Read(name)
	if err != nil {
		return nil, err
	}
	images := [][]byte{m.Raw}
	for _, d := range m.Descriptors {
		if d, ok := d.(*avb.ChainPartitionDescriptor); ok {
			part, _, err := chained(name, d)
			if err != nil {
				return nil, err
			}
			images = append(images, part.Raw)
		}
	}
	return avb.VBMetaDigest(hash, images...)
}

// KernelCmdline returns what the vbmeta images of the image file and of its
// chain partitions put on the kernel's command line, variables not replaced.
func KernelCmdline(name string, hashtreeDisabled bool) (string, error) {
	m, err := Read(name)
	if err != nil {
		return "", err
	}
	not := avb.CmdlineOnlyIfHashtreeDisabled
	if hashtreeDisabled {
		not = avb.CmdlineOnlyIfHashtreeEnabled
	}
	var words []string
	add := func(d avb.Descriptor) {
		if d, ok := d.(*avb.KernelCmdlineDescriptor); ok && d.Flags&not == 0 {
			words = append(words, d.Cmdline)
		}
	}
	for _, d := range m.Descriptors {
		add(d)
		if d, ok := d.(*avb.ChainPartitionDescriptor); ok {
			part, _, err := chained(name, d)
			if err != nil {
				return "", err
			}
			for _, d := range part.Descriptors {
				add(d)
			}
		}
	}
	return strings.Join(words, " "), nil
}

// A PartitionDigest is what a descriptor says of a partition.
type PartitionDigest struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // hexadecimal: of all, or the hash tree's root
}

// PartitionDigests returns the digests of the image file's descriptors, and of
// those of its chain partitions, all the way down.
func PartitionDigests(name string) ([]PartitionDigest, error) {
	m, err := Read(name)
	if err != nil {
		return nil, err
	}
	return partitionDigests(name, m, map[string]bool{name: true})
}

func partitionDigests(name string, m *Metadata, seen map[string]bool) (out []PartitionDigest, err error) {
	for _, d := range m.Descriptors {
		switch d := d.(type) {
		case *avb.HashDescriptor:
			out = append(out, PartitionDigest{d.PartitionName, fmt.Sprintf("%x", d.Digest)})
		case *avb.HashtreeDescriptor:
			out = append(out, PartitionDigest{d.PartitionName, fmt.Sprintf("%x", d.RootDigest)})
		case *avb.ChainPartitionDescriptor:
			part, file, err := chained(name, d)
			if err != nil {
				return nil, err
			}
			if seen[file] {
				return nil, fmt.Errorf("%s: chained to more than once", file)
			}
			seen[file] = true
			below, err := partitionDigests(file, part, seen)
			if err != nil {
				return nil, err
			}
			out = append(out, below...)
		}
	}
	return out, nil
}
