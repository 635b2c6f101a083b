package report

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"mios/format/apk"
	"mios/format/dex"
)

// A Diff is what differs between two versions of an app.
type Diff struct {
	Old Version `json:"old"`
	New Version `json:"new"`

	Update Update `json:"update"`

	Changes      []Change          `json:"changes"` // of single facts
	Permissions  Lists[Permission] `json:"permissions"`
	Components   Lists[Component]  `json:"exported_components"`
	Features     Lists[Feature]    `json:"features"`
	Signers      Lists[Signer]     `json:"signers"`
	Native       Lists[string]     `json:"native_files"` // "arm64-v8a/libmain.so"
	NativeChange []string          `json:"native_files_changed"`
	Parts        []PartChange      `json:"parts"`
	References   Lists[Reference]  `json:"references"` // to classes outside
}

// A Version is one side of a diff.
type Version struct {
	Package     string `json:"package"`
	VersionCode int64  `json:"version_code"`
	VersionName string `json:"version_name,omitempty"`
	Size        int64  `json:"size"`
}

// An Update says whether a device that has the old version takes the new one.
type Update struct {
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons"` // why not
}

// A Change is one fact that differs.
type Change struct {
	Name string `json:"name"` // as in App's JSON
	Old  string `json:"old"`
	New  string `json:"new"`
}

// Lists are what is only in the new version, and only in the old one.
type Lists[T any] struct {
	Added   []T `json:"added"`
	Removed []T `json:"removed"`
}

// Empty reports whether there is no difference.
func (l *Lists[T]) Empty() bool { return len(l.Added)+len(l.Removed) == 0 }

// A PartChange is what a part takes in both versions, in bytes.
type PartChange struct {
	Name string `json:"name"`
	Old  int64  `json:"old"`
	New  int64  `json:"new"`
}

// A Package is a file of Size bytes that a diff reads.
type Package struct {
	io.ReaderAt
	Name string // for errors
	Size int64
}

