package main

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"

	"mios/format/bootimg"
	"mios/internal/units"
)

// bootPart is a piece of an image.
type bootPart struct {
	Name    string   `json:"name"`
	Size    int      `json:"size"`
	Type    string   `json:"type,omitempty"`     // of a vendor ramdisk's fragment
	Title   string   `json:"title,omitempty"`    // its name
	BoardID []uint32 `json:"board_id,omitempty"` // without the zeros at its end
}

// bootReport is what mios boot info tells, as JSON.
type bootReport struct {
	File       string            `json:"file"`
	Kind       string            `json:"kind"` // boot, init_boot or vendor_boot
	Version    uint32            `json:"header_version"`
	PageSize   uint32            `json:"page_size"`
	Size       int64             `json:"size"`
	After      int               `json:"bytes_after,omitempty"` // such as an AVB footer
	OSVersion  string            `json:"os_version,omitempty"`
	PatchLevel string            `json:"os_patch_level,omitempty"`
	Board      string            `json:"board,omitempty"`
	Cmdline    string            `json:"cmdline,omitempty"`
	ID         string            `json:"id,omitempty"`
	Addresses  map[string]uint64 `json:"addresses,omitempty"`
	Parts      []bootPart        `json:"parts"`
	Bootconfig []string          `json:"bootconfig,omitempty"`
}

func describeBoot(name string, m *bootImage) *bootReport {
	r := &bootReport{File: name, Size: m.size(), After: m.after}
	for _, p := range m.parts() {
		r.Parts = append(r.Parts, bootPart{Name: p.Name, Size: len(p.Data)})
	}
	if m.vendor != nil {
		describeVendor(r, m.vendor)
		return r
	}
	b := m.boot
	r.Kind, r.Version, r.PageSize, r.Board, r.Cmdline = "boot", b.Version, b.PageSize, b.Name, b.Cmdline+b.ExtraCmdline
	if len(b.Kernel) == 0 && b.Version == 4 {
		r.Kind = "init_boot"
	}
	if v, level, _ := strings.Cut(b.OS.String(), " "); b.OS != (bootimg.OSVersion{}) {
		r.OSVersion = v
		if b.OS.Year != 0 {
			r.PatchLevel = level
		}
	}
	if b.Version < 3 {
		r.ID = hex.EncodeToString(b.ID[:])
		r.Addresses = map[string]uint64{"kernel": uint64(b.KernelAddr), "ramdisk": uint64(b.RamdiskAddr), "tags": uint64(b.TagsAddr)}
		if len(b.Second) > 0 {
			r.Addresses["second"] = uint64(b.SecondAddr)
		}
		if b.Version == 2 {
			r.Addresses["dtb"] = b.DTBAddr
		}
	}
	return r
}

func describeVendor(r *bootReport, v *bootimg.Vendor) {
	r.Kind, r.Version, r.PageSize, r.Board, r.Cmdline = "vendor_boot", v.Version, v.PageSize, v.Name, v.Cmdline
	r.Addresses = map[string]uint64{"kernel": uint64(v.KernelAddr), "ramdisk": uint64(v.RamdiskAddr), "tags": uint64(v.TagsAddr), "dtb": v.DTBAddr}
	for i, f := range v.Fragments {
		p := &r.Parts[i]
		p.Type, p.Title = f.Type.String(), f.Name
		for n := len(f.BoardID); n > 0; n-- {
			if f.BoardID[n-1] != 0 {
				p.BoardID = f.BoardID[:n]
				break
			}
		}
	}
	for line := range strings.Lines(string(v.Bootconfig)) {
		if line = strings.TrimSpace(line); line != "" {
			r.Bootconfig = append(r.Bootconfig, printable(line))
		}
	}
}

func printBoot(p *page, name string, r *bootReport) {
	p.line("%s: %s image, version %d", name, r.Kind, r.Version)
	size := fmt.Sprintf("%s in pages of %d bytes", units.Binary(r.Size), r.PageSize)
	if r.After > 0 {
		size += fmt.Sprintf("; %s more follow it in the file", units.Binary(int64(r.After)))
	}
	p.fact("size", "%s", size)
	switch {
	case r.OSVersion != "" && r.PatchLevel != "":
		p.fact("android", "%s, patches of %s", r.OSVersion, r.PatchLevel)
	case r.OSVersion != "":
		p.fact("android", "%s", r.OSVersion)
	}
	if r.Board != "" {
		p.fact("board", "%s", r.Board)
	}
	if r.Cmdline != "" {
		p.fact("cmdline", "%s", r.Cmdline)
	}
	if r.ID != "" {
		p.fact("id", "%s", r.ID[:2*sha1.Size])
	}
	var places []string
	for _, part := range []string{"kernel", "ramdisk", "second", "tags", "dtb"} {
		if a, ok := r.Addresses[part]; ok {
			places = append(places, fmt.Sprintf("%s %#x", part, a))
		}
	}
	if len(places) > 0 {
		p.list("  loaded    ", places)
	}
	p.section("Parts")
	for _, part := range r.Parts {
		line := fmt.Sprintf("  %-17s %10s", part.Name, units.Binary(int64(part.Size)))
		if part.Type != "" {
			line += fmt.Sprintf("  %s %q", part.Type, part.Title)
		}
		if len(part.BoardID) > 0 {
			line += fmt.Sprintf(" for board %x", part.BoardID)
		}
		p.line("%s", line)
	}
	if len(r.Bootconfig) > 0 {
		p.section("Bootconfig")
		for _, line := range r.Bootconfig {
			p.line("  %s", line)
		}
	}
}
