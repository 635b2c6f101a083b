package avb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// substitution is a variable of kernel command lines and its value.
type substitution struct{ token, value string }

// persistentDigest returns the digest that the device keeps of a partition. If
// there is none, and initial is given, and the device is locked, it becomes
// initial.
func (v *slotVerifier) persistentDigest(name string, size int, initial []byte) ([]byte, *SlotError) {
	key := persistentDigestPrefix + name
	stored, err := v.ops.ReadPersistentValue(key)
	if errors.Is(err, ErrNoSuchValue) && initial != nil {
		unlocked, err := v.ops.IsUnlocked()
		switch {
		case err != nil:
			return nil, refuse(SlotErrorIO, name, "lock state: %v", err)
		case unlocked:
			return nil, refuse(SlotErrorVerification, name, "no persistent digest, and an unlocked device does not make one")
		}
		if err := v.ops.WritePersistentValue(key, initial); err != nil {
			return nil, refuse(SlotErrorIO, name, "write the persistent digest: %v", err)
		}
		return v.persistentDigest(name, size, nil)
	}
	switch {
	case errors.Is(err, ErrNoSuchValue):
		return nil, refuse(SlotErrorVerification, name, "there is no persistent digest")
	case errors.Is(err, ErrInvalidValueSize), errors.Is(err, ErrInsufficientSpace):
		return nil, refuse(SlotErrorInvalidMetadata, name, "persistent digest: %v", err)
	case err != nil:
		return nil, refuse(SlotErrorIO, name, "persistent digest: %v", err)
	case len(stored) != size:
		return nil, refuse(SlotErrorInvalidMetadata, name, "persistent digest of %d bytes, want %d", len(stored), size)
	}
	return stored, nil
}

// substituteRootDigest makes the persistent root digest of a partition
// available to the kernel's command line as $(AVB_NAME_ROOT_DIGEST).
func (v *slotVerifier) substituteRootDigest(d *HashtreeDescriptor, chained bool) *SlotError {
	if d.Flags&FlagDoNotUseAB == 0 && v.req.Suffix != "" {
		return refuse(SlotErrorInvalidMetadata, d.PartitionName, "a persistent root digest cannot be used with slots")
	}
	name, serr := v.fullName(d.PartitionName, false)
	if serr != nil {
		return serr
	}
	h, err := hashByName(d.HashAlgorithm)
	if err != nil {
		return refuse(SlotErrorInvalidMetadata, name, "hash algorithm %q is not supported", d.HashAlgorithm)
	}
	digest, serr := v.persistentDigest(name, h.Size(), nil)
	if serr != nil || chained {
		return serr
	}
	if len(v.substitutions) == maxSubstitutions {
		return refuse(SlotErrorInvalidMetadata, name, "more than %d persistent root digests", maxSubstitutions)
	}
	v.substitutions = append(v.substitutions, substitution{
		asciiUpper("$(AVB_" + name + "_ROOT_DIGEST)"), hex.EncodeToString(digest),
	})
	return nil
}

func asciiUpper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// finish makes the kernel's command line.
func (v *slotVerifier) finish() *SlotError {
	top := decodeHeader(v.data.VBMeta[0].Data)
	v.data.Cmdline = strings.Join(v.cmdline, " ")
	if top.Flags&FlagVerificationDisabled != 0 {
		// No descriptor was followed, so this is all there is.
		v.data.Cmdline = ""
		if _, err := v.ops.PartitionGUID("system" + v.req.Suffix); err == nil {
			v.data.Cmdline = "root=PARTUUID=$(ANDROID_SYSTEM_PARTUUID)"
		}
		return v.substitute()
	}
	v.data.ResolvedErrorMode = v.req.ErrorMode
	if v.req.ErrorMode == ManagedRestartAndEIO {
		mode, err := v.managedMode()
		if err != nil {
			return refuse(SlotErrorIO, "", "persistent value %s: %v", managedVerityMode, err)
		}
		v.data.ResolvedErrorMode = mode
	}
	if err := v.appendOptions(top.Flags); err != nil {
		return err
	}
	return v.substitute()
}

// managedMode is [Restart], unless this very slot had a corruption before.
func (v *slotVerifier) managedMode() (ErrorMode, error) {
	digest, err := v.data.VBMetaDigest("sha256")
	if err != nil {
		return 0, err
	}
	if v.req.Flags&SlotRestartCausedByHashtreeCorruption != 0 {
		return EIO, v.ops.WritePersistentValue(managedVerityMode, digest)
	}
	stored, err := v.ops.ReadPersistentValue(managedVerityMode)
	switch {
	case errors.Is(err, ErrNoSuchValue), err == nil && len(stored) == 0:
		return Restart, nil
	case err != nil:
		return 0, err
	case len(stored) != len(digest):
		return 0, fmt.Errorf("%d bytes, want %d", len(stored), len(digest))
	case bytes.Equal(stored, digest):
		return EIO, nil
	}
	return Restart, v.ops.WritePersistentValue(managedVerityMode, nil)
}

