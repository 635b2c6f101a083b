package inspect

import (
	"bytes"
	"compress/bzip2"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"

	"mios/format/bootimg"
	"mios/format/cpio"
	"mios/format/dtbo"
	"mios/format/fdt"
	"mios/internal/progress"
)

// boot tells of a boot image.
func (s *scan) boot(in *input, r *Report) error {
	m, err := parsed(in.bytes, bootimg.Parse)
	if err != nil {
		return err
	}
	r.Version = fmt.Sprint(m.Version)
	if m.OS != (bootimg.OSVersion{}) {
		r.fact("os", "%v", m.OS)
	}
	r.fact("board", "%s", m.Name)
	r.fact("command line", "%s", m.Cmdline+m.ExtraCmdline)
	r.Summary = "version " + r.Version + ", " + bootParts(m.Parts())
	s.parts(m.Parts(), in, r)
	return nil
}

// vendorBoot tells of a vendor_boot image.
func (s *scan) vendorBoot(in *input, r *Report) error {
	v, err := parsed(in.bytes, bootimg.ParseVendor)
	if err != nil {
		return err
	}
	r.Version = fmt.Sprint(v.Version)
	r.fact("board", "%s", v.Name)
	r.fact("command line", "%s", v.Cmdline)
	if len(v.Bootconfig) > 0 {
		r.fact("bootconfig", "%s", strings.Join(strings.Fields(string(v.Bootconfig)), " "))
	}
	r.Summary = "version " + r.Version + ", " + bootParts(v.Parts())
	s.parts(v.Parts(), in, r)
	return nil
}

// bootParts names the parts that are there.
func bootParts(parts []bootimg.Part) string {
	var out []string
	for _, p := range parts {
		if len(p.Data) > 0 {
			out = append(out, p.Name)
		}
	}
	if len(out) == 0 {
		return "empty"
	}
	return strings.Join(out, ", ")
}

func (s *scan) parts(parts []bootimg.Part, in *input, r *Report) {
	for _, p := range parts {
		if len(p.Data) == 0 {
			continue
		}
		c := s.look(part(p.Name, bytes.NewReader(p.Data), int64(len(p.Data)), in.depth), r)
		if c != nil && p.Name == "kernel" && c.Kind == "packed" {
			c.Kind, c.Title, c.Contents = "kernel", "Linux kernel", nil
		}
	}
}

// kernel tells of a kernel which machines it is for.
func (s *scan) kernel(in *input, r *Report) error {
	if string(in.head[0x38:0x3c]) == "ARM\x64" {
		r.Summary = "arm64 Image"
		return nil
	}
	r.Summary = "x86 bzImage"
	return nil
}

// elf tells of a program, a library or a kernel that is not packed.
func (s *scan) elf(in *input, r *Report) error {
	f, err := elf.NewFile(io.NewSectionReader(in, 0, in.size))
	if err != nil {
		return err
	}
	defer f.Close()
	machine := strings.TrimPrefix(f.Machine.String(), "EM_")
	what := strings.TrimPrefix(f.Type.String(), "ET_")
	r.fact("machine", "%s", machine)
	r.fact("type", "%s", what)
	libs, _ := f.ImportedLibraries() // of a static one there is no list
	r.fact("needs", "%s", strings.Join(libs, ", "))
	r.Summary = machine + " " + what
	return nil
}

// A packing is a way to compress.
type packing struct {
	name, magic string
	open        func(r io.Reader) (io.Reader, error)
}

