package payload

import (
	"fmt"
	"slices"
)

// DefaultBlockSize is the unit of extents, in bytes, if the manifest names none.
const DefaultBlockSize = 4096

// Manifest is AOSP's DeltaArchiveManifest: what to write where.
type Manifest struct {
	BlockSize        uint32 // bytes; 0 means DefaultBlockSize
	SignaturesOffset uint64 // of the payload signature, from the data's start
	SignaturesSize   uint64
	MinorVersion     uint32 // 0 in a full payload
	Partitions       []Partition
	MaxTimestamp     int64 // the build's, in seconds since 1970
	Dynamic          *DynamicPartitions
	PartialUpdate    bool
	Apexes           []Apex
	SecurityPatch    string // AOSP's security_patch_level

	images []byte // fields 6 to 11, of major version 1 and Chrome OS
	rest
}

// A Partition is AOSP's PartitionUpdate.
type Partition struct {
	Name                string // without a slot suffix
	RunPostinstall      bool
	PostinstallPath     string
	FilesystemType      string
	NewSignatures       []Signature
	OldInfo, NewInfo    *PartitionInfo
	Operations          []Operation
	PostinstallOptional bool
	HashTreeDataExtent  *Extent
	HashTreeExtent      *Extent
	HashTreeAlgorithm   string
	HashTreeSalt        []byte
	FECDataExtent       *Extent
	FECExtent           *Extent
	FECRoots            uint32
	Version             string
	MergeOperations     []MergeOperation
	EstimateCowSize     uint64 // bytes
	EstimateOpCountMax  uint64

	rest
}

// PartitionInfo is a partition's content: its size in bytes and SHA-256.
type PartitionInfo struct {
	Size uint64
	Hash []byte

	rest
}

// An Extent is a run of blocks.
type Extent struct{ StartBlock, NumBlocks uint64 }

// An Operation is AOSP's InstallOperation.
type Operation struct {
	Type       OpType
	DataOffset uint64 // from the data's start, in bytes
	DataLength uint64
	SrcExtents []Extent
	SrcLength  uint64
	DstExtents []Extent
	DstLength  uint64
	DataHash   []byte // SHA-256 of the data
	SrcHash    []byte

	rest
}

// OpType is what an operation does.
type OpType uint32

// The operations of update_metadata.proto.
const (
	Replace       OpType = 0
	ReplaceBZ     OpType = 1
	Move          OpType = 2
	BSDiff        OpType = 3
	SourceCopy    OpType = 4
	SourceBSDiff  OpType = 5
	Zero          OpType = 6
	Discard       OpType = 7
	ReplaceXZ     OpType = 8
	Puffdiff      OpType = 9
	BrotliBSDiff  OpType = 10
	Zucchini      OpType = 11
	LZ4DiffBSDiff OpType = 12
	LZ4DiffPuff   OpType = 13
)

var opNames = [...]string{"REPLACE", "REPLACE_BZ", "MOVE", "BSDIFF", "SOURCE_COPY", "SOURCE_BSDIFF", "ZERO",
	"DISCARD", "REPLACE_XZ", "PUFFDIFF", "BROTLI_BSDIFF", "ZUCCHINI", "LZ4DIFF_BSDIFF", "LZ4DIFF_PUFFDIFF"}

func (t OpType) String() string {
	if int(t) < len(opNames) {
		return opNames[t]
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// hasData reports whether the operation cannot do without data.
func (t OpType) hasData() bool { return t == Replace || t == ReplaceBZ || t == ReplaceXZ }

// hasSource reports whether the operation reads the installed partition.
func (t OpType) hasSource() bool {
	switch t {
	case SourceCopy, SourceBSDiff, BrotliBSDiff, Puffdiff, Zucchini, LZ4DiffBSDiff, LZ4DiffPuff:
		return true
	}
	return false
}

// A MergeOperation is AOSP's CowMergeOperation.
type MergeOperation struct {
	Type      uint32 // 0 COW_COPY, 1 COW_XOR, 2 COW_REPLACE
	SrcExtent *Extent
	DstExtent *Extent
	SrcOffset uint32

	rest
}

// DynamicPartitions is AOSP's DynamicPartitionMetadata.
type DynamicPartitions struct {
	Groups               []Group
	SnapshotEnabled      bool
	VABCEnabled          bool
	VABCCompressionParam string
	CowVersion           uint32
	VABCFeatures         *VABCFeatures
	CompressionFactor    uint64 // bytes that are compressed at once

	rest
}

// VABCFeatures is AOSP's VABCFeatureSet: knobs of virtual A/B's compression.
type VABCFeatures struct {
	Threaded    bool
	BatchWrites bool

	rest
}

// A Group is AOSP's DynamicPartitionGroup: logical partitions that share a
// size limit.
type Group struct {
	Name       string
	Size       uint64 // bytes
	Partitions []string

	rest
}

// An Apex is AOSP's ApexInfo.
type Apex struct {
	Package          string
	Version          int64
	Compressed       bool
	DecompressedSize int64

	rest
}

// Signatures is a set of signatures, each by another key, over the same bytes.
type Signatures struct {
	Signatures []Signature

	rest
}

// A Signature is one key's.
type Signature struct {
	Version uint32 // deprecated in AOSP
	Data    []byte
	// UnpaddedSize is how many bytes of Data are the signature: DER-encoded ones
	// of elliptic curves vary in length, and are padded.
	UnpaddedSize uint32

	rest
}

// rest is what keeps a message's encoding faithful: the fields that this
// package does not know, and which of the known ones were there with their
// zero value.
type rest struct {
	unknown  []byte
	explicit uint32 // bit n: field n
}

// Block returns the manifest's block size in bytes.
func (m *Manifest) Block() uint64 {
	if m.BlockSize == 0 {
		return DefaultBlockSize
	}
	return uint64(m.BlockSize)
}

// Partition returns the partition with that name, or nil.
func (m *Manifest) Partition(name string) *Partition {
	for i := range m.Partitions {
		if m.Partitions[i].Name == name {
			return &m.Partitions[i]
		}
	}
	return nil
}

// hasSource reports whether operations of the partition read the installed one.
func (p *Partition) hasSource() bool {
	return slices.ContainsFunc(p.Operations, func(o Operation) bool { return o.Type.hasSource() })
}

// Operations returns how many operations there are in all partitions.
func (m *Manifest) Operations() int {
	n := 0
	for i := range m.Partitions {
		n += len(m.Partitions[i].Operations)
	}
	return n
}

// DataSize returns the length in bytes of the operations' data, up to where
// the last of it ends.
func (m *Manifest) DataSize() uint64 {
	var end uint64
	for i := range m.Partitions {
		for j := range m.Partitions[i].Operations {
			op := &m.Partitions[i].Operations[j]
			end = max(end, op.DataOffset+op.DataLength)
		}
	}
	return end
}
