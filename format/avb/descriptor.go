package avb

// A Descriptor is one statement of a vbmeta image: [*PropertyDescriptor],
// [*HashtreeDescriptor], [*HashDescriptor], [*KernelCmdlineDescriptor],
// [*ChainPartitionDescriptor] or, for a tag that AVB does not define,
// [*UnknownDescriptor].
type Descriptor interface {
	// Tag returns the number that says what kind of descriptor this is.
	Tag() uint64
	// body returns what follows the 16 bytes of tag and length, unpadded.
	body() ([]byte, error)
}

// Tags of descriptors (AvbDescriptorTag).
const (
	TagProperty       = 0
	TagHashtree       = 1
	TagHash           = 2
	TagKernelCmdline  = 3
	TagChainPartition = 4
)

// A PropertyDescriptor is a key and a value, for the OS to read.
type PropertyDescriptor struct {
	Key   string
	Value []byte
}

// DescriptorFlags of hash, hashtree and chain partition descriptors.
type DescriptorFlags uint32

// The flags that AVB defines.
const (
	FlagDoNotUseAB          DescriptorFlags = 1 << 0 // the partition has no slots
	FlagCheckAtMostOnce     DescriptorFlags = 1 << 1 // hashtree: verify a block once only
	knownDescriptorFlagBits                 = 3
)

// A HashtreeDescriptor says how to put dm-verity over a partition.
type HashtreeDescriptor struct {
	DMVerityVersion uint32 // 1
	ImageSize       uint64 // bytes that the tree covers, from the partition's start
	TreeOffset      uint64 // bytes from the partition's start
	TreeSize        uint64 // bytes
	DataBlockSize   uint32
	HashBlockSize   uint32
	FECRoots        uint32 // parity bytes a codeword, or 0 without FEC
	FECOffset       uint64 // bytes from the partition's start, or 0
	FECSize         uint64 // bytes, or 0
	HashAlgorithm   string // "sha1", "sha256", "sha512", "blake2b-256"
	PartitionName   string // without slot suffix
	Salt            []byte
	RootDigest      []byte // empty: kept by the device as a persistent value
	Flags           DescriptorFlags
}

// A HashDescriptor holds the digest of a whole partition's image.
type HashDescriptor struct {
	ImageSize     uint64 // bytes
	HashAlgorithm string // "sha256" or "sha512"
	PartitionName string // without slot suffix
	Salt          []byte // hashed before the image
	Digest        []byte // empty: kept by the device as a persistent value
	Flags         DescriptorFlags
}

// CmdlineFlags say when a kernel command line applies.
type CmdlineFlags uint32

// The flags that AVB defines.
const (
	CmdlineOnlyIfHashtreeEnabled  CmdlineFlags = 1 << 0
	CmdlineOnlyIfHashtreeDisabled CmdlineFlags = 1 << 1
)

// A KernelCmdlineDescriptor is text for the kernel's command line, where the
// loader replaces variables such as $(ANDROID_SYSTEM_PARTUUID).
type KernelCmdlineDescriptor struct {
	Flags   CmdlineFlags
	Cmdline string
}

// A ChainPartitionDescriptor hands a partition over to another key.
type ChainPartitionDescriptor struct {
	RollbackIndexLocation uint32 // at least 1
	PartitionName         string // without slot suffix
	PublicKey             []byte // in AVB's encoding, see [EncodePublicKey]
	Flags                 DescriptorFlags
}

// An UnknownDescriptor is one with a tag that AVB does not define, kept raw.
type UnknownDescriptor struct {
	Number uint64
	Data   []byte // what follows tag and length; a multiple of 8 bytes
}

// Tag implements [Descriptor].
func (*PropertyDescriptor) Tag() uint64 { return TagProperty }

// Tag implements [Descriptor].
func (*HashtreeDescriptor) Tag() uint64 { return TagHashtree }

// Tag implements [Descriptor].
func (*HashDescriptor) Tag() uint64 { return TagHash }

// Tag implements [Descriptor].
func (*KernelCmdlineDescriptor) Tag() uint64 { return TagKernelCmdline }

// Tag implements [Descriptor].
func (*ChainPartitionDescriptor) Tag() uint64 { return TagChainPartition }

// Tag implements [Descriptor].
func (d *UnknownDescriptor) Tag() uint64 { return d.Number }
