package main

import (
	"context"
	"crypto"
	"fmt"
	"path/filepath"
	"strings"

	"mios/build/ota"
	"mios/format/payload"
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
		asJSON := fs.Bool("json", false, jsonHelp)
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
		story := e.story(*asJSON)
		var p payload.Properties
		err = story.Step(ctx, fmt.Sprintf("payload of %s %s for %s", m.Product, m.Version, m.Arch), func(ctx context.Context, t *progress.Task) (err error) {
			f.Progress = t.Bytes
			if p, err = f.WriteDir(ctx, *out); err != nil {
				return err
			}
			t.Done("payload of %s %s for %s (%.1f MiB) in %s", m.Product, m.Version, m.Arch, float64(p.FileSize)/(1<<20), *out)
			return nil
		})
		if err != nil || !*asJSON {
			return err
		}
		props := map[string]string{}
		for line := range strings.Lines(p.String()) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			props[name] = value
		}
		return printJSON(e, struct {
			File       string            `json:"file"`
			Properties map[string]string `json:"properties"`
		}{filepath.Join(*out, ota.PayloadFile), props})
	}}
