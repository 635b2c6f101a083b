package migrate

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

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
	for _, e := range list {
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		if e.IsDir() {
			continue
		}
		name := e.Name()
		base, extension := ext(name)
		switch {
		case extension == "apk":
			pkg, f, err := r.apk(e)
			if err != nil {
				r.problem("repo/"+name, err.Error())
				continue
			}
			out[pkg] = append(out[pkg], f)
		case extension == "obb":
			r.expansion(name, base)
		case strings.HasSuffix(name, "_src.tar.gz") || generated[name] || extension == "html" || extension == "css" || strings.HasSuffix(name, ".asc"):
		default:
			if pkg, f, ok := r.other(e, base); ok {
				out[pkg] = append(out[pkg], f)
			}
		}
	}
	return out, nil
}

// generated are the files of repo/ that fdroidserver writes there.
var generated = map[string]bool{
	"index.xml": true, "index.jar": true, "index_unsigned.jar": true, "index-v1.json": true, "index-v1.jar": true,
	"index-v1_unsigned.jar": true, "index-v2.json": true, "entry.json": true, "entry.jar": true, "index.png": true,
	"categories.txt": true, "latestapps.dat": true, "status": true, "buildserver": true,
}

// apk reads a package.
func (r *reader) apk(e fs.DirEntry) (string, found, error) {
	name := "repo/" + e.Name()
	at, size, closeFile, err := r.open(name)
	if err != nil {
		return "", found{}, err
	}
	defer closeFile()
	d := digest(at, size)
	if d.err != nil {
		return "", found{}, d.err
	}
	a, err := report.Describe(r.ctx, at, size, report.Options{})
	if err != nil {
		return "", found{}, err
	}
	f := found{Version: fdroid.NewVersion(a, fdroid.File{Name: e.Name(), Digest: d.sum, Size: size}), label: a.Label}
	res, err := apksig.Verify(r.ctx, at, size, apksig.Options{})
	if err != nil {
		return "", found{}, err
	}
	if signers := res.Signers(); len(signers) == 0 {
		return "", found{}, fmt.Errorf("its signature does not verify: %w", mios.ErrDenied)
	} else if len(signers[0].Certificates) > 0 {
		f.Signers = f.Signers[:0]
		for _, s := range signers {
			f.Signers = append(f.Signers, s.Digest())
		}
		f.Sig = fdroid.Sig(signers[0].Certificates[0])
	}
	r.date(e, &f)
	r.out.Files[e.Name()] = Source{Path: name}
	f.icon = r.icon(a, name, at, size)
	if src := strings.TrimSuffix(e.Name(), ".apk") + "_src.tar.gz"; slices.Contains(r.names("repo"), src) {
		if f.Source, err = r.file(src, "repo/"+src); err != nil {
			return "", found{}, err
		}
	}
	return a.Package, f, nil
}

// date takes a file's for the date on which it was added.
func (r *reader) date(e fs.DirEntry, f *found) {
	if info, err := e.Info(); err == nil {
		f.Added = info.ModTime().Unix()
	}
}

type summed struct {
	sum mios.Digest
	err error
}

func digest(at io.ReaderAt, size int64) summed {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(at, 0, size))
	return summed{mios.Digest(h.Sum(nil)), err}
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

// icon returns the icon of a package, if it is a picture: clients of F-Droid do
// not draw Android's vectors.
func (r *reader) icon(a *report.App, name string, at io.ReaderAt, size int64) fdroid.File {
	f, err := apk.Open(at, size)
	if err != nil {
		return fdroid.File{}
	}
	b, err := f.Badging()
	if err != nil {
		return fdroid.File{}
	}
	entry := b.Icons[apk.DensityMedium]
	if entry == "" {
		entry = a.Icon
	}
	switch _, extension := ext(entry); extension {
	case "png", "jpg", "jpeg", "webp":
	default:
		return fdroid.File{}
	}
	data, err := f.ReadFile(entry, maxPicture)
	if err != nil {
		return fdroid.File{}
	}
	icon := fmt.Sprintf("icons/%s.%d.png", a.Package, a.VersionCode)
	return r.remember(icon, Source{name, entry}, data)
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
