package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"mios/format/avb"
)

// unknown is the kind of a file that no format takes.
const unknown = "unknown"

// A format is one that is known: how it is told, and what reads it.
type format struct {
	kind, title string
	magic       []magic  // one of these must be there
	names       []string // or the name must match one of these patterns
	is          func(in *input) bool
	read        func(s *scan, in *input, r *Report) error
	advice      string // what to do when it cannot be read
}

// A magic is what stands at an offset.
type magic struct {
	off   int
	bytes string
}

// formats are all formats, in the order in which they are tried: those that are
// told by a magic, then those that are told by more.
func formats() []format {
	return append(magicFormats(), textFormats()...)
}

func magicFormats() []format {
	const damaged = "it is damaged or cut off: fetch or make it anew"
	return []format{
		{kind: "chunks_pack", title: "chunks of an adaptive update", names: []string{"*chunks.pack"}, is: isChunksPack, read: (*scan).chunksPack, advice: damaged},
		{kind: "zip", title: "zip", magic: []magic{{0, "PK\x03\x04"}, {0, "PK\x05\x06"}}, names: []string{"*.apk", "*.apex", "*.capex", "*.zip", "*.jar"}, read: (*scan).zip, advice: damaged},
		{kind: "sparse", title: "Android sparse image", magic: []magic{{0, "\x3a\xff\x26\xed"}}, names: []string{"*.simg"}, read: (*scan).sparse, advice: damaged},
		{kind: "boot", title: "boot image", magic: []magic{{0, "ANDROID!"}}, names: []string{"boot*.img", "init_boot*.img", "recovery*.img"}, read: (*scan).boot, advice: damaged},
		{kind: "vendor_boot", title: "vendor_boot image", magic: []magic{{0, "VNDRBOOT"}}, names: []string{"vendor_boot*.img"}, read: (*scan).vendorBoot, advice: damaged},
		{kind: "vbmeta", title: "vbmeta image", magic: []magic{{0, "AVB0"}}, names: []string{"vbmeta*.img"}, read: (*scan).vbmeta, advice: damaged},
		{kind: "dtbo", title: "table of device trees", magic: []magic{{0, "\xd7\xb7\xab\x1e"}, {0, "\x41\x43\x50\x49"}}, names: []string{"dtbo*.img"}, read: (*scan).dtbo, advice: damaged},
		{kind: "dtb", title: "device tree", magic: []magic{{0, "\xd0\x0d\xfe\xed"}}, names: []string{"*.dtb"}, read: (*scan).dtb, advice: damaged},
		{kind: "dex", title: "DEX file", magic: []magic{{0, "dex\n0"}}, names: []string{"*.dex"}, read: (*scan).dex, advice: damaged},
		{kind: "payload", title: "update payload", magic: []magic{{0, "CrAU"}}, names: []string{"payload*.bin"}, read: (*scan).payload, advice: damaged},
		{kind: "chunks_index", title: "index of an adaptive update", magic: []magic{{0, "miOSchk1"}}, names: []string{"*chunks.index"}, read: (*scan).chunksIndex, advice: damaged},
		{kind: "gpt", title: "disk with a partition table (GPT)", magic: []magic{{512, "EFI PART"}, {4096, "EFI PART"}}, names: []string{"gpt*.bin", "disk*.img"}, read: (*scan).gpt, advice: damaged},
		{kind: "super", title: "super partition", magic: []magic{{4096, "gDla"}, {8192 - 4096, "gDla"}}, names: []string{"super*.img"}, read: (*scan).super, advice: damaged},
		{kind: "super_empty", title: "super partition without data", magic: []magic{{0, "gDla"}}, names: []string{"super_empty*.img"}, read: (*scan).superEmpty, advice: damaged},
		{kind: "erofs", title: "erofs file system", magic: []magic{{1024, "\xe2\xe1\xf5\xe0"}}, read: (*scan).erofs, advice: damaged},
		{kind: "ext4", title: "ext4 file system", magic: []magic{{1024 + 56, "\x53\xef"}}, is: isExt4, read: (*scan).ext4, advice: damaged},
		{kind: "f2fs", title: "f2fs file system", magic: []magic{{1024, "\x10\x20\xf5\xf2"}}, read: (*scan).f2fs},
		{kind: "kernel", title: "Linux kernel", magic: []magic{{0x202, "HdrS"}, {0x38, "ARM\x64"}}, names: []string{"vmlinuz*", "bzimage*"}, read: (*scan).kernel},
		{kind: "elf", title: "ELF", magic: []magic{{0, "\x7fELF"}}, names: []string{"*.so", "vmlinux*"}, read: (*scan).elf, advice: damaged},
		{kind: "lineage", title: "history of signing certificates", magic: []magic{{0, "\xd1\x39\xff\x3e"}}, read: (*scan).lineage, advice: damaged},
		{kind: "ramdisk", title: "ramdisk", magic: []magic{{0, "070701"}, {0, "070702"}}, names: []string{"*.cpio", "ramdisk*"}, read: (*scan).ramdisk, advice: damaged},
		{kind: "packed", title: "compressed file", magic: packMagics(), read: (*scan).packed, advice: damaged},
		{kind: "backup", title: "backup of a store or a repository", magic: []magic{{257, "ustar"}}, is: isBackup, read: (*scan).backup},
		{kind: "arsc", title: "resource table of an app", magic: []magic{{0, "\x02\x00\x0c\x00"}}, names: []string{"resources.arsc"}, is: chunkFits, read: (*scan).arsc, advice: damaged},
		{kind: "axml", title: "binary XML of an app", magic: []magic{{0, "\x03\x00\x08\x00"}}, is: chunkFits, read: (*scan).axml, advice: damaged},
		{kind: "idsig", title: "APK signature v4", magic: []magic{{0, "\x02\x00\x00\x00"}}, names: []string{"*.idsig"}, is: isIDSig, read: (*scan).idsig, advice: damaged},
		{kind: "avb_public_key", title: "public key of AVB", magic: []magic{{0, "\x00\x00\x08\x00"}, {0, "\x00\x00\x10\x00"}, {0, "\x00\x00\x20\x00"}}, names: []string{"*.avbpubkey", "avb_pkmd.bin"}, is: isAVBKey, read: (*scan).avbPublicKey},
		{kind: "avb_certificate", title: "certificate of avb_cert", magic: []magic{{0, "\x01\x00\x00\x00"}}, is: ofSize(avb.CertificateSize), read: (*scan).avbCertificate},
		{kind: "avb_cert_metadata", title: "certificates of avb_cert", magic: []magic{{0, "\x01\x00\x00\x00"}}, is: ofSize(4 + 2*avb.CertificateSize), read: (*scan).avbCertMetadata},
		{kind: "misc", title: "misc partition: who boots next", names: []string{"misc", "misc.img"}, is: isMisc, read: (*scan).misc},
		{kind: "pem", title: "PEM", magic: []magic{{0, "-----BEGIN "}}, names: []string{"*.pem", "*.pub"}, read: (*scan).pem},
		{kind: "der", title: "DER", magic: []magic{{0, "\x30\x82"}, {0, "\x30\x81"}, {0, "\x30"}}, names: []string{"*.der", "*.pk8", "*.crt", "*.cer", "*.p12"}, is: isDER, read: (*scan).der},
	}
}

