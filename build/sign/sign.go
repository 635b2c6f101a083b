// Package sign gives a build of AOSP its vendor's keys: from the target-files
// zip (or folder) that a build makes and signs with test keys it makes one in
// which every signature is the vendor's. It does what AOSP's
// build/make/tools/releasetools/sign_target_files_apks.py and
// add_img_to_target_files.py do, without an AOSP tree: file systems are not
// built anew but changed where a file changed.
//
// It keeps no keys: those come from [Keys].
package sign

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mios"
	"mios/format/avb"
	"mios/format/targetfiles"
)

// ErrTestKeys is what a result is refused with that still has a key that it
// was to lose, or one that AOSP publishes.
var ErrTestKeys = errors.New("test keys are left")

// DefaultTags are the changes of a build's tags, as releasetools has them.
var DefaultTags = []string{"-test-keys", "-dev-keys", "+release-keys"}

// Presigned is the key of what keeps the signature that it has.
const Presigned = "PRESIGNED"

// Options say how target-files are signed.
type Options struct {
	Keys Keys // must be set

	// Mapping says which key takes the place of one that META names, by its path
	// there or by the last element of that, without .x509.pem: the name of a key
	// of Keys, or [Presigned]. What is not in it is looked for in Keys by the last
	// element; testkey and devkey as releasekey.
	Mapping map[string]string
	// Packages are the keys of APKs and of APEX containers, by file name, in place
	// of what META says; "" is [Presigned].
	Packages map[string]string
	// Payloads are the keys of APEX payloads, by file name.
	Payloads map[string]string
	// AVB are the keys of partitions' vbmeta images, by partition.
	AVB map[string]string
	// Rollback are new rollback indexes, by partition; others stay.
	Rollback map[string]uint64
	// Skip are beginnings of paths in target-files, as VENDOR/app/, whose APKs
	// stay as they are.
	Skip []string
	// Tags are what becomes of the build's tags: "-dev-keys", "+release-keys";
	// nil is [DefaultTags].
	Tags []string
	// OTACerts are the names of the keys whose certificates updates are verified
	// with; none: those of META/otakeys.txt, or else releasekey.
	OTACerts []string
	// RemoveAVBKeys are names of files in avb/ folders of ramdisks that go.
	RemoveAVBKeys []string
	// AllowTestKeys takes a result in which keys are left that are none of the
	// vendor's; the report names them.
	AllowTestKeys bool
	// AllowDebugPolicy takes a userdebug SELinux policy, as GSIs have it.
	AllowDebugPolicy bool

	// Progress is told what is done, and how many of all bytes are through. It may
	// be nil, and is called from several goroutines.
	Progress func(what string, done, total int64)
}

// A Key is a private key and the certificate that it is known by.
type Key struct {
	Name        string
	Signer      crypto.Signer
	Certificate []byte   // DER
	Chain       [][]byte // DER certificates that follow it
}

// Keys are where the vendor's keys are.
type Keys interface {
	// Key returns the key of that name. The error of one that is not there wraps
	// mios.ErrNotFound.
	Key(name string) (*Key, error)
	// Dir is where a key that is missing would have to be, for people.
	Dir() string
}

// A Change is one thing that has, or will have, another signer or content.
type Change struct {
	What string `json:"what"` // apk, apex, payload, otacerts, properties, permissions, vbmeta, image, boot, meta …
	Path string `json:"path"` // in target-files; what is in an APEX after "!/"
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	Key  string `json:"key,omitempty"` // name of the vendor's key
}

// A Missing is a key that is needed and not there.
type Missing struct {
	Name string   `json:"name"` // of the file in the folder of keys, without ending
	Old  string   `json:"old"`  // what META or the image calls the key that it replaces
	Use  string   `json:"use"`  // apk, apex, payload, avb, otacerts
	For  []string `json:"for"`  // whose key it is
}

// A Left is a key in the result that is not the vendor's.
type Left struct {
	Path string `json:"path"`
	Key  string `json:"key"`
}

// A Report says what was changed, or, of [Plan], what would be.
type Report struct {
	Changes []Change  `json:"changes"`
	Missing []Missing `json:"missing,omitempty"`
	Kept    []string  `json:"kept,omitempty"` // presigned packages, which keep their signature
	Left    []Left    `json:"left,omitempty"` // with Options.AllowTestKeys
	// Written and Copied are bytes of the result: made anew, and taken over as
	// they were.
	Written int64 `json:"written"`
	Copied  int64 `json:"copied"`
}

// TargetFiles signs the target-files at in, a zip or a folder, and writes the
// result to out: a zip if its name ends in .zip, else a folder that must not
// be there yet. Nothing has that name before all of it was verified. The same
// input and RSA keys give the same bytes.
//
// The error of a result in which a key is left that was to go wraps
// [ErrTestKeys]; that of missing keys is a [*MissingError]. With either there is
// a report.
func TargetFiles(ctx context.Context, in, out string, o Options) (*Report, error) {
	if err := placeable(in, out); err != nil {
		return nil, err
	}
	return run(ctx, in, out, o, func(s *signing) error {
		if list := s.ring.list(); len(list) > 0 {
			s.report.Missing = list
			return &MissingError{Dir: o.Keys.Dir(), Keys: list}
		}
		if err := s.make(); err != nil {
			return err
		}
		made, err := s.write(out)
		if err != nil {
			return err
		}
		durable := make(chan error, 1)
		go func() { durable <- syncTree(made) }()
		if err := errors.Join(s.verify(made), <-durable); err != nil {
			return err
		}
		return place(made, out)
	})
}

