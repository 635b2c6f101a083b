package avb

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
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

// refuse returns a SlotError, which an error of Ops explains if it is given.
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
	result, key := VerifyVBMeta(b)
	switch result {
	case VerifyOK:
		if src.top {
			v.topKey = key
		}
	case VerifyInvalidVBMetaHeader:
		return refuse(SlotErrorInvalidMetadata, name, "vbmeta image: invalid header")
	case VerifyUnsupportedVersion:
		return refuse(SlotErrorUnsupportedVersion, name, "vbmeta image: unsupported version of AVB")
	default:
		ret = refuse(SlotErrorVerification, name, "vbmeta image: %v", result)
		if !v.allow {
			return ret
		}
	}
	h := decodeHeader(b)
	if src.top {
		src.topFlags = h.Flags
	} else if h.Flags != 0 {
		return refuse(SlotErrorInvalidMetadata, name, "chained vbmeta image with flags %#x", uint32(h.Flags))
	}
	location := src.location
	if src.top {
		location = h.RollbackIndexLocation
	}
	for _, check := range []func() *SlotError{
		func() *SlotError { return v.checkKey(src, name, &h, b, key, &location) },
		func() *SlotError { return v.checkRollback(name, location, h.RollbackIndex) },
	} {
		if err := check(); err != nil {
			ret = err
			if !v.allow || !err.Result.goesOn() {
				return ret
			}
		}
	}
	if len(v.data.VBMeta) == maxVBMetaImages {
		return refuse(SlotErrorOOM, name, "more than %d vbmeta images", maxVBMetaImages)
	}
	v.data.VBMeta = append(v.data.VBMeta, VBMetaData{src.name, b[:h.size()], result})
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
	if location >= maxRollbackLocations {
		return refuse(SlotErrorInvalidMetadata, name, "rollback index location %d, want less than %d", location, maxRollbackLocations)
	}
	v.data.RollbackIndexes[location] = h.RollbackIndex
	if !src.chained {
		v.algorithm = h.Algorithm
	}
	return ret
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
func (v *slotVerifier) checkKey(src vbmetaSource, name string, h *header, b, key []byte, location *uint32) *SlotError {
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
	if h.PublicKeyMetadata.Size > 0 {
		_, aux := h.blocks(b)
		metadata = h.PublicKeyMetadata.of(aux)
	}
	var trusted bool
	var err error
	if v.req.Flags&SlotNoVBMetaPartition != 0 {
		trusted, *location, err = v.ops.ValidatePublicKeyForPartition(name, key, metadata)
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

// rawDescriptor is one with a sound length.
type rawDescriptor struct {
	tag  uint64
	body []byte
}

// descriptorsOf returns the descriptors up to the first broken one, as libavb
// does; the header is sound.
func descriptorsOf(h *header, b []byte) (ds []rawDescriptor) {
	rest := b[HeaderSize+h.AuthSize:]
	if !h.Descriptors.within(uint64(len(rest))) {
		return nil
	}
	rest = h.Descriptors.of(rest)
	for len(rest) >= descriptorHeaderSize {
		tag, n := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:])
		rest = rest[descriptorHeaderSize:]
		if n%8 != 0 || n > uint64(len(rest)) {
			break
		}
		ds = append(ds, rawDescriptor{tag, rest[:n]})
		rest = rest[n:]
	}
	return ds
}

