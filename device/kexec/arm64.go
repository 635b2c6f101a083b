package kexec

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"mios/format/fdt"
)

// An arm64 is what there is of the running machine.
type arm64 struct {
	tree  []byte   // its device tree
	ram   []region // what of its memory is RAM
	above uint64   // where the running kernel ends
	seed  []byte   // random bytes for the new kernel; may be empty
}

// seedSize is how many random bytes a kernel gets: 8 place it in its address
// space, the others start its generator. Without them it has the same
// addresses at every boot, and collects randomness from its timer, for which
// whoever asks first waits up to a second. The running kernel has wiped what
// itself was given.
const seedSize = 8 + 64

// layoutARM64 places an Image by Documentation/arm64/booting.rst: the kernel
// on a 2 MiB boundary, the device tree and the RAM disk behind it.
func layoutARM64(kernel, ramdisk []byte, cmdline string, m arm64) ([]segment, uint64, error) {
	const big = 2 << 20
	le := binary.LittleEndian
	if len(kernel) < 64 || string(kernel[56:60]) != "ARM\x64" {
		return nil, 0, fmt.Errorf("kernel of %d bytes is not an arm64 Image", len(kernel))
	}
	textOffset, imageSize := le.Uint64(kernel[8:]), le.Uint64(kernel[16:])
	if imageSize < uint64(len(kernel)) || imageSize > 1<<30 || textOffset >= big {
		return nil, 0, fmt.Errorf("arm64 Image of %d bytes claims %d at %#x", len(kernel), imageSize, textOffset)
	}
	t, err := fdt.Parse(m.tree)
	if err != nil {
		return nil, 0, err
	}
	places := m.ram
	for _, r := range m.ram {
		if r.start < m.above && m.above < r.end {
			places = append([]region{{m.above, r.end}}, m.ram...)
		}
	}
	for _, r := range places {
		load := align(r.start, big) + textOffset
		jump := align(load+imageSize, big)
		dtb := jump + big
		disk := dtb + big
		if end := disk + align(uint64(len(ramdisk)), pageSize); end > r.end {
			continue
		}
		chosen := t.Node("/chosen")
		chosen.SetString("bootargs", cmdline)
		chosen.SetUint64("linux,initrd-start", disk)
		chosen.SetUint64("linux,initrd-end", disk+uint64(len(ramdisk)))
		if len(m.seed) == seedSize {
			chosen.Set("kaslr-seed", m.seed[:8])
			chosen.Set("rng-seed", m.seed[8:])
		}
		blob, err := t.Bytes()
		if err != nil {
			return nil, 0, err
		}
		if len(blob) > big {
			return nil, 0, fmt.Errorf("device tree of %d bytes, want at most 2 MiB", len(blob))
		}
		segs := []segment{{kernel, load}, {trampolineARM64(dtb, load), jump}, {blob, dtb}}
		if len(ramdisk) > 0 {
			segs = append(segs, segment{ramdisk, disk})
		}
		return segs, jump, nil
	}
	return nil, 0, fmt.Errorf("no run of RAM holds a kernel of %d and a RAM disk of %d bytes", imageSize, len(ramdisk))
}

// trampolineARM64 loads the device tree's address into x0, where the boot
// protocol wants it, and branches to the kernel.
func trampolineARM64(dtb, entry uint64) []byte {
	var b []byte
	for _, insn := range []uint32{
		0x58000080, // ldr x0, .+16
		0x580000a4, // ldr x4, .+20
		0xd61f0080, // br x4
		0xd503201f, // nop
	} {
		b = binary.LittleEndian.AppendUint32(b, insn)
	}
	b = binary.LittleEndian.AppendUint64(b, dtb)
	return binary.LittleEndian.AppendUint64(b, entry)
}

// runningEnd returns where the running kernel ends, by the text of
// /proc/iomem; 0 if that does not say.
func runningEnd(iomem []byte) (end uint64) {
	for line := range strings.Lines(string(iomem)) {
		span, what, _ := strings.Cut(strings.TrimSpace(line), " : ")
		_, to, ok := strings.Cut(span, "-")
		if !ok || !strings.HasPrefix(what, "Kernel ") {
			continue
		}
		if last, err := strconv.ParseUint(to, 16, 64); err == nil {
			end = max(end, last+1)
		}
	}
	return end
}

// systemRAM returns the ranges of RAM in the text of /proc/iomem.
func systemRAM(iomem []byte) []region {
	var ram []region
	for line := range strings.Lines(string(iomem)) {
		span, what, ok := strings.Cut(strings.TrimSpace(line), " : ")
		from, to, dash := strings.Cut(span, "-")
		if !ok || !dash || what != "System RAM" || strings.HasPrefix(line, " ") {
			continue
		}
		start, err1 := strconv.ParseUint(from, 16, 64)
		last, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && last > start {
			ram = append(ram, region{start, last + 1})
		}
	}
	return ram
}
