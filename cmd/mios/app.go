package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mios"
	"mios/build/app"
	"mios/format/apksig"
	"mios/internal/progress"
	"mios/key"
)

var appBuild = command{"app build", "[flags] DIR", "make a signed Android package of a Go program\n" +
	"The program and its AndroidManifest.xml are in DIR.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		keys := fs.String("keys", "keys", "`folder` of keys; its role app signs")
		keyFile := fs.String("key", "", "sign with the key in this `file` instead: NAME.pem, NAME.pem.age or NAME.helper")
		manifest := fs.String("manifest", "", "text manifest `file` (default: DIR/AndroidManifest.xml)")
		arches := fs.String("arch", "amd64,arm64", "`architectures` to build for, with commas between")
		code := fs.Int64("version-code", 0, "this `number` instead of the manifest's")
		name := fs.String("version-name", "", "this `name` instead of the manifest's")
		out := fs.String("out", "", "`file` to write (default: DIR's name.apk here)")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		o := app.Options{Dir: fs.Arg(0), Manifest: *manifest, VersionCode: *code, VersionName: *name}
		for a := range strings.SplitSeq(*arches, ",") {
			if mios.Arch(a).ABI() == "" {
				return fmt.Errorf("%w: architecture %q: want amd64 or arm64", errUsage, a)
			}
			o.Arches = append(o.Arches, mios.Arch(a))
		}
		var err error
		if o.Key, err = signer(e, *keys, *keyFile, key.App); err != nil {
			return err
		}
		if *out == "" {
			dir, err := filepath.Abs(o.Dir)
			if err != nil {
				return err
			}
			*out = filepath.Base(dir) + ".apk"
		}
		var p *apksig.Package
		err = e.story(*asJSON).Step(ctx, "package of "+o.Dir, func(ctx context.Context, t *progress.Task) (err error) {
			if p, err = app.Build(ctx, o, *out); err != nil {
				return err
			}
			fi, err := os.Stat(*out)
			if err != nil {
				return err
			}
			t.Done("%s (%.1f MiB): %s", *out, float64(fi.Size())/(1<<20), describe(p))
			return nil
		})
		if err != nil || !*asJSON {
			return err
		}
		return printJSON(e, struct {
			File        string        `json:"file"`
			Package     string        `json:"package"`
			VersionCode int64         `json:"version_code"`
			VersionName string        `json:"version_name,omitempty"`
			ABIs        []string      `json:"abis"`
			Signers     []mios.Digest `json:"signers"`
		}{*out, p.Manifest.Package, p.VersionCode, p.VersionName, p.ABIs, p.Signers})
	}}

// describe is a package in a line.
func describe(p *apksig.Package) string {
	s := fmt.Sprintf("%s version %d", p.Manifest.Package, p.VersionCode)
	if p.VersionName != "" {
		s += " (" + p.VersionName + ")"
	}
	if len(p.ABIs) > 0 {
		s += " for " + strings.Join(p.ABIs, ", ")
	}
	return fmt.Sprintf("%s, signed by %.16s", s, p.Signers[0])
}
