package report

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"

	"mios/format/apk"
	"mios/internal/units"
)

// A NativeFile is a native library of a package.
type NativeFile struct {
	ABI      string `json:"abi"`
	Name     string `json:"name"`      // "libmain.so"
	Size     int64  `json:"size"`      // unpacked, in bytes
	Stored   bool   `json:"stored"`    // not compressed: it may be mapped as it lies in the package
	ZIPAlign int64  `json:"zip_align"` // if stored: the largest power of two, to 64 KiB, that it lies at a multiple of
	ELFAlign int64  `json:"elf_align"` // least alignment of its segments in bytes; 0: it is no ELF file
	CRC32    uint32 `json:"crc32"`     // of its content
}

// A PageSize says whether a package runs on devices whose memory has pages of
// 16 KiB.
type PageSize struct {
	OK       bool     `json:"ok"` // also without native code
	Problems []string `json:"problems"`
}

const page16k = 16 << 10

// nativeFiles reads what the package's native libraries are, sorted by ABI and
// name.
func nativeFiles(f *apk.File) ([]NativeFile, error) {
	list := []NativeFile{}
	for i := range f.Entries {
		e := &f.Entries[i]
		rest, ok := strings.CutPrefix(e.Name, "lib/")
		abi, name, ok2 := strings.Cut(rest, "/")
		if !ok || !ok2 || !strings.HasSuffix(name, ".so") || strings.Contains(name, "/") {
			continue
		}
		n := NativeFile{ABI: abi, Name: name, Size: e.Size, Stored: e.Method == apk.Store, CRC32: e.CRC32}
		if n.Stored {
			n.ZIPAlign = min(e.DataOff&-e.DataOff, 64<<10)
		}
		var err error
		if n.ELFAlign, err = elfAlign(f, e); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b NativeFile) int { return strings.Compare(a.path(), b.path()) })
	return list, nil
}

func (n *NativeFile) path() string { return n.ABI + "/" + n.Name }

// elfHead is how much of a library is read: its program headers are at its
// beginning.
const elfHead = 16 << 10

// elfAlign returns the least alignment of the library's loaded segments, 0 if
// it is no ELF file.
func elfAlign(f *apk.File, e *apk.Entry) (int64, error) {
	r, err := f.OpenEntry(e)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	b := make([]byte, min(e.Size, elfHead))
	if _, err := io.ReadFull(r, b); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return elfAlignOf(b), nil
}

// elfAlignOf reads the program headers in the beginning of an ELF file (ELF-64
// and ELF-32, System V ABI, chapters 4 and 5).
func elfAlignOf(b []byte) int64 {
	if len(b) < 64 || !bytes.HasPrefix(b, []byte(elf.ELFMAG)) || elf.Data(b[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return 0
	}
	le := binary.LittleEndian
	var off uint64
	var size, n int
	wide := elf.Class(b[elf.EI_CLASS]) == elf.ELFCLASS64
	if wide {
		off, size, n = le.Uint64(b[32:]), int(le.Uint16(b[54:])), int(le.Uint16(b[56:]))
	} else {
		off, size, n = uint64(le.Uint32(b[28:])), int(le.Uint16(b[42:])), int(le.Uint16(b[44:]))
	}
	least := int64(0)
	for i := range n {
		if size < 32 || wide && size < 56 || off > uint64(len(b)) || uint64((i+1)*size) > uint64(len(b))-off {
			break
		}
		h := b[off+uint64(i*size):]
		if elf.ProgType(le.Uint32(h)) != elf.PT_LOAD {
			continue
		}
		align := int64(le.Uint32(h[28:]))
		if wide {
			align = int64(le.Uint64(h[48:]))
		}
		if least == 0 || align < least {
			least = align
		}
	}
	return least
}

// pageSize judges the libraries for 64-bit processors, which alone have such
// pages.
func pageSize(list []NativeFile) PageSize {
	p := PageSize{OK: true, Problems: []string{}}
	for i := range list {
		n := &list[i]
		if n.ABI != "arm64-v8a" && n.ABI != "x86_64" {
			continue
		}
		if n.ELFAlign != 0 && n.ELFAlign < page16k {
			p.Problems = append(p.Problems, "lib/"+n.path()+": its segments are aligned to "+units.Exact(n.ELFAlign)+": link it with -Wl,-z,max-page-size=16384")
		}
		if n.Stored && n.ZIPAlign < page16k {
			p.Problems = append(p.Problems, "lib/"+n.path()+": it lies at a multiple of "+units.Exact(n.ZIPAlign)+" in the package: zipalign -P 16")
		}
	}
	p.OK = len(p.Problems) == 0
	return p
}
