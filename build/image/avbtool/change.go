package avbtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mios/format/avb"
	"mios/internal/atomicfile"
)

// open opens an image for a change of what follows its data.
func open(name string, change func(m *Image) error) error {
	m, err := Open(name)
	if err != nil {
		return err
	}
	defer m.Close()
	return change(m)
}

// Append adds the vbmeta image of a file, and a footer, to the image file name,
// as "avbtool append_vbmeta_image" does. A footer that is there already is
// replaced.
func Append(ctx context.Context, name, vbmeta, out string, partitionSize int64, p Progress) error {
	return open(name, func(m *Image) error {
		if partitionSize <= 0 || partitionSize%m.BlockSize != 0 {
			return fmt.Errorf("%s: partition of %d bytes: want a multiple of %d", name, partitionSize, m.BlockSize)
		}
		v, err := Read(vbmeta)
		if err != nil {
			return err
		}
		size, err := m.original()
		if err != nil {
			return err
		}
		return rewrite(ctx, m, out, size, 0, p, func(t *draft) error {
			if err := t.pad(m.BlockSize); err != nil {
				return err
			}
			o := FooterOptions{PartitionSize: partitionSize}
			return o.appendFooter(t, size, v.Raw)
		})
	})
}

// Erase takes the footer off the image file, with what came with it; with
// keepHashtree the hash tree and FEC stay.
func Erase(ctx context.Context, name, out string, keepHashtree bool, p Progress) error {
	return open(name, func(m *Image) error {
		f, err := m.needFooter()
		if err != nil {
			return err
		}
		size := int64(f.OriginalImageSize)
		if keepHashtree {
			d, err := m.hashtree()
			if err != nil {
				return err
			}
			size = int64(max(d.TreeOffset+d.TreeSize, d.FECOffset+d.FECSize))
		}
		return rewrite(ctx, m, out, size, 0, p, func(*draft) error { return nil })
	})
}

// hashtree returns the descriptor of the image's hash tree, which lies within
// the image.
func (m *Image) hashtree() (*avb.HashtreeDescriptor, error) {
	v, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	d := v.Hashtree()
	if d == nil {
		return nil, fmt.Errorf("%s: it has no hash tree: give an image that mios avb add-hashtree made", m.Name)
	}
	if size := uint64(m.Size); d.TreeOffset > size || d.TreeSize > size-d.TreeOffset || d.FECOffset > size || d.FECSize > size-d.FECOffset {
		return nil, fmt.Errorf("%s: hash tree or FEC pass its end at %d", m.Name, m.Size)
	}
	return d, nil
}

// ZeroHashtree replaces the hash tree and FEC of the image file by zeros after
// a mark, for a device that computes them itself.
func ZeroHashtree(ctx context.Context, name, out string, p Progress) error {
	return open(name, func(m *Image) error {
		if _, err := m.needFooter(); err != nil {
			return err
		}
		d, err := m.hashtree()
		if err != nil {
			return err
		}
		end := int64(d.TreeOffset + d.TreeSize)
		if d.FECOffset > 0 {
			if int64(d.FECOffset) != end {
				return fmt.Errorf("%s: its FEC at %#x does not follow the hash tree, which ends at %#x", name, d.FECOffset, end)
			}
			end += int64(d.FECSize)
		}
		return rewrite(ctx, m, out, int64(d.TreeOffset), 0, p, func(t *draft) error {
			if err := zeroed(t, int64(d.TreeSize)); err != nil {
				return err
			}
			if d.FECOffset > 0 {
				if err := zeroed(t, int64(d.FECSize)); err != nil {
					return err
				}
			}
			return copyTail(t, end)
		})
	})
}

// zeroMark is what a hash tree begins with that is zeroed.
const zeroMark = "ZeRoHaSH"

// zeroed appends the mark and zeros, size bytes in all.
func zeroed(t *draft, size int64) error {
	if size < t.old.BlockSize {
		return fmt.Errorf("%s: hash tree or FEC of %d bytes: nothing to zero", t.old.Name, size)
	}
	if err := t.append(padded([]byte(zeroMark), t.old.BlockSize)); err != nil {
		return err
	}
	return t.zeros(size - t.old.BlockSize)
}

// copyTail appends what the old image holds from off on.
func copyTail(t *draft, off int64) error {
	size := t.old.Size - off
	w, err := t.space(size)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(buf)) {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), size-at)]
		if _, err := t.old.ReadAt(b, off+at); err != nil && err != io.EOF {
			return err
		}
		if _, err := w.WriteAt(b, at); err != nil {
			return err
		}
	}
	return nil
}

// Resize moves the footer of the image file to the end of a partition of
// another size.
func Resize(ctx context.Context, name, out string, partitionSize int64, p Progress) error {
	return open(name, func(m *Image) error {
		if partitionSize%m.BlockSize != 0 {
			return fmt.Errorf("%s: partition of %d bytes: want a multiple of %d", name, partitionSize, m.BlockSize)
		}
		f, err := m.needFooter()
		if err != nil {
			return err
		}
		end := roundUp(int64(f.VBMetaOffset+f.VBMetaSize), m.BlockSize)
		if least := end + m.BlockSize; partitionSize < least || end > m.Size {
			return fmt.Errorf("%s: a partition of %d bytes is too small: the image and its metadata take %d", name, partitionSize, least)
		}
		return rewrite(ctx, m, out, end, 0, p, func(t *draft) error {
			if err := t.hole(partitionSize - end - m.BlockSize); err != nil {
				return err
			}
			return t.append(footerBlock(f, m.BlockSize))
		})
	})
}

// Extract returns the vbmeta image of an image file with a footer, padded with
// zeros to a multiple of padding bytes if that is not 0.
func Extract(name string, padding int64) (b []byte, err error) {
	err = open(name, func(m *Image) error {
		if _, err := m.needFooter(); err != nil {
			return err
		}
		v, err := m.Metadata()
		if err != nil {
			return err
		}
		b, err = Pad(v.Raw, padding)
		return err
	})
	return b, err
}

// maxPadding is the largest multiple that a vbmeta image is padded to, in
// bytes.
const maxPadding = 64 << 20

// Pad returns a vbmeta image with zeros up to a multiple of padding bytes, if
// that is not 0.
func Pad(b []byte, padding int64) ([]byte, error) {
	switch {
	case padding < 0 || padding > maxPadding:
		return nil, fmt.Errorf("padding to %d bytes: want at most %d", padding, maxPadding)
	case padding == 0:
		return b, nil
	}
	return padded(b, padding), nil
}

// SetAB writes libavb's A/B metadata into the image of a misc partition.
func SetAB(name string, d avb.ABData) error {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: no such file: make the misc partition's image first, of 4096 bytes or more", name)
		}
		return err
	}
	old, err := os.Open(target)
	if err != nil {
		return err
	}
	defer old.Close()
	fi, err := old.Stat()
	if err != nil {
		return err
	}
	return atomicfile.Fill(target, fi.Mode().Perm(), func(f *os.File) error {
		if _, err := io.Copy(f, old); err != nil {
			return err
		}
		_, err := f.WriteAt(d.Bytes(), avb.ABDataOffset)
		return err
	})
}