func packings() []packing {
	return []packing{
		{"gzip", "\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		{"lz4 (legacy)", "\x02\x21\x4c\x18", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
		{"lz4", "\x04\x22\x4d\x18", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
		{"xz", "\xfd7zXZ\x00", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xz.DefaultDictMax) }},
		{"zstd", "\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpack))
		}},
		{"bzip2", "BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	}
}

func packMagics() []magic {
	var out []magic
	for _, p := range packings() {
		out = append(out, magic{0, p.magic})
	}
	return out
}

// errMore is the error of data that goes on behind what was unpacked of it.
var errMore = errors.New("more than is unpacked here")

// unpack returns what a compressed input unpacks to: its beginning and errMore
// if that is long.
func unpack(in *input, most int64) (name string, plain []byte, err error) {
	for _, p := range packings() {
		if !bytes.HasPrefix(in.head, []byte(p.magic)) {
			continue
		}
		z, err := p.open(io.NewSectionReader(in, 0, in.size))
		if err != nil {
			return p.name, nil, err
		}
		if c, ok := z.(interface{ Close() }); ok {
			defer c.Close()
		}
		plain, err := io.ReadAll(io.LimitReader(z, most+1))
		if err == nil && int64(len(plain)) > most {
			return p.name, plain[:most], errMore
		}
		return p.name, plain, err
	}
	return "", nil, errors.New("not compressed")
}

// packed tells of a compressed file what is in it.
func (s *scan) packed(in *input, r *Report) error {
	most := int64(maxUnpack)
	if in.depth > maxDepth {
		most = 0
	}
	name, plain, err := unpack(in, most)
	r.Title, r.Summary = name+" file", name
	if err != nil && err != errMore {
		return fmt.Errorf("%s: unpack: %w", name, err)
	}
	if len(plain) == 0 {
		return nil
	}
	inner := strings.TrimSuffix(in.base(), pathExt(in.base()))
	c := s.inspect(part(inner, bytes.NewReader(plain), int64(len(plain)), in.depth))
	if err == errMore {
		c.Size, c.Problems = 0, nil // what is cut off is not wrong
		r.skipped("what it unpacks to behind "+progress.Size(most), "it is long")
	}
	if c.Kind == "ramdisk" { // a packed ramdisk is one
		r.Kind, r.Title = c.Kind, c.Title
		r.fact("packed", "%s", name)
		r.Summary = name + ", " + c.Summary
		r.Facts, r.Contents, r.More = append(r.Facts, c.Facts...), c.Contents, c.More
		r.Problems = append(r.Problems, c.Problems...)
		return nil
	}
	r.part(c)
	return nil
}

// pathExt is the suffix of a compressed file's name, or "".
func pathExt(name string) string {
	for _, ext := range []string{".gz", ".lz4", ".xz", ".zst", ".bz2"} {
		if strings.HasSuffix(name, ext) {
			return ext
		}
	}
	return ""
}

// ramdisk tells of a cpio archive.
func (s *scan) ramdisk(in *input, r *Report) error {
	a, err := parsed(in.bytes, cpio.Parse)
	if err != nil {
		return err
	}
	files, size := 0, int64(0)
	top := make(map[string]*Report)
	for _, e := range a.Entries {
		if e.Mode&cpio.TypeMask == cpio.TypeRegular {
			files++
		}
		size += int64(len(e.Data))
		s.topFolder(r, top, e.Name, int64(len(e.Data)), e.Mode&cpio.TypeMask == cpio.TypeDir)
		if strings.HasSuffix(e.Name, ".avbpubkey") {
			s.trusted(r, e.Name, e.Data)
		}
		if e.Name == "force_debuggable" || strings.HasSuffix(e.Name, "/force_debuggable") {
			r.say(Warning, "take the boot image that is not for debugging", "%s: whoever has an unlocked device becomes root with it", e.Name)
		}
	}
	sumFolders(r)
	r.Summary = fmt.Sprintf("%s, %s", count(files, "file"), progress.Size(size))
	return nil
}

// topFolder adds a file to the sum of the folder at the top that it lies in.
func (s *scan) topFolder(r *Report, top map[string]*Report, name string, size int64, isDir bool) {
	dir, _, below := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if dir == "" || dir == "." {
		return
	}
	c := top[dir]
	if c == nil {
		if len(top) >= maxParts {
			r.More++
			return
		}
		c = &Report{Name: dir, Kind: "file", Title: "file"}
		top[dir] = c
		r.part(c)
	}
	if below || isDir {
		c.Kind, c.Title = "folder", "folder"
	}
	c.Size += size
	if below && !isDir {
		c.More++
	}
}

// sumFolders says of the folders of topFolder how much they hold.
func sumFolders(r *Report) {
	for _, c := range r.Contents {
		if c.Kind == "folder" {
			c.Name += "/"
			c.Summary, c.More = count(c.More, "file"), 0
		}
	}
	r.limitParts(32)
}

// dtb tells of a device tree.
func (s *scan) dtb(in *input, r *Report) error {
	t, err := parsed(in.bytes, fdt.Parse)
	if err != nil {
		return err
	}
	r.Summary = treeName(t)
	r.fact("model", "%s", treeName(t))
	if v, ok := t.Root.Prop("compatible"); ok {
		r.fact("compatible", "%s", strings.Join(strings.FieldsFunc(string(v), func(c rune) bool { return c == 0 }), ", "))
	}
	r.fact("nodes", "%d", nodes(t.Root))
	return nil
}

func nodes(n *fdt.Node) int {
	sum := 1
	for _, c := range n.Children {
		sum += nodes(c)
	}
	return sum
}

func treeName(t *fdt.Tree) string {
	for _, p := range []string{"model", "compatible"} {
		if v, ok := t.Root.Prop(p); ok {
			name, _, _ := strings.Cut(string(v), "\x00")
			return name
		}
	}
	return ""
}

// dtbo tells of a table of device trees.
func (s *scan) dtbo(in *input, r *Report) error {
	t, err := parsed(in.bytes, dtbo.Parse)
	if err != nil {
		return err
	}
	r.Version = fmt.Sprint(t.Version)
	if t.ACPI {
		r.Title = "table of ACPI tables"
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		blob, err := e.Unpack()
		if err != nil {
			r.fail(fmt.Errorf("entry %d: %w", i, err), "")
			continue
		}
		c := s.look(part(fmt.Sprintf("%d", i), bytes.NewReader(blob), int64(len(blob)), in.depth), r)
		if c != nil {
			c.fact("id, revision", "%#x, %#x", e.ID, e.Rev)
		}
	}
	r.limitParts(64)
	r.Summary = count(len(t.Entries), "entry")
	return nil
}
