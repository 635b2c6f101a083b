package avbtool

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"mios/format/avb"
)

// Info is what an image's AVB metadata says.
type Info struct {
	File                  string       `json:"file"`
	Size                  int64        `json:"size"` // bytes, of the expanded image
	Sparse                bool         `json:"sparse"`
	Footer                *FooterInfo  `json:"footer,omitempty"`
	VBMetaSize            int          `json:"vbmeta_size"`
	RequiredVersion       string       `json:"minimum_libavb_version"`
	Algorithm             string       `json:"algorithm"`
	Signature             string       `json:"signature"` // the result of verifying it, as "OK" or "OK_NOT_SIGNED"
	PublicKeySHA1         string       `json:"public_key_sha1,omitempty"`
	RollbackIndex         uint64       `json:"rollback_index"`
	RollbackIndexLocation uint32       `json:"rollback_index_location"`
	Flags                 uint32       `json:"flags"`
	Release               string       `json:"release"`
	Descriptors           []Descriptor `json:"descriptors"`
	Certificates          []CertInfo   `json:"certificates,omitempty"` // avb_cert: product intermediate key, product signing key

	metadata *Metadata
}

// FooterInfo is what a footer says, in bytes.
type FooterInfo struct {
	OriginalImageSize uint64 `json:"original_image_size"`
	VBMetaOffset      uint64 `json:"vbmeta_offset"`
	VBMetaSize        uint64 `json:"vbmeta_size"`
}

// A Descriptor is a descriptor for JSON: of its fields those of its kind.
type Descriptor struct {
	Kind                  string    `json:"kind"` // property, hashtree, hash, kernel_cmdline, chain_partition, unknown
	Partition             string    `json:"partition,omitempty"`
	ImageSize             uint64    `json:"image_size,omitempty"`
	HashAlgorithm         string    `json:"hash_algorithm,omitempty"`
	Salt                  string    `json:"salt,omitempty"`
	Digest                string    `json:"digest,omitempty"` // of a hash tree the root
	Tree                  *TreeInfo `json:"tree,omitempty"`
	Flags                 uint32    `json:"flags"`
	Key                   string    `json:"key,omitempty"`
	Value                 string    `json:"value,omitempty"` // what is not UTF-8 as hexadecimal, in value_hex
	ValueHex              string    `json:"value_hex,omitempty"`
	Cmdline               string    `json:"cmdline,omitempty"`
	RollbackIndexLocation uint32    `json:"rollback_index_location,omitempty"`
	PublicKeySHA1         string    `json:"public_key_sha1,omitempty"`
	Tag                   uint64    `json:"tag,omitempty"` // of an unknown one
}

// TreeInfo says where a hash tree and FEC are, in bytes.
type TreeInfo struct {
	Offset    uint64 `json:"offset"`
	Size      uint64 `json:"size"`
	FECRoots  uint32 `json:"fec_roots"`
	FECOffset uint64 `json:"fec_offset"`
	FECSize   uint64 `json:"fec_size"`
}

// CertInfo is what a certificate of the avb_cert extension says.
type CertInfo struct {
	PublicKeySHA1 string `json:"public_key_sha1"`
	Subject       string `json:"subject"` // hexadecimal
	Usage         string `json:"usage"`   // hexadecimal
	KeyVersion    uint64 `json:"key_version"`
}