// followDescriptors does what the descriptors say. fatal says that nothing
// after them is to be done.
func (v *slotVerifier) followDescriptors(src vbmetaSource, name string, ds []rawDescriptor) (ret *SlotError, fatal bool) {
	for _, raw := range ds {
		if raw.tag == TagProperty || raw.tag > TagChainPartition {
			continue
		}
		d, err := laxDescriptor(raw)
		if err != nil {
			return refuse(SlotErrorInvalidMetadata, name, "%v", err), true
		}
		var sub *SlotError
		stopOn := func(*SlotError) bool { return true }
		switch d := d.(type) {
		case *HashDescriptor:
			sub = v.loadHashed(d)
			stopOn = func(e *SlotError) bool { return !v.allow || !e.Result.goesOn() }
		case *ChainPartitionDescriptor:
			if !src.top {
				return refuse(SlotErrorInvalidMetadata, name, "chain partition descriptor in an image that is not the top-level one"), true
			}
			sub = v.loadVBMeta(vbmetaSource{
				name: d.PartitionName, useAB: d.Flags&FlagDoNotUseAB == 0, chained: true,
				key: d.PublicKey, location: d.RollbackIndexLocation, topFlags: src.topFlags,
			})
			stopOn = func(e *SlotError) bool { return !e.Result.goesOn() }
		case *KernelCmdlineDescriptor:
			unless := CmdlineOnlyIfHashtreeDisabled
			if src.topFlags&FlagHashtreeDisabled != 0 {
				unless = CmdlineOnlyIfHashtreeEnabled
			}
			if d.Flags&unless == 0 {
				v.cmdline = append(v.cmdline, d.Cmdline)
			}
		case *HashtreeDescriptor:
			if len(d.RootDigest) == 0 {
				sub = v.substituteRootDigest(d, src.chained)
			}
		}
		if sub != nil {
			ret = sub
			if stopOn(sub) {
				return ret, true
			}
		}
	}
	return ret, false
}

// laxDescriptor parses a descriptor as libavb does, which does not look at
// padding and reserved fields.
func laxDescriptor(raw rawDescriptor) (Descriptor, error) {
	d, err := parseDescriptor(raw.tag, raw.body, 0)
	if err == nil {
		return d, nil
	}
	c := &cursor{b: raw.body, start: raw.body}
	text := func(field []byte) string { s, _, _ := strings.Cut(string(field), "\x00"); return s }
	switch raw.tag {
	case TagHashtree:
		var l hashtreeLayout
		c.fixed(&l)
		d = &HashtreeDescriptor{
			HashAlgorithm: text(l.HashAlgorithm[:]), PartitionName: c.name(l.NameLen),
			Salt: c.bytes(uint64(l.SaltLen)), RootDigest: c.bytes(uint64(l.DigestLen)), Flags: l.Flags,
		}
	case TagHash:
		var l hashLayout
		c.fixed(&l)
		d = &HashDescriptor{
			l.ImageSize, text(l.HashAlgorithm[:]),
			c.name(l.NameLen), c.bytes(uint64(l.SaltLen)), c.bytes(uint64(l.DigestLen)), l.Flags,
		}
	case TagKernelCmdline:
		var l cmdlineLayout
		c.fixed(&l)
		d = &KernelCmdlineDescriptor{l.Flags, c.name(l.Length)}
	case TagChainPartition:
		var l chainLayout
		c.fixed(&l)
		if l.RollbackIndexLocation == 0 {
			return nil, err
		}
		d = &ChainPartitionDescriptor{l.RollbackIndexLocation, c.name(l.NameLen), c.bytes(uint64(l.KeyLen)), l.Flags}
	}
	return d, c.err
}

