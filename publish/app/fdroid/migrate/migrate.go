// Package migrate reads an F-Droid repository as fdroidserver keeps it, the
// folder with config.yml, metadata/ and repo/ in it, so that it can move here
// with all that people know of its apps.
//
// It reads what fdroidserver's update puts into the indexes, from the places
// that update reads, and publishes nothing.
package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"mios"
	"mios/publish/app/fdroid"
	"mios/publish/app/report"
)

// A Repository is what fdroidserver keeps.
type Repository struct {
	Name, Description string   // of config.yml; "" if it does not say
	Address           string   // repo_url
	Mirrors           []string // as config.yml has them: addresses without the folder's name

	Apps []*fdroid.App // in the order of their packages
	// Files tell where the files that the apps name are, by their names.
	Files map[string]Source
	// Problems say what was left out, and why; each names a file.
	Problems []string

	fs fs.FS
}

// A Source is where a file is.
type Source struct {
	Path  string // in the folder
	Entry string // of the ZIP file there; "": the file itself
}

// Options say how a repository is read. The zero value reads its packages here,
// which is for those that one trusts.
type Options struct {
	// Inspect tells what is in a package; nil: [report.Describe] does, and what the
	// packages say of name and icon is taken where there is nothing else. Several calls run at once. What is wrong with
	// the package wraps mios.ErrInvalid or mios.ErrDenied, any other error ends the
	// reading.
	Inspect func(ctx context.Context, p Package) (*report.App, error)
	// Progress hears how many packages are read; nil: nobody does.
	Progress func(done, total int)
}

// A Package is one file of repo/.
type Package struct {
	io.ReaderAt
	Name   string
	Size   int64 // bytes
	Digest mios.Digest
}

// reader is one reading of a folder.
type reader struct {
	ctx context.Context
	fs  fs.FS
	out *Repository
	obb []obb
	opt Options
}

// Read reads the repository in a folder. An error is of a folder that holds
// none; what is wrong with single apps stands in [Repository.Problems], and
// they are left out.
func Read(ctx context.Context, fsys fs.FS, o Options) (*Repository, error) {
	r := &reader{ctx: ctx, fs: fsys, out: &Repository{Files: map[string]Source{}, fs: fsys}, opt: o}
	if err := r.config(); err != nil {
		return nil, err
	}
	metas, err := r.metadatas()
	if err != nil {
		return nil, fmt.Errorf("migrate: %w: name the folder that holds fdroidserver's repo and metadata", err)
	}
	found, err := r.packages()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("migrate: %w: name the folder that holds fdroidserver's repo and metadata", err)
	}
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	for _, pkg := range slices.Sorted(maps.Keys(found)) {
		m := metas[pkg]
		switch {
		case m == nil:
			r.problem("metadata/"+pkg+".yml", "it is not there: the package is left out, as fdroidserver does")
			continue
		case m.Disabled != nil && m.Disabled != false && m.Disabled != "":
			r.problem("metadata/"+pkg+".yml", fmt.Sprintf("the app is disabled: %v", m.Disabled))
			continue
		}
		if a := r.app(pkg, m, found[pkg]); a != nil {
			r.out.Apps = append(r.out.Apps, a)
		}
	}
	return r.out, nil
}

func (r *reader) problem(file, what string) {
	r.out.Problems = append(r.out.Problems, file+": "+what)
}

