package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"mios/format/sparse"
	"mios/format/super"
	"mios/internal/atomicfile"
	"mios/internal/progress"
	"mios/internal/units"
)

// superCommands are what lpmake, lpdump, lpunpack and lpadd do.
var superCommands = []command{superInfo, superMake, superUnpack, superAdd, superResize, superRemove, superGroup}

// Magic numbers at the start of files.
const (
	sparseMagic   = 0xed26ff3a
	geometryMagic = 0x616c4467
)

// maxEmptySuper is the largest super_empty.img, in bytes.
const maxEmptySuper = 2 << 20

// A superFile is an open image of a super partition.
type superFile struct {
	name   string
	f      *os.File
	r      io.ReaderAt // the plain image
	size   int64       // bytes of the plain image
	sparse *sparse.Image
	empty  bool // without partitions' data
	*super.Image
	damage []error
}

// openSuper opens an image: plain, sparse or empty. With write, a plain one is
// opened for writing too.
func openSuper(name string, write bool) (*superFile, error) {
	mode := os.O_RDONLY
	if write {
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(name, mode, 0)
	if err != nil {
		return nil, err
	}
	s := &superFile{name: name, f: f}
	if err := s.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func (s *superFile) Close() error { return s.f.Close() }

// read finds out what the file is and reads its metadata.
func (s *superFile) read() error {
	var err error
	if s.size, err = s.f.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("%w: give a file, or a block device", err)
	}
	var head [4]byte
	if _, err := s.f.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return err
	}
	s.r = s.f
	switch binary.LittleEndian.Uint32(head[:]) {
	case geometryMagic:
		s.empty = true
		return s.readEmpty()
	case sparseMagic:
		if s.sparse, err = sparse.Parse(s.f, s.size); err != nil {
			return err
		}
		s.r, s.size = s.sparse, s.sparse.Size()
	}
	s.Image, s.damage, err = super.Read(s.r)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%d bytes: too short for a super partition", s.size)
	}
	return err
}

func (s *superFile) readEmpty() error {
	if s.size > maxEmptySuper {
		return fmt.Errorf("%d bytes: an image without partitions' data has at most %d", s.size, maxEmptySuper)
	}
	b := make([]byte, s.size)
	if _, err := s.f.ReadAt(b, 0); err != nil {
		return err
	}
	g, m, err := super.ReadEmpty(b)
	s.Image = &super.Image{Geometry: g, Slots: []*super.Metadata{m}}
	return err
}

// slot returns the metadata of a slot.
func (s *superFile) slot(n int) (*super.Metadata, error) {
	if n < 0 || n >= len(s.Slots) {
		return nil, fmt.Errorf("%s: metadata slot %d: it has %d", s.name, n, len(s.Slots))
	}
	if s.Slots[n] == nil {
		return nil, fmt.Errorf("%s: metadata slot %d was never written", s.name, n)
	}
	return s.Slots[n], nil
}

// parseSlot reads a slot's number or suffix: 0, 1, _a, b …
func parseSlot(v string) (int, error) {
	if n := len(v); n > 0 && v[n-1] >= 'a' && v[n-1] <= 'z' && (v[:n-1] == "" || v[:n-1] == "_") {
		return int(v[n-1] - 'a'), nil
	}
	n, err := strconv.ParseUint(v, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%w: --slot %s: want 0, 1, _a or _b", errUsage, v)
	}
	return int(n), nil
}

var superUnpack = command{"super unpack", "[flags] SUPER [DIR]", "write the logical partitions of a super image to files, as lpunpack does\n" +
	"Each becomes DIR/NAME.img (default: here), plain; zeros become holes. SUPER may be\n" +
	"sparse.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		slotArg := fs.String("slot", "0", "metadata `slot`: its number, or _a or _b")
		fs.StringVar(slotArg, "S", "0", "the same `slot`")
		var names, images []string
		for _, f := range []struct {
			to         *[]string
			name, help string
		}{{&names, "partition", "a partition's `name`; again for more (default: all)"}, {&names, "p", "the same `name`"},
			{&images, "image", "image `file` of the next block device, of those that the super partition spans"}, {&images, "i", "the same `file`"}} {
			fs.Func(f.name, f.help, func(s string) error {
				*f.to = append(*f.to, s)
				return nil
			})
		}
		if err := parse(fs, args, 1, 2); err != nil {
			return err
		}
		slot, err := parseSlot(*slotArg)
		if err != nil {
			return err
		}
		dir := "."
		if fs.NArg() > 1 {
			dir = fs.Arg(1)
		}
		s, err := openSuper(fs.Arg(0), false)
		if err != nil {
			return err
		}
		defer s.Close()
		if s.empty {
			return fmt.Errorf("%s: it holds no partitions' data, only metadata", s.name)
		}
		m, err := s.slot(slot)
		if err != nil {
			return err
		}
		devices := []io.ReaderAt{s.r}
		for _, name := range images {
			r, _, c, err := openPlain(name)
			if err != nil {
				return err
			}
			defer c.Close()
			devices = append(devices, r)
		}
		return unpackSuper(ctx, e, m, names, devices, dir)
	}}

// openPlain opens an image, plain or sparse, to be read as a plain one.
func openPlain(name string) (io.ReaderAt, int64, io.Closer, error) {
	f, size, err := openImage(name)
	if err != nil {
		return nil, 0, nil, err
	}
	var head [4]byte
	if _, err := f.ReadAt(head[:], 0); err == nil && binary.LittleEndian.Uint32(head[:]) == sparseMagic {
		m, err := sparse.Parse(f, size)
		if err != nil {
			f.Close()
			return nil, 0, nil, fmt.Errorf("%s: %w", name, err)
		}
		return m, m.Size(), f, nil
	}
	return f, size, f, nil
}

// unpackSuper writes partitions to files. Nothing is written unless all names
// can be.
func unpackSuper(ctx context.Context, e env, m *super.Metadata, names []string, devices []io.ReaderAt, dir string) error {
	for _, p := range m.Partitions {
		if len(names) == 0 || slices.Contains(names, p.Name) {
			if !fileName(p.Name) {
				return fmt.Errorf("partition %q: its name is no name for a file", p.Name)
			}
		}
	}
	if len(names) == 0 {
		for _, p := range m.Partitions {
			names = append(names, p.Name)
		}
	}
	readers := make([]*super.Reader, len(names))
	for i, name := range names {
		var err error
		if readers[i], err = m.Reader(name, devices...); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, name := range names {
		r, out := readers[i], filepath.Join(dir, name+".img")
		err := e.story(false).Step(ctx, "unpack "+name, func(ctx context.Context, t *progress.Task) error {
			t.Done("%s: %s", out, units.Binary(r.Size()))
			return atomicfile.Fill(out, 0o644, func(f *os.File) error {
				if err := super.CopyData(ctx, f, r, r.Size(), t.Bytes); err != nil {
					return err
				}
				return f.Truncate(r.Size())
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fileName reports whether a name from an image can be a file's.
func fileName(s string) bool {
	return s != "" && s != "." && s != ".." && filepath.Base(s) == s && printable(s) == s
}
