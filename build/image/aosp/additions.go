package aosp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"mios"
	"mios/format/fsimage"
	"mios/format/targetfiles"
	"mios/internal/readat"
)

// An addition is a file, or a folder, that the product brings.
type addition struct {
	partition, name string // "product", "priv-app/Store/Store.apk"
	data            []byte
	file            string      // that holds the data, where it is large
	mode            fs.FileMode // 0 is 0644; with fs.ModeDir 0755
	replace         bool        // one of that name may be there
}

// A keyed is an APK that is added, and whose key it gets.
type keyed struct{ name, key, partition string }

// permissions returns the addition's permissions.
func (a *addition) permissions() fs.FileMode {
	switch {
	case a.mode.IsDir():
		return 0o755
	case a.mode != 0:
		return a.mode.Perm()
	}
	return 0o644
}

// open opens the data.
func (a *addition) open() (io.ReadCloser, int64, error) {
	if a.file == "" {
		return io.NopCloser(bytes.NewReader(a.data)), int64(len(a.data)), nil
	}
	return readat.Open(a.file)
}

// A home is where a partition's files are: in target-files, and in an image.
type home struct {
	tree  string // folder of target-files: "PRODUCT", "SYSTEM/product"
	image string // partition whose image has them: "product", "system"
	below string // folder there; "" is its root
	mount string // on a device: "/product"
}

// home returns where a partition's files are.
func (b *builder) home(partition string) (home, error) {
	p := targetfiles.FindPartition(partition)
	if p == nil {
		return home{}, fmt.Errorf("partition %s: %w", partition, mios.ErrNotFound)
	}
	h := home{tree: b.src.folderOf(p), image: partition, mount: "/" + partition}
	if h.tree == "" {
		return h, fmt.Errorf("partition %s: %w: the build has none", partition, mios.ErrNotFound)
	}
	if top, rest, ok := strings.Cut(h.tree, "/"); ok { // in another's image
		h.image, h.below = strings.ToLower(top), rest
	}
	if h.image == "system" && b.src.has("ROOT") { // whose image has the root of all
		h.below = path.Join("system", h.below)
	}
	return h, nil
}

// read returns a file of a partition as it is now.
func (b *builder) read(partition, name string) ([]byte, error) {
	if a := b.files[path.Join(partition, name)]; a != nil {
		return a.data, nil
	}
	h, err := b.home(partition)
	if err != nil {
		return nil, err
	}
	return b.src.readAll(path.Join(h.tree, name), maxText)
}

// has reports whether the build has a file or folder, or will have it.
func (b *builder) has(partition, name string) (bool, error) {
	key := path.Join(partition, name)
	if b.files[key] != nil {
		return true, nil
	}
	if slices.Contains(b.removed, key) {
		return false, nil
	}
	h, err := b.home(partition)
	if err != nil {
		return false, err
	}
	return b.src.has(path.Join(h.tree, name)), nil
}

// add adds a file, and the folders above it.
func (b *builder) add(partition, name string, a *addition) error {
	there, err := b.has(partition, name)
	if err != nil {
		return err
	}
	if there && !a.replace {
		return fmt.Errorf("/%s/%s: %w: the build has it already: put it under aosp.remove, or give yours another name", partition, name, mios.ErrConflict)
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		if there, err := b.has(partition, name[:i]); err != nil {
			return err
		} else if !there {
			b.put(partition, name[:i], &addition{mode: fs.ModeDir})
		}
	}
	b.put(partition, name, a)
	return nil
}

func (b *builder) put(partition, name string, a *addition) {
	if b.files == nil {
		b.files = map[string]*addition{}
	}
	a.partition, a.name = partition, name
	b.files[path.Join(partition, name)] = a
}

// additions collects all that the product brings.
func (b *builder) additions() error {
	for _, step := range []func() error{b.remove, b.apps, b.endpoints, b.branding, b.agent} {
		if err := step(); err != nil {
			return err
		}
	}
	for name, a := range b.files {
		if !a.mode.IsDir() {
			b.out.Added = append(b.out.Added, "/"+name)
		}
	}
	slices.Sort(b.out.Added)
	return nil
}

// remove notes what the product does without.
func (b *builder) remove() error {
	for _, name := range b.Product.AOSP.Remove {
		partition, rest, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
		there, err := b.has(partition, rest)
		if err == nil && !there {
			err = mios.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("aosp.remove: %s: %w: the build has no such file", name, err)
		}
		b.removed = append(b.removed, path.Join(partition, rest))
		b.out.Removed = append(b.out.Removed, name)
	}
	return nil
}

// The agent's files, in the product partition.
const (
	agentDevice = "etc/mios/device.json"
	agentRoot   = "etc/mios/root.json"
)

// agent adds what tells the device whom it trusts, and where to ask.
func (b *builder) agent() error {
	m := b.out.Manifest
	dev := b.Product.Device(m.Arch, m.Variant, m.Version, m.BuildTime)
	if err := dev.Check(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(dev, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		b.add("product", agentDevice, &addition{data: append(text, '\n')}),
		b.add("product", agentRoot, &addition{data: b.Root}))
}

// attr returns the attributes of a file in an image.
func (b *builder) attr(a *addition, h home) (fsimage.Attr, error) {
	name := path.Join(h.mount, a.name)
	label := b.contexts.label(name, a.mode)
	if label == "" {
		return fsimage.Attr{}, fmt.Errorf("%s: %w: the policy in etc/selinux/*_file_contexts of the build has no label for it", name, mios.ErrNotFound)
	}
	return fsimage.Attr{
		Mode: a.permissions(), Xattrs: []fsimage.Xattr{{Name: "security.selinux", Value: append([]byte(label), 0)}},
	}, nil
}