// app puts an app together.
func (r *reader) app(pkg string, m *metadata, list []found) *fdroid.App {
	list = slices.DeleteFunc(list, func(f found) bool { return m.disabled(f.Code) })
	if len(list) == 0 {
		return nil
	}
	// fdroidserver's order, which is that of preference: by signer, then the
	// newest first.
	slices.SortStableFunc(list, func(a, b found) int {
		return cmp.Or(cmp.Compare(signer(a), signer(b)), cmp.Compare(b.Code, a.Code))
	})
	a := &fdroid.App{
		Package: pkg, License: m.License, Categories: m.Categories, AuthorName: m.AuthorName, AuthorEmail: m.AuthorEmail,
		AuthorSite: m.AuthorWebSite, AuthorPhone: m.AuthorPhone, WebSite: m.WebSite, SourceCode: m.SourceCode,
		IssueTracker: m.IssueTracker, Translation: m.Translation, Changelog: m.Changelog, Bitcoin: m.Bitcoin,
		Litecoin: m.Litecoin, Flattr: m.FlattrID, Liberapay: m.Liberapay, OpenCollective: m.OpenCollective,
		SuggestedName: m.CurrentVersion, SuggestedCode: m.CurrentVersionCode,
	}
	if a.License == "Unknown" {
		a.License = ""
	}
	if m.Donate != "" {
		a.Donate = []string{m.Donate}
	}
	texts := r.texts(pkg)
	texts.into(a)
	for _, t := range []struct {
		yml string
		to  *fdroid.Text
	}{{m.Name, &a.Name}, {m.Summary, &a.Summary}, {m.Description, &a.Description}} {
		if t.yml != "" { // it counts, and no other language
			*t.to = fdroid.Text{fdroid.DefaultLocale: t.yml}
		}
	}
	newest := slices.MaxFunc(list, func(a, b found) int { return cmp.Compare(a.Code, b.Code) })
	if r.opt.Inspect == nil && m.Name == "" && a.Name[fdroid.DefaultLocale] == "" && newest.label != "" {
		if a.Name == nil {
			a.Name = fdroid.Text{}
		}
		a.Name[fdroid.DefaultLocale] = newest.label
	}
	if len(a.Name) == 0 && m.AutoName != "" {
		a.Name = fdroid.Text{fdroid.DefaultLocale: m.AutoName}
	}
	r.antiFeatures(a, m, list)
	r.graphics(a)
	if a.Icon == nil && newest.icon.Name != "" {
		a.Icon = fdroid.Images{fdroid.DefaultLocale: newest.icon}
	}
	r.versions(a, m, list, texts)
	return a
}

func signer(f found) string {
	if len(f.Signers) == 0 {
		return ""
	}
	return f.Signers[0].String()
}

// versions takes over the versions, with what belongs to each.
func (r *reader) versions(a *fdroid.App, m *metadata, list []found, texts localized) {
	for i, f := range list {
		v := f.Version
		if v.Name == "" {
			v.Name = m.versionName(v.Code)
		}
		v.WhatsNew = texts.whatsNew(v.Code, i == 0)
		r.expansions(a.Package, &v)
		if a.Added == 0 || v.Added < a.Added {
			a.Added = v.Added
		}
		a.Updated = max(a.Updated, v.Added)
		a.Versions = append(a.Versions, v)
	}
}

// maxText bounds a text file, in bytes.
const maxText = 1 << 20

// read returns a file of at most max bytes; none is no error.
func (r *reader) read(name string, max int64) ([]byte, error) {
	f, err := r.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", name, max, mios.ErrInvalid)
	}
	return b, err
}

// file describes a file of the repository's folder, and remembers where it is.
func (r *reader) file(name, from string) (fdroid.File, error) {
	b, err := r.read(from, maxFile)
	if err != nil {
		return fdroid.File{}, err
	}
	return r.remember(name, Source{Path: from}, b), nil
}

// maxFile bounds files that are no packages, in bytes.
const maxFile = 4 << 30

func (r *reader) remember(name string, from Source, b []byte) fdroid.File {
	r.out.Files[name] = from
	return fdroid.File{Name: name, Digest: mios.Sum(b), Size: int64(len(b))}
}

// names returns the names in a folder, sorted; none if there is no folder.
func (r *reader) names(dir string) []string {
	list, err := fs.ReadDir(r.fs, dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// ext returns a name's ending in lower case, without the dot, and the rest.
func ext(name string) (base, extension string) {
	e := path.Ext(name)
	return strings.TrimSuffix(name, e), strings.ToLower(strings.TrimPrefix(e, "."))
}
