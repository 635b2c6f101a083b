package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"mios/build/sign"
	"mios/format/targetfiles"
	"mios/internal/lazyregexp"
	"mios/internal/progress"
	"mios/key"
)

var signCommands = []command{signTargetFiles, signKeys}

var signTargetFiles = command{"sign target-files", "[flags] TARGET-FILES OUT", "give a build of AOSP the vendor's keys\n" +
	"TARGET-FILES is what the build has made, a zip or the folder of it, or a folder of images.\n" +
	"OUT is a zip if its name ends in .zip, else a new folder. Nothing is written to it before\n" +
	"all of it was verified, and no test key is in it.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o signOptions
		o.add(fs)
		if err := parse(fs, args, 1, 2); err != nil {
			return err
		}
		if fs.NArg() == 1 && !o.dryRun {
			return fmt.Errorf("%w: OUT is missing: a name that ends in .zip, or of a folder", errUsage)
		}
		if err := o.load(e, fs.Arg(0)); err != nil {
			return err
		}
		if o.dryRun {
			return o.plan(ctx, e, fs.Arg(0))
		}
		return o.sign(ctx, e, fs.Arg(0), fs.Arg(1))
	}}

// signOptions are the flags.
type signOptions struct {
	sign.Options
	dir, defaults, tags string
	dryRun, json        bool
}

// add adds the flags.
func (o *signOptions) add(fs *flag.FlagSet) {
	o.Mapping, o.Packages, o.Payloads = map[string]string{}, map[string]string{}, map[string]string{}
	o.AVB, o.Rollback = map[string]string{}, map[string]uint64{}
	pairs := func(name, help string, to map[string]string) {
		fs.Func(name, help, func(v string) error {
			names, k, ok := strings.Cut(v, "=")
			if !ok || names == "" {
				return errors.New("want NAME=KEY")
			}
			for n := range strings.SplitSeq(names, ",") {
				to[n] = k
			}
			return nil
		})
	}
	fs.StringVar(&o.dir, "keys", "keys", "`folder` of keys, as mios sign keys makes them, or NAME.pk8 and NAME.x509.pem")
	pairs("key-mapping", "`OLD=KEY`: the key for what META calls OLD, by its path or its last part; again for more", o.Mapping)
	fs.StringVar(&o.defaults, "default-key-mappings", "", "`folder` with the keys for the build's own certificates, as releasetools' -d")
	pairs("package", "`NAME=KEY`: the key of an APK, or of an APEX's container, by file name; NAME= leaves it as it is", o.Packages)
	pairs("payload-key", "`NAME=KEY`: the key of an APEX's payload, by file name", o.Payloads)
	pairs("avb-key", "`PARTITION=KEY`: the key of a partition's vbmeta image; gki is that of boot signatures", o.AVB)
	fs.Func("rollback-index", "`PARTITION=INDEX`: a new rollback index; others stay", func(v string) error {
		name, n, ok := strings.Cut(v, "=")
		index, err := strconv.ParseUint(n, 0, 64)
		if !ok || err != nil {
			return errors.New("want PARTITION=NUMBER")
		}
		o.Rollback[name] = index
		return nil
	})
	fs.Func("ota-cert", "`key` whose certificate updates are verified with; again for more\n"+
		strings.Repeat(" ", 26)+"(default: ota, or what META/otakeys.txt names)", appendTo(&o.OTACerts))
	fs.StringVar(&o.tags, "tag-changes", strings.Join(sign.DefaultTags, ","), "`changes` of the build's tags")
	fs.Func("skip-prefix", "`beginning` of paths whose APKs stay as they are, such as VENDOR/app/; again for more", appendTo(&o.Skip))
	namesVar(fs, &o.RemoveAVBKeys, "remove-avb-public-keys", "`files` of avb/ in ramdisks that are taken out, with commas")
	fs.BoolVar(&o.AllowDebugPolicy, "allow-gsi-debug-sepolicy", false, "take a userdebug SELinux policy, which GSIs have")
	fs.BoolVar(&o.AllowTestKeys, "allow-test-keys", false, "take a result in which keys are left that are not yours; they are listed")
	fs.BoolVar(&o.dryRun, "dry-run", false, "only tell what would be done, and which keys are missing")
	fs.BoolVar(&o.json, "json", false, jsonHelp)
}

func appendTo(list *[]string) func(string) error {
	return func(v string) error {
		*list = append(*list, v)
		return nil
	}
}

// load sets what the flags stand for.
func (o *signOptions) load(e env, in string) error {
	o.Tags = strings.Split(o.tags, ",")
	if key.IsDevelopment(o.dir) {
		fmt.Fprintf(e.stderr, "mios: %s holds DEVELOPMENT KEYS: never ship a device that trusts them\n", o.dir)
	}
	o.Keys = sign.Folder{Path: o.dir, Pass: passphrase(e)}
	if o.defaults == "" {
		return nil
	}
	return o.mapDefaults(in)
}

