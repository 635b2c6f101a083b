// Package image builds a product's images: from a definition, a kernel and
// miosd to signed partitions, the loader's ROM and a manifest of all inputs.
//
// The same configuration gives the same bytes, wherever and whenever it runs.
// What a device finds where stands in docs/device.md.
package image

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/api"
	"mios/api/repo"
	"mios/build/product"
	"mios/format/adb"
	"mios/format/avb"
	"mios/internal/atomicfile"
	"mios/internal/debian"
	"mios/key"
)

// The build variants, as in AOSP.
const (
	User      = "user"      // locked, no adb
	Userdebug = "userdebug" // adb with authorised keys
)

// A Config is everything that a build depends on.
type Config struct {
	Product   *product.Product
	Arch      mios.Arch
	Variant   string
	Version   string
	BuildTime time.Time // the release's build timestamp, in whole seconds

	Kernel *debian.Kernel
	// Miosd and MiosdRamdisk are files: the whole program, and the small one
	// for the loader and the first stage.
	Miosd, MiosdRamdisk string

	AVBKey crypto.Signer    // RSA; signs vbmeta
	OTAKey crypto.PublicKey // RSA; verifies payloads
	Root   []byte           // the repository's root.json

	ADBKeys []byte // adb_keys; userdebug only

	// Development is set where the keys are a desk's: the build's tags are then
	// dev-keys and not release-keys, as in AOSP.
	Development bool

	// Extra is added to the system image by absolute path, for products with
	// files of their own, in place of what is there. Those in /system/bin can be
	// executed.
	Extra map[string][]byte

	// RollbackIndex replaces the product's where it is not 0.
	RollbackIndex uint64

	// Note is told what is being done; it may be nil.
	Note func(what string)
}

// Names of the files in a build's folder.
const (
	BootImage   = "boot.img"
	VBMetaImage = "vbmeta.img"
	SystemImage = "system.img"
	ROMKernel   = "rom/kernel"
	ROMRamdisk  = "rom/initrd"
	ROMCmdline  = "rom/cmdline"
	ManifestSPD = "sbom.spdx.json"
	BuildFile   = "build.json"
)

func (c *Config) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

// Check says what [Build] would refuse, save what needs the kernel or the
// images themselves.
func (c *Config) Check() error {
	switch {
	case !slices.Contains(c.Product.Arch, c.Arch):
		return fmt.Errorf("architecture %q: %w: product %s is for %v", c.Arch, mios.ErrInvalid, c.Product.Name, c.Product.Arch)
	case c.Variant != User && c.Variant != Userdebug:
		return fmt.Errorf("variant %q: %w: want user or userdebug", c.Variant, mios.ErrInvalid)
	case c.Variant == User && len(c.ADBKeys) > 0:
		return fmt.Errorf("adb key: %w: a user build has no adb; build userdebug, or leave the key out", mios.ErrInvalid)
	case c.BuildTime.Unix() <= 0:
		return fmt.Errorf("build time %v: %w: want a time after 1970", c.BuildTime, mios.ErrInvalid)
	case c.AVBKey == nil:
		return errors.New("the key that signs vbmeta (role avb) is missing: make one with \"mios keys init\"")
	case c.OTAKey == nil:
		return errors.New("the key that verifies payloads (role ota) is missing: make one with \"mios keys init\"")
	case len(c.Root) == 0:
		return errors.New("the repository's root.json is missing: make a repository with \"mios repo init\"")
	}
	if err := c.checkKeys(); err != nil {
		return err
	}
	return repo.CheckVersion(c.Version)
}

// checkKeys refuses keys that devices could not verify with, and what is no
// public key: it would be in every device's image.
func (c *Config) checkKeys() error {
	pub, ok := c.AVBKey.Public().(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("the avb key is %s, want RSA of 2048, 4096 or 8192 bits: %w", key.AlgorithmOf(c.AVBKey.Public()), mios.ErrInvalid)
	}
	if _, err := avb.AlgorithmFor(crypto.SHA256, pub.N.BitLen()); err != nil {
		return fmt.Errorf("the avb key: %v: %w", err, mios.ErrInvalid)
	}
	if pub, ok := c.OTAKey.(*rsa.PublicKey); !ok || pub.N.BitLen() < 2048 {
		return fmt.Errorf("the ota key is %s, want RSA of 2048 bits or more: %w", key.AlgorithmOf(c.OTAKey), mios.ErrInvalid)
	}
	if _, err := adb.ParseKeys(c.ADBKeys); err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n") // of a file that is something else, each is wrong
		return fmt.Errorf("adb key: %s: %w: want a public key, as in ~/.android/adbkey.pub", line, mios.ErrInvalid)
	}
	return nil
}

// ADBKeys returns the line of adb_keys that authorises the private key of pub.
func ADBKeys(pub crypto.PublicKey, comment string) ([]byte, error) {
	rsaKey, ok := pub.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the adb key is %s, want RSA: %w", key.AlgorithmOf(pub), mios.ErrInvalid)
	}
	k, err := adb.NewKey(rsaKey, comment)
	if err != nil {
		return nil, err
	}
	return []byte(k.String() + "\n"), nil
}

// Build makes all images in the folder dir, which it replaces as a whole once
// all of them are there.
func Build(ctx context.Context, c Config, dir string) (*Manifest, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	var m *Manifest
	err := InFolder(dir, func(tmp string) (err error) {
		m, err = build(ctx, &c, tmp)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// InFolder has a new folder filled, which then replaces dir as a whole. If it
// fails, dir is what it was.
func InFolder(dir string, fill func(tmp string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	return replaceDir(dir, tmp)
}

func build(ctx context.Context, c *Config, dir string) (*Manifest, error) {
	b := &builder{Config: c, dir: dir}
	for _, step := range []struct {
		what string
		run  func() error
	}{
		{"read the inputs", b.readInputs},
		{"system image", b.system},
		{"boot image", b.boot},
		{"sign vbmeta", b.vbmeta},
		{"loader", b.rom},
		{"manifest", b.manifest},
	} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.note("%s", step.what)
		if err := step.run(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return b.out, nil
}

// A builder is a build under way.
type builder struct {
	*Config
	dir string

	miosd, ramdisk []byte
	device         *api.Device
	parts          []partition
	out            *Manifest
}

func (b *builder) readInputs() (err error) {
	if b.miosd, err = os.ReadFile(b.Miosd); err != nil {
		return miosdMissing(err)
	}
	if b.ramdisk, err = os.ReadFile(b.MiosdRamdisk); err != nil {
		return miosdMissing(err)
	}
	b.device = b.Product.Device(b.Arch, b.Variant, b.Version, b.BuildTime.Unix())
	return b.device.Check()
}

func miosdMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: miosd for each architecture stands beside mios; \"make build\" makes it", err)
	}
	return err
}

func (b *builder) rollbackIndex() uint64 {
	if b.RollbackIndex != 0 {
		return b.RollbackIndex
	}
	return b.Product.RollbackIndex
}

// path returns the path of an output.
func (b *builder) path(name string) string { return filepath.Join(b.dir, name) }

// replaceDir puts the folder tmp in dir's place: in one step where there is a
// folder already, so that at any moment one of the two has that name.
func replaceDir(dir, tmp string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		err = os.RemoveAll(tmp) // the old one
	case errors.Is(err, fs.ErrNotExist):
		err = os.Rename(tmp, dir)
	default:
		return fmt.Errorf("replace %s: %w", dir, err)
	}
	return errors.Join(err, atomicfile.Sync(filepath.Dir(dir)))
}