// Inspect reads the metadata of an image file.
func Inspect(name string) (*Info, error) {
	m, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	v, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	result, _ := avb.VerifyVBMeta(v.Raw)
	i := &Info{
		File: name, Size: m.Size, Sparse: m.Sparse(), VBMetaSize: len(v.Raw),
		RequiredVersion: fmt.Sprintf("%d.%d", avb.VersionMajor, v.RequiredMinor),
		Algorithm:       v.Algorithm.String(), Signature: result.String(),
		RollbackIndex: v.RollbackIndex, RollbackIndexLocation: v.RollbackIndexLocation, Flags: uint32(v.Flags), Release: v.Release,
		Descriptors: []Descriptor{}, metadata: v,
	}
	if f := v.Footer; f != nil {
		i.Footer = &FooterInfo{f.OriginalImageSize, f.VBMetaOffset, f.VBMetaSize}
	}
	if len(v.PublicKey) > 0 {
		i.PublicKeySHA1 = keySHA1(v.PublicKey)
	}
	for _, d := range v.Descriptors {
		i.Descriptors = append(i.Descriptors, describe(d))
	}
	if certs, err := avb.ParseCertMetadata(v.PublicKeyMetadata); err == nil { // else it is a vendor's own
		for _, c := range []*avb.Certificate{certs.Intermediate, certs.Signing} {
			i.Certificates = append(i.Certificates, CertInfo{keySHA1(c.PublicKey), hex.EncodeToString(c.Subject[:]), hex.EncodeToString(c.Usage[:]), c.KeyVersion})
		}
	}
	return i, nil
}

// PublicKey returns the key in the image, in AVB's encoding, or nothing.
func (i *Info) PublicKey() []byte { return i.metadata.PublicKey }

func describe(d avb.Descriptor) Descriptor {
	switch d := d.(type) {
	case *avb.PropertyDescriptor:
		if utf8.Valid(d.Value) {
			return Descriptor{Kind: "property", Key: d.Key, Value: string(d.Value)}
		}
		return Descriptor{Kind: "property", Key: d.Key, ValueHex: hex.EncodeToString(d.Value)}
	case *avb.HashtreeDescriptor:
		return Descriptor{
			Kind: "hashtree", Partition: d.PartitionName, ImageSize: d.ImageSize, HashAlgorithm: d.HashAlgorithm,
			Salt: hex.EncodeToString(d.Salt), Digest: hex.EncodeToString(d.RootDigest), Flags: uint32(d.Flags),
			Tree: &TreeInfo{d.TreeOffset, d.TreeSize, d.FECRoots, d.FECOffset, d.FECSize},
		}
	case *avb.HashDescriptor:
		return Descriptor{
			Kind: "hash", Partition: d.PartitionName, ImageSize: d.ImageSize, HashAlgorithm: d.HashAlgorithm,
			Salt: hex.EncodeToString(d.Salt), Digest: hex.EncodeToString(d.Digest), Flags: uint32(d.Flags),
		}
	case *avb.KernelCmdlineDescriptor:
		return Descriptor{Kind: "kernel_cmdline", Cmdline: d.Cmdline, Flags: uint32(d.Flags)}
	case *avb.ChainPartitionDescriptor:
		return Descriptor{
			Kind: "chain_partition", Partition: d.PartitionName, RollbackIndexLocation: d.RollbackIndexLocation,
			PublicKeySHA1: keySHA1(d.PublicKey), Flags: uint32(d.Flags),
		}
	}
	return Descriptor{Kind: "unknown", Tag: d.Tag()}
}