// Compare reads two versions of an app and says what differs.
func Compare(ctx context.Context, older, newer Package, o Options) (*Diff, error) {
	var apps [2]*App
	var code [2]*dex.Program
	for i, p := range []Package{older, newer} {
		f, err := apk.Open(p, p.Size)
		if err == nil {
			apps[i], err = describe(ctx, f, p, o)
		}
		if err == nil {
			code[i], err = Code(f)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	d := compare(apps[0], apps[1])
	was, is := References(code[0]), References(code[1])
	d.References = Lists[Reference]{missing(is, was), missing(was, is)}
	fillPlaces(code[1], d.References.Added)
	fillPlaces(code[0], d.References.Removed)
	return d, nil
}

// compare compares all but the code.
func compare(a, b *App) *Diff {
	d := &Diff{Old: version(a), New: version(b), Update: update(a, b), Changes: changes(a, b)}
	d.Permissions = lists(a.Permissions, b.Permissions, func(p Permission) string { return fmt.Sprint(p.Name, p.MinSDK, p.MaxSDK) })
	exported := func(list []Component) []Component {
		return slices.DeleteFunc(slices.Clone(list), func(c Component) bool { return !c.Exported })
	}
	d.Components = lists(exported(a.Components), exported(b.Components), func(c Component) string { return c.key() + " " + c.Permission })
	d.Features = lists(a.Features, b.Features, func(f Feature) string { return fmt.Sprint(f.Name, f.Required) })
	if a.Signature != nil && b.Signature != nil {
		d.Signers = lists(a.Signature.current(), b.Signature.current(), func(s Signer) string { return s.Digest })
	} else {
		d.Signers = Lists[Signer]{[]Signer{}, []Signer{}}
	}
	names := func(list []NativeFile) []string {
		out := []string{}
		for i := range list {
			out = append(out, list[i].path())
		}
		return out
	}
	d.Native = lists(names(a.Native), names(b.Native), func(s string) string { return s })
	d.NativeChange = []string{}
	for i := range b.Native {
		n := &b.Native[i]
		if slices.ContainsFunc(a.Native, func(o NativeFile) bool { return o.path() == n.path() && (o.CRC32 != n.CRC32 || o.Size != n.Size) }) {
			d.NativeChange = append(d.NativeChange, n.path())
		}
	}
	d.Parts = []PartChange{}
	for _, name := range Parts {
		if c := (PartChange{name, a.part(name), b.part(name)}); c.Old != 0 || c.New != 0 {
			d.Parts = append(d.Parts, c)
		}
	}
	return d
}

func version(a *App) Version { return Version{a.Package, a.VersionCode, a.VersionName, a.Size} }

// part returns what a part takes in the file, in bytes.
func (a *App) part(name string) int64 {
	for _, p := range a.Parts {
		if p.Name == name {
			return p.Size
		}
	}
	return 0
}

// current returns the signers that count on the newest platform.
func (s *Signature) current() []Signer {
	return slices.DeleteFunc(slices.Clone(s.Signers), func(o Signer) bool { return !o.Current })
}

func lists[T any](a, b []T, key func(T) string) Lists[T] {
	only := func(a, b []T) []T {
		has := make(map[string]bool)
		for _, v := range b {
			has[key(v)] = true
		}
		out := []T{}
		for _, v := range a {
			if !has[key(v)] {
				out = append(out, v)
			}
		}
		return out
	}
	return Lists[T]{only(b, a), only(a, b)}
}

// changes lists the single facts that differ.
func changes(a, b *App) []Change {
	list := []Change{}
	for _, c := range []struct {
		name     string
		old, new any
	}{
		{"package", a.Package, b.Package},
		{"version_code", a.VersionCode, b.VersionCode},
		{"version_name", a.VersionName, b.VersionName},
		{"label", a.Label, b.Label},
		{"min_sdk", a.MinSDK, b.MinSDK},
		{"target_sdk", a.TargetSDK, b.TargetSDK},
		{"max_sdk", a.MaxSDK, b.MaxSDK},
		{"compile_sdk", a.CompileSDK, b.CompileSDK},
		{"devices", a.Devices, b.Devices},
		{"abis", strings.Join(a.ABIs, ", "), strings.Join(b.ABIs, ", ")},
		{"debuggable", a.Debuggable, b.Debuggable},
		{"test_only", a.TestOnly, b.TestOnly},
		{"schemes", schemes(a), schemes(b)},
		{"page_size_16k", a.PageSize.OK, b.PageSize.OK},
		{"code_files", a.CodeFiles, b.CodeFiles},
	} {
		if was, is := fact(c.name, c.old), fact(c.name, c.new); was != is {
			list = append(list, Change{c.name, was, is})
		}
	}
	return list
}

// fact is a fact as a text; "" if the package does not state it, as an SDK
// version of 0.
func fact(name string, v any) string {
	if v == 0 && strings.HasSuffix(name, "_sdk") {
		return ""
	}
	return fmt.Sprint(v)
}

func schemes(a *App) string {
	if a.Signature == nil {
		return ""
	}
	return strings.Join(a.Signature.Schemes, ", ")
}

// update says whether a device takes b where it has a, as Android's package
// manager decides (AOSP frameworks/base, InstallPackageHelper).
func update(a, b *App) Update {
	u := Update{Reasons: []string{}}
	no := func(format string, args ...any) { u.Reasons = append(u.Reasons, fmt.Sprintf(format, args...)) }
	if a.Package != b.Package {
		no("another package: %s was %s", b.Package, a.Package)
	}
	if b.VersionCode < a.VersionCode {
		no("the version code went down from %d to %d", a.VersionCode, b.VersionCode)
	}
	switch {
	case a.Signature == nil || b.Signature == nil:
	case !b.Signature.Verified:
		no("the new version's signature does not verify")
	case !continues(a.Signature.current(), b.Signature.current()):
		no("other signers, and no lineage from the old to the new one")
	}
	u.OK = len(u.Reasons) == 0
	return u
}

// continues reports whether the new signers are the old ones, or one whose
// lineage has the old one with the right to the app's data.
func continues(was, is []Signer) bool {
	digests := func(list []Signer) []string {
		var out []string
		for _, s := range list {
			out = append(out, s.Digest)
		}
		slices.Sort(out)
		return out
	}
	if slices.Equal(digests(was), digests(is)) {
		return true
	}
	if len(was) != 1 || len(is) != 1 {
		return false
	}
	allowed := func(lineage []Ancestor, cert, capability string) bool {
		return slices.ContainsFunc(lineage, func(c Ancestor) bool { return c.Digest == cert && slices.Contains(c.Capabilities, capability) })
	}
	return allowed(is[0].Lineage, was[0].Digest, "installed-data") || allowed(was[0].Lineage, is[0].Digest, "rollback")
}
