package aosp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mios/format/targetfiles"
)

// stage lays target-files out in a folder: what the build has, what the product
// adds, and the images with it. Nothing of it is signed.
func (b *builder) stage() error {
	if err := os.Mkdir(b.staged, 0o755); err != nil {
		return err
	}
	for _, e := range b.src.Entries {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if b.gone(e.Name) || b.src.bare() && strings.HasPrefix(e.Name, "super") { // which is made anew
			continue
		}
		if err := b.copyEntry(e); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if b.src.bare() {
		return b.editImages()
	}
	for _, key := range slices.Sorted(maps.Keys(b.files)) {
		if err := b.layOut(b.files[key]); err != nil {
			return err
		}
	}
	if err := b.meta(); err != nil {
		return err
	}
	return b.editImages()
}

// gone reports whether an entry is one that the product does without.
func (b *builder) gone(name string) bool {
	for _, r := range b.removed {
		partition, rest, _ := strings.Cut(r, "/")
		h, err := b.home(partition)
		if err != nil {
			continue
		}
		if full := path.Join(h.tree, rest); name == full || strings.HasPrefix(name, full+"/") {
			return true
		}
	}
	return false
}

// copyEntry puts an entry into the folder: as another name of the same file
// where that can be.
func (b *builder) copyEntry(e *targetfiles.Entry) error {
	to := filepath.Join(b.staged, filepath.FromSlash(e.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch {
	case e.Mode.IsDir():
		return os.MkdirAll(to, 0o755)
	case e.Mode&fs.ModeSymlink != 0:
		target, err := e.Link()
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	if fi, err := os.Stat(b.Input()); err == nil && fi.IsDir() {
		if os.Link(filepath.Join(b.Input(), filepath.FromSlash(e.Name)), to) == nil {
			return nil
		}
	}
	r, err := e.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return writeFile(to, e.Mode.Perm(), r)
}

// writeFile writes a file in place of what has its name, which may be another
// file's name too.
func writeFile(name string, perm fs.FileMode, r io.Reader) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, 1<<20))
	return errors.Join(err, f.Chmod(perm|0o600), f.Close())
}

// layOut puts an addition into the folder.
func (b *builder) layOut(a *addition) error {
	h, err := b.home(a.partition)
	if err != nil {
		return err
	}
	name := path.Join(h.tree, a.name)
	root, err := os.OpenRoot(b.staged)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil { // a link of the build's may lead out of the folder
		return err
	}
	to := filepath.Join(b.staged, filepath.FromSlash(name))
	if a.mode.IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	r, _, err := a.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return writeFile(to, a.permissions(), r)
}

// meta notes in META what is added and removed.
func (b *builder) meta() error {
	if len(b.packages) > 0 {
		raw, err := b.src.ReadFile(targetfiles.ApkCertsName)
		if err != nil {
			return err
		}
		certs, err := targetfiles.ParseApkCerts(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", targetfiles.ApkCertsName, err)
		}
		for _, k := range b.packages {
			c := targetfiles.ApkCert{Name: k.name, Partition: k.partition}
			c.Certificate, c.PrivateKey = k.certificate()
			certs.Certs = append(certs.Certs, c)
		}
		if err := b.writeMeta(targetfiles.ApkCertsName, certs.Bytes()); err != nil {
			return err
		}
	}
	for _, p := range b.changed() {
		if err := b.filesystemConfig(p); err != nil {
			return err
		}
	}
	return nil
}

// changed are the partitions that something is added to, or removed from.
func (b *builder) changed() []string {
	partitions := map[string]bool{}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(b.files)), b.removed) {
		partition, _, _ := strings.Cut(key, "/")
		partitions[partition] = true
	}
	return slices.Sorted(maps.Keys(partitions))
}

func (b *builder) writeMeta(name string, data []byte) error {
	return writeFile(filepath.Join(b.staged, name), 0o644, bytes.NewReader(data))
}

// filesystemConfig adds lines to the list of owners, modes and labels that
// releasetools make a file system by, and takes lines out.
func (b *builder) filesystemConfig(partition string) error {
	h, err := b.home(partition)
	if err != nil {
		return err
	}
	name, mount := "META/filesystem_config.txt", "system/"
	if h.image != "system" {
		name, mount = "META/"+h.image+"_filesystem_config.txt", h.image+"/"
	}
	if h.image != partition {
		mount += partition + "/"
	}
	root, err := os.OpenRoot(b.staged)
	if err != nil {
		return err
	}
	defer root.Close()
	old, err := root.ReadFile(name) // a link of the build's may lead out of the folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil // of builds that have none
	}
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for line := range strings.Lines(string(old)) {
		word, _, _ := strings.Cut(line, " ")
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(word, "/"), mount); ok && b.dropped(partition, rest) {
			continue
		}
		out.WriteString(line)
	}
	for _, key := range slices.Sorted(maps.Keys(b.files)) {
		a := b.files[key]
		if a.partition != partition || strings.Contains(string(old), mount+a.name+" ") {
			continue
		}
		attr, err := b.attr(a, h)
		if err != nil {
			return err
		}
		end := ""
		if a.mode.IsDir() {
			end = "/"
		}
		fmt.Fprintf(&out, "%s%s%s %d %d %o selabel=%s capabilities=0x0\n", mount, a.name, end, attr.UID, attr.GID, attr.Mode.Perm(),
			bytes.TrimSuffix(attr.Xattrs[0].Value, []byte{0}))
	}
	return b.writeMeta(name, out.Bytes())
}

// dropped reports whether a file of a partition is removed.
func (b *builder) dropped(partition, name string) bool {
	for _, r := range b.removed {
		if full := path.Join(partition, name); full == r || strings.HasPrefix(full, r+"/") {
			return true
		}
	}
	return false
}
