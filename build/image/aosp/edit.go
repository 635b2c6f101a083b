package aosp

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mios/build/fstree"
	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/fsimage"
)

// editImages changes the images that the additions are in, and the vbmeta images
// that describe those.
func (b *builder) editImages() error {
	images := map[string]bool{}
	for _, p := range b.changed() {
		h, err := b.home(p)
		if err != nil {
			return err
		}
		images[h.image] = true
	}
	for _, p := range slices.Sorted(maps.Keys(images)) {
		b.note("%s image", p)
		if err := b.editImage(p); err != nil {
			return fmt.Errorf("%s image: %w", p, err)
		}
	}
	return nil
}

func (b *builder) stagedImage(partition string) string {
	return filepath.Join(b.staged, filepath.FromSlash(b.src.imagePath(partition)))
}

// editImage changes the file system in an image, and gives it a new hash tree
// as the old one was.
func (b *builder) editImage(partition string) error {
	name := b.stagedImage(partition)
	old, err := avbtool.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there: %w: make it with AOSP's add_img_to_target_files", b.src.imagePath(partition), err)
	}
	if err != nil {
		return err
	}
	was := old.Hashtree()
	if was == nil {
		return fmt.Errorf("it has no hash tree of AVB: %w: build with BOARD_AVB_ENABLE", errors.ErrUnsupported)
	}
	max, err := b.room(partition, was)
	if err != nil {
		return err
	}
	tmp := name + ".edited"
	_, err = fstree.Edit(b.ctx, name, tmp, func(_ *fsimage.FS, e fsimage.Editor) error { return b.edit(partition, e) },
		fstree.EditOptions{EditOptions: fsimage.EditOptions{MaxSize: max}})
	if errors.Is(err, fsimage.ErrNoSpace) {
		return fmt.Errorf("%w: enlarge the partition in the build of AOSP, or bring less", err)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	now, err := b.addFooter(partition, old.VBMeta, was)
	if err != nil {
		return err
	}
	return b.describe(now)
}

// fixed is the size of a partition that is not in super, in bytes, or 0.
func (b *builder) fixed(partition string) (int64, error) {
	if slices.Contains(b.misc.Fields("dynamic_partition_list"), partition) {
		return 0, nil
	}
	return b.misc.Int(partition+"_size", 0)
}

// room is how large the file system may become; 0 is no limit.
func (b *builder) room(partition string, t *avb.HashtreeDescriptor) (int64, error) {
	size, err := b.fixed(partition)
	if size == 0 || err != nil {
		return 0, err
	}
	o := avbtool.FooterOptions{PartitionName: partition, PartitionSize: size, HashAlgorithm: t.HashAlgorithm, FECRoots: int(t.FECRoots)}
	return o.MaxImageSize(true)
}

