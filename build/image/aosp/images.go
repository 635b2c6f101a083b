package aosp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mios/build/image"
	"mios/build/sign"
	"mios/format/sparse"
	"mios/format/targetfiles"
	"mios/internal/digest"
)

// sign has the staged target-files signed with the vendor's keys.
func (b *builder) sign() error {
	o := sign.Options{
		Keys: b.Keys, Mapping: b.Product.AOSP.Keys, AVB: map[string]string{}, Rollback: map[string]uint64{},
		OTACerts: []string{b.Product.Keys.OTA}, AllowTestKeys: b.AllowTestKeys,
	}
	list, err := targetfiles.AVBPartitions(b.misc)
	if err != nil {
		return err
	}
	for _, a := range list {
		base := strings.TrimSuffix(filepath.Base(a.KeyPath), ".pem")
		if name := b.Product.AOSP.Keys[base]; name != "" {
			o.AVB[a.Partition] = name
		} else if b.Product.Keys.AVB != "avb" {
			o.AVB[a.Partition] = b.Product.Keys.AVB
		}
		if index := b.Product.RollbackIndex; index != 0 { // 0 leaves those of the build
			o.Rollback[a.Partition] = index
		}
	}
	if b.src.bare() {
		if err := b.bareOptions(&o); err != nil {
			return err
		}
	}
	o.Progress = func(what string, _, _ int64) { b.note("sign: %s", what) }
	b.out.Signed, err = sign.TargetFiles(b.ctx, b.staged, b.signed, o)
	return err
}

// bareOptions says of images alone what META would say.
func (b *builder) bareOptions(o *sign.Options) error {
	o.Packages = map[string]string{}
	for _, k := range b.packages {
		o.Packages[k.name] = k.key
	}
	names, err := b.src.partitions()
	if err != nil {
		return err
	}
	for _, name := range names {
		if b.Product.Keys.AVB != "avb" {
			o.AVB[name] = b.Product.Keys.AVB
		}
		if index := b.Product.RollbackIndex; index != 0 {
			o.Rollback[name] = index
		}
	}
	return nil
}

// images puts the images of all partitions into the folder of the build, as
// they are on a device: plain, not sparse.
func (b *builder) images() error {
	names, err := b.src.partitions()
	if err != nil {
		return err
	}
	for _, name := range names {
		from := filepath.Join(b.signed, filepath.FromSlash(b.src.imagePath(name)))
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			from = filepath.Join(b.signed, "RADIO", name+".img")
		}
		file := name + ".img"
		if err := plain(b.ctx, from, filepath.Join(b.dir, file)); err != nil {
			return fmt.Errorf("partition %s: %w", name, err)
		}
		p, err := b.partition(name, file)
		if err != nil {
			return err
		}
		b.out.Partitions = append(b.out.Partitions, p)
	}
	return b.copyMeta()
}

// partition describes an image.
func (b *builder) partition(name, file string) (image.Partition, error) {
	p := image.Partition{Name: name, File: file, Logical: slices.Contains(b.misc.Fields("dynamic_partition_list"), name)}
	fi, err := os.Stat(filepath.Join(b.dir, file))
	if err != nil {
		return p, err
	}
	p.Size = fi.Size()
	if p.SHA256, err = digest.File(filepath.Join(b.dir, file)); err != nil {
		return p, err
	}
	size := int64(0)
	if !p.Logical {
		for _, key := range []string{name + "_size", "avb_" + name + "_partition_size"} {
			n, err := b.misc.Int(key, 0)
			if err != nil {
				return p, err
			}
			size = cmp.Or(size, n)
		}
	}
	p.Limit = max(size, p.Size)
	return p, nil
}

// plain makes a file of an image: another name of the same file, or what a
// sparse image stands for.
func plain(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	var magic [4]byte
	if _, err := in.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(magic[:]) != "\x3a\xff\x26\xed" {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 && os.Rename(from, to) == nil {
			return os.Chmod(to, 0o644)
		}
		return writeFile(to, 0o644, in)
	}
	m, err := sparse.Parse(in, fi.Size())
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := m.Expand(ctx, out, nil); err != nil {
		return err
	}
	return errors.Join(out.Truncate(m.Size()), out.Sync())
}

// metaFiles are those of META that updates of the build are made by.
var metaFiles = []string{
	targetfiles.UpdateEngineConfig, targetfiles.DynamicPartitions, targetfiles.ApexInfo, targetfiles.CareMap, "META/postinstall_config.txt", "META/zucchini_config.txt",
}

// copyMeta keeps what updates need to know of the build.
func (b *builder) copyMeta() error {
	if err := os.Mkdir(filepath.Join(b.dir, "META"), 0o755); err != nil {
		return err
	}
	if b.src.bare() {
		return b.makeMeta()
	}
	for _, name := range metaFiles {
		f, err := os.Open(filepath.Join(b.signed, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = writeFile(filepath.Join(b.dir, name), 0o644, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// makeMeta writes of images alone what target-files would have: the layout of
// super, and the version of update_engine as system has it.
func (b *builder) makeMeta() error {
	files := map[string][]byte{targetfiles.DynamicPartitions: b.misc.Bytes()}
	config, err := b.src.readAll("SYSTEM/etc/update_engine.conf", maxText)
	if err == nil {
		files[targetfiles.UpdateEngineConfig] = config
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
