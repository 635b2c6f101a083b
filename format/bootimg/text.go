package bootimg

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// A Part is a piece of an image under the name that unpack_bootimg gives its
// file.
type Part struct {
	Name string
	Data []byte
}

// Parts returns the image's pieces in their order. Kernel and ramdisk are there
// also when they are empty, the others only when they are not.
func (m *Image) Parts() []Part {
	list := []Part{{"kernel", m.Kernel}, {"ramdisk", m.Ramdisk}}
	for _, p := range []Part{{"second", m.Second}, {"recovery_dtbo", m.RecoveryDTBO}, {"dtb", m.DTB}, {"boot_signature", m.Signature}} {
		if len(p.Data) > 0 {
			list = append(list, p)
		}
	}
	return list
}

// Parts returns the image's pieces: the vendor ramdisk, in version 4 each
// fragment (vendor_ramdisk00 …) and the bootconfig, and the device trees if
// there are any.
func (v *Vendor) Parts() []Part {
	list := []Part{{"vendor_ramdisk", v.Ramdisk}}
	if v.Version > 3 {
		list = nil
		for i, f := range v.Fragments {
			list = append(list, Part{fragmentFile(i), v.Data(f)})
		}
		list = append(list, Part{"bootconfig", v.Bootconfig})
	}
	if len(v.DTB) > 0 {
		list = append(list, Part{"dtb", v.DTB})
	}
	return list
}

func fragmentFile(i int) string { return fmt.Sprintf("vendor_ramdisk%02d", i) }

// version and level return the fields as unpack_bootimg prints them, or "" for
// none.
func (o OSVersion) version() string {
	if o.Major == 0 && o.Minor == 0 && o.Patch == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", o.Major, o.Minor, o.Patch)
}

func (o OSVersion) level() string {
	if o.Year == 0 {
		return ""
	}
	return fmt.Sprintf("%04d-%02d", o.Year, o.Month)
}

func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

// lines collects lines of text.
type lines struct{ strings.Builder }