// find returns the format of an input, or nil.
func find(in *input) *format {
	list := formats()
	for i := range list {
		f := &list[i]
		if f.has(in) && (f.is == nil || f.is(in)) {
			return f
		}
	}
	return nil
}

// has says whether the input has one of the format's magics; a format without
// any is told by is alone.
func (f *format) has(in *input) bool {
	if len(f.magic) == 0 {
		return f.is != nil
	}
	for _, m := range f.magic {
		if len(in.head) >= m.off+len(m.bytes) && string(in.head[m.off:m.off+len(m.bytes)]) == m.bytes {
			return true
		}
	}
	return false
}

// named says whether the input is called as files of the format are.
func (f *format) named(in *input) bool {
	for _, n := range f.names {
		if ok, _ := path.Match(n, strings.ToLower(in.base())); ok {
			return true
		}
	}
	return false
}

// nearest says which format an unknown input comes nearest to: one whose magic
// differs in a byte, one that a cut or shift would explain, or one of its name.
func nearest(in *input) string {
	list := formats()
	for i := range list {
		f := &list[i]
		for _, m := range f.magic {
			if len(m.bytes) < 4 || strings.Contains(m.bytes, "\x00\x00") || len(in.head) < m.off+len(m.bytes) {
				continue
			}
			have := in.head[m.off : m.off+len(m.bytes)]
			if differ(have, m.bytes) == 1 {
				return fmt.Sprintf("it comes nearest to %s (%s): at offset %#x there is %q, want %q", f.kind, f.title, m.off, have, m.bytes)
			}
		}
	}
	for i := range list {
		f := &list[i]
		for _, m := range f.magic {
			if len(m.bytes) < 8 || m.off != 0 {
				continue
			}
			if at := bytes.Index(in.head, []byte(m.bytes)); at > 0 {
				return fmt.Sprintf("it comes nearest to %s (%s), which begins at offset %#x: what stands before it does not belong to it", f.kind, f.title, at)
			}
		}
	}
	for i := range list {
		f := &list[i]
		if f.named(in) && f.kind == "zip" {
			return fmt.Sprintf("by its name it would be %s, which is a zip%s", strings.TrimPrefix(path.Ext(in.base()), "."), f.begins(in))
		}
		if f.named(in) {
			return fmt.Sprintf("by its name it would be %s (%s)%s", f.kind, f.title, f.begins(in))
		}
	}
	return fmt.Sprintf("it begins with %s: mios inspect --kinds lists the formats", quote(in.head))
}

// begins says what is there in the place of the magic.
func (f *format) begins(in *input) string {
	if len(f.magic) == 0 {
		return ""
	}
	m := f.magic[0]
	if len(in.head) < m.off+len(m.bytes) {
		return fmt.Sprintf(", and it is too short: %d bytes", in.size)
	}
	return fmt.Sprintf(": at offset %#x there is %q, want %q", m.off, in.head[m.off:m.off+len(m.bytes)], m.bytes)
}

func quote(b []byte) string {
	if len(b) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%q", b[:min(8, len(b))])
}

func differ(a []byte, b string) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// Kinds lists the formats that are known: kind and title, sorted as they are
// tried.
func Kinds() [][2]string {
	var out [][2]string
	for _, f := range formats() {
		out = append(out, [2]string{f.kind, f.title})
	}
	return out
}

// isText says whether bytes are of a text: the first of it, of size in all.
func isText(head []byte, size int64) bool {
	if len(head) == 0 {
		return false
	}
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n == 1 {
			return len(head) < utf8.UTFMax && size > headSize // cut in the middle of a character
		}
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			return false
		}
		head = head[n:]
	}
	return true
}

// ofSize returns a function that says whether an input has that many bytes.
func ofSize(n int64) func(in *input) bool {
	return func(in *input) bool { return in.size == n }
}

// chunkFits says whether the first chunk of an app's XML or resources is as long
// as the file.
func chunkFits(in *input) bool {
	return len(in.head) >= 8 && int64(binary.LittleEndian.Uint32(in.head[4:])) == in.size
}