// Plan returns what [TargetFiles] would do, and which keys it would miss. What
// must be unpacked to be looked at is unpacked into the folder dir, from which it
// is removed again; nothing else is written.
func Plan(ctx context.Context, in, dir string, o Options) (*Report, error) {
	return run(ctx, in, filepath.Join(dir, "plan"), o, func(s *signing) error {
		s.plan()
		return nil
	})
}

// run opens the target-files, finds all keys, and does what is to be done.
func run(ctx context.Context, in, out string, o Options, do func(s *signing) error) (r *Report, err error) {
	src, err := targetfiles.Open(in)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	work, err := newWorkDir(out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, work.remove()) }()
	s, err := newSigning(ctx, src, work, &o)
	if err != nil {
		return nil, err
	}
	if err := s.survey(); err != nil {
		return nil, err
	}
	err = do(s)
	s.report.sort()
	return &s.report, err
}

// make makes all that changes: files, images, vbmeta images, super, META.
func (s *signing) make() error {
	step := s.counter("sign", int64(len(s.files)))
	err := parallel(s.ctx, s.files, func(f *file) error {
		defer step()
		return s.remake(f)
	})
	if err != nil {
		return err
	}
	images := slices.SortedFunc(maps.Values(s.images), func(a, b *image) int {
		return cmp.Or(cmp.Compare(b.size, a.size), strings.Compare(a.name, b.name)) // the largest first
	})
	if err := parallel(s.ctx, images, s.rebuild); err != nil {
		return err
	}
	for _, m := range s.vbmetas() {
		if err := s.remakeVBMeta(m); err != nil {
			return err
		}
	}
	if err := parallel(s.ctx, images, s.finish); err != nil {
		return err
	}
	if err := s.remakeSuper(); err != nil {
		return err
	}
	s.dropMaps()
	return s.remakeMeta()
}

// plan notes what would change.
func (s *signing) plan() {
	s.report.Missing = s.ring.list()
	for _, f := range s.files {
		switch {
		case f.pkg != nil:
			s.change(f.pkg.change())
		case f.apex != nil:
			for _, app := range f.apex.apps {
				s.change(app.change())
			}
			s.change(Change{What: f.kind, Path: f.path, Old: describe(path.Base(f.apex.name), f.apex.old), New: keyName(f.apex.container), Key: keyName(f.apex.container)})
			s.change(Change{What: "payload", Path: f.path, Old: describe("", f.apex.oldPayload), New: keyName(f.apex.payload), Key: keyName(f.apex.payload)})
		default:
			s.change(Change{What: f.kind, Path: f.path})
		}
	}
	for _, m := range s.images {
		if m.meta != nil && m.meta.Algorithm != avb.None {
			s.change(Change{What: "vbmeta", Path: m.name, Old: describe("", m.meta.PublicKey), New: keyName(m.key), Key: keyName(m.key)})
		}
	}
}

func (p *pkg) change() Change {
	return Change{What: kindAPK, Path: p.path, Old: describe(path.Base(p.name), p.old), New: keyName(p.key), Key: keyName(p.key)}
}

// keyName is a key's name; "" is a missing one's.
func keyName(k *Key) string {
	if k == nil {
		return ""
	}
	return k.Name
}

// sort gives the report one order.
func (r *Report) sort() {
	slices.SortFunc(r.Changes, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.What, b.What), strings.Compare(a.Old, b.Old))
	})
	slices.SortFunc(r.Missing, func(a, b Missing) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range r.Missing {
		slices.Sort(m.For)
	}
}

// A MissingError names the keys that are not there.
type MissingError struct {
	Dir  string
	Keys []Missing
}

// Error names them all, and says how they are made.
func (e *MissingError) Error() string {
	var b strings.Builder
	if len(e.Keys) == 1 {
		fmt.Fprintf(&b, "one key is not in %s:", e.Dir)
	} else {
		fmt.Fprintf(&b, "%d keys are not in %s:", len(e.Keys), e.Dir)
	}
	for _, k := range e.Keys {
		more := ""
		if n := len(k.For); n > 1 {
			more = fmt.Sprintf(" and %d more", n-1)
		}
		fmt.Fprintf(&b, "\n  %s (%s), in place of %s, for %s%s", k.Name, k.Use, k.Old, k.For[0], more)
	}
	fmt.Fprintf(&b, "\nmios sign keys --keys %s TARGET-FILES makes what is missing", e.Dir)
	return b.String()
}

// Unwrap returns mios.ErrNotFound.
func (e *MissingError) Unwrap() error { return mios.ErrNotFound }
