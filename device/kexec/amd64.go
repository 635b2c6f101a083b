package kexec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Offsets into boot_params ("zero page") and the setup header, from
// Documentation/x86/zero-page.rst and boot.rst.
const (
	bpE820Entries = 0x1e8
	bpHeader      = 0x1f1
	bpE820Table   = 0x2d0
	maxE820       = 128

	hdrJump       = 0x201 // the header ends at 0x202 + the byte here
	hdrMagic      = 0x202
	hdrVersion    = 0x206
	hdrLoader     = 0x210
	hdrRamdisk    = 0x218
	hdrRamdiskLen = 0x21c
	hdrCmdline    = 0x228
	hdrAlign      = 0x230
	hdrRelocate   = 0x234
	hdrXLoadFlags = 0x236
	hdrCmdlineMax = 0x238
	hdrPrefAddr   = 0x258
	hdrInitSize   = 0x260

	entry64   = 0x200 // of the 64-bit entry point in the protected-mode kernel
	setupSect = 512
)

// An e820 entry is a range of physical memory and what the firmware says of it.
type e820 struct {
	region
	kind uint32
}

// layoutAMD64 places a bzImage by the 64-bit boot protocol.
func layoutAMD64(kernel, ramdisk []byte, cmdline string, m []e820, above uint64) ([]segment, uint64, error) {
	if len(kernel) < 0x270 || string(kernel[hdrMagic:hdrMagic+4]) != "HdrS" {
		return nil, 0, fmt.Errorf("kernel of %d bytes is not a bzImage", len(kernel))
	}
	le := binary.LittleEndian
	setup := (int(kernel[bpHeader]) + 1) * setupSect
	hdrEnd := hdrMagic + int(kernel[hdrJump])
	switch {
	case le.Uint16(kernel[hdrVersion:]) < 0x20c || kernel[hdrXLoadFlags]&1 == 0:
		return nil, 0, fmt.Errorf("bzImage has no 64-bit entry point (protocol %#x)", le.Uint16(kernel[hdrVersion:]))
	case setup >= len(kernel) || hdrEnd > bpE820Table || hdrEnd <= hdrInitSize+4:
		return nil, 0, fmt.Errorf("bzImage's header is damaged: %d setup bytes, header ends at %#x", setup, hdrEnd)
	case uint64(len(cmdline)) > uint64(le.Uint32(kernel[hdrCmdlineMax:])):
		return nil, 0, fmt.Errorf("command line of %d bytes, the kernel takes %d", len(cmdline), le.Uint32(kernel[hdrCmdlineMax:]))
	case len(m) == 0 || len(m) > maxE820:
		return nil, 0, fmt.Errorf("%d ranges in the firmware's memory map, want 1 to %d", len(m), maxE820)
	}
	initSize := uint64(le.Uint32(kernel[hdrInitSize:]))
	var load, params, jump, line, disk, end uint64
	// One run of memory: kernel with the room that it unpacks into, then
	// parameters, trampoline and command line, then the RAM disk.
	place := func(at uint64) bool {
		load = at
		params = align(load+initSize, 1<<20)
		jump, line = params+pageSize, params+2*pageSize
		disk = align(line+uint64(len(cmdline))+1, 1<<20)
		end = disk + align(uint64(len(ramdisk)), pageSize)
		return usable(m, region{load, end})
	}
	preferred := le.Uint64(kernel[hdrPrefAddr:])
	boundary := uint64(le.Uint32(kernel[hdrAlign:]))
	movable := kernel[hdrRelocate] != 0 && bits.OnesCount64(boundary) == 1 && above > preferred
	if !(movable && place(align(above, boundary))) && !place(preferred) {
		return nil, 0, fmt.Errorf("no RAM at %#x-%#x for the kernel and its RAM disk", load, end)
	}

	bp := make([]byte, pageSize)
	copy(bp[bpHeader:], kernel[bpHeader:hdrEnd])
	bp[hdrLoader] = 0xff // no number assigned
	le.PutUint32(bp[hdrRamdisk:], uint32(disk))
	le.PutUint32(bp[hdrRamdiskLen:], uint32(len(ramdisk)))
	le.PutUint32(bp[hdrCmdline:], uint32(line))
	bp[bpE820Entries] = byte(len(m))
	for i, e := range m {
		b := bp[bpE820Table+20*i:]
		le.PutUint64(b, e.start)
		le.PutUint64(b[8:], e.end-e.start)
		le.PutUint32(b[16:], e.kind)
	}
	segs := []segment{
		{kernel[setup:], load},
		{bp, params},
		{trampolineAMD64(params, load+entry64), jump},
		{append([]byte(cmdline), 0), line},
	}
	if len(ramdisk) > 0 {
		segs = append(segs, segment{ramdisk, disk})
	}
	return segs, jump, nil
}

// trampolineAMD64 is mov params, %rsi; mov entry, %rax; jmp *%rax.
func trampolineAMD64(params, entry uint64) []byte {
	b := []byte{0x48, 0xbe}
	b = binary.LittleEndian.AppendUint64(b, params)
	b = append(b, 0x48, 0xb8)
	b = binary.LittleEndian.AppendUint64(b, entry)
	return append(b, 0xff, 0xe0)
}

// usable is whether one range of RAM holds all of r.
func usable(m []e820, r region) bool {
	for _, e := range m {
		if e.kind == e820RAM && e.start <= r.start && r.end <= e.end && r.end <= 1<<32 {
			return true
		}
	}
	return false
}

const e820RAM = 1

// e820Kinds is the kernel's names for the kinds, from arch/x86/kernel/e820.c.
var e820Kinds = map[string]uint32{
	"System RAM":                 e820RAM,
	"Reserved":                   2,
	"ACPI Tables":                3,
	"ACPI Non-volatile Storage":  4,
	"Unusable memory":            5,
	"Persistent Memory":          7,
	"Persistent Memory (legacy)": 12,
}

// firmwareMap reads the firmware's memory map as /sys/firmware/memmap has it.
func firmwareMap(dir string) ([]e820, error) {
	entries, err := filepath.Glob(filepath.Join(dir, "[0-9]*"))
	if err != nil {
		return nil, err
	}
	var m []e820
	for _, d := range entries {
		var e e820
		for name, v := range map[string]*uint64{"start": &e.start, "end": &e.end} {
			b, err := os.ReadFile(filepath.Join(d, name))
			if err != nil {
				return nil, err
			}
			if *v, err = strconv.ParseUint(strings.TrimSpace(string(b)), 0, 64); err != nil {
				return nil, fmt.Errorf("%s/%s: %v", d, name, err)
			}
		}
		b, err := os.ReadFile(filepath.Join(d, "type"))
		if err != nil {
			return nil, err
		}
		e.end++ // sysfs names the last byte
		if e.kind = e820Kinds[strings.TrimSpace(string(b))]; e.kind == 0 {
			e.kind = e820Kinds["Reserved"]
		}
		m = append(m, e)
	}
	sort.Slice(m, func(i, j int) bool { return m[i].start < m[j].start })
	return m, nil
}
