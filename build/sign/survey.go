package sign

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"

	"mios"
	"mios/build/fstree"
	"mios/format/avb"
	"mios/format/targetfiles"
)

// An fsImage is the file system of an image.
type fsImage = fstree.Image

// otaKeys are those whose certificates updates are verified with.
type otaKeys struct{ system, recovery []*Key }

// survey reads all of the target-files, and finds the vendor's keys for all that
// is signed in it.
func (s *signing) survey() error {
	if err := s.readMeta(); err != nil {
		return err
	}
	var images, files []*targetfiles.Entry
	for _, e := range s.src.Entries {
		switch {
		case s.isImage(e):
			images = append(images, e)
		case e.Mode.IsRegular() && inTree(e.Name) && s.kindOf(e.Name) != "":
			files = append(files, e)
		}
	}
	if err := parallel(s.ctx, images, s.surveyImage); err != nil {
		return err
	}
	err := parallel(s.ctx, files, func(e *targetfiles.Entry) error {
		r, err := s.open(e)
		if err != nil {
			return err
		}
		defer r.Close()
		f := &file{path: e.Name, entry: e, idsig: s.src.Has(e.Name + extIDSig)}
		if v := s.src.Entry(e.Name + extVerity); v != nil && v.Mode.IsRegular() {
			if f.verity, err = v.ReadAll(maxSmall); err != nil {
				return err
			}
		}
		return s.surveyFile(f, r, e.Size)
	})
	if err != nil {
		return err
	}
	for _, e := range images {
		m := s.images[e.Name]
		switch {
		case m.kind == "ext4" || m.kind == "erofs":
			err = s.surveyFiles(m)
		case m.kind == "boot" || m.kind == "vendor_boot":
			err = s.surveyRamdisks(m)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if err := s.surveyChains(); err != nil {
		return err
	}
	if err := s.findOTAKeys(); err != nil {
		return err
	}
	slices.SortFunc(s.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	slices.Sort(s.report.Kept)
	return errors.Join(s.checkUnknown(), s.checkNames())
}

// checkNames refuses options for what is not there, all at once: one that is
// mistyped would change nothing, and nobody would know.
func (s *signing) checkNames() error {
	signed := map[string]bool{}
	for _, m := range s.images {
		if m.meta == nil {
			continue
		}
		signed[m.partition] = true
		for _, d := range m.meta.Descriptors {
			if d, ok := d.(*avb.ChainPartitionDescriptor); ok {
				signed[d.PartitionName] = true
			}
		}
	}
	var unused []string
	check := func(what string, names iter.Seq[string], there func(string) bool) {
		for _, name := range slices.Sorted(names) {
			if !there(name) {
				unused = append(unused, what+" "+name)
			}
		}
	}
	check("package", maps.Keys(s.o.Packages), func(name string) bool { return s.seen[name] })
	check("APEX", maps.Keys(s.o.Payloads), func(name string) bool { return s.seen[name] })
	check("signed partition", maps.Keys(s.o.AVB), func(name string) bool { return signed[name] || name == "gki" })
	check("signed partition", maps.Keys(s.o.Rollback), func(name string) bool { return signed[name] })
	if len(unused) == 0 {
		return nil
	}
	return fmt.Errorf("there is no %s: %w: the options that name it would change nothing", strings.Join(unused, ", no "), mios.ErrNotFound)
}

// checkUnknown refuses packages of which nobody says whose they are, all at once.
func (s *signing) checkUnknown() error {
	if len(s.unknown) == 0 {
		return nil
	}
	slices.Sort(s.unknown)
	return fmt.Errorf("META names no key for %s: %w: name one for each with --package NAME=KEY, or none to leave it as it is: --package NAME=",
		strings.Join(s.unknown, ", "), mios.ErrNotFound)
}

// readMeta reads the files of META that say who signs what.
func (s *signing) readMeta() error {
	if s.src.Layout == targetfiles.Images {
		return nil
	}
	read := func(name string, parse func(b []byte) error) error {
		b, err := s.src.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return targetfiles.In(name, parse(b))
	}
	return errors.Join(
		read(targetfiles.MiscInfo, func(b []byte) (err error) {
			s.misc, err = targetfiles.ParseDict(b)
			return err
		}),
		read(targetfiles.ApkCertsName, func(b []byte) (err error) {
			s.apks, err = targetfiles.ParseApkCerts(b)
			return err
		}),
		read(targetfiles.ApexKeysName, func(b []byte) (err error) {
			s.apexs, err = targetfiles.ParseApexKeys(b)
			return err
		}))
}

// devKey is the certificate that a build uses where nothing else is said.
func (s *signing) devKey() string {
	if s.misc != nil {
		if v := s.misc.Get("default_system_dev_certificate"); v != "" {
			return v
		}
	}
	return "build/make/target/product/security/testkey"
}

// findOTAKeys finds the keys whose certificates go into otacerts.zip
// (releasetools, ReplaceOtaKeys).
func (s *signing) findOTAKeys() error {
	i := slices.IndexFunc(s.files, func(f *file) bool { return f.kind == kindCerts })
	if i < 0 && !s.ramdiskCerts {
		return nil
	}
	where := "otacerts.zip"
	if i >= 0 {
		where = s.files[i].path
	}
	names := s.o.OTACerts
	if len(names) == 0 {
		if k, err := s.ring.load("ota"); err != nil {
			return err
		} else if k != nil {
			names = []string{"ota"}
		}
	}
	var keys []*Key
	add := func(to []*Key, candidates []string, old string) ([]*Key, error) {
		k, err := s.ring.first(candidates, kindCerts, old, where)
		if k != nil && !slices.Contains(to, k) {
			to = append(to, k)
		}
		return to, err
	}
	var err error
	for _, n := range names {
		if keys, err = add(keys, []string{n}, "otacerts.zip"); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		for _, old := range s.namedOTAKeys() {
			if keys, err = add(keys, s.ring.certificateNames(old), old); err != nil {
				return err
			}
		}
	}
	s.ota.system, s.ota.recovery = slices.Clone(keys), slices.Clone(keys)
	if s.misc == nil {
		return nil
	}
	for _, old := range s.misc.Fields("extra_ota_keys") {
		if s.ota.system, err = add(s.ota.system, s.ring.certificateNames(old), old); err != nil {
			return err
		}
	}
	for _, old := range s.misc.Fields("extra_recovery_keys") {
		if s.ota.recovery, err = add(s.ota.recovery, s.ring.certificateNames(old), old); err != nil {
			return err
		}
	}
	return nil
}

// namedOTAKeys are those that META/otakeys.txt names, or else the build's own.
func (s *signing) namedOTAKeys() []string {
	var out []string
	if b, err := s.src.ReadFile(targetfiles.OTAKeys); err == nil {
		list, err := targetfiles.ParseList(b)
		if err == nil {
			for _, n := range list {
				out = append(out, strings.TrimSuffix(n, extCertificate))
			}
		}
	}
	if len(out) == 0 {
		out = []string{s.devKey()}
	}
	return out
}
