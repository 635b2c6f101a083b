package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/atomicfile"
	"mios/internal/progress"
	"mios/publish/app/report"
)

var appSign = command{"app sign", "[flags] FILE", "sign a package, or sign it anew\n" +
	"Without --out the file is replaced, once the new one verifies. With several signers give\n" +
	"the --lineage that joins them; without one only v1 and v2 can have several.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var keys signerFlags
		keys.add(fs)
		var o apksig.SignOptions
		out := fs.String("out", "", "`file` to write (default: FILE)")
		schemes := fs.String("schemes", "", "`list` of v1, v2, v3 and v4, which writes FILE.idsig too\n"+
			strings.Repeat(" ", 26)+"(default: v2,v3, and v1 for packages for Android 6 or older)")
		lineage := fs.String("lineage", "", "`file` of the lineage that ends with the newest signer, or a package that has it")
		fs.IntVar(&o.MinSDK, "min-sdk", 0, "oldest platform that must take it, an SDK `version` (default: the package's)")
		fs.IntVar(&o.RotationMinSDK, "rotation-min-sdk", 0, "first SDK `version` that sees the lineage's newest signer (default: 33)")
		fs.BoolVar(&o.Verity, "verity", false, "digests for fs-verity too")
		fs.BoolVar(&o.PSS, "pss", false, "RSA keys sign with PSS")
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		in := fs.Arg(0)
		if *out == "-" {
			return fmt.Errorf("%w: --out -: give a file: a package gets its name once it verifies", errUsage)
		}
		if *out == "" {
			*out = in
		}
		v4, err := setSchemes(&o, *schemes)
		if err != nil {
			return err
		}
		if o.Lineage, err = openLineage(*lineage); err != nil {
			return err
		}
		f, size, err := openPackage(in)
		if err != nil {
			return err
		}
		defer f.Close()
		if o.Signers, err = keys.signers(e); err != nil {
			return err
		}
		if *schemes == "" {
			if o.V1, err = needsV1(f, size, o.MinSDK); err != nil {
				return fmt.Errorf("%s: %w", in, err)
			}
		}
		var s *report.Signature
		err = e.story(*asJSON).Step(ctx, "sign "+in, func(ctx context.Context, t *progress.Task) (err error) {
			if s, err = signFile(ctx, f, size, o, *out, v4, t); err != nil {
				return fmt.Errorf("%s: %w", in, err)
			}
			t.Done("%s: signed by scheme %s", *out, strings.Join(schemesOf(o, v4, s), ", "))
			return nil
		})
		if err != nil || !*asJSON {
			return err
		}
		return printJSON(e, struct {
			File   string   `json:"file"`
			Signed []string `json:"signed"`
			*report.Signature
		}{*out, schemesOf(o, v4, s), s})
	}}

// setSchemes sets the schemes in a list, or what is usual for none.
func setSchemes(o *apksig.SignOptions, list string) (v4 bool, err error) {
	if list == "" {
		o.V2, o.V3 = true, true
		return false, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(name) {
		case "v1":
			o.V1 = true
		case "v2":
			o.V2 = true
		case "v3":
			o.V3 = true
		case "v4":
			v4 = true
		default:
			return false, fmt.Errorf("%w: scheme %q: want v1, v2, v3 or v4 (v3.1 comes with a lineage)", errUsage, name)
		}
	}
	if v4 && !o.V2 && !o.V3 {
		return false, fmt.Errorf("%w: v4 signs what v2 or v3 signs: add one of them", errUsage)
	}
	return v4, nil
}

// schemesOf lists the schemes that are signed with; platforms do not look at
// all of them. A lineage adds v3.1 where some platforms see the old signer still.
func schemesOf(o apksig.SignOptions, v4 bool, made *report.Signature) []string {
	v31 := slices.Contains(made.Schemes, apksig.V31.String())
	var out []string
	for _, s := range []struct {
		name string
		on   bool
	}{{"v1", o.V1}, {"v2", o.V2}, {"v3", o.V3}, {"v3.1", v31}, {"v4", v4}} {
		if s.on {
			out = append(out, s.name)
		}
	}
	return out
}

// needsV1 reports whether the package is for platforms that know no scheme but
// JAR signatures.
func needsV1(f *os.File, size int64, minSDK int) (bool, error) {
	if minSDK > 0 {
		return minSDK < 24, nil
	}
	info, err := apk.Inspect(f, size)
	if err != nil {
		return false, err
	}
	return info.MinSDK < 24, nil
}

// signFile writes the package in f, signed, to the file out, which may be f's
// own, and its v4 signature beside it. Nothing is replaced by what Android
// would refuse.
func signFile(ctx context.Context, f *os.File, size int64, o apksig.SignOptions, out string, v4 bool, t *progress.Task) (*report.Signature, error) {
	signed, err := atomicfile.Create(out)
	if err != nil {
		return nil, err
	}
	defer signed.Close()
	vo := report.VerifyOptions{MinSDK: o.MinSDK}
	var idsig *atomicfile.Temp
	if v4 {
		if idsig, err = atomicfile.Create(out + ".idsig"); err != nil {
			return nil, err
		}
		defer idsig.Close()
		o.IDSig, vo.IDSig = idsig, idsig
	}
	w := &counter{w: signed, t: t, total: size}
	if err := apksig.Sign(ctx, f, size, o, w); err != nil {
		return nil, err
	}
	if v4 {
		if _, err := idsig.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	s, err := report.Verify(ctx, signed, w.n, vo)
	if err != nil {
		return nil, err
	}
	if !s.Verified {
		return nil, fmt.Errorf("what was signed does not verify: %s: %w", s.Errors[0], mios.ErrDenied)
	}
	return s, place(signed, idsig, out)
}

// place gives what was signed its names. An old v4 signature goes.
func place(signed, idsig *atomicfile.Temp, out string) error {
	if err := os.Remove(out + ".idsig"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := signed.Commit(0o644); err != nil || idsig == nil {
		return err
	}
	return idsig.Commit(0o644)
}

// counter shows how much of a file is written.
type counter struct {
	w        io.Writer
	t        *progress.Task
	n, total int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.t.Bytes(c.n, max(c.n, c.total))
	return n, err
}