// mapDefaults maps the certificates that builds have of their own to those of the
// same names in a folder (releasetools, BuildKeyMap). What --key-mapping says
// counts more.
func (o *signOptions) mapDefaults(in string) error {
	src, err := targetfiles.Open(in)
	if err != nil {
		return err
	}
	defer src.Close()
	dev := "build/make/target/product/security/testkey"
	if b, err := src.ReadFile(targetfiles.MiscInfo); err == nil {
		d, err := targetfiles.ParseDict(b)
		if err != nil {
			return targetfiles.In(targetfiles.MiscInfo, err)
		}
		if v := d.Get("default_system_dev_certificate"); v != "" {
			dev = v
		}
	}
	for old, name := range map[string]string{
		"testkey": "releasekey", "devkey": "releasekey", "media": "media", "shared": "shared", "platform": "platform",
		"networkstack": "networkstack", "sdk_sandbox": "sdk_sandbox", "bluetooth": "bluetooth", "nfc": "nfc",
	} {
		if from := path.Join(path.Dir(dev), old); o.Mapping[from] == "" && o.Mapping[old] == "" {
			o.Mapping[from] = o.defaults + "/" + name
		}
	}
	return nil
}

// plan tells what would be done.
func (o *signOptions) plan(ctx context.Context, e env, in string) error {
	dir, err := os.MkdirTemp("", "mios-sign-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var r *sign.Report
	err = o.step(ctx, progress.New(e.stderr), "read "+in, func(ctx context.Context, _ *progress.Task) (err error) {
		r, err = sign.Plan(ctx, in, dir, o.Options)
		return err
	})
	if err != nil {
		return err
	}
	if o.json {
		err = printJSON(e, r)
	} else {
		err = printSigned(e.stdout, r)
	}
	if err == nil && len(r.Missing) > 0 {
		err = &sign.MissingError{Dir: o.dir, Keys: r.Missing}
	}
	return err
}

// step tells a step, and how far it is.
func (o *signOptions) step(ctx context.Context, story *progress.Story, what string, fn func(ctx context.Context, t *progress.Task) error) error {
	return story.Step(ctx, what, func(ctx context.Context, t *progress.Task) error {
		o.Progress = func(what string, done, total int64) {
			t.Note("%s: %d %%", what, 100*done/max(total, 1))
		}
		return fn(ctx, t)
	})
}

func (o *signOptions) sign(ctx context.Context, e env, in, out string) error {
	var r *sign.Report
	err := o.step(ctx, e.story(o.json), "sign "+in, func(ctx context.Context, t *progress.Task) (err error) {
		if r, err = sign.TargetFiles(ctx, in, filepath.Clean(out), o.Options); err == nil {
			t.Done("signed %s: %d changes in %s", in, len(r.Changes), out)
		}
		return err
	})
	if r != nil {
		for _, l := range r.Left {
			fmt.Fprintf(e.stderr, "mios: %s: KEY THAT IS NOT YOURS: %s\n", l.Path, l.Key)
		}
	}
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(e, r)
	}
	return printSigned(e.stdout, r)
}

// printSigned prints a page of what was, or would be, signed by whom.
func printSigned(w io.Writer, r *sign.Report) error {
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, c := range r.Changes {
		fmt.Fprintf(tab, "%s\t%s\t%s\n", c.What, c.Path, arrow(c))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, k := range r.Kept {
		if _, err := fmt.Fprintf(w, "left as it is: %s\n", k); err != nil {
			return err
		}
	}
	return nil
}

// arrow is what a change was from, and to; of digests the beginnings, as JSON has
// all of them.
func arrow(c sign.Change) string {
	was, is := shortDigests.ReplaceAllString(c.Old, "$1"), shortDigests.ReplaceAllString(c.New, "$1")
	switch {
	case was == "" && is == "", len(was) <= 1 && len(is) <= 1: // of a file that is no text
		return ""
	case is == "" && slices.Contains([]string{"apk", "apex", "payload", "vbmeta"}, c.What):
		is = "a key that is missing"
	}
	return was + " → " + is
}

// shortDigests finds SHA-256s, whose beginnings tell them apart.
var shortDigests = lazyregexp.New(`\b([0-9a-f]{16})[0-9a-f]{48}\b`)

var signKeys = command{"sign keys", "[--dev] [--keys DIR] TARGET-FILES", "make the keys that a build of AOSP needs and that are missing",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var o signOptions
		o.add(fs)
		dev := fs.Bool("dev", false, "development keys: not encrypted, for a desk only")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		if o.dryRun {
			return fmt.Errorf("%w: sign target-files --dry-run lists the keys that are missing", errUsage)
		}
		if err := o.load(e, fs.Arg(0)); err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "mios-sign-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		r, err := sign.Plan(ctx, fs.Arg(0), dir, o.Options)
		if err != nil {
			return err
		}
		pass := ""
		if !*dev && len(r.Missing) > 0 {
			if pass, err = newPassphrase(e); err != nil {
				return err
			}
		}
		names := []string{}
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return err
		}
		err = sign.MakeKeys(o.dir, r.Missing, pass, *dev, func(name string) {
			names = append(names, name)
			if !o.json {
				fmt.Fprintf(e.stdout, "made %s\n", filepath.Join(o.dir, name))
			}
		})
		if err != nil || !o.json {
			return err
		}
		return printJSON(e, struct {
			Made []string `json:"made"`
		}{names})
	}}
