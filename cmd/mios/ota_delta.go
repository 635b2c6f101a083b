package main

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"mios/build/image"
	"mios/build/ota"
	"mios/build/ota/delta"
	"mios/build/ota/input"
	"mios/format/payload"
	"mios/internal/atomicfile"
	"mios/internal/progress"
	"mios/key"
)

var otaDelta = command{"ota delta", "[flags] OLD NEW", "make an update payload from one build to another\n" +
	"Writes payload.bin and payload_properties.txt: what a device that runs OLD needs to get NEW, and\n" +
	"no other device takes. OLD and NEW are folders that mios build made, target-files zips or folders\n" +
	"of AOSP's, folders of images NAME.img, or, with --partition, one image each.\n" +
	"With --zip it writes the package for updaters of AOSP's, too.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o deltaOptions
		fs.StringVar(&o.keys, "keys", "keys", "`folder` of keys; its role ota signs")
		fs.StringVar(&o.key, "key", "", "sign with the key in this `file` instead: NAME.pem, NAME.pem.age or NAME.helper")
		fs.BoolVar(&o.unsigned, "unsigned", false, "leave the payload unsigned: no device takes it")
		fs.StringVar(&o.out, "out", "", "`folder` for the payload (default: NEW/ota/from-OLD of a build's folder, where mios publish os finds it, else ota)")
		minor := fs.Uint("minor-version", 0, "what payloads OLD's update_engine takes, a `number` from 2 to 9 (default: what OLD says, else 7)")
		namesVar(fs, &o.Partitions, "partition", "`names` of partitions, with commas: bring only these, a partial update; of two images, what they are of")
		dateVar(fs, &o.SecurityPatch, "security-patch", "Android security patch level, a `date`: YYYY-MM-DD (default: what NEW says)")
		countVar(fs, &o.Timestamp, "timestamp", "NEW's build time in `seconds` since 1970 (default: what NEW says)")
		fs.BoolVar(&o.Downgrade, "downgrade", false, "permit that NEW is older than OLD")
		fs.BoolVar(&o.noVerity, "no-verity", false, "send hash trees and error correction, which devices from minor version 6 on compute")
		fs.BoolVar(&o.noVerify, "no-verify", false, "do not apply the payload to OLD and compare with NEW")
		o.packageFlags.add(fs.StringVar, fs.BoolVar)
		fs.BoolVar(&o.json, "json", false, jsonHelp)
		if err := parse(fs, args, 2, 2); err != nil {
			return err
		}
		o.MinorVersion = uint32(min(*minor, 1<<31))
		if o.out == "" {
			o.out = deltaFolder(fs.Arg(0), fs.Arg(1))
		}
		return o.run(ctx, e, fs.Arg(0), fs.Arg(1))
	}}

// deltaMemory is what comparing may take at once, in bytes: with all else, of
// images of 2 GiB, that is less than 1 GiB.
const deltaMemory = 480 << 20

type deltaOptions struct {
	delta.Options
	packageFlags
	keys, key, out               string
	unsigned, noVerity, noVerify bool
	json                         bool
}

// deltaFolder is where a delta goes if nothing else is said: of a build that
// mios build made, to where publish os looks for it.
func deltaFolder(oldName, newName string) string {
	abs, err := filepath.Abs(oldName)
	if _, stat := os.Stat(filepath.Join(newName, image.BuildFile)); err != nil || stat != nil {
		return "ota"
	}
	return filepath.Join(newName, "ota", "from-"+filepath.Base(abs))
}

