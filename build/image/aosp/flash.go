package aosp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zip"
)

// fastbootVersion is that of fastboot-info.txt (AOSP's core/Makefile,
// FASTBOOT_INFO_VERSION).
const fastbootVersion = 1

// early are partitions that the loader's fastboot writes first, in AOSP's
// order; the rest of those outside of super follow by name.
var early = []string{"boot", "init_boot", "dtbo", "vendor_kernel_boot", "recovery", "pvmfw", "vendor_boot", "vbmeta"}

// flashing writes android-info.txt and fastboot-info.txt: what "fastboot
// flashall" asks a device for, and does, with ANDROID_PRODUCT_OUT set to the
// folder of the build, and "fastboot update" with the zip.
func (b *builder) flashing() error {
	info, err := b.src.beside("OTA", InfoFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, InfoFile), info, 0o644); err != nil {
		return err
	}
	plan, err := b.src.beside("META", FastbootFile)
	if errors.Is(err, fs.ErrNotExist) {
		plan, err = b.flashPlan(), nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, FastbootFile), plan, 0o644)
}

// flashPlan is a plan for a build that has none of its own, as AOSP's build
// writes it.
func (b *builder) flashPlan() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# fastboot-info for %s\nversion %d\n", b.Product.Name, fastbootVersion)
	rank := func(name string) int {
		if i := slices.Index(early, name); i >= 0 {
			return i
		}
		return len(early)
	}
	var physical []string
	for _, p := range b.out.Partitions {
		if !p.Logical {
			physical = append(physical, p.Name)
		}
	}
	slices.SortFunc(physical, func(x, y string) int { return cmp.Or(cmp.Compare(rank(x), rank(y)), strings.Compare(x, y)) })
	for _, name := range physical {
		if name == "vbmeta" {
			fmt.Fprintln(&out, "flash --apply-vbmeta vbmeta")
		} else {
			fmt.Fprintln(&out, "flash", name)
		}
	}
	if logical := b.logical(); len(logical) > 0 {
		fmt.Fprintln(&out, "reboot fastboot\nupdate-super")
		for _, name := range logical {
			fmt.Fprintln(&out, "flash", name)
		}
	}
	fmt.Fprintln(&out, "if-wipe erase userdata")
	if b.misc.Bool("board_uses_metadata_partition") {
		fmt.Fprintln(&out, "if-wipe erase metadata")
	}
	return out.Bytes()
}

// zipTime is that of all entries in the zip: AOSP's fixed one.
var zipTime = time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC)

// ImagesZip returns the name of a build's zip of images.
func (r *Result) ImagesZip() string { return r.Product + "-img.zip" }

// zip writes the zip that "fastboot update" takes (img_from_target_files.py).
func (b *builder) zip() error {
	if b.NoZip {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(b.dir, b.out.ImagesZip()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	w := zip.NewWriter(f)
	names := []string{InfoFile, FastbootFile}
	for _, p := range b.out.Partitions {
		names = append(names, p.File)
	}
	if len(b.logical()) > 0 {
		names = append(names, SuperEmpty)
	}
	for _, name := range names {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if err := addToZip(w, filepath.Join(b.dir, name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Sync()
}

func addToZip(w *zip.Writer, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	h := &zip.FileHeader{Name: filepath.Base(name), Method: zip.Deflate, Modified: zipTime}
	h.SetMode(0o644)
	e, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = in.WriteTo(e)
	return err
}
