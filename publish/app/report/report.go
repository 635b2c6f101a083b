// Package report says what an app is and what differs between two versions of
// it, for whoever decides whether to publish or install it: a developer, a
// reviewer, a store's page.
//
// Its types are what mios app prints as JSON: docs/apks.md describes the
// fields, whose names do not change. It judges nothing but signatures.
package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"mios"
	"mios/format/apk"
)

// An App is what a package is.
type App struct {
	Package     string `json:"package"`
	VersionCode int64  `json:"version_code"`
	VersionName string `json:"version_name,omitempty"`
	Label       string `json:"label,omitempty"` // in the locale that was asked for
	Icon        string `json:"icon,omitempty"`  // path in the package
	Split       string `json:"split,omitempty"` // name, if the package is a split

	MinSDK     int `json:"min_sdk"`
	TargetSDK  int `json:"target_sdk"`
	MaxSDK     int `json:"max_sdk,omitempty"`
	CompileSDK int `json:"compile_sdk,omitempty"`

	Devices    []apk.DeviceClass `json:"devices"`
	ABIs       []string          `json:"abis"` // empty: the package runs anywhere
	Locales    []string          `json:"locales,omitempty"`
	Debuggable bool              `json:"debuggable"`
	TestOnly   bool              `json:"test_only"`

	Signature *Signature `json:"signature,omitempty"` // nil: not looked at

	Permissions []Permission `json:"permissions"`
	Declares    []Declared   `json:"declares"` // permissions of its own
	Components  []Component  `json:"components"`
	Features    []Feature    `json:"features"`
	Libraries   []Library    `json:"libraries"` // that it wants on the device

	Size      int64        `json:"size"` // of the file in bytes
	Parts     []Part       `json:"parts"`
	Native    []NativeFile `json:"native_files"`
	PageSize  PageSize     `json:"page_size_16k"`
	CodeFiles int          `json:"code_files"` // classes.dex, classes2.dex ...

	Splits []Split `json:"splits,omitempty"` // that were described with it
}

// A Declared is a permission that a package declares.
type Declared struct {
	Name       string `json:"name"`
	Protection string `json:"protection"` // "normal", "dangerous", "signature", "internal"
}

// A Component is something that the system or another package starts.
type Component struct {
	Kind       apk.Kind `json:"kind"`
	Name       string   `json:"name"` // of the class
	Exported   bool     `json:"exported"`
	Permission string   `json:"permission,omitempty"` // that others must have
	Actions    []string `json:"actions,omitempty"`    // of its intent filters, sorted
	Links      []string `json:"links,omitempty"`      // web links that it opens: https://example.org
}

// A Feature is one that a package uses.
type Feature struct {
	Name     string   `json:"name"`
	Required bool     `json:"required"`
	Implied  []string `json:"implied,omitempty"` // why, if the manifest does not say it
}

// A Library is one that a package uses.
type Library struct {
	Kind     apk.LibraryKind `json:"kind"`
	Name     string          `json:"name"`
	Required bool            `json:"required"`
}

// Options say what to describe, and for whom.
type Options struct {
	Locale     string // of the label, BCP 47; "": en-US
	SkipVerify bool   // leave the signature unjudged
}

// Describe reads the package in the first size bytes of r. It judges the
// signature as platforms from [TodaySDK] on do. What is wrong with it stands in
// the result; an error is of a file that is no package.
func Describe(ctx context.Context, r io.ReaderAt, size int64, o Options) (*App, error) {
	f, err := apk.Open(r, size)
	if err != nil {
		return nil, err
	}
	return describe(ctx, f, Package{ReaderAt: r, Size: size}, o)
}

// describe describes the opened package. Its signature is verified beside the
// rest, which takes about as long for a small package.
func describe(ctx context.Context, f *apk.File, p Package, o Options) (*App, error) {
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	var sig *Signature
	var sigErr error
	var wg sync.WaitGroup
	if !o.SkipVerify {
		wg.Go(func() { sig, sigErr = verifyToday(ctx, f, p, info.MinSDK) })
	}
	a, err := facts(f, info, p.Size, o)
	wg.Wait()
	if err = cmp.Or(err, sigErr); err != nil {
		return nil, err
	}
	a.Signature = sig
	return a, nil
}

// facts are what describe says of all but the signature.
func facts(f *apk.File, info *apk.Info, size int64, o Options) (*App, error) {
	m := &info.Manifest
	a := &App{
		Package: m.Package, VersionCode: m.VersionCode, VersionName: m.VersionName, Split: m.Split,
		MinSDK: m.MinSDK, TargetSDK: m.TargetSDK, MaxSDK: m.MaxSDK, CompileSDK: m.CompileSDK,
		Devices: m.DeviceClasses(), ABIs: append([]string{}, info.ABIs...), Debuggable: m.Debuggable, TestOnly: m.Application.TestOnly,
		Permissions: permissions(m), Declares: declared(m), Components: components(m), Features: features(m), Libraries: libraries(m),
		Size: size, Parts: parts(f, size),
	}
	if err := a.resolve(f, m, o.Locale); err != nil {
		return nil, err
	}
	var err error
	if a.Native, err = nativeFiles(f); err != nil {
		return nil, err
	}
	a.PageSize = pageSize(a.Native)
	a.CodeFiles = len(codeNames(f))
	return a, nil
}

