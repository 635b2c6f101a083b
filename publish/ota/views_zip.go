package ota

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"mios"
	api "mios/api/repo"
	buildota "mios/build/ota"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/publish/repo"
	"mios/storage/tree"
)

// Zips says what packages must be like to be published, and how they are shown.
type Zips struct {
	// Certificates: one of them must have signed each package, whole. Updaters
	// refuse what is not signed, and so there must be one.
	Certificates []*x509.Certificate
	// Keys, if any, must have signed the payloads, one of them.
	Keys []*rsa.PublicKey
	// Settings changes how releases of the packages' product are shown; it may
	// be nil.
	Settings func(*ViewSettings)
}

// A Zip is a package that is published.
type Zip struct {
	File    string         `json:"file"` // in the tree
	Release *api.OSRelease `json:"release"`
	From    string         `json:"from,omitempty"` // the incremental that it is made from
}

// PublishZips publishes packages, OTA zips, of releases that are published, and
// writes the views. Their payloads must be those of the release or make the same
// partitions. Nothing is stored if one of the packages is refused; the views come
// last.
func PublishZips(ctx context.Context, r *repo.Repo, z Zips, names ...string) (zips []Zip, changed []View, err error) {
	if len(z.Certificates) == 0 {
		return nil, nil, fmt.Errorf("no certificate to verify packages with: %w: name the one that the devices trust", mios.ErrInvalid)
	}
	var all []*zipFile
	defer func() {
		for _, f := range all {
			f.Close()
		}
	}()
	for _, name := range names {
		f, err := z.open(ctx, name)
		if err != nil {
			return nil, nil, fmt.Errorf("package %s: %w", name, err)
		}
		all = append(all, f)
	}
	err = r.Beside(ctx, func(s *repo.Status) error {
		for _, f := range all {
			if err := f.match(ctx, r.Tree(), s.Releases); err != nil {
				return fmt.Errorf("package %s: %w", f.Path, err)
			}
		}
		settings, err := z.settings(ctx, r.Tree(), all)
		if err != nil {
			return err
		}
		for _, f := range all {
			if err := f.store(ctx, r.Tree()); err != nil {
				return fmt.Errorf("package %s: %w", f.Path, err)
			}
			zips = append(zips, Zip{File: path.Join(f.dir(), f.rec.File), Release: f.rel, From: f.rec.From})
		}
		for name, b := range settings {
			if _, err := point(ctx, r.Tree(), name, b); err != nil {
				return err
			}
		}
		changed, err = updateViews(ctx, r.Tree(), s.Releases)
		return err
	})
	return zips, changed, err
}

// settings returns the settings of the packages' views, as they are to be, by
// their files.
func (z *Zips) settings(ctx context.Context, t tree.Tree, all []*zipFile) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, f := range all {
		name := path.Join(f.dir(), settingsFile)
		var set ViewSettings
		names, err := t.List(ctx, f.dir())
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, name) {
			if err := readJSON(ctx, t, name, &set); err != nil {
				return nil, err
			}
		}
		if z.Settings != nil {
			z.Settings(&set)
		}
		if err := set.Check(); err != nil {
			return nil, err
		}
		if set.BaseURL != "" && cmp.Or(set.Version, f.rec.Android) == "" {
			return nil, fmt.Errorf("package %s: its fingerprint has no Android version: %w: name the version that LineageOS's updater compares", f.Path, mios.ErrInvalid)
		}
		b, err := json.MarshalIndent(set, "", "  ")
		if err != nil {
			return nil, err
		}
		files[name] = append(b, '\n')
	}
	return files, nil
}

// A zipFile is an open package that is right in itself.
type zipFile struct {
	*buildota.Update
	file *os.File
	rec  record
	sum  mios.Digest    // of its payload
	rel  *api.OSRelease // that it leads to
}

func (f *zipFile) Close() {
	f.Update.Close()
	f.file.Close()
}