// WriteAVBTool writes what "avbtool info_image" prints, with cert what its
// --cert adds.
func (i *Info) WriteAVBTool(w io.Writer, cert bool) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-26s"+format+"\n", append([]any{label}, args...)...)
	}
	v := i.metadata
	if f := i.Footer; f != nil {
		line("Footer version:", "1.0")
		line("Image size:", "%d bytes", i.Size)
		line("Original image size:", "%d bytes", f.OriginalImageSize)
		line("VBMeta offset:", "%d", f.VBMetaOffset)
		line("VBMeta size:", "%d bytes", f.VBMetaSize)
		b.WriteString("--\n")
	}
	sparse := ""
	if i.Sparse {
		sparse = " (Sparse)"
	}
	auth, aux := v.BlockSizes()
	line("Minimum libavb version:", "%s%s", i.RequiredVersion, sparse)
	line("Header Block:", "%d bytes", avb.HeaderSize)
	line("Authentication Block:", "%d bytes", auth)
	line("Auxiliary Block:", "%d bytes", aux)
	if i.PublicKeySHA1 != "" {
		line("Public key (sha1):", "%s", i.PublicKeySHA1)
	}
	line("Algorithm:", "%s", i.Algorithm)
	line("Rollback Index:", "%d", i.RollbackIndex)
	line("Flags:", "%d", i.Flags)
	line("Rollback Index Location:", "%d", i.RollbackIndexLocation)
	line("Release String:", "'%s'", i.Release)
	b.WriteString("Descriptors:\n")
	for _, d := range v.Descriptors {
		writeDescriptor(&b, d)
	}
	if len(v.Descriptors) == 0 {
		b.WriteString("    (none)\n")
	}
	if cert && i.Certificates != nil {
		i.writeCertificates(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (i *Info) writeCertificates(b *strings.Builder) {
	b.WriteString("avb_cert certificate:\n    Metadata version:        1\n")
	for n, title := range []string{"Product Intermediate Key", "Product Signing Key"} {
		c := i.Certificates[n]
		fmt.Fprintf(b, "    %s:\n      Version:               1\n      Public key (sha1):     %s\n", title, c.PublicKeySHA1)
		fmt.Fprintf(b, "      Subject:               %s\n      Usage:                 %s\n      Key version:           %d\n", c.Subject, c.Usage, c.KeyVersion)
	}
}

// writeDescriptor prints a descriptor as avbtool does.
func writeDescriptor(b *strings.Builder, d avb.Descriptor) {
	line := func(label, format string, args ...any) {
		fmt.Fprintf(b, "      %-23s"+format+"\n", append([]any{label}, args...)...)
	}
	switch d := d.(type) {
	case *avb.PropertyDescriptor:
		if len(d.Value) >= 256 {
			fmt.Fprintf(b, "    Prop: %s -> (%d bytes)\n", d.Key, len(d.Value))
			return
		}
		fmt.Fprintf(b, "    Prop: %s -> %s\n", d.Key, pythonValue(d.Value))
	case *avb.HashtreeDescriptor:
		b.WriteString("    Hashtree descriptor:\n")
		line("Version of dm-verity:", "%d", d.DMVerityVersion)
		line("Image Size:", "%d bytes", d.ImageSize)
		line("Tree Offset:", "%d", d.TreeOffset)
		line("Tree Size:", "%d bytes", d.TreeSize)
		line("Data Block Size:", "%d bytes", d.DataBlockSize)
		line("Hash Block Size:", "%d bytes", d.HashBlockSize)
		line("FEC num roots:", "%d", d.FECRoots)
		line("FEC offset:", "%d", d.FECOffset)
		line("FEC size:", "%d bytes", d.FECSize)
		line("Hash Algorithm:", "%s", d.HashAlgorithm)
		line("Partition Name:", "%s", d.PartitionName)
		line("Salt:", "%x", d.Salt)
		line("Root Digest:", "%x", d.RootDigest)
		line("Flags:", "%d", d.Flags)
	case *avb.HashDescriptor:
		b.WriteString("    Hash descriptor:\n")
		line("Image Size:", "%d bytes", d.ImageSize)
		line("Hash Algorithm:", "%s", d.HashAlgorithm)
		line("Partition Name:", "%s", d.PartitionName)
		line("Salt:", "%x", d.Salt)
		line("Digest:", "%x", d.Digest)
		line("Flags:", "%d", d.Flags)
	case *avb.KernelCmdlineDescriptor:
		b.WriteString("    Kernel Cmdline descriptor:\n")
		line("Flags:", "%d", d.Flags)
		line("Kernel Cmdline:", "'%s'", d.Cmdline)
	case *avb.ChainPartitionDescriptor:
		b.WriteString("    Chain Partition descriptor:\n")
		fmt.Fprintf(b, "      Partition Name:          %s\n      Rollback Index Location: %d\n", d.PartitionName, d.RollbackIndexLocation)
		fmt.Fprintf(b, "      Public key (sha1):       %s\n      Flags:                   %d\n", keySHA1(d.PublicKey), d.Flags)
	case *avb.UnknownDescriptor:
		writeUnknown(b, d)
	}
}
