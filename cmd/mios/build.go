package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mios"
	"mios/api/repo"
	"mios/build/image"
	"mios/build/product"
	"mios/internal/debian"
	"mios/internal/progress"
	"mios/key"
)

var buildCmd = command{"build", "[flags] PRODUCT", "build a product's signed images\n" +
	"PRODUCT is a definition's file, or a name below products/.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o buildOptions
		fs.StringVar(&o.arch, "arch", "", "`architecture`, amd64 or arm64 (default: the product's first)")
		fs.StringVar(&o.variant, "variant", image.User, "`variant`: user (locked, no adb) or userdebug (adb)")
		fs.StringVar(&o.version, "version", "", "`version` that people see (default: the build time)")
		fs.StringVar(&o.time, "build-time", os.Getenv("SOURCE_DATE_EPOCH"), "release's timestamp in `seconds` since 1970 (default: SOURCE_DATE_EPOCH, or now)")
		fs.StringVar(&o.keys, "keys", "keys", "`folder` of keys")
		fs.StringVar(&o.root, "root", "", "`file` root.json of the repository that devices trust")
		fs.StringVar(&o.adbKey, "adb-key", "", "`file` of the public key that adb lets in, adb's own or PEM; userdebug only (default: the folder's key adb)")
		fs.StringVar(&o.cache, "cache", defaultCache(), "`folder` for fetched kernels")
		fs.StringVar(&o.out, "out", "", "`folder` for the images (default: out/PRODUCT-ARCH-VARIANT)")
		fs.StringVar(&o.targetFiles, "target-files", "", "`file` or folder of AOSP's target-files, in place of the product's; base aosp")
		fs.BoolVar(&o.noSuper, "no-super", false, "leave out super.img, for loaders that take it whole; base aosp")
		fs.BoolVar(&o.noZip, "no-zip", false, "leave out the zip of images for \"fastboot update\"; base aosp")
		fs.BoolVar(&o.allowTestKeys, "allow-test-keys", false, "take a result with keys that are none of the vendor's; base aosp")
		fs.BoolVar(&o.json, "json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		fs.Visit(func(f *flag.Flag) { o.variantSet = o.variantSet || f.Name == "variant" })
		return o.run(ctx, e, fs.Arg(0))
	}}

type buildOptions struct {
	arch, variant, version, time, keys, root, adbKey, cache, out string

	json bool

	// Of base aosp:
	targetFiles                               string
	noSuper, noZip, allowTestKeys, variantSet bool
}

func (o *buildOptions) run(ctx context.Context, e env, name string) error {
	def, err := findProduct(name)
	if err != nil {
		return err
	}
	p, err := product.Load(def)
	if err != nil {
		return err
	}
	if p.Base == product.BaseAOSP {
		return o.runAOSP(ctx, e, p)
	}
	story := e.story(o.json)
	cfg, err := o.config(e, p)
	if err != nil {
		return err
	}
	err = story.Step(ctx, "kernel "+cfg.Product.Kernel.Line, func(ctx context.Context, t *progress.Task) (err error) {
		k := debian.Kernels{Cache: o.cache, Notice: func(msg string) { story.Say("%s", msg) }, Progress: t.Bytes}
		cfg.Kernel, err = k.Open(ctx, cfg.Product.Kernel.Line, string(cfg.Arch))
		return err
	})
	if err != nil {
		return err
	}
	defer cfg.Kernel.Close()
	if cfg.Variant == image.Userdebug && len(cfg.ADBKeys) == 0 {
		story.Say("adb lets nobody in: name a public key with --adb-key")
	}
	out := o.out
	if out == "" {
		out = filepath.Join("out", fmt.Sprintf("%s-%s-%s", cfg.Product.Name, cfg.Arch, cfg.Variant))
	}
	var m *image.Manifest
	err = story.Step(ctx, fmt.Sprintf("build %s %s for %s (%s)", cfg.Product.Name, cfg.Version, cfg.Arch, cfg.Variant), func(ctx context.Context, t *progress.Task) (err error) {
		cfg.Note = func(what string) { t.Note("%s", what) }
		if m, err = image.Build(ctx, *cfg, out); err != nil {
			return err
		}
		var size int64
		for _, p := range m.Partitions {
			size += p.Size
		}
		t.Done("built %s %s for %s (%s, %.1f MiB) in %s", m.Product, m.Version, m.Arch, m.Variant, float64(size)/(1<<20), out)
		return nil
	})
	if err != nil || !o.json {
		return err
	}
	return printJSON(e, struct {
		Dir string `json:"dir"`
		*image.Manifest
	}{out, m})
}

