package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"mios/build/image/ramdisk"
	"mios/format/bootimg"
	"mios/format/cpio"
)

var bootRepack = command{"boot repack", "[flags] --ramdisk_add SRC[:DST] (--local | --src_bootimg FILE) IMAGE",
	"put files into the ramdisk of a boot or vendor_boot image, as repack_bootimg does\n" +
		"A vendor_boot image with several ramdisk fragments gets one more. Signatures and AVB\n" +
		"footers, which would be wrong, are left out.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		local := fs.Bool("local", false, "SRC is a file here")
		src := fs.String("src_bootimg", "", "SRC is in the ramdisk of this image `file`")
		dst := fs.String("dst_bootimg", "", "image `file`, in the place of the word IMAGE")
		out := fs.String("output", "", "`file` to write (default: IMAGE itself)")
		name := fs.String("ramdisk_name", "RAMDISK_ADDED", "`name` of the ramdisk fragment that is added")
		var pairs []string
		fs.Func("ramdisk_add", "`SRC[:DST]`: what to put in, and where to; again for more", func(s string) error {
			pairs = append(pairs, s)
			return nil
		})
		if err := parse(fs, args, 0, 1); err != nil {
			return err
		}
		if *dst == "" && fs.NArg() == 1 {
			*dst = fs.Arg(0)
		}
		if *dst == "" || len(pairs) == 0 || *local == (*src != "") {
			return fmt.Errorf("%w: want an image, --ramdisk_add, and one of --local and --src_bootimg", errUsage)
		}
		if *out == "" {
			*out = *dst
		}
		m, err := readBootImage(*dst)
		if err != nil {
			return err
		}
		files, err := repackFiles(pairs, *src)
		if err != nil {
			return err
		}
		if err := m.addFiles(files, *name); err != nil {
			return fmt.Errorf("%s: %w", *dst, err)
		}
		if err := writeBootImage(*out, m); err != nil {
			return err
		}
		if m.after > 0 {
			fmt.Fprintf(e.stderr, "mios: boot repack: what followed the image in %s is left out: an AVB footer is to be added anew\n", *dst)
		}
		_, err = fmt.Fprintf(e.stdout, "%s: %d files put into its ramdisk\n", *out, len(files))
		return err
	}}

// repackFiles reads what is put in: files here, or of an image's ramdisk.
func repackFiles(pairs []string, image string) ([]cpio.Entry, error) {
	var from *ramdisk.Ramdisk
	if image != "" {
		m, err := readBootImage(image)
		if err != nil {
			return nil, err
		}
		data := m.ramdisk()
		if data == nil {
			return nil, fmt.Errorf("%s: it has no ramdisk, or several fragments of one", image)
		}
		if from, err = ramdisk.Read(*data); err != nil {
			return nil, fmt.Errorf("%s: %w", image, err)
		}
	}
	var list []cpio.Entry
	for _, pair := range pairs {
		src, dst, ok := strings.Cut(pair, ":")
		if !ok {
			dst = src
		}
		var file cpio.Entry
		if from == nil {
			var err error
			if file, err = localEntry(src); err != nil {
				return nil, err
			}
		} else {
			i := from.Find(path.Clean(src))
			if i < 0 {
				return nil, fmt.Errorf("%s: no %s in its ramdisk", image, src)
			}
			file = from.Entries[i]
		}
		file.Name = dst
		list = append(list, file)
	}
	return list, nil
}

// localEntry is a file or link as an entry of root's.
func localEntry(name string) (cpio.Entry, error) {
	fi, err := os.Lstat(name)
	switch {
	case err != nil:
		return cpio.Entry{}, err
	case fi.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(name)
		return cpio.Symlink("", target), err
	case !fi.Mode().IsRegular():
		return cpio.Entry{}, fmt.Errorf("%s: neither a file nor a link", name)
	}
	b, err := readPart(name)
	return cpio.File("", uint32(fi.Mode().Perm()), b), err
}

// ramdisk returns the image's one ramdisk, or nil if it has none or several.
func (m *bootImage) ramdisk() *[]byte {
	switch {
	case m.vendor != nil && (m.vendor.Version == 3 || len(m.vendor.Fragments) == 1 && m.vendor.Fragments[0].Size == uint32(len(m.vendor.Ramdisk))):
		return &m.vendor.Ramdisk
	case m.boot != nil && len(m.boot.Ramdisk) > 0:
		return &m.boot.Ramdisk
	}
	return nil
}

// addFiles puts files into the image's ramdisk, or into a new fragment of it.
func (m *bootImage) addFiles(files []cpio.Entry, name string) error {
	data, d := m.ramdisk(), &ramdisk.Ramdisk{Packed: "lz4"}
	several := data == nil && m.vendor != nil && len(m.vendor.Fragments) > 0
	if data == nil && !several {
		return errors.New("it has no ramdisk")
	}
	if data != nil {
		var err error
		if d, err = ramdisk.Read(*data); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := d.Put(f); err != nil {
			return err
		}
	}
	b, err := d.Pack()
	if err != nil {
		return err
	}
	if several {
		m.vendor.Ramdisk = append([]byte(nil), m.vendor.Ramdisk...)
		return m.vendor.AddFragment(bootimg.Fragment{Type: bootimg.RamdiskPlatform, Name: name}, b)
	}
	*data = b
	if m.vendor != nil {
		for i := range m.vendor.Fragments {
			m.vendor.Fragments[i].Size = uint32(len(b))
		}
		return nil
	}
	kind, ok := m.boot.IDKind()
	m.boot.Signature = nil
	if ok || m.boot.Version < 3 {
		m.boot.SetID(kind)
	}
	return nil
}
