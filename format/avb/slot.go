package avb

import (
	"errors"
	"fmt"
	"io"
)

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
	RestartAndInvalidate ErrorMode = iota // restart, and the loader gives the slot up
	Restart
	EIO                  // the read fails
	Logging              // only with SlotAllowVerificationError
	ManagedRestartAndEIO // Restart, after a corruption EIO until the slot changes
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

var slotResultNames = [...]string{
	"OK", "ERROR_OOM", "ERROR_IO", "ERROR_VERIFICATION", "ERROR_ROLLBACK_INDEX", "ERROR_PUBLIC_KEY_REJECTED",
	"ERROR_INVALID_METADATA", "ERROR_UNSUPPORTED_VERSION", "ERROR_INVALID_ARGUMENT",
}

// String returns libavb's name of the result, as "ERROR_VERIFICATION".
func (r SlotResult) String() string { return slotResultNames[r] }

// goesOn reports whether an unlocked device may boot in spite of the result.
func (r SlotResult) goesOn() bool {
	switch r {
	case SlotOK, SlotErrorVerification, SlotErrorRollbackIndex, SlotErrorPublicKeyRejected:
		return true
	}
	return false
}

// A SlotError says why a slot is refused: which partition, and why.
type SlotError struct {
	Result    SlotResult
	Partition string // with suffix, or "" if it is about none
	Reason    string
}

func (e *SlotError) Error() string {
	if e.Partition == "" {
		return fmt.Sprintf("avb: %s (%v)", e.Reason, e.Result)
	}
	return fmt.Sprintf("avb: partition %s: %s (%v)", e.Partition, e.Reason, e.Result)
}

// A SlotRequest says what to verify.
type SlotRequest struct {
	Partitions []string // to load and verify, without suffix
	Suffix     string   // "_a", or ""
	Flags      SlotFlags
	ErrorMode  ErrorMode
	// Discard verifies the partitions without keeping what was read: their
	// Data stays nil.
	Discard bool
}

// SlotData is what a verified slot consists of (AvbSlotVerifyData).
type SlotData struct {
	Suffix            string
	VBMeta            []VBMetaData    // the top-level one first
	Loaded            []PartitionData // those of the requested partitions that have a hash descriptor
	Cmdline           string          // for the kernel
	RollbackIndexes   map[uint32]uint64
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
	Size      int64  // bytes that were read
	Data      []byte // nil with SlotRequest.Discard
	Result    SlotResult

	hash   string // of the digest, or ""
	digest []byte
}

// Find returns the data of a loaded partition (without suffix), or nil.
func (d *SlotData) Find(partition string) []byte {
	for _, p := range d.Loaded {
		if p.Partition == partition {
			return p.Data
		}
	}
	return nil
}

// VBMetaDigest returns the digest over all vbmeta images of the slot, which
// androidboot.vbmeta.digest holds in hexadecimal; hash is "sha256" or "sha512".
func (d *SlotData) VBMetaDigest(hash string) ([]byte, error) {
	images := make([][]byte, len(d.VBMeta))
	for i, v := range d.VBMeta {
		images[i] = v.Data
	}
	return VBMetaDigest(hash, images...)
}

// VBMetaDigest returns the digest over vbmeta images, the top-level one first,
// then those of the chained partitions in the order of their descriptors.
func VBMetaDigest(hash string, images ...[]byte) ([]byte, error) {
	h, err := hashByName(hash)
	if err != nil {
		return nil, err
	}
	sum := h.New()
	for _, b := range images {
		sum.Write(b)
	}
	return sum.Sum(nil), nil
}

// Descriptors returns all descriptors of the slot's vbmeta images. Errors are
// [*FormatError].
func (d *SlotData) Descriptors() ([]Descriptor, error) {
	var all []Descriptor
	for _, v := range d.VBMeta {
		m, err := Parse(v.Data)
		if err != nil {
			return nil, fmt.Errorf("partition %s%s: %w", v.Partition, d.Suffix, err)
		}
		all = append(all, m.Descriptors...)
	}
	return all, nil
}

// VerifyHashtrees does for every partition with a hash tree what dm-verity
// would do if all of it were read, see [VerifyHashtree]. open is given the
// partition's full name.
func (d *SlotData) VerifyHashtrees(open func(partition string) (io.ReaderAt, error)) error {
	all, err := d.Descriptors()
	if err != nil {
		return err
	}
	for _, desc := range all {
		t, ok := desc.(*HashtreeDescriptor)
		if !ok {
			continue
		}
		name := t.PartitionName
		if t.Flags&FlagDoNotUseAB == 0 {
			name += d.Suffix
		}
		r, err := open(name)
		if err != nil {
			return fmt.Errorf("avb: partition %s: %w", name, err)
		}
		if err := VerifyHashtree(r, t); err != nil {
			return err
		}
	}
	return nil
}

// VerifySlot verifies a slot and loads its partitions as libavb's
// avb_slot_verify does; each partition is read and hashed once, in one pass.
// What the signed images only claim to be is not allocated: partitions are
// never larger than [Ops] says. An error is a [*SlotError] and bears the
// result; with [SlotAllowVerificationError] there is data beside an error that
// an unlocked device may ignore.
func VerifySlot(ops Ops, req SlotRequest) (*SlotData, error) {
	v := &slotVerifier{
		ops: ops, req: req, allow: req.Flags&SlotAllowVerificationError != 0,
		data: &SlotData{Suffix: req.Suffix, RollbackIndexes: map[uint32]uint64{}},
	}
	err := v.verify()
	if err != nil && !(v.allow && err.Result.goesOn()) {
		return nil, err
	}
	if fatal := v.finish(); fatal != nil {
		return nil, fatal
	}
	if err != nil {
		return v.data, err
	}
	return v.data, nil
}
