package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mios"
	"mios/build/ota"
	"mios/build/ota/input"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/internal/progress"
	"mios/key"
)

var otaFull = command{"ota full", "[flags] BUILD", "make a full update payload from a build\n" +
	"Writes payload.bin and payload_properties.txt. BUILD is the folder that mios build made, a\n" +
	"target-files zip or folder of AOSP's, or a folder of images NAME.img; or there are images\n" +
	"named with --image. With --zip it writes the package for updaters of AOSP's, too.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o fullOptions
		fs.StringVar(&o.keys, "keys", "keys", "`folder` of keys; its role ota signs")
		fs.StringVar(&o.key, "key", "", "sign with the key in this `file` instead: NAME.pem, NAME.pem.age or NAME.helper")
		fs.BoolVar(&o.unsigned, "unsigned", false, "leave the payload unsigned: no device takes it")
		fs.StringVar(&o.out, "out", "", "`folder` for the payload (default: BUILD/ota; of a zip ota)")
		dateVar(fs, &o.SecurityPatch, "security-patch", "Android security patch level, a `date`: YYYY-MM-DD (default: what BUILD says)")
		countVar(fs, &o.Timestamp, "timestamp", "the build's time in `seconds` since 1970 (default: what BUILD says)")
		namesVar(fs, &o.Partitions, "partitions", "`names`, with commas: bring only these, a partial update")
		chunk := fs.Int64("chunk-size", payload.ChunkSize>>20, "`MiB` of a partition that one operation writes, 1 to 64: more makes the payload smaller,\n"+
			strings.Repeat(" ", 26)+"and devices need as much more memory")
		fs.Func("image", "`NAME=FILE`: the image of a partition; may be there often", func(v string) error {
			if name, file, ok := strings.Cut(v, "="); !ok || name == "" || file == "" {
				return fmt.Errorf("want NAME=FILE")
			}
			o.images = append(o.images, v)
			return nil
		})
		o.packageFlags.add(fs.StringVar, fs.BoolVar)
		fs.BoolVar(&o.json, "json", false, jsonHelp)
		if err := parse(fs, args, 0, 1); err != nil {
			return err
		}
		if (fs.NArg() == 0) == (len(o.images) == 0) {
			return errUsage
		}
		if *chunk < 1 || *chunk > payload.MaxWindow>>20 {
			return fmt.Errorf("%w: --chunk-size %d: want 1 to %d", errUsage, *chunk, payload.MaxWindow>>20)
		}
		o.Chunk = *chunk << 20
		if o.build = fs.Arg(0); o.out == "" {
			o.out = "ota"
			if fi, err := os.Stat(o.build); o.build != "" && err == nil && fi.IsDir() {
				o.out = filepath.Join(o.build, "ota")
			}
		}
		return o.run(ctx, e)
	}}

type fullOptions struct {
	ota.Options
	packageFlags
	keys, key, out, build string
	images                []string // NAME=FILE
	unsigned, json        bool
}

// open opens the build or the images.
func (o *fullOptions) open() (*input.Build, func(), error) {
	if o.build != "" {
		tmp, err := os.MkdirTemp("", "mios-ota-")
		if err != nil {
			return nil, nil, err
		}
		b, err := input.Open(o.build, tmp)
		if err != nil {
			os.RemoveAll(tmp)
			return nil, nil, err
		}
		return b, func() { b.Close(); os.RemoveAll(tmp) }, nil
	}
	all, opened := new(input.Build), []*input.Build(nil)
	done := func() {
		for _, b := range opened {
			b.Close()
		}
	}
	for _, v := range o.images {
		name, file, _ := strings.Cut(v, "=")
		b, err := input.OpenImage(file, name)
		if err != nil {
			done()
			return nil, nil, err
		}
		opened = append(opened, b)
		all.Partitions = append(all.Partitions, b.Partitions...)
	}
	return all, done, nil
}

func (o *fullOptions) run(ctx context.Context, e env) error {
	defer emptied(o.out)()
	b, done, err := o.open()
	if err != nil {
		return err
	}
	defer done()
	full, err := ota.Of(b, o.Options)
	if err != nil {
		return err
	}
	var k crypto.Signer
	if !o.unsigned {
		if k, err = signer(e, o.keys, o.key, key.OTA); err != nil {
			return err
		}
		full.Signers = []crypto.Signer{k}
	}
	file := filepath.Join(o.out, ota.PayloadFile)
	pack := &ota.Package{Payload: file, New: b, Key: k}
	if err := o.ready(pack); err != nil {
		return err
	}
	story, what := e.story(o.json), "payload of "+strings.Join(append(o.images, o.build), " ")
	var p payload.Properties
	err = story.Step(ctx, what, func(ctx context.Context, t *progress.Task) (err error) {
		full.Progress = t.Bytes
		if p, err = ota.WriteFull(ctx, o.out, full); err != nil {
			return err
		}
		t.Done("%s (%s) in %s", what, progress.Size(p.FileSize), o.out)
		return nil
	})
	if err != nil {
		return err
	}
	if err := o.write(ctx, e, pack, o.json); err != nil || !o.json {
		return err
	}
	return printJSON(e, struct {
		File       string            `json:"file"`
		Package    string            `json:"package,omitempty"`
		Properties map[string]string `json:"properties"`
	}{file, o.zip, propertyMap(p.String())})
}

// propertyMap reads a payload_properties.txt.
func propertyMap(s string) map[string]string {
	props := map[string]string{}
	for line := range strings.Lines(s) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			props[name] = value
		}
	}
	return props
}

// packageFlags are the flags of commands that write a package.
type packageFlags struct {
	zip, device, certificate string
	wipe                     bool
}

func (p *packageFlags) add(text func(p *string, name, value, usage string), yes func(p *bool, name string, value bool, usage string)) {
	text(&p.zip, "zip", "", "write a package for AOSP's updaters into this `file`, too")
	text(&p.device, "device", "", "`name` of the device that the package is for (default: what the build says)")
	text(&p.certificate, "certificate", "", "`file` NAME.x509.pem with the key's certificate, for the package (default: one made of the key)")
	yes(&p.wipe, "wipe", false, "the package's update erases user data")
}

// ready completes pack, if a package is wanted, and refuses what none can be
// made of, before hours may have gone into its payload.
func (p *packageFlags) ready(pack *ota.Package) error {
	if p.zip == "" {
		return nil
	}
	pack.Device, pack.Wipe = p.device, p.wipe
	if p.certificate != "" {
		certs, err := otaCertificates(p.certificate)
		if err != nil {
			return err
		}
		pack.Certificate = certs[0]
	}
	if fi, err := os.Stat(filepath.Dir(p.zip)); err != nil {
		return err
	} else if !fi.IsDir() {
		return fmt.Errorf("%s: it is no folder", filepath.Dir(p.zip))
	}
	return pack.Ready()
}

// write writes the package, if one is wanted.
func (p *packageFlags) write(ctx context.Context, e env, pack *ota.Package, asJSON bool) error {
	if p.zip == "" {
		return nil
	}
	return e.story(asJSON).Step(ctx, "package "+p.zip, func(ctx context.Context, t *progress.Task) error {
		return pack.WriteFile(ctx, p.zip)
	})
}

func otaCertificates(name string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	certs, err := otazip.ParseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return certs, nil
}

// errNeedsOld says what to do with an update that is no full one.
func errNeedsOld(name string) error {
	return fmt.Errorf("%s: it is made from an older build, and needs its images: %w: name their folder with --source, or as OLD of mios ota apply", name, mios.ErrInvalid)
}
