package main

import (
	"context"
	"crypto"
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

var appBuild = command{"app build", "[flags] DIR", "make a signed Android package of the Go program in DIR",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e, command{name: "app build", args: "[flags] DIR", help: "make a signed Android package of the Go program and the AndroidManifest.xml in DIR"})
		keys := fs.String("keys", "keys", "folder of keys; its role app signs")
		keyFile := fs.String("key", "", "sign with this key instead: NAME.pem, NAME.pem.age or NAME.helper")
		manifest := fs.String("manifest", "", "text manifest (default: DIR/AndroidManifest.xml)")
		arches := fs.String("arch", "amd64,arm64", "architectures to build for")
		code := fs.Int64("version-code", 0, "instead of the manifest's")
		name := fs.String("version-name", "", "instead of the manifest's")
		out := fs.String("out", "", "file to write (default: DIR's name.apk here)")
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
		if o.Key, err = appSigner(*keys, *keyFile); err != nil {
			return err
		}
		if *out == "" {
			dir, err := filepath.Abs(o.Dir)
			if err != nil {
				return err
			}
			*out = filepath.Base(dir) + ".apk"
		}
		return progress.New(e.stdout).Step(ctx, "package of "+o.Dir, func(ctx context.Context, t *progress.Task) error {
			p, err := app.Build(ctx, o, *out)
			if err != nil {
				return err
			}
			fi, err := os.Stat(*out)
			if err != nil {
				return err
			}
			t.Done("%s (%.1f MiB): %s", *out, float64(fi.Size())/(1<<20), describe(p))
			return nil
		})
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

// appSigner returns the key in file, or else that of the role app in dir.
func appSigner(dir, file string) (crypto.Signer, error) {
	if file != "" {
		return key.Load(file, key.FromEnv)
	}
	set, err := key.Open(dir, key.FromEnv)
	if err != nil {
		return nil, err
	}
	return set.Signer(key.App)
}
