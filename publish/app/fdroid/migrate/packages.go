package migrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/publish/app/fdroid"
	"mios/publish/app/report"
)

// found is a file of repo/ that is a version of an app.
type found struct {
	fdroid.Version
	label string
	icon  fdroid.File // no name: none that clients show
}

// An obb is an expansion file: [main|patch].CODE.PACKAGE.obb.
type obb struct {
	kind, pkg string
	code      int64
	file      fdroid.File
}

// packages reads repo/, by package.
func (r *reader) packages() (map[string][]found, error) {
	list, err := fs.ReadDir(r.fs, "repo")
	if err != nil {
		return nil, err
	}
	out := map[string][]found{}
	var apks []fs.DirEntry
	for _, e := range list {
		name := e.Name()
		base, extension := ext(name)
		switch {
		case e.IsDir():
		case extension == "apk":
			apks = append(apks, e)
		case extension == "obb":
			r.expansion(name, base)
		case strings.HasSuffix(name, "_src.tar.gz") || generated[name] || extension == "html" || extension == "css" || strings.HasSuffix(name, ".asc"):
		default:
			if pkg, f, ok := r.other(e, base); ok {
				out[pkg] = append(out[pkg], f)
			}
		}
	}
	described, err := r.describeAll(apks)
	if err != nil {
		return nil, err
	}
	for i, e := range apks {
		pkg, f, err := r.apk(e, described[i])
		if err != nil {
			r.problem("repo/"+e.Name(), err.Error())
			continue
		}
		out[pkg] = append(out[pkg], f)
	}
	return out, nil
}

// A description is what is in a package, or why it cannot be taken.
type description struct {
	app     *report.App
	sum     mios.Digest
	size    int64
	signers []mios.Digest // nil: those of app
	sig     string        // as [fdroid.Sig] gives it
	entry   string        // of the icon
	icon    []byte
	err     error
	here    bool // the error is not the package's fault
}

// describeAll looks into packages, some at once.
func (r *reader) describeAll(list []fs.DirEntry) ([]description, error) {
	out := make([]description, len(list))
	ctx, stop := context.WithCancelCause(r.ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	done := 0
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, e := range list {
		if ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if out[i] = r.describe(ctx, "repo/"+e.Name()); out[i].here {
				stop(fmt.Errorf("repo/%s: %w", e.Name(), out[i].err))
			}
			mu.Lock()
			defer mu.Unlock()
			if done++; r.opt.Progress != nil {
				r.opt.Progress(done, len(list))
			}
		})
	}
	wg.Wait()
	return out, context.Cause(ctx)
}

// describe looks into one package.
func (r *reader) describe(ctx context.Context, name string) (d description) {
	at, size, closeFile, err := r.open(name)
	if err != nil {
		return description{err: err}
	}
	defer closeFile()
	d.size = size
	if d.sum, d.err = digest(at, size); d.err != nil {
		return d
	}
	if r.opt.Inspect != nil {
		d.app, d.err = r.opt.Inspect(ctx, Package{ReaderAt: at, Name: path.Base(name), Size: size, Digest: d.sum})
		d.here = d.err != nil && !errors.Is(d.err, mios.ErrInvalid) && !errors.Is(d.err, mios.ErrDenied)
		return d
	}
	if d.app, d.err = report.Describe(ctx, at, size, report.Options{}); d.err != nil {
		return d
	}
	res, err := apksig.Verify(ctx, at, size, apksig.Options{})
	if err != nil {
		d.err = err
		return d
	}
	if signers := res.Signers(); len(signers) == 0 {
		d.err = fmt.Errorf("its signature does not verify: %w", mios.ErrDenied)
	} else if len(signers[0].Certificates) > 0 {
		for _, s := range signers {
			d.signers = append(d.signers, s.Digest())
		}
		d.sig = fdroid.Sig(signers[0].Certificates[0])
	}
	d.entry, d.icon = icon(d.app, at, size)
	return d
}

// generated are the files of repo/ that fdroidserver writes there.
var generated = map[string]bool{
	"index.xml": true, "index.jar": true, "index_unsigned.jar": true, "index-v1.json": true, "index-v1.jar": true,
	"index-v1_unsigned.jar": true, "index-v2.json": true, "entry.json": true, "entry.jar": true, "index.png": true,
	"categories.txt": true, "latestapps.dat": true, "status": true, "buildserver": true,
}