func (l *lines) add(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// Text returns what unpack_bootimg prints of the image.
func (m *Image) Text() string {
	var l lines
	l.add("boot magic: %s", bootMagic)
	l.add("kernel_size: %d", len(m.Kernel))
	if m.Version < 3 {
		l.add("kernel load address: 0x%08x", m.KernelAddr)
	}
	l.add("ramdisk size: %d", len(m.Ramdisk))
	if m.Version < 3 {
		l.add("ramdisk load address: 0x%08x", m.RamdiskAddr)
		l.add("second bootloader size: %d", len(m.Second))
		l.add("second bootloader load address: 0x%08x", m.SecondAddr)
		l.add("kernel tags load address: 0x%08x", m.TagsAddr)
		l.add("page size: %d", m.PageSize)
	}
	l.add("os version: %s", orNone(m.OS.version()))
	l.add("os patch level: %s", orNone(m.OS.level()))
	l.add("boot image header version: %d", m.Version)
	if m.Version < 3 {
		l.add("product name: %s", m.Name)
	}
	l.add("command line args: %s", m.Cmdline)
	if m.Version < 3 {
		l.add("additional command line args: %s", m.ExtraCmdline)
	}
	if m.Version == 1 || m.Version == 2 {
		l.add("recovery dtbo size: %d", len(m.RecoveryDTBO))
		l.add("recovery dtbo offset: 0x%016x", m.dtboOffset())
		l.add("boot header size: %d", []int{0, v1Size, v2Size}[m.Version])
	}
	if m.Version == 2 {
		l.add("dtb size: %d", len(m.DTB))
		l.add("dtb address: 0x%016x", m.DTBAddr)
	}
	if m.Version == 4 {
		l.add("boot.img signature size: %d", len(m.Signature))
	}
	return l.String()
}

// Args returns the arguments with which mkbootimg makes the image again of the
// files of [Image.Parts] in the folder dir, as unpack_bootimg prints them. A
// signature is not among them.
func (m *Image) Args(dir string) []string {
	args := []string{"--header_version", strconv.Itoa(int(m.Version))}
	add := func(name, value string) { args = append(args, "--"+name, value) }
	if s := m.OS.version(); s != "" {
		add("os_version", s)
	}
	if s := m.OS.level(); s != "" {
		add("os_patch_level", s)
	}
	for _, p := range m.Parts() {
		if p.Name != "boot_signature" {
			add(p.Name, filepath.Join(dir, p.Name))
		}
	}
	if m.Version < 3 {
		addPlaces(add, m.PageSize, m.KernelAddr, m.RamdiskAddr)
		add("second_offset", fmt.Sprintf("0x%08x", m.SecondAddr))
		add("tags_offset", fmt.Sprintf("0x%08x", m.TagsAddr))
		if m.Version == 2 {
			add("dtb_offset", fmt.Sprintf("0x%016x", m.DTBAddr))
		}
		add("board", m.Name)
	}
	add("cmdline", m.Cmdline+m.ExtraCmdline)
	return args
}

// addPlaces adds what is the same in boot and vendor_boot. The base is not
// known, so it is zero and the offsets are the addresses.
func addPlaces(add func(name, value string), page, kernel, ramdisk uint32) {
	add("pagesize", fmt.Sprintf("0x%08x", page))
	add("base", "0x00000000")
	add("kernel_offset", fmt.Sprintf("0x%08x", kernel))
	add("ramdisk_offset", fmt.Sprintf("0x%08x", ramdisk))
}

// Text returns what unpack_bootimg prints of the image.
func (v *Vendor) Text() string {
	var l lines
	l.add("boot magic: %s", vendorMagic)
	l.add("vendor boot image header version: %d", v.Version)
	l.add("page size: 0x%08x", v.PageSize)
	l.add("kernel load address: 0x%08x", v.KernelAddr)
	l.add("ramdisk load address: 0x%08x", v.RamdiskAddr)
	if v.Version > 3 {
		l.add("vendor ramdisk total size: %d", len(v.Ramdisk))
	} else {
		l.add("vendor ramdisk size: %d", len(v.Ramdisk))
	}
	l.add("vendor command line args: %s", v.Cmdline)
	l.add("kernel tags load address: 0x%08x", v.TagsAddr)
	l.add("product name: %s", v.Name)
	l.add("vendor boot image header size: %d", map[uint32]int{3: vendor3Size, 4: vendor4Size}[v.Version])
	l.add("dtb size: %d", len(v.DTB))
	l.add("dtb address: 0x%016x", v.DTBAddr)
	if v.Version > 3 {
		l.add("vendor ramdisk table size: %d", len(v.Fragments)*entrySize)
		l.add("vendor ramdisk table: [")
		for i, f := range v.Fragments {
			l.fragment(i, f)
		}
		l.add("]")
		l.add("vendor bootconfig size: %d", len(v.Bootconfig))
	}
	return l.String()
}

func (l *lines) fragment(i int, f Fragment) {
	l.add("    %s: {", fragmentFile(i))
	l.add("        size: %d", f.Size)
	l.add("        offset: %d", f.Offset)
	l.add("        type: %#x", uint32(f.Type))
	l.add("        name: %s", f.Name)
	l.add("        board_id: [")
	for row := 0; row < len(f.BoardID); row += 4 {
		id := f.BoardID[row:]
		l.add("            0x%08x, 0x%08x, 0x%08x, 0x%08x,", id[0], id[1], id[2], id[3])
	}
	l.add("        ]")
	l.add("    }")
}

// Args returns the arguments with which mkbootimg makes the image again of the
// files of [Vendor.Parts] in the folder dir, as unpack_bootimg prints them.
func (v *Vendor) Args(dir string) []string {
	args := []string{"--header_version", strconv.Itoa(int(v.Version))}
	add := func(name, value string) { args = append(args, "--"+name, value) }
	addPlaces(add, v.PageSize, v.KernelAddr, v.RamdiskAddr)
	add("tags_offset", fmt.Sprintf("0x%08x", v.TagsAddr))
	add("dtb_offset", fmt.Sprintf("0x%016x", v.DTBAddr))
	add("vendor_cmdline", v.Cmdline)
	add("board", v.Name)
	if len(v.DTB) > 0 {
		add("dtb", filepath.Join(dir, "dtb"))
	}
	if v.Version == 3 {
		add("vendor_ramdisk", filepath.Join(dir, "vendor_ramdisk"))
		return args
	}
	add("vendor_bootconfig", filepath.Join(dir, "bootconfig"))
	for i, f := range v.Fragments {
		add("ramdisk_type", strconv.Itoa(int(f.Type)))
		add("ramdisk_name", f.Name)
		for j, id := range f.BoardID {
			if id != 0 {
				add("board_id"+strconv.Itoa(j), fmt.Sprintf("0x%08x", id))
			}
		}
		add("vendor_ramdisk_fragment", filepath.Join(dir, fragmentFile(i)))
	}
	return args
}
