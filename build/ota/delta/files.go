package delta

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"mios/build/fstree"
	"mios/format/fsimage"
	"mios/format/payload"
)

// A file is one of an image: which blocks hold its bytes.
type file struct {
	name    string
	size    int64            // bytes
	extents []payload.Extent // in the file's order
	// plain: byte i of the file is byte i of its blocks, as far as they go: the
	// end may lie elsewhere.
	plain bool
	data  *io.SectionReader // all of the file
	// packed are the pieces of a file that is compressed, in the order of its
	// blocks; empty if it is not all of LZ4 and plain pieces.
	packed []fsimage.Extent
}

func (f *file) blocks() uint64 { return blocks(f.extents) }

// A tree is an image's files.
type tree struct {
	files  []*file
	byName map[string]*file
	fs     *fsimage.FS
	padded bool     // compressed with lz4, and zeros before what is compressed
	owner  []uint32 // of each block: index of its file plus 1, or 0
}

// readTree reads an image's files. An image without a file system that is known
// has none, and so has one that is damaged: its blocks are compared as they are.
func readTree(ctx context.Context, img Image) (*tree, error) {
	t := &tree{byName: map[string]*file{}, owner: make([]uint32, img.Size/block)}
	if img.Size == 0 {
		return t, nil
	}
	m, err := fstree.Open(img, img.Size)
	if err != nil {
		return t, known(err)
	}
	root, err := m.Root()
	if err != nil {
		return t, known(err)
	}
	seen := map[uint64]bool{}
	err = m.Walk("", root, func(name string, n fsimage.Node) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		info := n.Info()
		if !info.Mode.IsRegular() || seen[info.Num] || info.Size == 0 {
			return nil
		}
		seen[info.Num] = true
		f, err := newFile(name, n, img.Size)
		if err != nil || len(f.extents) == 0 {
			return err
		}
		f.data = m.Data(n)
		t.files = append(t.files, f)
		return nil
	})
	if err != nil {
		*t = tree{byName: map[string]*file{}, owner: t.owner}
		return t, known(err)
	}
	t.fs, t.padded = m.FS, m.Kind == "erofs" && slices.Contains(m.Features, "zero_padding")
	t.own()
	return t, nil
}

// known returns nil for an error that says what is in an image, and not that it
// cannot be read.
func known(err error) error {
	var format *fsimage.FormatError
	if errors.Is(err, fstree.ErrKind) || errors.As(err, &format) {
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// newFile reads where a file lies.
func newFile(name string, n fsimage.Node, size int64) (*file, error) {
	f := &file{name: name, size: n.Info().Size, plain: true}
	next, packable := int64(0), true
	for x, err := range n.Extents(0) {
		if err != nil {
			return nil, err
		}
		if x.Inline || x.At == fsimage.Hole {
			f.plain = f.plain && x.Off == next && x.Off+x.Len == f.size // the end is missing
			packable = packable && x.Inline
			continue
		}
		from, to := x.At/block, (x.At+x.Size+block-1)/block
		if x.At%block != 0 || x.Codec != fsimage.Plain || x.Off != next {
			f.plain = false
		}
		if next += x.Size; x.Size%block != 0 && x.Off+x.Len < f.size {
			f.plain = false
		}
		if from < 0 || to > size/block || from >= to {
			return nil, &fsimage.FormatError{Format: "file system", Off: x.At, Msg: "extent beyond the image"}
		}
		if x.At%block != 0 || x.Size%block != 0 || x.Skip != 0 || x.Partial {
			packable = packable && x.Codec == fsimage.Plain && x.At%block == 0
		}
		if x.Codec != fsimage.Plain && x.Codec != fsimage.LZ4 {
			packable = false
		}
		f.packed = append(f.packed, x)
		f.extents = add(f.extents, uint64(from), uint64(to-from))
	}
	if f.plain || !packable {
		f.packed = nil
	}
	return f, nil
}

// own sorts the files by where they begin, and says whose each block is: the
// first file's that has it.
func (t *tree) own() {
	slices.SortStableFunc(t.files, func(a, b *file) int {
		if a, b := a.extents[0].StartBlock, b.extents[0].StartBlock; a != b {
			if a < b {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	for i, f := range t.files {
		t.byName[f.name] = f
		for _, x := range f.extents {
			for b := x.StartBlock; b < x.StartBlock+x.NumBlocks; b++ {
				if t.owner[b] == 0 {
					t.owner[b] = uint32(i) + 1
				}
			}
		}
	}
}
