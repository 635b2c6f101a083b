// Package adaptive makes what adaptive updates are fetched from: a release's
// partitions as the chunks of [mios/format/chunks], for devices with any other
// version.
package adaptive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"mios"
	"mios/build/ota/input"
	"mios/format/avb"
	"mios/format/chunks"
	"mios/internal/atomicfile"
)

// A Release says what is cut into chunks. The same images give the same bytes.
type Release struct {
	Partitions []input.Partition
	Writer     chunks.Writer // its zero value is a good one
}

// A Summary says what was made.
type Summary struct {
	Root      *chunks.Root
	RootSize  int64 // bytes of the index
	IndexSize int64 // bytes
	Size      int64 // bytes of the partitions
	Computed  int64 // bytes of them that devices compute
	Chunks    int
}

// WriteDir writes the index and the pack into the folder dir, which it makes if
// it is missing. Each is whole or what was there before; the index is written
// last.
func (r *Release) WriteDir(ctx context.Context, dir string) (*Summary, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	images, err := r.images()
	if err != nil {
		return nil, err
	}
	var (
		root     *chunks.Root
		index    []byte
		finished = make(chan struct{})
	)
	pr, pw := io.Pipe()
	go func() {
		defer close(finished)
		var err error
		root, index, err = r.Writer.Write(ctx, pw, images)
		pw.CloseWithError(err)
	}()
	err = atomicfile.Write(filepath.Join(dir, chunks.PackFile), pr, 0o644)
	pr.CloseWithError(errors.New("pack: no longer wanted"))
	<-finished // also after an error: nothing works on behind the caller's back
	if err != nil {
		return nil, err
	}
	if err := r.built(root); err != nil {
		return nil, err
	}
	if err := atomicfile.WriteBytes(filepath.Join(dir, chunks.IndexFile), index, 0o644); err != nil {
		return nil, err
	}
	return summary(root, int64(len(index)))
}

func summary(root *chunks.Root, index int64) (*Summary, error) {
	b, err := root.Bytes()
	if err != nil {
		return nil, err
	}
	s := &Summary{Root: root, RootSize: int64(len(b)), IndexSize: index}
	for i := range root.Partitions {
		p := &root.Partitions[i]
		s.Size += p.Size
		for _, a := range p.Areas {
			s.Computed += a.Size
		}
		for _, g := range p.Regions {
			s.Chunks += g.Chunks
		}
	}
	return s, nil
}

// images finds what of the images can be computed, and checks that they are
// what was built.
func (r *Release) images() ([]chunks.Image, error) {
	if len(r.Partitions) == 0 {
		return nil, fmt.Errorf("release has no partition: %w", mios.ErrInvalid)
	}
	var images []chunks.Image
	trees := map[string]*avb.HashtreeDescriptor{}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		images = append(images, chunks.Image{Name: p.Header.Name, Content: p, Size: p.Size})
		if err := descriptors(p, p.Size, trees); err != nil {
			return nil, fmt.Errorf("partition %s: %w", p.Header.Name, err)
		}
	}
	for i := range images {
		im := &images[i]
		d := trees[im.Name]
		if d == nil || d.Check(im.Size) != nil {
			continue
		}
		if areas := chunks.AreasOf(d); computable(im, areas) {
			im.Areas = areas
		}
	}
	return images, nil
}

// built compares what was read with what was built.
func (r *Release) built(root *chunks.Root) error {
	for i := range root.Partitions {
		want := r.Partitions[i].SHA256
		if got := root.Partitions[i].SHA256; want != (mios.Digest{}) && got != want {
			return fmt.Errorf("partition %s is not what was built: %w: build it again", root.Partitions[i].Name, mios.ErrInvalid)
		}
	}
	return nil
}

// descriptors adds the hash tree descriptors of the image's vbmeta, if it has
// one, by the names of their partitions.
func descriptors(r io.ReaderAt, size int64, trees map[string]*avb.HashtreeDescriptor) error {
	b, _, err := avb.Read(r, size)
	if format := (*avb.FormatError)(nil); errors.As(err, &format) {
		return nil // a partition without AVB
	}
	if err != nil {
		return err
	}
	m, err := avb.Parse(b)
	if err != nil {
		return nil // not for us to judge: the partition is brought as it is
	}
	for _, d := range m.Descriptors {
		if t, ok := d.(*avb.HashtreeDescriptor); ok {
			trees[t.PartitionName] = t
		}
	}
	return nil
}

// computable tells whether what stands in the areas is what a device computes.
func computable(im *chunks.Image, areas []chunks.Area) bool {
	for i := range areas {
		a := &areas[i]
		c := &comparer{Image: im}
		if chunks.WriteArea(c, a) != nil || c.differs.Load() {
			return false
		}
	}
	return true
}

// A comparer is an image that compares what is written with what is there.
type comparer struct {
	*chunks.Image
	differs atomic.Bool // a hash tree is written from several goroutines
}

func (c *comparer) ReadAt(p []byte, off int64) (int, error) { return c.Content.ReadAt(p, off) }

func (c *comparer) WriteAt(p []byte, off int64) (int, error) {
	there := make([]byte, len(p))
	if n, err := c.Content.ReadAt(there, off); n < len(p) {
		return 0, err
	}
	if !bytes.Equal(there, p) {
		c.differs.Store(true)
		return 0, fmt.Errorf("differs at %d: %w", off, mios.ErrInvalid)
	}
	return len(p), nil
}
