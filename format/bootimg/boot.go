package bootimg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Parse reads the boot image at the start of b; its parts point into b. Errors
// are [*FormatError].
func Parse(b []byte) (*Image, error) {
	if len(b) < versionOff+4 || string(b[:8]) != bootMagic {
		return nil, bad(0, "%d bytes that begin with %q, want %q and a header", len(b), b[:min(8, len(b))], bootMagic)
	}
	r := &reader{b, len(bootMagic)}
	switch v := binary.LittleEndian.Uint32(b[versionOff:]); v {
	case 0, 1, 2:
		return parseLegacy(r)
	case 3, 4:
		return parseV3(r)
	default:
		return nil, bad(versionOff, "version %d, want 0 to 4", v)
	}
}

func parseV3(r *reader) (*Image, error) {
	var h v3Header
	if err := r.decode("header", &h); err != nil {
		return nil, err
	}
	size, signature := uint32(v3Size), uint32(0)
	if h.Version == 4 {
		if err := r.decode("header", &signature); err != nil {
			return nil, err
		}
		size = v4Size
	}
	old := h.Version == 3 && h.HeaderSize == oldV3Size
	if h.HeaderSize != size && !old || h.Reserved != [4]uint32{} {
		return nil, bad(20, "header of %d bytes with %v reserved, want %d and zeros", h.HeaderSize, h.Reserved, size)
	}
	m := &Image{Version: h.Version, PageSize: PageSize, OldHeader: old}
	var err error
	if m.OS, err = parseOS(h.OSVersion, 16); err != nil {
		return nil, err
	}
	if m.Cmdline, err = str(h.Cmdline[:], 44, "command line"); err != nil {
		return nil, err
	}
	if len(m.Cmdline) == len(h.Cmdline) {
		return nil, bad(44, "command line does not end in a zero byte")
	}
	if err := r.align("header", PageSize); err != nil {
		return nil, err
	}
	if err := m.sections(r, []uint32{h.KernelSize, h.RamdiskSize, signature}); err != nil {
		return nil, err
	}
	return m, nil
}

func parseLegacy(r *reader) (*Image, error) {
	var h legacyHeader
	var v1 v1Fields
	var v2 v2Fields
	if err := r.decode("header", &h); err != nil {
		return nil, err
	}
	if h.Version >= 1 {
		if err := r.decode("header", &v1); err != nil {
			return nil, err
		}
	}
	if h.Version >= 2 {
		if err := r.decode("header", &v2); err != nil {
			return nil, err
		}
	}
	if err := checkPage(h.PageSize, 36); err != nil {
		return nil, err
	}
	if h.Version >= 1 && int(v1.HeaderSize) != r.off {
		return nil, bad(v1Size-4, "header of %d bytes, want %d", v1.HeaderSize, r.off)
	}
	m := &Image{Version: h.Version, PageSize: h.PageSize, ID: h.ID,
		KernelAddr: h.KernelAddr, RamdiskAddr: h.RamdiskAddr, SecondAddr: h.SecondAddr, TagsAddr: h.TagsAddr, DTBAddr: v2.DTBAddr}
	for _, f := range []struct {
		to    *string
		field []byte
		off   int
		what  string
	}{{&m.Name, h.Name[:], 48, "name"}, {&m.Cmdline, h.Cmdline[:], 64, "command line"}, {&m.ExtraCmdline, h.ExtraCmdline[:], 608, "extra command line"}} {
		var err error
		if *f.to, err = str(f.field, f.off, f.what); err != nil {
			return nil, err
		}
	}
	var err error
	if m.OS, err = parseOS(h.OSVersion, 44); err != nil {
		return nil, err
	}
	if err := r.align("header", h.PageSize); err != nil {
		return nil, err
	}
	if err := m.sections(r, []uint32{h.KernelSize, h.RamdiskSize, h.SecondSize, v1.DTBOSize, v2.DTBSize}); err != nil {
		return nil, err
	}
	if v1.DTBOOffset != m.dtboOffset() {
		return nil, bad(v0Size+4, "recovery DTBO at %#x, want %#x", v1.DTBOOffset, m.dtboOffset())
	}
	return m, nil
}

// parts returns the image's sections in their order.
func (m *Image) parts() []*[]byte {
	if m.Version >= 3 {
		return []*[]byte{&m.Kernel, &m.Ramdisk, &m.Signature}
	}
	return []*[]byte{&m.Kernel, &m.Ramdisk, &m.Second, &m.RecoveryDTBO, &m.DTB}
}

func (m *Image) sections(r *reader, sizes []uint32) error {
	for i, to := range m.parts() {
		s, err := r.section(fmt.Sprintf("section %d", i), sizes[i], m.PageSize)
		if err != nil {
			return err
		}
		*to = s
	}
	return nil
}