// resolve fills what the manifest gives as references to resources.
func (a *App) resolve(f *apk.File, m *apk.Manifest, locale string) error {
	a.Label = m.Label
	table, err := f.Resources()
	if errors.Is(err, mios.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	config := apk.Device{Locales: []string{locale}, Density: apk.DensityXHigh}.Config()
	text := func(v apk.Value, or string) string {
		if v, _, err := table.Resolve(v, &config); err == nil && v.Type == apk.TypeString {
			return v.Str
		}
		return or
	}
	a.Label = text(m.Application.Label, a.Label)
	a.Icon = text(m.Application.Icon, "")
	if id, ok := reference(m.VersionName); ok {
		a.VersionName = text(id, m.VersionName)
	}
	for _, c := range table.Configs() {
		if l := c.Locale(); l != "" && !slices.Contains(a.Locales, l) {
			a.Locales = append(a.Locales, l)
		}
	}
	slices.Sort(a.Locales)
	return nil
}

// reference reads what a Manifest gives instead of a string: "@0x7f010001".
func reference(s string) (apk.Value, bool) {
	var id uint32
	if _, err := fmt.Sscanf(s, "@0x%08x", &id); err != nil || !strings.HasPrefix(s, "@0x") {
		return apk.Value{}, false
	}
	return apk.Value{Type: apk.TypeReference, Data: id}, true
}

func declared(m *apk.Manifest) []Declared {
	list := []Declared{}
	for _, p := range m.Declares {
		if !p.Tree && !p.IsGroup {
			list = append(list, Declared{p.Name, protection(p.Protection)})
		}
	}
	slices.SortFunc(list, func(a, b Declared) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// protections are the base protection levels, by their number (AOSP's
// PermissionInfo).
var protections = [...]string{"normal", "dangerous", "signature", "signature", "internal"}

func protection(level uint32) string {
	if base := level & 0xf; int(base) < len(protections) {
		return protections[base]
	}
	return "unknown"
}

func components(m *apk.Manifest) []Component {
	list := []Component{}
	for _, c := range m.Components {
		out := Component{Kind: c.Kind, Name: c.Name, Exported: c.Exported && c.Enabled, Permission: c.Permission}
		if out.Permission == "" && c.Kind == apk.KindProvider && c.Read != "" && c.Write != "" {
			out.Permission = c.Read
		}
		if out.Permission == "" {
			out.Permission = m.Application.Permission
		}
		for _, f := range c.Filters {
			out.Actions = append(out.Actions, f.Actions...)
			out.Links = append(out.Links, links(f)...)
		}
		slices.Sort(out.Actions)
		out.Actions = slices.Compact(out.Actions)
		slices.Sort(out.Links)
		out.Links = slices.Compact(out.Links)
		list = append(list, out)
	}
	slices.SortStableFunc(list, func(a, b Component) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return list
}

func (c *Component) key() string { return string(c.Kind) + " " + c.Name }

// links returns the web addresses that a filter opens; a scheme and a host may
// stand in data elements of their own.
func links(f apk.IntentFilter) []string {
	var schemes, hosts []string
	for _, d := range f.Data {
		if d.Scheme == "http" || d.Scheme == "https" {
			schemes = append(schemes, d.Scheme)
		}
		if d.Host != "" {
			hosts = append(hosts, d.Host)
		}
	}
	var out []string
	for _, s := range schemes {
		for _, h := range hosts {
			out = append(out, s+"://"+h)
		}
	}
	return out
}

func features(m *apk.Manifest) []Feature {
	list := []Feature{}
	add := func(f Feature) {
		if !slices.ContainsFunc(list, func(o Feature) bool { return o.Name == f.Name }) {
			list = append(list, f)
		}
	}
	for _, f := range m.Features {
		name := f.Name
		if name == "" && f.GLES != 0 {
			name = fmt.Sprintf("OpenGL ES %d.%d", f.GLES>>16, f.GLES&0xffff)
		}
		add(Feature{Name: name, Required: f.Required})
	}
	if m.Split == "" { // a split's permissions and SDK versions are those of its base
		for _, f := range m.ImpliedFeatures() {
			add(Feature{Name: f.Name, Required: true, Implied: f.Reasons})
		}
	}
	slices.SortFunc(list, func(a, b Feature) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func libraries(m *apk.Manifest) []Library {
	list := []Library{}
	for _, l := range m.Libraries {
		list = append(list, Library{l.Kind, l.Name, l.Required})
	}
	slices.SortFunc(list, func(a, b Library) int { return strings.Compare(a.Name, b.Name) })
	return list
}