// apk is the version that a package is.
func (r *reader) apk(e fs.DirEntry, d description) (string, found, error) {
	if d.err != nil {
		return "", found{}, d.err
	}
	f := found{Version: fdroid.NewVersion(d.app, fdroid.File{Name: e.Name(), Digest: d.sum, Size: d.size}), label: d.app.Label}
	if f.Sig = d.sig; d.signers != nil {
		f.Signers = d.signers
	}
	r.date(e, &f)
	name := "repo/" + e.Name()
	r.out.Files[e.Name()] = Source{Path: name}
	if d.icon != nil {
		f.icon = r.remember(fmt.Sprintf("icons/%s.%d.png", d.app.Package, d.app.VersionCode), Source{name, d.entry}, d.icon)
	}
	if src := strings.TrimSuffix(e.Name(), ".apk") + "_src.tar.gz"; slices.Contains(r.names("repo"), src) {
		var err error
		if f.Source, err = r.file(src, "repo/"+src); err != nil {
			return "", found{}, err
		}
	}
	return d.app.Package, f, nil
}

// date takes a file's for the date on which it was added.
func (r *reader) date(e fs.DirEntry, f *found) {
	if info, err := e.Info(); err == nil {
		f.Added = info.ModTime().Unix()
	}
}

func digest(at io.ReaderAt, size int64) (mios.Digest, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(at, 0, size))
	return mios.Digest(h.Sum(nil)), err
}

// open opens a file for reading by places.
func (r *reader) open(name string) (io.ReaderAt, int64, func() error, error) {
	f, err := r.fs.Open(name)
	if err != nil {
		return nil, 0, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, nil, err
	}
	if at, ok := f.(io.ReaderAt); ok {
		return at, info.Size(), f.Close, nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return bytes.NewReader(b), int64(len(b)), func() error { return nil }, err
}

// icon returns the icon of a package and where in it that is, if it is a picture:
// clients of F-Droid do not draw Android's vectors.
func icon(a *report.App, at io.ReaderAt, size int64) (entry string, data []byte) {
	f, err := apk.Open(at, size)
	if err != nil {
		return "", nil
	}
	b, err := f.Badging()
	if err != nil {
		return "", nil
	}
	if entry = b.Icons[apk.DensityMedium]; entry == "" {
		entry = a.Icon
	}
	switch _, extension := ext(entry); extension {
	case "png", "jpg", "jpeg", "webp":
	default:
		return "", nil
	}
	if data, err = f.ReadFile(entry, maxPicture); err != nil {
		return "", nil
	}
	return entry, data
}

// other reads a file that is no package: PACKAGE_CODE.EXTENSION.
func (r *reader) other(e fs.DirEntry, base string) (string, found, bool) {
	i := strings.LastIndexByte(base, '_')
	if i < 0 {
		return "", found{}, false
	}
	code, err := strconv.ParseInt(base[i+1:], 10, 64)
	if err != nil {
		return "", found{}, false
	}
	file, err := r.file(e.Name(), path.Join("repo", e.Name()))
	if err != nil {
		r.problem("repo/"+e.Name(), err.Error())
		return "", found{}, false
	}
	f := found{label: base, Version: fdroid.Version{File: file, Code: code, Name: file.Digest.String()[:7]}}
	r.date(e, &f)
	return base[:i], f, true
}

func (r *reader) expansion(name, base string) {
	kind, rest, _ := strings.Cut(base, ".")
	number, pkg, _ := strings.Cut(rest, ".")
	code, err := strconv.ParseInt(number, 10, 64)
	if err != nil || kind != "main" && kind != "patch" {
		r.problem("repo/"+name, "want main.CODE.PACKAGE.obb or patch.CODE.PACKAGE.obb")
		return
	}
	f, err := r.file(name, "repo/"+name)
	if err != nil {
		r.problem("repo/"+name, err.Error())
		return
	}
	r.obb = append(r.obb, obb{kind, pkg, code, f})
}

// expansions gives a version the newest expansion files that are not newer than
// it.
func (r *reader) expansions(pkg string, v *fdroid.Version) {
	var main, patch int64 = -1, -1
	for _, o := range r.obb {
		switch {
		case o.pkg != pkg || o.code > v.Code:
		case o.kind == "main" && o.code > main:
			main, v.OBBMain = o.code, o.file
		case o.kind == "patch" && o.code > patch:
			patch, v.OBBPatch = o.code, o.file
		}
	}
}
