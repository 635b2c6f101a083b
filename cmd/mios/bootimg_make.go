package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"mios/format/bootimg"
)

var bootMake = command{"boot make", "[flags] (--output FILE | --vendor_boot FILE)", "make a boot, init_boot or vendor_boot image, as mkbootimg does\n" +
	"Numbers may be decimal or 0x…. In vendor_boot version 4, each ramdisk fragment is a\n" +
	"group of flags that ends with its --vendor_ramdisk_fragment.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		o := newBootMaker(fs)
		if err := parse(fs, args, 0, 0); err != nil {
			return err
		}
		if o.output == "" && o.vendorBoot == "" {
			return fmt.Errorf("%w: name the file to write with --output or --vendor_boot", errUsage)
		}
		return o.run(e)
	}}

// A bootMaker holds mkbootimg's arguments.
type bootMaker struct {
	files                                              map[string]*string // by flag
	cmdline, vendorCmdline, board                      string
	osVersion, osLevel                                 string
	output, vendorBoot                                 string
	base, kernel, ramdisk, second, dtb, tags, page, hv uint64
	printID, plainID                                   bool
	fragments                                          []fragmentFlags
	next                                               fragmentFlags
	gki                                                gkiFlags
}

// fragmentFlags is a group of flags of one ramdisk fragment.
type fragmentFlags struct {
	bootimg.Fragment
	file         string
	named, given bool
}

func newBootMaker(fs *flag.FlagSet) *bootMaker {
	o := &bootMaker{files: map[string]*string{}}
	for _, f := range [][2]string{{"kernel", "the kernel"}, {"ramdisk", "the ramdisk"}, {"second", "the second bootloader (to version 2)"},
		{"dtb", "the device trees (version 2, and vendor_boot)"}, {"recovery_dtbo", "the recovery's device tree overlays (versions 1 and 2)"},
		{"recovery_acpio", "its ACPI overlays instead"}, {"vendor_ramdisk", "the vendor ramdisk"},
		{"vendor_bootconfig", "the bootconfig (vendor_boot version 4)"}} {
		o.files[f[0]] = fs.String(f[0], "", "`file` of "+f[1])
	}
	for _, f := range []struct {
		to         *string
		name, help string
	}{{&o.cmdline, "cmdline", "`text` of the kernel's command line"}, {&o.vendorCmdline, "vendor_cmdline", "`text` of the vendor's part of it"},
		{&o.board, "board", "`name` of the board"}, {&o.osVersion, "os_version", "`version` of Android, such as 14.0.0"},
		{&o.osLevel, "os_patch_level", "`month` of its security patches, such as 2024-05"},
		{&o.output, "output", "boot image `file` to write"}, {&o.output, "out", "the same `file`"}, {&o.output, "o", "the same `file`"},
		{&o.vendorBoot, "vendor_boot", "vendor_boot image `file` to write"}} {
		fs.StringVar(f.to, f.name, "", f.help)
	}
	for _, f := range []struct {
		to         *uint64
		name, help string
		def        uint64
	}{{&o.base, "base", "base `address`", 0x10000000}, {&o.kernel, "kernel_offset", "kernel's `offset` to it", 0x8000},
		{&o.ramdisk, "ramdisk_offset", "ramdisk's `offset`", 0x1000000}, {&o.second, "second_offset", "second bootloader's `offset`", 0xf00000},
		{&o.dtb, "dtb_offset", "device trees' `offset`", 0x1f00000}, {&o.tags, "tags_offset", "kernel tags' `offset`", 0x100},
		{&o.page, "pagesize", "page size in `bytes`: 2048, 4096, 8192 or 16384", 2048}, {&o.hv, "header_version", "`version` of the header, 0 to 4", 0}} {
		fs.Uint64Var(f.to, f.name, f.def, f.help)
	}
	fs.BoolVar(&o.printID, "id", false, "print the image's ID (to version 2)")
	fs.BoolVar(&o.plainID, "plain_id", false, "make the ID as AOSP's and Debian's mkbootimg do, which know no --dt (to version 2)")
	o.fragmentFlags(fs)
	o.gki.add(fs)
	return o
}

