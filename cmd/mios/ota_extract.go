package main

import (
	"context"
	"crypto/rsa"
	"fmt"
	"os"
	"slices"

	"mios/build/ota"
	"mios/build/ota/input"
	"mios/format/payload"
	"mios/internal/progress"
)

var otaExtract = command{"ota extract", "[flags] UPDATE", "write the images of an update's partitions\n" +
	"UPDATE is a payload.bin, the folder of one, or an OTA zip. Each image becomes NAME.img once it is\n" +
	"whole and has the hash that the update gives. What was interrupted goes on where it ended.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o extractOptions
		fs.StringVar(&o.old, "source", "", "`folder`, target-files or build with what the update is made from; a full one needs none")
		fs.StringVar(&o.out, "out", ".", "`folder` for the images")
		namesVar(fs, &o.partitions, "partitions", "`names`, with commas: only these")
		fs.StringVar(&o.key, "key", "", "refuse an update that none of the keys in this `file` signed: PUBLIC KEY in PEM")
		countVar(fs, &o.workers, "workers", "`number` of cores to use (default: all)")
		fs.BoolVar(&o.json, "json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		return o.run(ctx, e, fs.Arg(0))
	}}

var otaApply = command{"ota apply", "[flags] UPDATE OLD", "make the images of a build from older ones and an update\n" +
	"OLD is a folder of images, a target-files or a build; it is only read. The new images are written\n" +
	"into the folder --out, as mios ota extract does.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o extractOptions
		fs.StringVar(&o.out, "out", "", "`folder` for the new images")
		fs.StringVar(&o.key, "key", "", "refuse an update that none of the keys in this `file` signed: PUBLIC KEY in PEM")
		countVar(fs, &o.workers, "workers", "`number` of cores to use (default: all)")
		fs.BoolVar(&o.json, "json", false, jsonHelp)
		if err := parse(fs, args, 2, 2); err != nil {
			return err
		}
		if o.out == "" {
			return fmt.Errorf("%w: --out: want a folder for the new images", errUsage)
		}
		o.old = fs.Arg(1)
		return o.run(ctx, e, fs.Arg(0))
	}}

type extractOptions struct {
	old, out, key string
	partitions    []string
	workers       int
	json          bool
}

func (o *extractOptions) run(ctx context.Context, e env, name string) error {
	defer emptied(o.out)()
	u, err := ota.Open(name)
	if err != nil {
		return err
	}
	defer u.Close()
	x := &ota.Extraction{Update: u, Dir: o.out, Partitions: o.partitions, Workers: o.workers}
	if o.key != "" {
		if x.Keys, err = readPayloadKeys(o.key); err != nil {
			return err
		}
	}
	if o.old != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
		if x.Old, err = input.Open(o.old, o.out); err != nil {
			return err
		}
		defer x.Old.Close()
	} else if madeFromOlder(u.Metadata.Manifest, o.partitions) {
		return errNeedsOld(name)
	}
	var wrote int64
	resumed := 0
	err = e.story(o.json).Step(ctx, "images of "+name, func(ctx context.Context, t *progress.Task) (err error) {
		x.Progress = func(done, total int64) {
			wrote = total
			t.Bytes(done, total)
		}
		if resumed, err = x.Run(ctx); err != nil {
			return err
		}
		again := ""
		if resumed > 0 {
			again = fmt.Sprintf(", %d operations of which an earlier run had done", resumed)
		}
		t.Done("images of %s in %s (%s%s)", name, o.out, progress.Size(wrote), again)
		return nil
	})
	if err != nil || !o.json {
		return err
	}
	type image struct {
		Name   string `json:"name"`
		Size   uint64 `json:"size"`
		SHA256 string `json:"sha256"`
	}
	out := struct {
		Folder  string  `json:"folder"`
		Resumed int     `json:"resumed_operations"`
		Images  []image `json:"images"`
	}{Folder: o.out, Resumed: resumed}
	for _, p := range u.Metadata.Manifest.Partitions {
		if o.partitions == nil || slices.Contains(o.partitions, p.Name) {
			out.Images = append(out.Images, image{p.Name, p.NewInfo.Size, fmt.Sprintf("%x", p.NewInfo.Hash)})
		}
	}
	return printJSON(e, out)
}

// madeFromOlder reports whether partitions of the payload need older ones.
func madeFromOlder(m *payload.Manifest, partitions []string) bool {
	for _, p := range m.Partitions {
		if partitions != nil && !slices.Contains(partitions, p.Name) {
			continue
		}
		for i := range p.Operations {
			if len(p.Operations[i].SrcExtents) > 0 {
				return true
			}
		}
	}
	return false
}

func readPayloadKeys(name string) ([]*rsa.PublicKey, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	keys, err := payload.ParseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}