// verityModes are what androidboot.veritymode says, and what replaces
// $(ANDROID_VERITY_MODE), by resolved error mode.
var verityModes = map[ErrorMode][2]string{
	RestartAndInvalidate: {"enforcing", "restart_on_corruption"},
	Restart:              {"enforcing", "restart_on_corruption"},
	EIO:                  {"eio", "ignore_zero_blocks"}, // dm-verity's own default has no name
	Logging:              {"logging", "ignore_corruption"},
	Panic:                {"panicking", "panic_on_corruption"},
}

// appendOptions appends androidboot.* to the command line, in libavb's order.
func (v *slotVerifier) appendOptions(top Flags) *SlotError {
	add := func(key, value string) {
		if v.data.Cmdline != "" {
			v.data.Cmdline += " "
		}
		v.data.Cmdline += "androidboot." + key + "=" + value
	}
	if v.req.Flags&SlotNoVBMetaPartition == 0 {
		add("vbmeta.device", "PARTUUID=$(ANDROID_VBMETA_PARTUUID)")
		if len(v.topKey) > 0 {
			sum := sha256.Sum256(v.topKey)
			add("vbmeta.public_key_digest", hex.EncodeToString(sum[:]))
		}
	}
	add("vbmeta.avb_version", fmt.Sprintf("%d.%d", VersionMajor, VersionMinor))
	unlocked, err := v.ops.IsUnlocked()
	if err != nil {
		return refuse(SlotErrorIO, "", "lock state: %v", err)
	}
	state := "locked"
	if unlocked {
		state = "unlocked"
	}
	add("vbmeta.device_state", state)
	hash := "sha256"
	if v.algorithm >= SHA512RSA2048 {
		hash = "sha512"
	}
	digest, err := v.data.VBMetaDigest(hash)
	if err != nil {
		return refuse(SlotErrorInvalidArgument, "", "%v", err)
	}
	size := 0
	for _, m := range v.data.VBMeta {
		size += len(m.Data)
	}
	add("vbmeta.hash_alg", hash)
	add("vbmeta.size", fmt.Sprint(size))
	add("vbmeta.digest", hex.EncodeToString(digest))
	if top&FlagHashtreeDisabled != 0 {
		add("veritymode", "disabled")
	} else {
		if v.data.ResolvedErrorMode == RestartAndInvalidate {
			add("vbmeta.invalidate_on_error", "yes")
		}
		mode := verityModes[v.data.ResolvedErrorMode]
		v.data.Cmdline = strings.ReplaceAll(v.data.Cmdline, "$(ANDROID_VERITY_MODE)", mode[1])
		add("veritymode", mode[0])
	}
	if v.req.ErrorMode == ManagedRestartAndEIO {
		add("veritymode.managed", "yes")
	}
	for _, p := range v.data.Loaded {
		if p.digest != nil {
			add("vbmeta."+p.Partition+".hash_alg", p.hash)
			add("vbmeta."+p.Partition+".digest", hex.EncodeToString(p.digest))
		}
	}
	return nil
}

// substitute replaces the variables of the command line.
func (v *slotVerifier) substitute() *SlotError {
	vbmeta := "vbmeta"
	if v.req.Flags&SlotNoVBMetaPartition == 0 {
		vbmeta = v.data.VBMeta[0].Partition // or boot
	}
	line := v.data.Cmdline
	for _, s := range []struct{ token, partition string }{
		{"$(ANDROID_SYSTEM_PARTUUID)", "system"},
		{"$(ANDROID_BOOT_PARTUUID)", "boot"},
		{"$(ANDROID_VBMETA_PARTUUID)", vbmeta},
	} {
		if !strings.Contains(v.data.Cmdline, s.token) {
			continue
		}
		name, serr := v.fullName(s.partition, true)
		if serr != nil {
			return &SlotError{SlotErrorOOM, name, serr.Reason} // sic: libavb has no other result here
		}
		guid, err := v.ops.PartitionGUID(name)
		if err != nil {
			return refuse(SlotErrorOOM, name, "GUID for the kernel's command line: %v", err)
		}
		line = strings.ReplaceAll(line, s.token, guid)
	}
	for _, s := range v.substitutions {
		line = strings.ReplaceAll(line, s.token, s.value)
	}
	v.data.Cmdline = line
	return nil
}
