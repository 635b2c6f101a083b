package avb

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of libavb.
const (
	maxPartitionName     = 31 // bytes, with suffix
	maxVBMetaImages      = 32
	maxLoaded            = 32
	maxRollbackLocations = 32
	maxSubstitutions     = 10
)

// Names of persistent values (AVB_NPV_*).
const (
	persistentDigestPrefix = "avb.persistent_digest."
	managedVerityMode      = "avb.managed_verity_mode"
)

// slotVerifier is one call of VerifySlot.
type slotVerifier struct {
	ops   Ops
	req   SlotRequest
	allow bool // verification errors
	data  *SlotData

	topKey        []byte // that signed the top-level image
	algorithm     Algorithm
	cmdline       []string // of descriptors
	substitutions []substitution
}

func refuse(r SlotResult, partition, format string, args ...any) *SlotError {
	return &SlotError{r, partition, fmt.Sprintf(format, args...)}
}

func (v *slotVerifier) verify() *SlotError {
	switch {
	case v.req.ErrorMode == Logging && !v.allow:
		return refuse(SlotErrorInvalidArgument, "", "error mode logging is for unlocked devices")
	case v.req.ErrorMode < RestartAndInvalidate || v.req.ErrorMode > Panic:
		return refuse(SlotErrorInvalidArgument, "", "error mode %d is unknown", v.req.ErrorMode)
	}
	if v.req.Flags&SlotNoVBMetaPartition == 0 {
		return v.loadVBMeta(vbmetaSource{name: "vbmeta", useAB: true, top: true})
	}
	if len(v.req.Partitions) == 0 {
		return refuse(SlotErrorInvalidArgument, "", "no partitions requested, and there is no vbmeta partition")
	}
	var last *SlotError
	for _, name := range v.req.Partitions {
		last = v.loadVBMeta(vbmetaSource{name: name, useAB: true})
		if last != nil && !(v.allow && last.Result.goesOn()) {
			return last
		}
	}
	return last
}

// A vbmetaSource says where a vbmeta image is, and what is known about it.
type vbmetaSource struct {
	name     string
	useAB    bool
	top      bool   // the one that all others hang on
	chained  bool   // then key and location come from the chain descriptor
	key      []byte // that must have signed it
	location uint32
	topFlags Flags // of the image that it hangs on
}

// fullName returns the partition's name on the device.
func (v *slotVerifier) fullName(name string, useAB bool) (string, *SlotError) {
	if !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
		return "", refuse(SlotErrorInvalidMetadata, "", "partition name %q is not valid UTF-8", name)
	}
	if useAB {
		name += v.req.Suffix
	}
	if len(name) > maxPartitionName {
		return "", refuse(SlotErrorInvalidMetadata, name, "name of %d bytes, at most %d fit", len(name), maxPartitionName)
	}
	return name, nil
}

// loadVBMeta loads and verifies a vbmeta image and all that hangs on it. Of
// several errors the last one is returned, as libavb does.
func (v *slotVerifier) loadVBMeta(src vbmetaSource) (ret *SlotError) {
	name, err := v.fullName(src.name, src.useAB)
	if err != nil {
		return err
	}
	b, ioErr := v.readVBMetaImage(src, name)
	if errors.Is(ioErr, ErrNoSuchPartition) && src.top && src.name == "vbmeta" {
		src.name = "boot" // which may hold the top-level image
		return v.loadVBMeta(src)
	}
	if ioErr != nil {
		return refuse(SlotErrorIO, name, "vbmeta image: %v", ioErr)
	}
	image, ret := v.checkVBMeta(&src, name, b)
	if ret != nil && !(v.allow && ret.Result.goesOn()) {
		return ret
	}
	h := image.header
	if len(v.data.VBMeta) == maxVBMetaImages {
		return refuse(SlotErrorOOM, name, "more than %d vbmeta images", maxVBMetaImages)
	}
	v.data.VBMeta = append(v.data.VBMeta, VBMetaData{src.name, b[:h.size()], image.result})
	if h.Flags&FlagVerificationDisabled != 0 {
		if err := v.loadRequested(); err != nil {
			return err
		}
		return ret
	}
	if err, fatal := v.followDescriptors(src, name, descriptorsOf(&h, b)); err != nil {
		ret = err
		if fatal {
			return ret
		}
	}
	if image.location >= maxRollbackLocations {
		return refuse(SlotErrorInvalidMetadata, name, "rollback index location %d, want less than %d", image.location, maxRollbackLocations)
	}
	v.data.RollbackIndexes[image.location] = h.RollbackIndex
	if !src.chained {
		v.algorithm = h.Algorithm
	}
	return ret
}

// checkedVBMeta is what is known of an image after its check.
type checkedVBMeta struct {
	header   header
	result   VerifyResult
	location uint32 // of its rollback index
}

