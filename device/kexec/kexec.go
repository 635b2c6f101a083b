// Package kexec starts another Linux kernel from a running one, without the
// firmware in between.
//
// It uses kexec_load(2), which every kernel configuration of ours has on both
// architectures, and no purgatory: what it loads has been verified already,
// and hashing it once more costs half a second under emulation. A few
// instructions of its own set the register that the boot protocol wants, and
// jump.
//
// The new kernel goes behind the running one if there is room. In its place, an
// emulator that translates code would at once have to forget each piece that
// ran of the old one: under QEMU the jump takes 0.6 s longer. Behind it, that is
// paid as the new kernel takes the old one's memory, if QEMU has not dropped
// the old code as a whole by then.
//
// On amd64 it takes the compressed bzImage: an unpacked kernel would start
// without the decompressor, but has twice the bytes to verify and to copy,
// which under emulation takes longer, and it would have no KASLR.
package kexec

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096

	archAMD64 = 62 << 16  // KEXEC_ARCH_X86_64
	archARM64 = 183 << 16 // KEXEC_ARCH_AARCH64
)

// A segment is bytes and the physical address that they are wanted at, a
// multiple of the page size.
type segment struct {
	data []byte
	addr uint64
}

// A region is a range of physical memory, [start, end).
type region struct{ start, end uint64 }

// Load loads a kernel (a bzImage on amd64, an Image on arm64) with its initial
// RAM disk and command line. Nothing happens to the running system before
// [Exec]. The slices are not used after Load returns.
func Load(kernel, ramdisk []byte, cmdline string) error {
	var (
		segs  []segment
		entry uint64
		flags uintptr
	)
	iomem, err := os.ReadFile("/proc/iomem")
	if err != nil {
		return fmt.Errorf("kexec: %w", err)
	}
	switch runtime.GOARCH {
	case "amd64":
		m, err := firmwareMap("/sys/firmware/memmap")
		if err != nil {
			return fmt.Errorf("kexec: %w", err)
		}
		flags = archAMD64
		if segs, entry, err = layoutAMD64(kernel, ramdisk, cmdline, m, runningEnd(iomem)); err != nil {
			return fmt.Errorf("kexec: %w", err)
		}
	case "arm64":
		tree, err := os.ReadFile("/sys/firmware/fdt")
		if err != nil {
			return fmt.Errorf("kexec: %w", err)
		}
		flags = archARM64
		if segs, entry, err = layoutARM64(kernel, ramdisk, cmdline, arm64{tree, systemRAM(iomem), runningEnd(iomem), randomBytes(seedSize)}); err != nil {
			return fmt.Errorf("kexec: %w", err)
		}
	default:
		return errors.New("kexec: no boot protocol for " + runtime.GOARCH)
	}
	return load(segs, entry, flags)
}

// randomBytes returns n bytes of the kernel's generator, or none if that would
// have to be waited for.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	if got, err := unix.Getrandom(b, unix.GRND_NONBLOCK); err != nil || got != n {
		return nil
	}
	return b
}

// rawSegment is struct kexec_segment of linux/kexec.h.
type rawSegment struct {
	buf     unsafe.Pointer
	bufSize uintptr
	mem     uintptr
	memSize uintptr
}

func load(segs []segment, entry uint64, flags uintptr) error {
	raw := make([]rawSegment, len(segs))
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, s := range segs {
		p := unsafe.Pointer(unsafe.SliceData(s.data))
		pin.Pin(p)
		raw[i] = rawSegment{p, uintptr(len(s.data)), uintptr(s.addr), uintptr(align(uint64(len(s.data)), pageSize))}
	}
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, uintptr(entry), uintptr(len(raw)),
		uintptr(unsafe.Pointer(unsafe.SliceData(raw))), flags, 0, 0)
	if errno != 0 {
		return fmt.Errorf("kexec: load: %w", errno)
	}
	return nil
}

// Exec leaves the running kernel for the loaded one. It returns only on an
// error.
func Exec() error {
	return fmt.Errorf("kexec: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC))
}

func align(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }
