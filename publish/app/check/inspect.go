package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mios"
	"mios/build/app/icon"
	"mios/format/apk"
	"mios/publish/app/google"
	"mios/publish/app/report"
)

// MaxFiles is how many packages an upload may have.
const MaxFiles = 512

// opened is one package of an upload.
type opened struct {
	report.Package
	file *apk.File
	info *apk.Info
}

// Inspect reads a base package and its splits, in any order. What is wrong with
// them stands in the facts; an error that wraps mios.ErrInvalid is of a file
// that is no package, or of files without a base package.
func Inspect(ctx context.Context, files []report.Package) (*Facts, error) {
	if len(files) == 0 || len(files) > MaxFiles {
		return nil, fmt.Errorf("%d packages: want 1 to %d: %w", len(files), MaxFiles, mios.ErrInvalid)
	}
	list, err := openAll(ctx, files)
	if err != nil {
		return nil, err
	}
	base := list[0]
	f := &Facts{Signers: []mios.Digest{}, Lineage: []mios.Digest{}, Set: []string{}}
	if err := f.describe(ctx, list); err != nil {
		return nil, err
	}
	if err := f.signatures(ctx, list); err != nil {
		return nil, err
	}
	var all []*apk.File
	for _, o := range list {
		all = append(all, o.file)
	}
	if f.Google, err = google.Scan(ctx, all); ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		f.Code = err.Error()
	}
	return f, f.draw(ctx, base.file)
}

// openAll opens the packages and sorts them: the base first.
func openAll(ctx context.Context, files []report.Package) ([]opened, error) {
	var list []opened
	for _, p := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := apk.Open(p, p.Size)
		if err != nil {
			return nil, malformed(p.Name, err)
		}
		info, err := f.Info()
		if err != nil {
			return nil, malformed(p.Name, err)
		}
		list = append(list, opened{p, f, info})
	}
	slices.SortStableFunc(list, func(a, b opened) int { return strings.Compare(a.info.Split, b.info.Split) })
	switch {
	case list[0].info.Split != "":
		return nil, fmt.Errorf("%s: it is the split %q, and no base package is with it: %w: add the base package", list[0].Name, list[0].info.Split, mios.ErrInvalid)
	case len(list) > 1 && list[1].info.Split == "":
		return nil, fmt.Errorf("%s and %s are both base packages: %w: hand in one app at a time", list[0].Name, list[1].Name, mios.ErrInvalid)
	}
	return list, nil
}