// run makes and writes the payload.
func (o *deltaOptions) run(ctx context.Context, e env, oldName, newName string) error {
	defer emptied(o.out)()
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	var k crypto.Signer
	var err error
	if !o.unsigned {
		if k, err = signer(e, o.keys, o.key, key.OTA); err != nil {
			return err
		}
		o.Signers = []crypto.Signer{k}
	}
	old, err := o.open(oldName)
	if err != nil {
		return err
	}
	defer old.Close()
	new, err := o.open(newName)
	if err != nil {
		return err
	}
	defer new.Close()
	d, err := delta.Between(old, new, o.Options)
	if err != nil {
		return err
	}
	name := filepath.Join(o.out, ota.PayloadFile)
	pack := &ota.Package{Payload: name, New: new, Old: old, Key: k, Downgrade: o.Downgrade && new.Timestamp < old.Timestamp}
	if err := o.ready(pack); err != nil {
		return err
	}
	if d.Header.MaxTimestamp == 0 && !d.Header.PartialUpdate {
		fmt.Fprintln(e.stderr, "mios: warning: the payload does not say when NEW was built, and devices that know their build's time refuse it: say it with --timestamp")
	}
	d.NoVerity, d.Memory = o.noVerity, deltaMemory
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(deltaMemory + deltaMemory/2) // what is freed is used again before that
	}
	var props payload.Properties
	var stats *delta.Stats
	err = e.story(o.json).Step(ctx, "delta of "+oldName+" and "+newName, func(ctx context.Context, t *progress.Task) (err error) {
		d.Progress = t.Bytes
		verifying := func(done, total int64) {
			t.Note("verifying")
			t.Bytes(done, total)
		}
		if props, stats, err = d.WriteFile(ctx, name, o.noVerify, verifying); err != nil {
			return err
		}
		t.Done("delta of %s and %s in %s: %s, minor version %d", oldName, newName, name, progress.Size(props.FileSize), d.Header.MinorVersion)
		return nil
	})
	if err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(filepath.Join(o.out, ota.PropertiesFile), []byte(props.String()), 0o644); err != nil {
		return err
	}
	if err := o.write(ctx, e, pack, o.json); err != nil {
		return err
	}
	if o.json {
		return o.printJSON(e, name, d, props, stats)
	}
	printStats(e, stats)
	return nil
}

// open opens a build, or, if partitions are named, an image.
func (o *deltaOptions) open(name string) (*input.Build, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if ext := filepath.Ext(name); len(o.Partitions) == 1 && !fi.IsDir() && ext != ".zip" {
		return input.OpenImage(name, o.Partitions[0])
	} else if !fi.IsDir() && ext != ".zip" {
		return nil, fmt.Errorf("%w: %s is neither a folder nor a zip: say with --partition what it is the image of", errUsage, name)
	}
	return input.Open(name, o.out)
}

// opTypes returns the types of operations that there are, in the order of their
// numbers.
func opTypes(s *delta.Stats) (out []payload.OpType) {
	for t := range s.Operations {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

func printStats(e env, s *delta.Stats) {
	for _, t := range opTypes(s) {
		op := s.Operations[t]
		fmt.Fprintf(e.stdout, "  %-16s %6d operations write %s", t, op.Count, progress.Size(op.Bytes))
		if op.Data > 0 {
			fmt.Fprintf(e.stdout, " with %s", progress.Size(op.Data))
		}
		fmt.Fprintln(e.stdout)
	}
	if s.Computed > 0 {
		fmt.Fprintf(e.stdout, "  %-16s %6s            are %s\n", "computed", "", progress.Size(s.Computed))
	}
	fmt.Fprintf(e.stdout, "  %-16s %6s            is %s\n", "manifest", "", progress.Size(s.Manifest))
}

func (o *deltaOptions) printJSON(e env, name string, d *delta.Delta, props payload.Properties, s *delta.Stats) error {
	type share struct {
		Type  string `json:"type"`
		Count int    `json:"count"`
		Bytes int64  `json:"bytes"`
		Data  int64  `json:"data"`
	}
	out := struct {
		File         string            `json:"file"`
		Package      string            `json:"package,omitempty"`
		MinorVersion uint32            `json:"minor_version"`
		Partial      bool              `json:"partial_update,omitempty"`
		Partitions   []string          `json:"partitions"`
		Properties   map[string]string `json:"properties"`
		Operations   []share           `json:"operations"`
		Computed     int64             `json:"computed"` // bytes
		Manifest     int64             `json:"manifest"` // bytes
	}{File: name, Package: o.zip, MinorVersion: d.Header.MinorVersion, Partial: d.Header.PartialUpdate, Computed: s.Computed, Manifest: s.Manifest,
		Properties: map[string]string{}}
	for _, p := range d.Partitions {
		out.Partitions = append(out.Partitions, p.Header.Name)
	}
	for line := range strings.Lines(props.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		out.Properties[key] = value
	}
	for _, t := range opTypes(s) {
		op := s.Operations[t]
		out.Operations = append(out.Operations, share{t.String(), op.Count, op.Bytes, op.Data})
	}
	return printJSON(e, out)
}