// edit makes the changes of one image.
func (b *builder) edit(partition string, e fsimage.Editor) error {
	for _, r := range b.removed {
		of, rest, _ := strings.Cut(r, "/")
		h, err := b.home(of)
		if err != nil {
			return err
		}
		if h.image != partition {
			continue
		}
		if err := e.Remove(path.Join(h.below, rest)); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.files)) { // folders before what they hold
		a := b.files[key]
		h, err := b.home(a.partition)
		if err != nil {
			return err
		}
		if h.image != partition {
			continue
		}
		if err := b.editFile(e, a, h); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func (b *builder) editFile(e fsimage.Editor, a *addition, h home) error {
	at := path.Join(h.below, a.name)
	attr, err := b.attr(a, h)
	if err != nil {
		return err
	}
	if a.mode.IsDir() {
		return e.Mkdir(at, attr)
	}
	r, size, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close()
	if a.replace && b.src.has(path.Join(h.tree, a.name)) && !b.dropped(a.partition, a.name) {
		return e.Replace(at, r, size)
	}
	return e.Add(at, attr, r, size)
}

// addFooter adds a hash tree and footer as they were, and returns the new
// descriptor. What was signed gets a signature that nobody can verify: the keys
// come later.
func (b *builder) addFooter(partition string, old *avb.VBMeta, was *avb.HashtreeDescriptor) (*avb.HashtreeDescriptor, error) {
	size, err := b.fixed(partition)
	if err != nil {
		return nil, err
	}
	o := avbtool.FooterOptions{
		Content: avbtool.Content{
			Algorithm: old.Algorithm, PublicKeyMetadata: old.PublicKeyMetadata, RollbackIndex: old.RollbackIndex,
			RollbackIndexLocation: old.RollbackIndexLocation, Flags: old.Flags, Release: old.Release,
		},
		PartitionName: was.PartitionName, PartitionSize: size, HashAlgorithm: was.HashAlgorithm, Salt: append([]byte{}, was.Salt...),
		Flags: was.Flags, FECRoots: int(was.FECRoots), InPlace: true,
	}
	for _, d := range old.Descriptors {
		switch d := d.(type) {
		case *avb.PropertyDescriptor:
			o.Properties = append(o.Properties, d)
		case *avb.HashtreeDescriptor:
		case *avb.KernelCmdlineDescriptor:
			o.SetupAsRootfs = true
		default:
			return nil, fmt.Errorf("its vbmeta image has a descriptor that is not its own: %w", errors.ErrUnsupported)
		}
	}
	if old.Algorithm == avb.None {
		return avbtool.AddHashtree(b.ctx, b.stagedImage(partition), o, nil)
	}
	if o.Key, err = rsa.GenerateKey(rand.Reader, old.Algorithm.KeyBits()); err != nil {
		return nil, err
	}
	d, err := avbtool.AddHashtree(b.ctx, b.stagedImage(partition), o, nil)
	if err != nil {
		return nil, err
	}
	return d, b.restoreKey(partition, old.PublicKey)
}

// restoreKey puts the build's public key back into an image's vbmeta image: who
// signs finds by it what its key replaces.
func (b *builder) restoreKey(partition string, pub []byte) error {
	f, err := os.OpenFile(b.stagedImage(partition), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	raw, footer, err := avb.Read(f, fi.Size())
	if err != nil {
		return err
	}
	m, err := avb.Parse(raw)
	if err != nil {
		return err
	}
	if len(m.PublicKey) != len(pub) {
		return fmt.Errorf("a key of %d bytes in place of one of %d", len(pub), len(m.PublicKey))
	}
	m.PublicKey = pub
	out, err := m.Bytes()
	if err != nil {
		return err
	}
	_, err = f.WriteAt(out, int64(footer.VBMetaOffset))
	return err
}

// describe puts a new descriptor into the vbmeta images that have one of the
// partition. Their signatures are no good afterwards, until the vendor's are
// there.
func (b *builder) describe(now *avb.HashtreeDescriptor) error {
	list, err := filepath.Glob(filepath.Join(filepath.Dir(b.stagedImage("vbmeta")), "vbmeta*.img"))
	if err != nil {
		return err
	}
	for _, name := range list {
		if err := redescribe(name, now); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

func redescribe(name string, now *avb.HashtreeDescriptor) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	n, err := avb.Size(b)
	if err != nil {
		return err
	}
	m, err := avb.Parse(b[:n])
	if err != nil {
		return err
	}
	found := false
	for i, d := range m.Descriptors {
		if d, ok := d.(*avb.HashtreeDescriptor); ok && d.PartitionName == now.PartitionName {
			m.Descriptors[i], found = now, true
		}
	}
	if !found {
		return nil
	}
	out, err := m.Bytes()
	if err != nil {
		return err
	}
	pad := max(int64(len(b)), (int64(len(out))+avb.BlockSize-1)/avb.BlockSize*avb.BlockSize) - int64(len(out))
	return writeFile(name, 0o644, bytes.NewReader(append(out, make([]byte, pad)...)))
}
