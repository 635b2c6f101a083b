package bootimg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// ParseVendor reads the vendor_boot image at the start of b; its parts point
// into b. Errors are [*FormatError].
func ParseVendor(b []byte) (*Vendor, error) {
	if len(b) < len(vendorMagic) || string(b[:8]) != vendorMagic {
		return nil, bad(0, "%d bytes that begin with %q, want %q and a header", len(b), b[:min(8, len(b))], vendorMagic)
	}
	r := &reader{b, len(vendorMagic)}
	var h vendorHeader
	var v4 vendorV4Fields
	if err := r.decode("header", &h); err != nil {
		return nil, err
	}
	if h.Version != 3 && h.Version != 4 {
		return nil, bad(8, "version %d, want 3 or 4", h.Version)
	}
	if h.Version == 4 {
		if err := r.decode("header", &v4); err != nil {
			return nil, err
		}
	}
	if int(h.HeaderSize) != r.off {
		return nil, bad(vendor3Size-16, "header of %d bytes, want %d", h.HeaderSize, r.off)
	}
	if err := checkPage(h.PageSize, 12); err != nil {
		return nil, err
	}
	v := &Vendor{Version: h.Version, PageSize: h.PageSize, KernelAddr: h.KernelAddr, RamdiskAddr: h.RamdiskAddr, TagsAddr: h.TagsAddr, DTBAddr: h.DTBAddr}
	var err error
	if v.Cmdline, err = str(h.Cmdline[:], 28, "command line"); err != nil {
		return nil, err
	}
	if v.Name, err = str(h.Name[:], 2080, "name"); err != nil {
		return nil, err
	}
	if err := v.sections(r, &h, &v4); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Vendor) sections(r *reader, h *vendorHeader, v4 *vendorV4Fields) (err error) {
	if err := r.align("header", h.PageSize); err != nil {
		return err
	}
	if v.Ramdisk, err = r.section("ramdisk", h.RamdiskSize, h.PageSize); err != nil {
		return err
	}
	if v.DTB, err = r.section("DTB", h.DTBSize, h.PageSize); err != nil || v.Version == 3 {
		return err
	}
	if v4.EntrySize != entrySize || uint64(v4.TableSize) != uint64(v4.TableEntries)*entrySize {
		return bad(vendor3Size, "ramdisk table of %d bytes for %d entries of %d bytes", v4.TableSize, v4.TableEntries, v4.EntrySize)
	}
	off := r.off
	table, err := r.section("ramdisk table", v4.TableSize, h.PageSize)
	if err != nil {
		return err
	}
	if v.Fragments, err = parseTable(table, off, h.RamdiskSize); err != nil {
		return err
	}
	v.Bootconfig, err = r.section("bootconfig", v4.BootconfigSize, h.PageSize)
	return err
}

func parseTable(table []byte, off int, ramdisk uint32) ([]Fragment, error) {
	var frags []Fragment
	for i := 0; i < len(table); i += entrySize {
		var e tableEntry
		if _, err := binary.Decode(table[i:], binary.LittleEndian, &e); err != nil {
			return nil, bad(off+i, "ramdisk table: %v", err)
		}
		if uint64(e.Offset)+uint64(e.Size) > uint64(ramdisk) {
			return nil, bad(off+i, "ramdisk fragment %d passes the end of the ramdisk", i/entrySize)
		}
		name, err := str(e.Name[:], off+i+12, "ramdisk fragment's name")
		if err != nil {
			return nil, err
		}
		frags = append(frags, Fragment{e.Type, name, e.BoardID, e.Offset, e.Size})
	}
	return frags, nil
}

// Size returns the size of the image in bytes, padding included.
func (v *Vendor) Size() int64 {
	return pages(vendor3Size, v.PageSize) + pages(len(v.Ramdisk), v.PageSize) + pages(len(v.DTB), v.PageSize) +
		pages(len(v.Fragments)*entrySize, v.PageSize) + pages(len(v.Bootconfig), v.PageSize) + v.headerGrowth()
}

// headerGrowth is what version 4's header takes more in whole pages.
func (v *Vendor) headerGrowth() int64 {
	if v.Version < 4 {
		return 0
	}
	return pages(vendor4Size, v.PageSize) - pages(vendor3Size, v.PageSize)
}

// WriteTo writes the image, in its version. It is the inverse of [ParseVendor].
func (v *Vendor) WriteTo(w io.Writer) (int64, error) {
	if v.Version != 3 && v.Version != 4 || v.Version == 3 && len(v.Fragments)+len(v.Bootconfig) > 0 {
		return 0, fmt.Errorf("bootimg: vendor_boot version %d: want 4, or 3 without fragments and bootconfig", v.Version)
	}
	if err := checkPage(v.PageSize, 12); err != nil {
		return 0, fmt.Errorf("bootimg: page of %d bytes", v.PageSize)
	}
	if v.Size() > maxImage {
		return 0, fmt.Errorf("bootimg: %d bytes, want at most %d", v.Size(), maxImage)
	}
	h := vendorHeader{Version: v.Version, PageSize: v.PageSize, KernelAddr: v.KernelAddr, RamdiskAddr: v.RamdiskAddr,
		RamdiskSize: uint32(len(v.Ramdisk)), TagsAddr: v.TagsAddr, HeaderSize: vendor3Size, DTBSize: uint32(len(v.DTB)), DTBAddr: v.DTBAddr}
	if err := setStr(h.Cmdline[:], v.Cmdline, "command line", len(h.Cmdline)); err != nil {
		return 0, err
	}
	if err := setStr(h.Name[:], v.Name, "name", len(h.Name)); err != nil {
		return 0, err
	}
	fields := []any{&h}
	if v.Version == 4 {
		h.HeaderSize = vendor4Size
		n := uint32(len(v.Fragments))
		fields = append(fields, &vendorV4Fields{n * entrySize, n, entrySize, uint32(len(v.Bootconfig))})
	}
	head := bytes.NewBufferString(vendorMagic)
	for _, f := range fields {
		if err := binary.Write(head, binary.LittleEndian, f); err != nil {
			return 0, err
		}
	}
	table, err := v.table()
	if err != nil {
		return 0, err
	}
	return writeSections(w, v.PageSize, head.Bytes(), v.Ramdisk, v.DTB, table, v.Bootconfig)
}

func (v *Vendor) table() ([]byte, error) {
	var b bytes.Buffer
	for i, f := range v.Fragments {
		e := tableEntry{Size: f.Size, Offset: f.Offset, Type: f.Type, BoardID: f.BoardID}
		if uint64(f.Offset)+uint64(f.Size) > uint64(len(v.Ramdisk)) {
			return nil, fmt.Errorf("bootimg: ramdisk fragment %d passes the end of the ramdisk", i)
		}
		if err := setStr(e.Name[:], f.Name, "ramdisk fragment's name", len(e.Name)); err != nil {
			return nil, err
		}
		if err := binary.Write(&b, binary.LittleEndian, &e); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