// checkVBMeta checks the image that b begins with by itself, its key and its
// rollback index. If errors are allowed, it goes on after those that may be
// ignored, and returns the last one. It sets src.topFlags of the top level.
func (v *slotVerifier) checkVBMeta(src *vbmetaSource, name string, b []byte) (c checkedVBMeta, ret *SlotError) {
	var key []byte
	c.result, key = VerifyVBMeta(b)
	switch c.result {
	case VerifyOK:
		if src.top {
			v.topKey = key
		}
	case VerifyInvalidVBMetaHeader:
		return c, refuse(SlotErrorInvalidMetadata, name, "vbmeta image: invalid header")
	case VerifyUnsupportedVersion:
		return c, refuse(SlotErrorUnsupportedVersion, name, "vbmeta image: unsupported version of AVB")
	default:
		ret = refuse(SlotErrorVerification, name, "vbmeta image: %v", c.result)
		if !v.allow {
			return c, ret
		}
	}
	c.header = decodeHeader(b)
	c.location = src.location
	if src.top {
		src.topFlags = c.header.Flags
		c.location = c.header.RollbackIndexLocation
	} else if c.header.Flags != 0 {
		return c, refuse(SlotErrorInvalidMetadata, name, "chained vbmeta image with flags %#x", uint32(c.header.Flags))
	}
	if err := v.checkKey(*src, name, b, key, &c); err != nil {
		ret = err
		if !v.allow || !err.Result.goesOn() {
			return c, ret
		}
	}
	if err := v.checkRollback(name, c.location, c.header.RollbackIndex); err != nil {
		ret = err
	}
	return c, ret
}

// readVBMetaImage reads what begins with a vbmeta image, and may be longer.
func (v *slotVerifier) readVBMetaImage(src vbmetaSource, name string) ([]byte, error) {
	var off int64
	size := int64(MaxVBMetaSize)
	if strings.HasPrefix(src.name, "vbmeta") { // which have no footer
		n, err := v.ops.PartitionSize(name)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			size = min(size, n)
		}
	} else {
		b := make([]byte, FooterSize)
		if n, err := v.ops.ReadPartition(name, -FooterSize, b); err != nil || n < len(b) {
			return nil, fmt.Errorf("footer: %w", errors.Join(err, shortRead(n, len(b))))
		}
		// A footer that cannot be right is no footer: vbmeta is at the start.
		if string(b[:4]) == footerMagic && binary.BigEndian.Uint32(b[4:]) <= 1 {
			var l footerLayout
			_, _ = binary.Decode(b, binary.BigEndian, &l) // fails on short input alone
			if l.Footer.VBMetaSize <= MaxVBMetaSize {
				off, size = int64(l.Footer.VBMetaOffset), int64(l.Footer.VBMetaSize)
			}
		}
	}
	if off < 0 {
		return nil, ErrRange
	}
	b := make([]byte, size)
	n, err := v.ops.ReadPartition(name, off, b)
	return b[:min(max(n, 0), len(b))], err
}

func shortRead(n, want int) error {
	if n >= want {
		return nil
	}
	return fmt.Errorf("read %d of %d bytes", n, want)
}

// checkKey says whether the key that signed the image, if one did, may do so.
func (v *slotVerifier) checkKey(src vbmetaSource, name string, b, key []byte, c *checkedVBMeta) *SlotError {
	if key == nil {
		return nil
	}
	if src.chained {
		if subtle.ConstantTimeCompare(src.key, key) == 0 {
			return refuse(SlotErrorPublicKeyRejected, name, "the key that signed it is not the one of the chain partition descriptor")
		}
		return nil
	}
	var metadata []byte
	if c.header.PublicKeyMetadata.Size > 0 {
		_, aux := c.header.blocks(b)
		metadata = c.header.PublicKeyMetadata.of(aux)
	}
	var trusted bool
	var err error
	if v.req.Flags&SlotNoVBMetaPartition != 0 {
		trusted, c.location, err = v.ops.ValidatePublicKeyForPartition(name, key, metadata)
	} else {
		trusted, err = v.ops.ValidateVBMetaPublicKey(key, metadata)
	}
	if err != nil {
		return refuse(SlotErrorIO, name, "check of the key that signed it: %v", err)
	}
	if !trusted {
		return refuse(SlotErrorPublicKeyRejected, name, "the key that signed it is not trusted")
	}
	return nil
}

func (v *slotVerifier) checkRollback(name string, location uint32, index uint64) *SlotError {
	stored, err := v.ops.RollbackIndex(location)
	if err != nil {
		return refuse(SlotErrorIO, name, "stored rollback index %d: %v", location, err)
	}
	if index < stored {
		return refuse(SlotErrorRollbackIndex, name, "rollback index %d is older than the stored %d", index, stored)
	}
	return nil
}