// malformed says that a file is no package, if it is the file that is to blame:
// an error of reading it is passed on as it is.
func malformed(name string, err error) error {
	_, format := errors.AsType[*apk.FormatError](err)
	if format || errors.Is(err, mios.ErrNotFound) || errors.Is(err, mios.ErrInvalid) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %v: %w", name, strings.TrimSuffix(err.Error(), ": invalid"), mios.ErrInvalid)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// describe describes all packages, and the set that they are.
func (f *Facts) describe(ctx context.Context, list []opened) error {
	o := report.Options{SkipVerify: true}
	for i, p := range list {
		a, err := report.Describe(ctx, p, p.Size, o)
		if err != nil {
			return malformed(p.Name, err)
		}
		if i == 0 {
			f.App = a
		} else {
			f.Splits = append(f.Splits, a)
		}
		f.Size += p.Size
	}
	if len(list) == 1 {
		if m := &list[0].info.Manifest; m.SplitRequired || len(m.RequiredSplits) > 0 {
			f.Set = append(f.Set, "the app says that it does not run without splits, and there are none")
		}
		return nil
	}
	var packages []report.Package
	for _, p := range list {
		packages = append(packages, p.Package)
	}
	set, err := report.DescribeSet(ctx, packages, o, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		f.Set = append(f.Set, err.Error())
	} else {
		f.App.Splits = set.Splits
	}
	return nil
}

// signatures verifies all packages, and compares who signed them.
func (f *Facts) signatures(ctx context.Context, list []opened) error {
	for _, p := range list {
		sig, err := report.Verify(ctx, p, p.Size, report.VerifyOptions{MinSDK: max(p.info.MinSDK, report.TodaySDK)})
		if err != nil {
			return malformed(p.Name, err)
		}
		f.Files = append(f.Files, File{Name: p.Name, Split: p.info.Split, Size: p.Size, Signature: sig, ABIs: p.info.ABIs})
	}
	f.App.Signature = f.Files[0].Signature
	signers, lineage, err := who(f.App.Signature)
	if err != nil {
		return err
	}
	f.Signers, f.Lineage = signers, lineage
	for i, file := range f.Files[1:] {
		other, _, err := who(file.Signature)
		if err != nil {
			return err
		}
		same := slices.Equal(other, f.Signers)
		if !same {
			f.Set = append(f.Set, fmt.Sprintf("%s is not signed as the base package is", file.Name))
		}
		if i < len(f.App.Splits) {
			for j := range f.App.Splits {
				if s := &f.App.Splits[j]; s.Name == file.Split {
					s.SameSigner = same && file.Signature.Verified && f.App.Signature.Verified
				}
			}
		}
	}
	return f.oldPlatforms(ctx, list[0])
}

// oldPlatforms judges the signature as platforms up to Android 6.0 do, if the app
// is for some of them. What holds for old and for new ones apart has to hold for
// all together too, as AOSP's verifier has it: they may pick other signers of one
// signature.
func (f *Facts) oldPlatforms(ctx context.Context, base opened) error {
	if base.info.MinSDK >= report.TodaySDK {
		return nil
	}
	o := report.VerifyOptions{MinSDK: base.info.MinSDK, MaxSDK: report.TodaySDK - 1}
	old, err := report.Verify(ctx, base, base.Size, o)
	if err == nil && old.Verified {
		o.MaxSDK = 0
		var all *report.Signature
		if all, err = report.Verify(ctx, base, base.Size, o); err == nil && !all.Verified {
			old = all
		}
	}
	if err != nil {
		return malformed(base.Name, err)
	}
	f.OldPlatforms = old
	return nil
}

// who returns the certificates that sign on the newest platform, sorted, and
// those that came before, the oldest first.
func who(s *report.Signature) (signers, lineage []mios.Digest, err error) {
	signers, lineage = []mios.Digest{}, []mios.Digest{}
	for _, signer := range s.Signers {
		if !signer.Current || !s.Verified {
			continue
		}
		d, err := mios.ParseDigest(signer.Digest)
		if err != nil {
			return nil, nil, err
		}
		signers = append(signers, d)
		for _, a := range signer.Lineage {
			if a.Digest == signer.Digest {
				continue
			}
			if d, err = mios.ParseDigest(a.Digest); err != nil {
				return nil, nil, err
			}
			lineage = append(lineage, d)
		}
	}
	slices.SortFunc(signers, func(a, b mios.Digest) int { return slices.Compare(a[:], b[:]) })
	return signers, lineage, nil
}

// draw draws the app's icon. Without one there is none.
func (f *Facts) draw(ctx context.Context, file *apk.File) error {
	i, err := icon.Draw(ctx, file, icon.Options{Size: IconSize, PNG: true})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.Is(err, mios.ErrNotFound):
		f.IconMissing = []string{err.Error()}
	case err == nil:
		f.Icon, f.IconMissing = i.Data, i.Missing
	}
	return nil
}

// Components are those of all packages of the app, by kind and name.
func (f *Facts) Components() []report.Component {
	list := slices.Clone(f.App.Components)
	for _, s := range f.Splits {
		list = append(list, s.Components...)
	}
	slices.SortStableFunc(list, func(a, b report.Component) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return list
}

// Permissions are those of all packages of the app, by name.
func (f *Facts) Permissions() []report.Permission {
	list := slices.Clone(f.App.Permissions)
	for _, s := range f.Splits {
		list = append(list, s.Permissions...)
	}
	slices.SortStableFunc(list, func(a, b report.Permission) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b report.Permission) bool { return a.Name == b.Name })
}

// ABIs are those that the app has native code for, sorted; none: any.
func (f *Facts) ABIs() []string {
	list := slices.Clone(f.App.ABIs)
	for _, s := range f.Splits {
		list = append(list, s.ABIs...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Parts are what the bytes of all packages together are, the largest first.
func (f *Facts) Parts() []report.Part {
	var list []report.Part
	for _, a := range append([]*report.App{f.App}, f.Splits...) {
		for _, p := range a.Parts {
			i := slices.IndexFunc(list, func(o report.Part) bool { return o.Name == p.Name })
			if i < 0 {
				list = append(list, p)
				continue
			}
			list[i].Size, list[i].RawSize, list[i].Files = list[i].Size+p.Size, list[i].RawSize+p.RawSize, list[i].Files+p.Files
		}
	}
	slices.SortStableFunc(list, func(a, b report.Part) int { return cmp.Compare(b.Size, a.Size) })
	return list
}

// PageProblems are what keeps the app from devices whose memory has pages of
// 16 KiB, of all packages.
func (f *Facts) PageProblems() []string {
	list := slices.Clone(f.App.PageSize.Problems)
	for _, s := range f.Splits {
		for _, problem := range s.PageSize.Problems {
			list = append(list, s.Split+": "+problem)
		}
	}
	return list
}
