// Package aosp builds a product's images from a build of AOSP: it adds what the
// product brings to the target-files, has mios/build/sign sign them with the
// vendor's keys, and lays out what is flashed. docs/aosp.md says what becomes of
// each line of a product's definition.
//
// The same input, definition and keys give the same bytes.
package aosp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mios"
	"mios/api/repo"
	"mios/build/image"
	"mios/build/product"
	"mios/build/sign"
	"mios/format/targetfiles"
)

// A Config is everything that a build depends on.
type Config struct {
	Product *product.Product
	// TargetFiles, or a folder of images, takes the place of the product's, if it
	// is not "".
	TargetFiles string
	Version     string    // that people see; "": the build's ro.build.version.incremental
	BuildTime   time.Time // the release's build timestamp, in whole seconds; zero: that of the build of AOSP

	Keys sign.Keys // the vendor's
	Root []byte    // the repository's root.json
	// AllowTestKeys takes a result in which keys are left that are none of the
	// vendor's.
	AllowTestKeys bool
	// NoSuper and NoZip leave out super.img and the zip of images.
	NoSuper, NoZip bool

	// Note is told what is being done; it may be nil.
	Note func(what string)
}

// Names of files in the folder of a build, beside the images.
const (
	InfoFile     = "android-info.txt"
	FastbootFile = "fastboot-info.txt"
	ChangesFile  = "changes.json"
	// EndpointsFile is the report of what is still named; see mios/build/endpoint.
	EndpointsFile = "endpoints.json"
	SuperImage    = "super.img"
	SuperEmpty    = "super_empty.img"
)

// A Result says what a build made.
type Result struct {
	*image.Manifest
	// Added and Removed are files of the product, as on a device.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	// Endpoints say how each of the product's endpoints is set.
	Endpoints []Setting    `json:"endpoints,omitempty"`
	Signed    *sign.Report `json:"signed"`
}

// Check says what [Build] would refuse, save what needs the build of AOSP.
func (c *Config) Check() error {
	switch {
	case c.Product.Base != product.BaseAOSP:
		return fmt.Errorf("product %s: base is %s, want aosp: %w", c.Product.Name, c.Product.Base, mios.ErrInvalid)
	case c.Keys == nil:
		return errors.New("no keys to sign with: make some with \"mios keys init\"")
	case len(c.Root) == 0:
		return errors.New("the repository's root.json is missing: make a repository with \"mios repo init\"")
	case !c.BuildTime.IsZero() && c.BuildTime.Unix() <= 0:
		return fmt.Errorf("build time %v: %w: want a time after 1970", c.BuildTime, mios.ErrInvalid)
	case c.Version != "":
		return repo.CheckVersion(c.Version)
	}
	return nil
}

func (c *Config) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

// Input returns the target-files that a build is made from.
func (c *Config) Input() string {
	if c.TargetFiles != "" {
		return c.TargetFiles
	}
	return c.Product.Path(c.Product.AOSP.TargetFiles)
}

// Build makes all images in the folder dir, which it replaces as a whole once
// all of them are there.
func Build(ctx context.Context, c Config, dir string) (*Result, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	src, err := openSource(c.Input())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it is to be what \"m target-files-package\" makes of AOSP; name another with --target-files", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Input(), err)
	}
	defer src.close()
	b := &builder{Config: &c, ctx: ctx, src: src, out: &Result{}}
	err = image.InFolder(dir, func(tmp string) error {
		b.dir = tmp
		work := filepath.Join(tmp, ".work")
		b.staged, b.signed = filepath.Join(work, "staged"), filepath.Join(work, "signed")
		if err := os.Mkdir(work, 0o755); err != nil {
			return err
		}
		for _, step := range []struct {
			what string
			run  func() error
		}{
			{"read the build of AOSP", b.readBuild},
			{"apps and endpoints", b.additions},
			{"lay out", b.stage},
			{"sign", b.sign},
			{"images", b.images},
			{"super", b.super},
			{"what is flashed", b.flashing},
			{"manifest", b.manifest},
			{"endpoints that are left", b.inventory},
			{"zip of images", b.zip},
		} {
			if err := ctx.Err(); err != nil {
				return err
			}
			c.note("%s", step.what)
			if err := step.run(); err != nil {
				return fmt.Errorf("%s: %w", step.what, err)
			}
		}
		return os.RemoveAll(work)
	})
	if err != nil {
		return nil, err
	}
	return b.out, nil
}

// A builder is a build under way.
type builder struct {
	*Config
	ctx                 context.Context
	src                 *source
	dir, staged, signed string // folders: of the images, of target-files before and after signing

	misc  *targetfiles.Dict
	props props // of the build, as a device sees them

	files    map[string]*addition // by partition and path: "product/etc/build.prop"
	removed  []string             // the same
	packages []keyed              // APKs that are added, for META/apkcerts.txt
	contexts *contexts

	out *Result
}

// readBuild reads what the build says of itself, and checks that it is of the
// product.
func (b *builder) readBuild() error {
	var err error
	if b.misc, err = b.src.misc(); err != nil {
		return err
	}
	if b.props, err = readProps(b.src); err != nil {
		return err
	}
	if b.contexts, err = readContexts(b.src); err != nil {
		return err
	}
	return b.identify()
}

// identify fills in what the manifest says of the build as a whole.
func (b *builder) identify() error {
	m := &image.Manifest{
		Product: b.Product.Name, Class: b.Product.Class, Base: product.BaseAOSP, Variant: b.props.get("ro.build.type"),
		Version: b.Version, BuildTime: b.BuildTime.Unix(), Channel: b.Product.Channel, Regions: b.Product.Regions,
		SecurityPatch: b.props.get("ro.build.version.security_patch"),
	}
	b.out.Manifest = m
	if m.Version == "" {
		m.Version = b.props.get("ro.build.version.incremental")
	}
	if err := repo.CheckVersion(m.Version); err != nil {
		return fmt.Errorf("ro.build.version.incremental of the build: %w: give a version", err)
	}
	if b.BuildTime.IsZero() {
		var err error
		if m.BuildTime, err = b.props.number("ro.build.date.utc"); err != nil {
			return err
		}
	}
	switch abi := b.props.abi(); {
	case abi == "":
		m.Arch = b.Product.Arch[0] // its system image is for all
	case abi == mios.AMD64.ABI():
		m.Arch = mios.AMD64
	case abi == mios.ARM64.ABI():
		m.Arch = mios.ARM64
	default:
		return fmt.Errorf("the build is for %s, want %s or %s: %w", abi, mios.AMD64.ABI(), mios.ARM64.ABI(), mios.ErrInvalid)
	}
	if !slices.Contains(b.Product.Arch, m.Arch) {
		return fmt.Errorf("the build is for %s: %w: product %s is for %v", m.Arch, mios.ErrInvalid, b.Product.Name, b.Product.Arch)
	}
	if m.Variant != image.User && m.Variant != image.Userdebug {
		return fmt.Errorf("the build's ro.build.type is %q: %w: build user or userdebug", m.Variant, mios.ErrInvalid)
	}
	return nil
}
