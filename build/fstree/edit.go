package fstree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mios/format/erofs"
	"mios/format/ext4"
	"mios/format/fsimage"
	"mios/format/sparse"
	"mios/internal/atomicfile"
	"mios/internal/readat"
)

// EditOptions say what [Edit] makes.
type EditOptions struct {
	fsimage.EditOptions
	// Sparse makes an Android sparse image; otherwise it is plain.
	Sparse bool
}

// An EditResult says what [Edit] made.
type EditResult struct {
	Kind string // erofs or ext4
	Size int64  // of the file system, as it is on a device, in bytes
}

// Edit writes the file system of the image in, plain or sparse, to out with the
// changes that change makes, and reads them back. What lies behind the file
// system, such as a hash tree and a footer of AVB, is left out: it would not be
// right any more. old is the image as it was, from which data may be read while
// it is replaced. in and out may be the same; out appears whole or not at all.
func Edit(ctx context.Context, in, out string, change func(old *fsimage.FS, e fsimage.Editor) error, o EditOptions) (*EditResult, error) {
	f, err := os.Open(in)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, size, err := plain(f, fi.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in, err)
	}
	old, err := openPlain(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in, err)
	}
	var result *EditResult
	work := func(w *os.File) error {
		if err := copyImage(ctx, w, r, old.Size); err != nil {
			return fmt.Errorf("%s: %w", in, err)
		}
		result, err = EditFile(ctx, w, old.Size, func(e fsimage.Editor) error { return change(old.FS, e) }, o.EditOptions)
		return err
	}
	if o.Sparse {
		plainly := work
		work = func(w *os.File) error { return sparsely(ctx, w, out, plainly) }
	}
	if err := atomicfile.Fill(out, fi.Mode().Perm(), work); err != nil {
		return nil, err
	}
	return result, nil
}

// sparsely writes what work writes into a file without a name beside out to w,
// as a sparse image.
func sparsely(ctx context.Context, w *os.File, out string, work func(*os.File) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".tmp-*")
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err := os.Remove(tmp.Name()); err != nil {
		return err
	}
	if err := work(tmp); err != nil {
		return err
	}
	fi, err := tmp.Stat()
	if err != nil {
		return err
	}
	m, err := sparse.Scan(ctx, tmp, fi.Size(), 4096, nil)
	if err != nil {
		return err
	}
	_, err = m.WriteTo(w)
	return err
}

// copyStep is how much is copied between two looks at the context, in bytes.
const copyStep = 64 << 20

// copyImage copies an image: a file by the kernel, which may share its blocks.
// Holes stay holes.
func copyImage(ctx context.Context, w *os.File, r io.ReaderAt, size int64) error {
	if err := w.Truncate(size); err != nil {
		return err
	}
	if f, ok := r.(*os.File); ok {
		return copyFile(ctx, w, f, size)
	}
	buf := make([]byte, bufferSize)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:min(bufferSize, size-off)]
		if err := readat.Full(r, p, off); err != nil {
			return err
		}
		if !zero(p) {
			if _, err := w.WriteAt(p, off); err != nil {
				return err
			}
		}
		off += int64(len(p))
	}
	return nil
}

// copyFile copies the data of the first size bytes of a file.
func copyFile(ctx context.Context, w, f *os.File, size int64) error {
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin, err := f.Seek(off, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only holes are left
			return nil
		case err != nil:
			begin = off // of a file system that does not tell
		}
		end, err := f.Seek(begin, unix.SEEK_HOLE)
		if err != nil {
			end = size
		}
		if begin >= size {
			return nil
		}
		n := min(end-begin, copyStep, size-begin)
		if _, err := f.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := w.Seek(begin, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(w, f, n); err != nil { // copy_file_range
			return short(err)
		}
		off = begin + n
	}
	return nil
}

func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// EditFile is [Edit] of a private copy in place: of the plain image in the first
// size bytes of f. What lies behind the file system is cut off. After an error
// the image is not whole.
func EditFile(ctx context.Context, f fsimage.File, size int64, change func(e fsimage.Editor) error, o fsimage.EditOptions) (*EditResult, error) {
	kind, e, err := newEditor(f, size, o)
	if err != nil {
		return nil, err
	}
	rec := &recorder{Editor: e, ctx: ctx, want: map[string]*expected{}}
	if err := change(rec); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	size, err = e.Commit()
	if err != nil {
		return nil, err
	}
	m, err := openPlain(f, size)
	if err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	if err := rec.check(m.FS); err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	return &EditResult{kind, size}, nil
}

func newEditor(f fsimage.File, size int64, o fsimage.EditOptions) (kind string, e fsimage.Editor, err error) {
	m, err := openPlain(f, size)
	if err != nil {
		return "", nil, err
	}
	switch m.Kind {
	case "erofs":
		e, err = erofs.NewEditor(f, size, o)
	case "ext4":
		e, err = ext4.NewEditor(f, size, o)
	default:
		err = errors.ErrUnsupported
	}
	return m.Kind, e, err
}
