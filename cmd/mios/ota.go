package main

import (
	"context"
	"crypto"
	"fmt"
	"path/filepath"

	"mios/build/ota"
	"mios/internal/progress"
	"mios/key"
)

var otaFull = command{"ota full", "[flags] BUILD", "make a full update payload from a build\n" +
	"Writes payload.bin and payload_properties.txt. BUILD is the folder that mios build made.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		keys := fs.String("keys", "keys", "`folder` of keys; its role ota signs")
		keyFile := fs.String("key", "", "sign with the key in this `file` instead: NAME.pem, NAME.pem.age or NAME.helper")
		out := fs.String("out", "", "`folder` for the payload (default: BUILD/ota)")
		patch := fs.String("security-patch", "", "Android security patch level, a `date`: YYYY-MM-DD")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		f, m, err := ota.FromBuild(fs.Arg(0))
		if err != nil {
			return err
		}
		k, err := signer(e, *keys, *keyFile, key.OTA)
		if err != nil {
			return err
		}
		f.Signers = []crypto.Signer{k}
		f.SecurityPatch = *patch
		if *out == "" {
			*out = filepath.Join(fs.Arg(0), "ota")
		}
		story := progress.New(e.stdout)
		return story.Step(ctx, fmt.Sprintf("payload of %s %s for %s", m.Product, m.Version, m.Arch), func(ctx context.Context, t *progress.Task) error {
			f.Progress = t.Bytes
			p, err := f.WriteDir(ctx, *out)
			if err != nil {
				return err
			}
			t.Done("payload of %s %s for %s (%.1f MiB) in %s", m.Product, m.Version, m.Arch, float64(p.FileSize)/(1<<20), *out)
			return nil
		})
	}}