// config gathers what the images are built from, save the kernel.
func (o *buildOptions) config(e env, p *product.Product) (*image.Config, error) {
	if o.targetFiles != "" || o.noSuper || o.noZip || o.allowTestKeys {
		return nil, fmt.Errorf("%w: --target-files, --no-super, --no-zip and --allow-test-keys are for products of base aosp", errUsage)
	}
	c := &image.Config{Product: p, Arch: mios.Arch(o.arch), Variant: o.variant, Version: o.version}
	if o.arch == "" {
		c.Arch = p.Arch[0]
	}
	var err error
	if c.BuildTime, err = buildTime(o.time); err != nil {
		return nil, err
	}
	if c.Version == "" {
		c.Version = c.BuildTime.UTC().Format("2006.01.02.150405")
	}
	if c.Miosd, c.MiosdRamdisk, err = image.Programs(c.Arch); err != nil {
		return nil, err
	}
	if o.root == "" {
		return nil, fmt.Errorf("%w: --root is missing: devices must know the repository's root.json; \"mios repo root show REPO >root.json\" prints it, and \"mios repo init\" makes a repository", errUsage)
	}
	if c.Root, err = os.ReadFile(o.root); err != nil {
		return nil, err
	}
	if err := repo.CheckRoot(c.Root); err != nil {
		return nil, fmt.Errorf("%s: %w: take what \"mios repo root show\" prints", o.root, err)
	}
	if err := o.loadKeys(e, c); err != nil {
		return nil, err
	}
	return c, c.Check()
}

func (o *buildOptions) loadKeys(e env, c *image.Config) error {
	set, err := openKeys(e, o.keys)
	if err != nil {
		return err
	}
	c.Development = set.IsDevelopment()
	if c.AVBKey, err = set.Signer(c.Product.Keys.AVB); err != nil {
		return err
	}
	if c.OTAKey, err = set.PublicKey(c.Product.Keys.OTA); err != nil {
		return err
	}
	c.ADBKeys, err = o.adbKeys(set, c.Variant)
	return err
}

// adbKeys returns the adb_keys file: of the file that is named, else of the
// folder's key adb, if the build has adb. There may be none.
func (o *buildOptions) adbKeys(set *key.Set, variant string) ([]byte, error) {
	if o.adbKey == "" {
		if variant != image.Userdebug {
			return nil, nil
		}
		pub, err := set.Public(key.ADB)
		if err != nil || len(pub) == 0 {
			return nil, err
		}
		return image.ADBKeys(pub[0], "mios@"+key.ADB)
	}
	b, err := os.ReadFile(o.adbKey)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" {
		return b, nil // what it is instead, Config.Check says
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.adbKey, err)
	}
	return image.ADBKeys(pub, filepath.Base(o.adbKey))
}

// findProduct returns the definition's file for a file's or a product's name.
func findProduct(name string) (string, error) {
	for _, p := range []string{name, filepath.Join("products", name, "product.yaml")} {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("product %q: %w: neither a file nor products/%s/product.yaml", name, mios.ErrNotFound, name)
}

func buildTime(s string) (time.Time, error) {
	if s == "" {
		return time.Now().Truncate(time.Second), nil
	}
	sec, err := strconv.ParseInt(s, 10, 64)
	if err != nil || sec <= 0 {
		return time.Time{}, fmt.Errorf("%w: build time %q is not a number of seconds since 1970", errUsage, s)
	}
	return time.Unix(sec, 0), nil
}

// defaultCache is where fetched kernels are kept, unless a flag says otherwise.
func defaultCache() string { return filepath.Join("out", "cache", "debian") }
