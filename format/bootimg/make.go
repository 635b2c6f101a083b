package bootimg

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"mios/internal/lazyregexp"
)

// An IDKind says what an image's ID is made of. There are two mkbootimgs: in
// AOSP's main branch and Debian, the ID is of the parts that the version has;
// in the other, which knows the --dt of old Qualcomm loaders, also of that one,
// after the second bootloader, even where it is empty.
type IDKind int

// The kinds.
const (
	IDWithDT IDKind = iota
	IDPlain
)

// SetID sets ID to what mkbootimg puts there: the SHA-1 of the parts, each
// followed by its length in 32 bits. It tells images apart and protects
// nothing. From version 3 on there is no ID, and it stays zero.
func (m *Image) SetID(kind IDKind) {
	m.ID = [32]byte{}
	if m.Version >= 3 {
		return
	}
	h := sha1.New()
	addPart(h, m.Kernel)
	addPart(h, m.Ramdisk)
	addPart(h, m.Second)
	if kind == IDWithDT {
		addPart(h, nil)
	}
	if m.Version > 0 {
		addPart(h, m.RecoveryDTBO)
	}
	if m.Version > 1 {
		addPart(h, m.DTB)
	}
	copy(m.ID[:], h.Sum(nil))
}

// IDKind returns the kind that the image's ID is of; ok is false if it is of
// none, or the image's version has none.
func (m *Image) IDKind() (kind IDKind, ok bool) {
	c := *m
	for _, k := range []IDKind{IDWithDT, IDPlain} {
		if c.SetID(k); c.ID == m.ID && m.Version < 3 {
			return k, true
		}
	}
	return 0, false
}

func addPart(h hash.Hash, p []byte) {
	h.Write(p)
	h.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
}

// maxLegacyCmdline is what the two fields of versions 0 to 2 hold together, in
// bytes, when each ends in a zero byte.
const maxLegacyCmdline = 511 + 1023

// SetCmdline sets Cmdline, and to version 2 ExtraCmdline to what does not fit,
// as mkbootimg splits them: 511 bytes stay in the first.
func (m *Image) SetCmdline(s string) error {
	limit := 1535
	if m.Version < 3 {
		limit = maxLegacyCmdline
	}
	if len(s) > limit {
		return fmt.Errorf("bootimg: command line of %d bytes: version %d holds %d", len(s), m.Version, limit)
	}
	m.Cmdline, m.ExtraCmdline = s, ""
	if m.Version < 3 && len(s) > 511 {
		m.Cmdline, m.ExtraCmdline = s[:511], s[511:]
	}
	return nil
}

var (
	versionRE = lazyregexp.New(`^([0-9]{1,3})(?:\.([0-9]{1,3})(?:\.([0-9]{1,3}))?)?`)
	levelRE   = lazyregexp.New(`^([0-9]{4})-([0-9]{2})`)
)

// ParseOSVersion reads a version such as "14" or "14.0.1" and a patch level such
// as "2024-05" or "2024-05-01". As in mkbootimg, what follows is not looked at,
// and text that does not begin so stands for none: ok is then false.
func ParseOSVersion(version, level string) (os OSVersion, ok bool, err error) {
	ok = true
	if s := versionRE.FindStringSubmatch(version); s != nil {
		for i, to := range []*uint8{&os.Major, &os.Minor, &os.Patch} {
			n, _ := strconv.Atoi("0" + s[i+1]) // at most three digits
			if n > 127 {
				return OSVersion{}, false, fmt.Errorf("bootimg: OS version %s: each number must be at most 127", version)
			}
			*to = uint8(n)
		}
	} else if version != "" {
		ok = false
	}
	if s := levelRE.FindStringSubmatch(level); s != nil {
		os.Year, _ = strconv.Atoi(s[1])
		os.Month, _ = strconv.Atoi(s[2])
		if _, err := os.bits(); err != nil || os.Month == 0 {
			return OSVersion{}, false, fmt.Errorf("bootimg: patch level %s: want 2000-01 to 2127-12", level)
		}
	} else if level != "" {
		ok = false
	}
	return os, ok, nil
}

// AddFragment appends a ramdisk fragment to a version 4 image.
func (v *Vendor) AddFragment(f Fragment, ramdisk []byte) error {
	if v.Version != 4 {
		return fmt.Errorf("bootimg: vendor_boot version %d has no ramdisk fragments", v.Version)
	}
	if f.Name == "default" {
		return fmt.Errorf("bootimg: ramdisk fragment's name default is taken")
	}
	for _, other := range v.Fragments {
		if other.Name == f.Name {
			return fmt.Errorf("bootimg: two ramdisk fragments are named %q", f.Name)
		}
	}
	if len(f.Name) >= 32 {
		return fmt.Errorf("bootimg: ramdisk fragment's name %q: at most 31 bytes", f.Name)
	}
	if int64(len(v.Ramdisk))+int64(len(ramdisk)) > maxImage {
		return fmt.Errorf("bootimg: ramdisks of %d bytes, want at most %d", int64(len(v.Ramdisk))+int64(len(ramdisk)), maxImage)
	}
	f.Offset, f.Size = uint32(len(v.Ramdisk)), uint32(len(ramdisk))
	v.Ramdisk = append(v.Ramdisk, ramdisk...)
	v.Fragments = append(v.Fragments, f)
	return nil
}

// Data returns the ramdisk of a fragment of the image.
func (v *Vendor) Data(f Fragment) []byte { return v.Ramdisk[f.Offset : f.Offset+f.Size] }

// ParseRamdiskType reads none, platform, recovery, dlkm or a number.
func ParseRamdiskType(s string) (RamdiskType, error) {
	for t := RamdiskNone; t <= RamdiskDLKM; t++ {
		if strings.EqualFold(s, t.String()) {
			return t, nil
		}
	}
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("bootimg: ramdisk type %q: want none, platform, recovery, dlkm or a number", s)
	}
	return RamdiskType(n), nil
}

// String returns mkbootimg's name of the type, or its number.
func (t RamdiskType) String() string {
	if t <= RamdiskDLKM {
		return []string{"none", "platform", "recovery", "dlkm"}[t]
	}
	return fmt.Sprintf("%#x", uint32(t))
}
