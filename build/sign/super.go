package sign

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"mios"
	"mios/format/sparse"
	"mios/format/super"
)

// remakeSuper puts the new images into the images of super partitions.
func (s *signing) remakeSuper() error {
	for _, m := range s.images {
		if m.kind != "super" {
			continue
		}
		if err := s.withImage(m, func(r io.ReaderAt) error { return s.remakeOne(m, r) }); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func (s *signing) remakeOne(m *image, r io.ReaderAt) error {
	const maxEmpty = 4 << 20
	if m.size <= maxEmpty {
		b := make([]byte, m.size)
		if _, err := io.ReadFull(io.NewSectionReader(r, 0, m.size), b); err != nil {
			return err
		}
		if g, meta, err := super.ReadEmpty(b); err == nil {
			return s.remakeEmpty(m, g, meta)
		}
	}
	img, damage, err := super.Read(r)
	if err != nil {
		if m.partition == "super" {
			return err
		}
		return nil // a device of a retrofit: it comes with the one that has the metadata
	}
	if len(damage) > 0 {
		return fmt.Errorf("%w: take a super image that is whole", damage[0])
	}
	if len(img.Slots) == 0 || img.Slots[0] == nil {
		return fmt.Errorf("slot 0 has no metadata: %w", mios.ErrInvalid)
	}
	return s.fillSuper(m, img)
}

// remakeEmpty makes room in an image of metadata alone for images that have
// grown.
func (s *signing) remakeEmpty(m *image, g super.Geometry, meta *super.Metadata) error {
	now := meta.Clone()
	for _, p := range meta.Partitions {
		if o := s.partitionImage(m, p.Name); p.Size() > 0 && o != nil && o.out != "" && o.outLen != p.Size() {
			if err := now.Resize(p.Name, o.outLen, g); err != nil {
				return err
			}
		}
	}
	if reflect.DeepEqual(now, meta) {
		return nil
	}
	name := s.work.name(m.name)
	if err := create(name, func(w *os.File) error { return super.WriteEmpty(w, g, now) }); err != nil {
		return err
	}
	return s.placeSuper(m, name)
}

// partitionImage is the image of a partition of super, whose name may have a
// slot's suffix, or nil.
func (s *signing) partitionImage(m *image, name string) *image {
	if o := s.inImages(m, name); o != nil {
		return o
	}
	if base, ok := strings.CutSuffix(name, "_a"); ok {
		return s.inImages(m, base)
	}
	if base, ok := strings.CutSuffix(name, "_b"); ok {
		if o := s.inImages(m, base+"_other"); o != nil {
			return o
		}
		return s.inImages(m, base)
	}
	return nil
}

func (s *signing) inImages(m *image, partition string) *image {
	if o := s.images[s.src.ImageName(partition)]; o != nil {
		return o
	}
	return s.sibling(m, partition)
}

// devices are the images of the devices that a super partition lies on, in the
// order of its metadata.
func (s *signing) devices(m *image, meta *super.Metadata) ([]*image, error) {
	var out []*image
	for i, d := range meta.Devices {
		name := strings.TrimSuffix(d.Name, "_a")
		o := m
		if i > 0 || len(meta.Devices) > 1 {
			if o = s.sibling(m, "super_"+name); o == nil {
				o = s.sibling(m, name)
			}
		}
		if o == nil {
			return nil, fmt.Errorf("no image of its device %s beside it: %w", d.Name, mios.ErrNotFound)
		}
		out = append(out, o)
	}
	return out, nil
}

// fillSuper makes the images of a super partition anew, if a partition in it
// changes.
func (s *signing) fillSuper(m *image, img *super.Image) error {
	if !slices.ContainsFunc(img.Slots[0].Partitions, func(p super.Partition) bool { return s.replaces(m, p) != nil }) {
		return nil
	}
	devices, err := s.devices(m, img.Slots[0])
	if err != nil {
		return err
	}
	var open files
	defer open.close()
	readers, err := s.deviceReaders(devices, &open)
	if err != nil {
		return err
	}
	contents, now, err := s.superContents(m, img, readers, &open)
	if err != nil {
		return err
	}
	if err := sameSlots(img, now); err != nil {
		return err
	}
	return s.writeSuper(devices, img, contents)
}

// replaces is the image that is put into a partition of super, or nil if that
// stays as it is.
func (s *signing) replaces(m *image, p super.Partition) *image {
	if o := s.partitionImage(m, p.Name); p.Size() > 0 && o != nil && o.out != "" {
		return o
	}
	return nil
}

// files are open ones.
type files []io.Closer

func (f *files) close() {
	for _, c := range *f {
		c.Close()
	}
}

// deviceReaders opens the images of devices as they were.
func (s *signing) deviceReaders(devices []*image, open *files) ([]io.ReaderAt, error) {
	var out []io.ReaderAt
	for _, d := range devices {
		f, err := s.open(d.entry)
		if err != nil {
			return nil, err
		}
		*open = append(*open, f)
		var r io.ReaderAt = f
		if d.sparse != nil {
			if r, err = sparse.Parse(f, d.entry.Size); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// superContents are the contents of all partitions, and the metadata with room
// for them.
func (s *signing) superContents(m *image, img *super.Image, readers []io.ReaderAt, open *files) (map[string]super.Content, *super.Metadata, error) {
	contents, now := map[string]super.Content{}, img.Slots[0].Clone()
	for _, p := range img.Slots[0].Partitions {
		if p.Size() == 0 {
			continue
		}
		o := s.replaces(m, p)
		if o == nil {
			r, err := img.Slots[0].Reader(p.Name, readers...)
			if err != nil {
				return nil, nil, err
			}
			contents[p.Name] = super.Content{R: r, Size: p.Size()}
			continue
		}
		f, err := os.Open(o.out)
		if err != nil {
			return nil, nil, err
		}
		*open = append(*open, f)
		contents[p.Name] = super.Content{R: f, Size: o.outLen}
		if o.outLen > p.Size() {
			if err := now.Resize(p.Name, o.outLen, img.Geometry, img.OthersThan(0)...); err != nil {
				return nil, nil, err
			}
		}
	}
	return contents, now, nil
}

// sameSlots gives all slots that have the metadata of slot 0 the new one.
func sameSlots(img *super.Image, now *super.Metadata) error {
	if reflect.DeepEqual(img.Slots[0], now) {
		return nil
	}
	same, others, err := img.Same(0)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return fmt.Errorf("a partition grows, and other slots have partitions of their own: %w", errors.ErrUnsupported)
	}
	for _, i := range same {
		img.Slots[i] = now.Clone()
	}
	return nil
}

// writeSuper writes the images of a super partition's devices.
func (s *signing) writeSuper(devices []*image, img *super.Image, contents map[string]super.Content) error {
	disks, err := img.Disks(contents)
	if err != nil {
		return err
	}
	for i, d := range devices {
		name := s.work.name(d.name)
		err := create(name, func(w *os.File) error {
			if d.sparse != nil {
				m, err := disks[i].Sparse(s.ctx, d.sparse.BlockSize, nil)
				if err != nil {
					return err
				}
				return m.Encode(s.ctx, w, nil)
			}
			return errors.Join(disks[i].WriteRaw(s.ctx, w, nil), w.Truncate(disks[i].Size))
		})
		if err != nil {
			return err
		}
		if err := s.placeSuper(d, name); err != nil {
			return err
		}
	}
	return nil
}

// placeSuper makes a file the entry of an image.
func (s *signing) placeSuper(m *image, name string) error {
	c, err := fileContent(name)
	if err != nil {
		return err
	}
	s.set(m.name, c)
	s.change(Change{What: "super", Path: m.name})
	return nil
}

// isSuper reports whether a file is an image of a super partition by its name.
func isSuper(name string) bool { return strings.HasPrefix(path.Base(name), "super") }