// loadHashed loads the partition of a hash descriptor, if it was requested,
// and verifies it.
func (v *slotVerifier) loadHashed(d *HashDescriptor) *SlotError {
	if !slices.Contains(v.req.Partitions, d.PartitionName) {
		return nil
	}
	useAB := d.Flags&FlagDoNotUseAB == 0
	if useAB && len(d.Digest) == 0 && v.req.Suffix != "" {
		return refuse(SlotErrorInvalidMetadata, d.PartitionName, "a persistent digest cannot be used with slots")
	}
	name, serr := v.fullName(d.PartitionName, useAB)
	if serr != nil {
		return serr
	}
	onDevice, err := v.ops.PartitionSize(name)
	if err != nil {
		return refuse(SlotErrorIO, name, "size: %v", err)
	}
	size := onDevice // all of it if errors are allowed: somebody may have flashed a larger image
	if !v.allow {
		if d.ImageSize > uint64(onDevice) {
			return refuse(SlotErrorIO, name, "image of %d bytes in a partition of %d", d.ImageSize, onDevice)
		}
		size = int64(d.ImageSize)
	}
	p := PartitionData{Partition: d.PartitionName, Size: size}
	var sum hash.Hash
	if h, err := hashByName(d.HashAlgorithm); err == nil && d.HashAlgorithm != "sha1" {
		sum = h.New()
		sum.Write(d.Salt)
		p.hash = d.HashAlgorithm
	}
	hashed := int64(min(d.ImageSize, uint64(size)))
	if p.Data, err = v.read(name, size, sum, hashed); err != nil {
		return refuse(SlotErrorIO, name, "%v", err)
	}
	if sum == nil {
		return refuse(SlotErrorInvalidMetadata, name, "hash algorithm %q is not supported", d.HashAlgorithm)
	}
	p.digest = sum.Sum(nil)
	ret := v.checkDigest(name, d, p.digest)
	if ret == nil || ret.Result.goesOn() {
		if ret != nil {
			p.Result = ret.Result
		}
		if len(v.data.Loaded) == maxLoaded {
			return refuse(SlotErrorOOM, name, "more than %d partitions", maxLoaded)
		}
		v.data.Loaded = append(v.data.Loaded, p)
	}
	return ret
}

// read reads the first size bytes of a partition, and hashes the first hashed
// of them on the way.
func (v *slotVerifier) read(name string, size int64, sum hash.Hash, hashed int64) ([]byte, error) {
	const step = 1 << 20
	buf := make([]byte, min(size, step))
	if !v.req.Discard {
		buf = make([]byte, size)
	}
	for off := int64(0); off < size; {
		b := buf[:min(step, size-off)]
		if !v.req.Discard {
			b = buf[off:][:len(b)]
		}
		n, err := v.ops.ReadPartition(name, off, b)
		if err != nil {
			return nil, fmt.Errorf("read at %#x: %w", off, err)
		}
		if err := shortRead(n, len(b)); err != nil {
			return nil, fmt.Errorf("read at %#x: %w", off, err)
		}
		if sum != nil && off < hashed {
			sum.Write(b[:min(int64(len(b)), hashed-off)])
		}
		off += int64(len(b))
	}
	if v.req.Discard {
		return nil, nil
	}
	return buf, nil
}

// checkDigest compares with the descriptor's digest, or with the persistent
// one.
func (v *slotVerifier) checkDigest(name string, d *HashDescriptor, got []byte) *SlotError {
	want := d.Digest
	if len(want) == 0 {
		var err *SlotError
		if want, err = v.persistentDigest(name, len(got), got); err != nil {
			return err
		}
	}
	switch {
	case len(want) != len(got):
		return refuse(SlotErrorInvalidMetadata, name, "digest of %d bytes in the descriptor, want %d", len(want), len(got))
	case !bytes.Equal(want, got):
		return refuse(SlotErrorVerification, name, "its hash is not the one in the descriptor")
	}
	return nil
}

// loadRequested loads all requested partitions without verifying them.
func (v *slotVerifier) loadRequested() *SlotError {
	for _, requested := range v.req.Partitions {
		name, serr := v.fullName(requested, true)
		if serr != nil {
			return serr
		}
		size, err := v.ops.PartitionSize(name)
		if err != nil {
			return refuse(SlotErrorIO, name, "size: %v", err)
		}
		if len(v.data.Loaded) == maxLoaded {
			return refuse(SlotErrorOOM, name, "more than %d partitions", maxLoaded)
		}
		data, err := v.read(name, size, nil, 0)
		if err != nil {
			return refuse(SlotErrorIO, name, "%v", err)
		}
		v.data.Loaded = append(v.data.Loaded, PartitionData{Partition: requested, Size: size, Data: data})
	}
	return nil
}