// dtboOffset is where the recovery DTBO begins, or 0 without one.
func (m *Image) dtboOffset() uint64 {
	if len(m.RecoveryDTBO) == 0 {
		return 0
	}
	p := m.PageSize
	return uint64(int64(p) + pages(len(m.Kernel), p) + pages(len(m.Ramdisk), p) + pages(len(m.Second), p))
}

// Size returns the size of the image in bytes, padding included.
func (m *Image) Size() int64 {
	n := int64(m.PageSize)
	for _, p := range m.parts() {
		n += pages(len(*p), m.PageSize)
	}
	return n
}

// WriteTo writes the image, in its version. It is the inverse of [Parse].
func (m *Image) WriteTo(w io.Writer) (int64, error) {
	if m.Version > 4 {
		return 0, fmt.Errorf("bootimg: version %d, want 0 to 4", m.Version)
	}
	if err := checkPage(m.PageSize, 36); err != nil || m.Version >= 3 && m.PageSize != PageSize {
		return 0, fmt.Errorf("bootimg: page of %d bytes in version %d", m.PageSize, m.Version)
	}
	if m.Size() > maxImage {
		return 0, fmt.Errorf("bootimg: %d bytes, want at most %d", m.Size(), maxImage)
	}
	if err := m.fits(); err != nil {
		return 0, err
	}
	head, err := m.header()
	if err != nil {
		return 0, err
	}
	sections := [][]byte{head}
	for _, p := range m.parts() {
		sections = append(sections, *p)
	}
	return writeSections(w, m.PageSize, sections...)
}

// fits refuses what the image's version has no field for.
func (m *Image) fits() error {
	legacy := len(m.Second)+len(m.ExtraCmdline)+len(m.Name)+len(m.RecoveryDTBO)+len(m.DTB) > 0 || m.ID != [32]byte{} ||
		slices.Max([]uint32{m.KernelAddr, m.RamdiskAddr, m.SecondAddr, m.TagsAddr}) > 0 || m.DTBAddr > 0
	switch {
	case m.Version >= 3 && legacy:
		return fmt.Errorf("bootimg: version %d has no second stage, name, id, addresses or device trees", m.Version)
	case m.Version < 2 && len(m.DTB) > 0, m.Version < 1 && len(m.RecoveryDTBO) > 0, m.Version < 2 && m.DTBAddr > 0:
		return fmt.Errorf("bootimg: version %d has no device tree of that kind", m.Version)
	case m.Version != 3 && m.OldHeader:
		return fmt.Errorf("bootimg: version %d has no other size of its header", m.Version)
	case m.Version != 4 && len(m.Signature) > 0:
		return fmt.Errorf("bootimg: version %d has no signature", m.Version)
	}
	return nil
}

// header returns the header with its magic.
func (m *Image) header() ([]byte, error) {
	os, err := m.OS.bits()
	if err != nil {
		return nil, err
	}
	b := bytes.NewBufferString(bootMagic)
	if m.Version >= 3 {
		h := v3Header{KernelSize: uint32(len(m.Kernel)), RamdiskSize: uint32(len(m.Ramdisk)), OSVersion: os, HeaderSize: v3Size, Version: m.Version}
		switch {
		case m.Version == 4:
			h.HeaderSize = v4Size
		case m.OldHeader:
			h.HeaderSize = oldV3Size
		}
		if err := setStr(h.Cmdline[:], m.Cmdline, "command line", len(h.Cmdline)-1); err != nil {
			return nil, err
		}
		if err := binary.Write(b, binary.LittleEndian, &h); err != nil || m.Version == 3 {
			return b.Bytes(), err
		}
		err := binary.Write(b, binary.LittleEndian, uint32(len(m.Signature)))
		return b.Bytes(), err
	}
	h := legacyHeader{KernelSize: uint32(len(m.Kernel)), KernelAddr: m.KernelAddr, RamdiskSize: uint32(len(m.Ramdisk)), RamdiskAddr: m.RamdiskAddr,
		SecondSize: uint32(len(m.Second)), SecondAddr: m.SecondAddr, TagsAddr: m.TagsAddr, PageSize: m.PageSize, Version: m.Version, OSVersion: os, ID: m.ID}
	if err := setStr(h.Name[:], m.Name, "name", len(h.Name)); err != nil {
		return nil, err
	}
	if err := setStr(h.Cmdline[:], m.Cmdline, "command line", len(h.Cmdline)); err != nil {
		return nil, err
	}
	if err := setStr(h.ExtraCmdline[:], m.ExtraCmdline, "extra command line", len(h.ExtraCmdline)); err != nil {
		return nil, err
	}
	fields := []any{&h}
	if m.Version >= 1 {
		fields = append(fields, &v1Fields{uint32(len(m.RecoveryDTBO)), m.dtboOffset(), []uint32{0, v1Size, v2Size}[m.Version]})
	}
	if m.Version == 2 {
		fields = append(fields, &v2Fields{uint32(len(m.DTB)), m.DTBAddr})
	}
	for _, f := range fields {
		if err := binary.Write(b, binary.LittleEndian, f); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