// fragmentFlags adds the flags of ramdisk fragments, whose order counts.
func (o *bootMaker) fragmentFlags(fs *flag.FlagSet) {
	next := &o.next
	fs.Func("ramdisk_type", "`type` of the next fragment: none, platform, recovery, dlkm or a number", func(s string) (err error) {
		next.given = true
		next.Type, err = bootimg.ParseRamdiskType(s)
		return err
	})
	fs.Func("ramdisk_name", "`name` of the next fragment", func(s string) error {
		next.Name, next.named, next.given = s, true, true
		return nil
	})
	for i := range next.BoardID {
		fs.Func("board_id"+strconv.Itoa(i), "`number` "+strconv.Itoa(i)+" of the next fragment's board", func(s string) error {
			n, err := strconv.ParseUint(s, 0, 32)
			next.BoardID[i], next.given = uint32(n), true
			return err
		})
	}
	fs.Func("vendor_ramdisk_fragment", "`file` of the ramdisk fragment that the flags before it describe", func(s string) error {
		if !next.named {
			return errors.New("give its --ramdisk_name first")
		}
		next.file = s
		o.fragments = append(o.fragments, *next)
		*next = fragmentFlags{}
		return nil
	})
}

// run makes what is asked for; nothing is written unless all can be made.
func (o *bootMaker) run(e env) error {
	if !slices.Contains([]uint64{2048, 4096, 8192, 16384}, o.page) {
		return fmt.Errorf("%w: --pagesize %d: want 2048, 4096, 8192 or 16384", errUsage, o.page)
	}
	if (len(o.fragments) > 0 || o.next.given) && (o.vendorBoot == "" || o.hv != 4) {
		return fmt.Errorf("%w: ramdisk fragments are for --vendor_boot with --header_version 4", errUsage)
	}
	if o.next.given {
		return fmt.Errorf("%w: a ramdisk fragment's flags end with its --vendor_ramdisk_fragment", errUsage)
	}
	var vendor *bootimg.Vendor
	var boot *bootimg.Image
	var err error
	if o.vendorBoot != "" {
		if vendor, err = o.makeVendor(); err != nil {
			return err
		}
	}
	if o.output != "" {
		if boot, err = o.makeBoot(e); err != nil {
			return err
		}
	}
	if err := o.write(vendor, boot); err != nil {
		return err
	}
	if o.printID && boot != nil && boot.Version < 3 {
		_, err = fmt.Fprintf(e.stdout, "0x%x\n", boot.ID)
	}
	return err
}

// write writes the images that are not nil, once both are known to be right.
func (o *bootMaker) write(vendor *bootimg.Vendor, boot *bootimg.Image) error {
	var list []io.WriterTo
	var names []string
	if vendor != nil {
		list, names = append(list, vendor), append(names, o.vendorBoot)
	}
	if boot != nil {
		list, names = append(list, boot), append(names, o.output)
	}
	for _, m := range list {
		if _, err := m.WriteTo(io.Discard); err != nil {
			return err
		}
	}
	for i, m := range list {
		if err := writeBootImage(names[i], m); err != nil {
			return err
		}
	}
	return nil
}

