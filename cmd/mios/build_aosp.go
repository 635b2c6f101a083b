package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mios/api/repo"
	"mios/build/image/aosp"
	"mios/build/product"
	"mios/build/sign"
	"mios/internal/progress"
)

// runAOSP builds a product of base aosp.
func (o *buildOptions) runAOSP(ctx context.Context, e env, p *product.Product) error {
	story := e.story(o.json)
	cfg, err := o.configAOSP(e, p)
	if err != nil {
		return err
	}
	out := o.out
	if out == "" {
		out = filepath.Join("out", p.Name+"-aosp")
	}
	var r *aosp.Result
	err = story.Step(ctx, fmt.Sprintf("build %s from %s", p.Name, cfg.Input()), func(ctx context.Context, t *progress.Task) (err error) {
		cfg.Note = func(what string) { t.Note("%s", what) }
		if r, err = aosp.Build(ctx, *cfg, out); err != nil {
			return err
		}
		var size int64
		for _, p := range r.Partitions {
			size += p.Size
		}
		t.Done("built %s %s for %s (%s, %.1f MiB) in %s", r.Product, r.Version, r.Arch, r.Variant, float64(size)/(1<<20), out)
		return nil
	})
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(e, struct {
			Dir string `json:"dir"`
			*aosp.Result
		}{out, r})
	}
	for _, s := range r.Endpoints {
		story.Say("%s: %s %s of %s", s.Endpoint, s.How, s.Name, s.Where)
	}
	story.Say("flash it: ANDROID_PRODUCT_OUT=%s fastboot flashall", out)
	return nil
}

// configAOSP gathers what the images are built from.
func (o *buildOptions) configAOSP(e env, p *product.Product) (*aosp.Config, error) {
	for _, f := range []struct {
		name string
		set  bool
	}{{"arch", o.arch != ""}, {"variant", o.variantSet}, {"adb-key", o.adbKey != ""}} {
		if f.set {
			return nil, fmt.Errorf("%w: --%s is for products of base core: the build of AOSP decides it", errUsage, f.name)
		}
	}
	c := &aosp.Config{Product: p, TargetFiles: o.targetFiles, Version: o.version, NoSuper: o.noSuper, NoZip: o.noZip, AllowTestKeys: o.allowTestKeys}
	if o.time != "" {
		var err error
		if c.BuildTime, err = buildTime(o.time); err != nil {
			return nil, err
		}
	} else {
		c.BuildTime = time.Time{}
	}
	if o.root == "" {
		return nil, fmt.Errorf("%w: --root is missing: devices must know the repository's root.json; \"mios repo init\" makes one", errUsage)
	}
	var err error
	if c.Root, err = os.ReadFile(o.root); err != nil {
		return nil, err
	}
	if err := repo.CheckRoot(c.Root); err != nil {
		return nil, fmt.Errorf("%s: %w: take what \"mios repo root show\" prints", o.root, err)
	}
	if _, err := openKeys(e, o.keys); err != nil {
		return nil, err
	}
	c.Keys = sign.Folder{Path: o.keys, Pass: passphrase(e)}
	return c, c.Check()
}
