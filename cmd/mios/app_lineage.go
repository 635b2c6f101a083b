package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"mios"
	"mios/format/apksig"
	"mios/internal/atomicfile"
	"mios/publish/app/report"
)

// A lineage joins the certificates of an app's signers, so that devices take
// updates by the newest. It is public: it holds no key.

var lineageCreate = command{"app lineage create", "[flags] FILE", "begin a lineage: the old key names the new one\n" +
	"Capabilities are what packages of a certificate may still do once there is a newer one:\n" +
	"installed-data, shared-uid, permission, rollback, auth.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		older, newer := lineageSigner{name: "old"}, lineageSigner{name: "new"}
		older.add(fs)
		newer.add(fs)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		if _, err := os.Lstat(fs.Arg(0)); err == nil {
			return fmt.Errorf("%s: is there already: mios app lineage extend adds to it, or give another name: %w", fs.Arg(0), mios.ErrConflict)
		}
		o, err := older.load(e)
		if err != nil {
			return err
		}
		n, err := newer.load(e)
		if err != nil {
			return err
		}
		l, err := apksig.NewLineage(o, older.caps, n, newer.caps)
		if err != nil {
			return err
		}
		return writeLineage(e, l, fs.Arg(0))
	}}

var lineageExtend = command{"app lineage extend", "[flags] FILE", "add a key to a lineage, or change what its certificates may do\n" +
	"FILE is replaced, unless --out says otherwise. With --new the newest key so far, --old,\n" +
	"names the next one. Without, --old is a key of the lineage and gets --old-capabilities.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		older, newer := lineageSigner{name: "old"}, lineageSigner{name: "new"}
		older.add(fs)
		newer.add(fs)
		out := fs.String("out", "", "`file` to write (default: FILE)")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		l, err := openLineage(fs.Arg(0))
		if err != nil {
			return err
		}
		o, err := older.load(e)
		if err != nil {
			return err
		}
		if older.set {
			if l, err = l.SetCapabilities(o.Certificate, older.caps); err != nil {
				return err
			}
		}
		switch {
		case newer.key != "":
			n, err := newer.load(e)
			if err != nil {
				return err
			}
			if l, err = l.Extend(o, n, newer.caps); err != nil {
				return err
			}
		case !older.set:
			return fmt.Errorf("%w: nothing to do: give --new, or --old-capabilities", errUsage)
		}
		return writeLineage(e, l, cmp.Or(*out, fs.Arg(0)))
	}}

var lineageShow = command{"app lineage show", "[--json] FILE", "print a lineage, of its file or of a package",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		l, err := openLineage(fs.Arg(0))
		if err != nil {
			return err
		}
		list := report.Lineage(l)
		if *asJSON {
			return printJSON(e, list)
		}
		printLineage(newPage(e.stdout), list)
		return nil
	}}

// lineageSigner is the flags of one signer of a lineage.
type lineageSigner struct {
	name      string // "old", "new"
	key, cert string
	caps      apksig.Capabilities
	set       bool // capabilities were given
}

func (s *lineageSigner) add(fs *flag.FlagSet) {
	s.caps = apksig.DefaultCapabilities
	fs.StringVar(&s.key, s.name, "", "`file` of the "+s.name+" key: NAME.pem, NAME.pem.age, NAME.helper or NAME.pk8")
	fs.StringVar(&s.cert, s.name+"-cert", "", "`file` of its certificate (default: the one that mios app build makes of it)")
	fs.Func(s.name+"-capabilities", "`list` of what its packages may do, or none (default: all but rollback)", func(v string) error {
		s.caps, s.set = 0, true
		if v == "none" {
			return nil
		}
		for name := range strings.SplitSeq(v, ",") {
			c, ok := apksig.ParseCapability(strings.TrimSpace(name))
			if !ok {
				return errors.New("want some of installed-data,shared-uid,permission,rollback,auth, or none")
			}
			s.caps |= c
		}
		return nil
	})
}

func (s *lineageSigner) load(e env) (apksig.Signer, error) {
	if s.key == "" {
		return apksig.Signer{}, fmt.Errorf("%w: no --%s", errUsage, s.name)
	}
	k, err := loadKey(e, s.key)
	if err != nil {
		return apksig.Signer{}, err
	}
	return withCertificate(k, s.cert)
}

func writeLineage(e env, l *apksig.Lineage, path string) error {
	if err := atomicfile.WriteBytes(path, l.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s: a lineage of %d certificates\n", path, l.Len())
	return nil
}