// read reads the file that a flag names; nil if the flag was not given.
func (o *bootMaker) read(name string) ([]byte, error) {
	file := *o.files[name]
	if file == "" {
		return nil, nil
	}
	b, err := readPart(file)
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

// readAll reads the files of several flags.
func (o *bootMaker) readAll(to map[string]*[]byte) error {
	for name, p := range to {
		b, err := o.read(name)
		if err != nil {
			return err
		}
		*p = b
	}
	return nil
}

// address is base and offset, as a header's field of 32 bits holds it.
func (o *bootMaker) address(offset uint64, what string) (uint32, error) {
	if o.base > math.MaxUint32 || offset > math.MaxUint32 || o.base+offset > math.MaxUint32 {
		return 0, fmt.Errorf("%s address %#x + %#x: it must fit 32 bits", what, o.base, offset)
	}
	return uint32(o.base + offset), nil
}

func (o *bootMaker) makeVendor() (*bootimg.Vendor, error) {
	v := &bootimg.Vendor{Version: uint32(o.hv), PageSize: uint32(o.page), Cmdline: o.vendorCmdline, Name: o.board, DTBAddr: o.base + o.dtb}
	if o.hv != 3 && o.hv != 4 {
		return nil, fmt.Errorf("vendor_boot with --header_version %d: want 3 or 4", o.hv)
	}
	if len(o.vendorCmdline) > 2047 || len(o.board) > 15 {
		return nil, fmt.Errorf("vendor command line of %d bytes, board name of %d: at most 2047 and 15", len(o.vendorCmdline), len(o.board))
	}
	ramdisk, err := o.read("vendor_ramdisk")
	if err != nil {
		return nil, err
	}
	if o.hv == 3 && ramdisk == nil {
		return nil, errors.New("vendor_boot version 3 needs a --vendor_ramdisk")
	}
	if err := o.places(&v.KernelAddr, &v.RamdiskAddr, &v.TagsAddr); err != nil {
		return nil, err
	}
	if v.DTB, err = o.read("dtb"); err != nil {
		return nil, err
	}
	if o.hv == 3 {
		v.Ramdisk = ramdisk
		return v, nil
	}
	if v.Bootconfig, err = o.read("vendor_bootconfig"); err != nil {
		return nil, err
	}
	if ramdisk != nil {
		if err := v.AddFragment(bootimg.Fragment{Type: bootimg.RamdiskPlatform}, ramdisk); err != nil {
			return nil, err
		}
	}
	for _, f := range o.fragments {
		b, err := readPart(f.file)
		if err != nil {
			return nil, err
		}
		if err := v.AddFragment(f.Fragment, b); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// places sets the addresses that all images with any have.
func (o *bootMaker) places(kernel, ramdisk, tags *uint32) (err error) {
	for _, a := range []struct {
		to     *uint32
		offset uint64
		what   string
	}{{kernel, o.kernel, "kernel's"}, {ramdisk, o.ramdisk, "ramdisk's"}, {tags, o.tags, "kernel tags'"}} {
		if *a.to, err = o.address(a.offset, a.what); err != nil {
			return err
		}
	}
	return nil
}

func (o *bootMaker) makeBoot(e env) (*bootimg.Image, error) {
	if o.hv > 4 {
		return nil, fmt.Errorf("--header_version %d: want 0 to 4", o.hv)
	}
	m := &bootimg.Image{Version: uint32(o.hv), PageSize: bootimg.PageSize}
	if err := m.SetCmdline(o.cmdline); err != nil {
		return nil, err
	}
	var ok bool
	var err error
	if m.OS, ok, err = bootimg.ParseOSVersion(o.osVersion, o.osLevel); err != nil {
		return nil, err
	}
	if !ok {
		fmt.Fprintf(e.stderr, "mios: boot make: OS version %q with patch level %q is not one like 14.0.0 and 2024-05: the header gets none\n", o.osVersion, o.osLevel)
	}
	if err := o.readAll(map[string]*[]byte{"kernel": &m.Kernel, "ramdisk": &m.Ramdisk}); err != nil {
		return nil, err
	}
	if o.hv >= 3 {
		if *o.files["second"] != "" {
			return nil, fmt.Errorf("--second with --header_version %d: want 0 to 2", o.hv)
		}
		return m, o.gki.sign(e, m)
	}
	return m, o.legacy(m)
}

// legacy sets what versions 0 to 2 have more.
func (o *bootMaker) legacy(m *bootimg.Image) error {
	m.PageSize, m.Name = uint32(o.page), o.board
	if len(o.board) > 15 {
		return fmt.Errorf("board name of %d bytes: at most 15", len(o.board))
	}
	if *o.files["recovery_dtbo"] != "" && *o.files["recovery_acpio"] != "" {
		return fmt.Errorf("%w: --recovery_dtbo and --recovery_acpio: want one of them", errUsage)
	}
	parts := map[string]*[]byte{"second": &m.Second}
	if o.hv > 0 {
		name := "recovery_dtbo"
		if *o.files[name] == "" {
			name = "recovery_acpio"
		}
		parts[name] = &m.RecoveryDTBO
	}
	if o.hv > 1 {
		parts["dtb"] = &m.DTB
		m.DTBAddr = o.base + o.dtb
	}
	if err := o.readAll(parts); err != nil {
		return err
	}
	switch {
	case o.hv == 2 && len(m.DTB) == 0:
		return errors.New("version 2 needs device trees: give a --dtb that is not empty")
	case m.RecoveryDTBO != nil && len(m.RecoveryDTBO) == 0:
		return errors.New("the recovery's device tree overlays are empty: leave them out")
	}
	if err := o.places(&m.KernelAddr, &m.RamdiskAddr, &m.TagsAddr); err != nil {
		return err
	}
	if len(m.Ramdisk) == 0 {
		m.RamdiskAddr = 0
	}
	if len(m.Second) > 0 {
		var err error
		if m.SecondAddr, err = o.address(o.second, "second bootloader's"); err != nil {
			return err
		}
	}
	kind := bootimg.IDWithDT
	if o.plainID {
		kind = bootimg.IDPlain
	}
	m.SetID(kind)
	return nil
}
