package avb

import "errors"

// Ops is the device that [VerifySlot] runs on (AvbOps). Partition names are
// full ones, with slot suffix. Errors wrap one of the errors below, or count
// as an I/O error.
type Ops interface {
	// ReadPartition reads len(b) bytes at off, counted from the partition's
	// end if negative, and returns fewer only at the end.
	ReadPartition(partition string, off int64, b []byte) (int, error)
	// PartitionSize returns the size in bytes.
	PartitionSize(partition string) (int64, error)
	// PartitionGUID returns the unique GUID as GPT has it, in lower case.
	PartitionGUID(partition string) (string, error)
	// ValidateVBMetaPublicKey says whether the key may sign the top-level
	// vbmeta image.
	ValidateVBMetaPublicKey(key, metadata []byte) (trusted bool, err error)
	// ValidatePublicKeyForPartition says whether the key may sign the
	// partition's own vbmeta image, and where its rollback index is kept; only
	// called with [SlotNoVBMetaPartition].
	ValidatePublicKeyForPartition(partition string, key, metadata []byte) (trusted bool, location uint32, err error)
	// RollbackIndex returns the stored rollback index of a location.
	RollbackIndex(location uint32) (uint64, error)
	// IsUnlocked says whether the device is unlocked.
	IsUnlocked() (bool, error)
	// ReadPersistentValue returns a named value, or ErrNoSuchValue.
	ReadPersistentValue(name string) ([]byte, error)
	// WritePersistentValue sets a named value; an empty one clears it.
	WritePersistentValue(name string, value []byte) error
}

// Errors of [Ops] that [VerifySlot] tells apart.
var (
	ErrNoSuchPartition   = errors.New("no such partition")
	ErrRange             = errors.New("range outside the partition")
	ErrNoSuchValue       = errors.New("no such value")
	ErrInvalidValueSize  = errors.New("invalid value size")
	ErrInsufficientSpace = errors.New("insufficient space")
)

// SlotFlags of [VerifySlot] (AvbSlotVerifyFlags).
type SlotFlags uint32

// The flags.
const (
	SlotAllowVerificationError            SlotFlags = 1 << 0 // only if the device is unlocked
	SlotRestartCausedByHashtreeCorruption SlotFlags = 1 << 1
	SlotNoVBMetaPartition                 SlotFlags = 1 << 2 // each partition has its own vbmeta image
)

// An ErrorMode says what dm-verity does on corruption (AvbHashtreeErrorMode).
type ErrorMode int

// The modes.
const (
	RestartAndInvalidate ErrorMode = iota
	Restart
	EIO
	Logging
	ManagedRestartAndEIO
	Panic
)

// A SlotResult is the outcome of [VerifySlot] (AvbSlotVerifyResult).
type SlotResult int

// The results, under libavb's names.
const (
	SlotOK SlotResult = iota
	SlotErrorOOM
	SlotErrorIO
	SlotErrorVerification
	SlotErrorRollbackIndex
	SlotErrorPublicKeyRejected
	SlotErrorInvalidMetadata
	SlotErrorUnsupportedVersion
	SlotErrorInvalidArgument
)

// A SlotRequest says what to verify.
type SlotRequest struct {
	Partitions []string // to load and verify, without suffix
	Suffix     string   // "_a", or ""
	Flags      SlotFlags
	ErrorMode  ErrorMode
}

// SlotData is what a verified slot consists of (AvbSlotVerifyData).
type SlotData struct {
	Suffix            string
	VBMeta            []VBMetaData
	Loaded            []PartitionData // those of the requested partitions that have a hash descriptor
	Cmdline           string
	RollbackIndexes   map[uint32]uint64 // by location, those that are not zero
	ResolvedErrorMode ErrorMode
}

// VBMetaData is one vbmeta image of a slot.
type VBMetaData struct {
	Partition string // without suffix
	Data      []byte
	Result    VerifyResult
}

// PartitionData is one partition that was loaded.
type PartitionData struct {
	Partition string // without suffix
	Data      []byte
	Result    SlotResult
}

// A SlotError says why a slot is refused: which partition, and why.
type SlotError struct {
	Result    SlotResult
	Partition string // with suffix, or "" if it is about none
	Reason    string
}

func (e *SlotError) Error() string { return e.Reason }

// VerifySlot verifies a slot and loads its partitions as libavb's
// avb_slot_verify does; each is read and hashed once, in one pass. The error is
// a [*SlotError] and bears the result; with [SlotAllowVerificationError] there
// may be data beside an error.
func VerifySlot(ops Ops, req SlotRequest) (*SlotData, error) {
	return nil, errors.New("avb: VerifySlot")
}

// VBMetaDigest returns the digest over all vbmeta images of the slot, which
// androidboot.vbmeta.digest holds in hexadecimal; hash is "sha256" or "sha512".
func (d *SlotData) VBMetaDigest(hash string) []byte { return nil }