func (f *zipFile) dir() string { return ViewsDir(f.rel.Product, f.rel.Arch) }

// open opens a package and verifies it whole.
func (z *Zips) open(ctx context.Context, name string) (f *zipFile, err error) {
	u, err := buildota.Open(name)
	if err != nil {
		return nil, err
	}
	f = &zipFile{Update: u}
	if f.file, err = os.Open(u.Path); err != nil {
		u.Close()
		return nil, err
	}
	if u.Package == nil {
		err = fmt.Errorf("it is a payload without a package: %w: make one with mios ota full --zip", mios.ErrInvalid)
	} else {
		err = z.verify(ctx, f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (z *Zips) verify(ctx context.Context, f *zipFile) error {
	if err := f.describe(); err != nil {
		return err
	}
	if err := f.Package.CheckPropertyFiles(); err != nil {
		return err
	}
	whole, err := f.Metadata.ReadFile(ctx, f.Payload, nil)
	if err != nil {
		return err
	}
	if want := f.Metadata.PayloadSize(); f.Size != want {
		return fmt.Errorf("payload of %d bytes, want %d: %w", f.Size, want, mios.ErrInvalid)
	}
	f.sum = whole.SHA256
	props := payload.Properties{FileHash: whole.SHA256, FileSize: f.Size, MetadataHash: f.Metadata.Hash(), MetadataSize: f.Metadata.SignedSize()}
	for line := range strings.Lines(props.String()) {
		if !slices.Contains(strings.Split(f.Package.Properties, "\n"), strings.TrimSuffix(line, "\n")) {
			return fmt.Errorf("%s does not say %s of its payload: %w: make the package again", otazip.PropertiesName, strings.TrimSpace(line), mios.ErrInvalid)
		}
	}
	if len(z.Keys) > 0 {
		if err := f.Metadata.Verify(z.Keys); err != nil {
			return fmt.Errorf("payload: %w: sign it with the ota key that the devices trust", err)
		}
	}
	if _, err := f.Package.Verify(ctx, z.Certificates); err != nil {
		return fmt.Errorf("%w: sign it with the key whose certificate the devices have in otacerts.zip", err)
	}
	return nil
}

// describe reads what the package says of itself, which must be what updaters
// ask of it.
func (f *zipFile) describe() error {
	p := f.Package
	value := func(key string) string { return p.Value(key) }
	if t := value("ota-type"); t != "AB" {
		return fmt.Errorf("ota-type is %q, want AB: %w: the updaters take packages for devices with slots alone", t, mios.ErrInvalid)
	}
	if value("serialno") != "" {
		return fmt.Errorf("it is for one device alone (serialno): %w", mios.ErrInvalid)
	}
	if value(otazip.StreamingPropertyFiles) == "" {
		return fmt.Errorf("no %s: %w: updaters find the payload by them", otazip.StreamingPropertyFiles, mios.ErrInvalid)
	}
	f.rec = record{Device: value("pre-device"), Incremental: value("post-build-incremental"), Android: android(value("post-build"))}
	var err error
	if f.rec.Timestamp, err = strconv.ParseInt(value("post-timestamp"), 10, 64); err != nil || f.rec.Timestamp <= 0 {
		return fmt.Errorf("post-timestamp is %q: %w", value("post-timestamp"), mios.ErrInvalid)
	}
	if got := f.Metadata.Manifest.MaxTimestamp; got != f.rec.Timestamp {
		return fmt.Errorf("it says that it brings the build of %d, and its payload brings that of %d: %w", f.rec.Timestamp, got, mios.ErrInvalid)
	}
	names := map[string]string{"pre-device": f.rec.Device, "post-build-incremental": f.rec.Incremental}
	delta := slices.ContainsFunc(f.Metadata.Manifest.Partitions, func(p payload.Partition) bool { return p.OldInfo != nil })
	if from := value("pre-build-incremental"); delta {
		f.rec.From, names["pre-build-incremental"] = from, from
	} else if from != "" {
		return fmt.Errorf("it is from build %s, and its payload is a full one: %w", from, mios.ErrInvalid)
	}
	for _, key := range []string{"pre-device", "post-build-incremental", "pre-build-incremental"} {
		if v, ok := names[key]; ok && api.CheckVersion(v) != nil {
			return fmt.Errorf("%s is %q: %w: the file's name has it, of letters, digits and . _ + -; one device alone", key, v, mios.ErrInvalid)
		}
	}
	if f.rec.File = fmt.Sprintf("%s-ota_update-%s", f.rec.Device, f.rec.Incremental); delta {
		f.rec.File = fmt.Sprintf("%s-incremental-%s-%s", f.rec.Device, f.rec.From, f.rec.Incremental)
	}
	f.rec.File += zipExt
	return f.agrees()
}

// agrees compares the metadata that old updaters read with what new ones do.
func (f *zipFile) agrees() error {
	m := f.Package.Metadata
	if m == nil {
		return nil
	}
	other := otazip.Package{Text: m.Text()}
	for _, key := range []string{"ota-type", "pre-device", "pre-build", "pre-build-incremental", "post-build", "post-build-incremental", "post-timestamp"} {
		if a, b := f.Package.Value(key), other.Value(key); a != b {
			return fmt.Errorf("%s is %q in metadata, and %q in metadata.pb: %w", key, a, b, mios.ErrInvalid)
		}
	}
	return nil
}

// android returns the Android version of a fingerprint,
// BRAND/PRODUCT/DEVICE:VERSION/ID/INCREMENTAL:TYPE/TAGS, or "".
func android(fingerprint string) string {
	_, rest, _ := strings.Cut(fingerprint, ":")
	version, _, ok := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return version
}

// match finds the release that the package leads to.
func (f *zipFile) match(ctx context.Context, t tree.Tree, rels []api.OSRelease) error {
	var why error
	for i := range rels {
		rel := &rels[i]
		if rel.BuildTime != f.rec.Timestamp {
			continue
		}
		if err := f.leadsTo(ctx, t, rel); err != nil {
			why = fmt.Errorf("release %s of %s for %s: %w", rel.Version, rel.Product, rel.Arch, err)
			continue
		}
		f.rel, f.rec.Release = rel, rel.Target.SHA256
		return nil
	}
	if why != nil {
		return why
	}
	return fmt.Errorf("no release of the build of %d: %w: publish it first, with mios publish os", f.rec.Timestamp, mios.ErrNotFound)
}

func (f *zipFile) leadsTo(ctx context.Context, t tree.Tree, rel *api.OSRelease) error {
	if f.sum == rel.Target.SHA256 || slices.ContainsFunc(rel.Deltas, func(d api.Delta) bool { return d.Target.SHA256 == f.sum }) {
		return nil
	}
	full, err := t.Open(ctx, rel.Target.File())
	if err != nil {
		return err
	}
	defer full.Close()
	m, err := payload.ReadMetadata(full)
	if err != nil {
		return err
	}
	return samePartitions(m.Manifest, f.Metadata.Manifest)
}

// store stores the package and then what is known of it, which makes it one that
// views show.
func (f *zipFile) store(ctx context.Context, t tree.Tree) error {
	fi, err := f.file.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	if err := t.Create(ctx, path.Join(f.dir(), f.rec.File), io.TeeReader(f.file, h)); err != nil {
		return err
	}
	f.rec.Size, f.rec.SHA256 = fi.Size(), mios.Digest(h.Sum(nil))
	b, err := json.MarshalIndent(f.rec, "", "  ")
	if err != nil {
		return err
	}
	return t.Create(ctx, path.Join(f.dir(), recordFolder, f.rec.File+viewExt), bytes.NewReader(append(b, '\n')))
}
