package inspect

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mios/format/targetfiles"
	"mios/internal/progress"
)

// targetFilesZip tells of a target-files zip.
func (s *scan) targetFilesZip(in *input, r *Report, _ *zip.Reader) error {
	src, err := targetfiles.OpenZip(in, in.size)
	if err != nil {
		return err
	}
	s.survey(&surveyor{s: s, src: src, r: r, depth: in.depth})
	return nil
}

// A surveyor goes through a target-files.
type surveyor struct {
	s     *scan
	src   *targetfiles.Source
	dir   string // of the folder; "" of a zip
	r     *Report
	depth int
}

func (s *scan) survey(v *surveyor) {
	v.build()
	v.keys()
	v.trust()
	v.partitions()
	v.contents()
}

// build says which build it is.
func (v *surveyor) build() {
	for _, name := range []string{"SYSTEM/build.prop", "SYSTEM/etc/build.prop"} {
		if b, err := v.src.ReadFile(name); err == nil {
			v.s.propFacts(b, v.r)
			break
		}
	}
	if b, ok := v.read(targetfiles.ABPartitions); ok {
		if list, err := targetfiles.ParseList(b); err != nil {
			v.r.fail(err, "")
		} else {
			v.r.fact("slots", "A/B: %s", strings.Join(list, ", "))
		}
	}
	if b, ok := v.read(targetfiles.UpdateEngineConfig); ok {
		if e, err := targetfiles.ParseUpdateEngineConfig(b); err != nil {
			v.r.fail(err, "")
		} else {
			v.r.fact("update engine", "payloads of version %d.%d", e.Major, e.Minor)
		}
	}
	v.r.Summary = ""
	for _, f := range v.r.Facts {
		if f.Name == "fingerprint" {
			v.r.Summary = f.Value
		}
	}
}

// read returns a file that need not be there.
func (v *surveyor) read(name string) ([]byte, bool) {
	b, err := v.src.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.r.fail(err, "")
	}
	return b, err == nil
}

// keys says with which keys it says that it is signed.
func (v *surveyor) keys() {
	if b, ok := v.read(targetfiles.MiscInfo); ok {
		d, err := targetfiles.ParseDict(b)
		if err == nil {
			err = v.s.miscFacts(d, v.r)
		}
		if err != nil {
			v.r.fail(err, "")
		}
	}
	for _, f := range []struct {
		name string
		read func(*scan, *input, *Report) error
	}{{targetfiles.ApkCertsName, (*scan).apkCerts}, {targetfiles.ApexKeysName, (*scan).apexKeys}} {
		b, ok := v.read(f.name)
		if !ok {
			continue
		}
		c := &Report{Name: f.name, Kind: "keys", Title: "keys of the build", Size: int64(len(b))}
		if err := f.read(v.s, part(f.name, bytesAt(b), int64(len(b)), v.depth), c); err != nil {
			c.fail(err, "")
		}
		v.r.part(c)
	}
}

// trust says whom the device that is built trusts.
func (v *surveyor) trust() {
	for _, e := range v.src.Entries {
		if !e.Mode.IsRegular() {
			continue
		}
		switch {
		case targetfiles.IsOTACerts(e.Name):
			v.certs(e)
		case targetfiles.IsMacPermissions(e.Name):
			b, err := e.ReadAll(maxText)
			c := &Report{Name: e.Name, Kind: "mac_permissions", Title: "SELinux domains by certificate", Size: e.Size}
			if err == nil {
				err = v.s.macPermissions(part(e.Name, bytesAt(b), int64(len(b)), v.depth), c)
			}
			if err != nil {
				c.fail(err, "")
			}
			v.r.part(c)
		case strings.HasSuffix(e.Name, ".avbpubkey"):
			if b, err := e.ReadAll(64 << 10); err == nil {
				v.s.trusted(v.r, e.Name, b)
			}
		}
	}
}

func (v *surveyor) certs(e *targetfiles.Entry) {
	b, err := e.ReadAll(maxText)
	if err == nil {
		var list []targetfiles.OTACert
		list, err = targetfiles.ParseOTACerts(b)
		for _, c := range list {
			dir, _, _ := strings.Cut(e.Name, "/")
			v.r.fact("updates by", "%s, as %s says", nameOf(c.Certificate), dir)
			if k, ok := testCertificate(c.Certificate); ok {
				v.r.testKey(e.Name+": takes updates signed with", k)
			}
		}
	}
	if err != nil {
		v.r.fail(fmt.Errorf("%s: %w", e.Name, err), "")
	}
}

// partitions looks into the images.
func (v *surveyor) partitions() {
	for _, e := range v.src.Entries {
		dir, name, _ := strings.Cut(e.Name, "/")
		if dir != "IMAGES" || !strings.HasSuffix(name, ".img") || !e.Mode.IsRegular() {
			continue
		}
		if v.s.ctx.Err() != nil {
			return
		}
		v.image(e)
	}
}

func (v *surveyor) image(e *targetfiles.Entry) {
	if v.dir != "" {
		c, err := v.s.file(filepath.Join(v.dir, filepath.FromSlash(e.Name)), 1)
		if err != nil {
			v.r.fail(err, "")
			return
		}
		c.Name = e.Name
		v.r.part(c)
		return
	}
	r, err := v.open(e)
	if errors.Is(err, errTooLarge) {
		v.r.part(&Report{Name: e.Name, Kind: unknown, Title: "image", Size: e.Size, Summary: "not looked into: it is compressed and large: --deep unpacks it"})
		return
	}
	if err != nil {
		v.r.fail(err, "")
		return
	}
	defer r.Close()
	v.s.look(part(e.Name, r, e.Size, v.depth), v.r)
}

type readAtCloser interface {
	io.ReaderAt
	io.Closer
}

// open opens an entry to be read anywhere: where it lies if it is stored.
func (v *surveyor) open(e *targetfiles.Entry) (readAtCloser, error) {
	r, err := e.ReaderAt()
	if errors.Is(err, targetfiles.ErrCompressed) {
		return v.unpack(e)
	}
	return r, err
}

// unpack returns a compressed entry unpacked: into memory, or with Options.Deep
// into a nameless file.
func (v *surveyor) unpack(e *targetfiles.Entry) (readAtCloser, error) {
	if e.Size <= maxUnpack {
		b, err := e.ReadAll(maxUnpack)
		return memory{bytesAt(b)}, err
	}
	if !v.s.o.Deep {
		return nil, errTooLarge
	}
	rc, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	f, err := os.CreateTemp("", "mios-inspect-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := io.Copy(f, rc); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	return f, nil
}

type memory struct{ io.ReaderAt }

func (memory) Close() error { return nil }

// contents counts what the partitions hold; with Options.Deep every app and
// APEX is looked into.
func (v *surveyor) contents() {
	type sum struct {
		files, apps, apexes int
		size                int64
	}
	sums := make(map[string]*sum)
	var order []string
	for _, e := range v.src.Entries {
		v.whole(e)
		dir, _, ok := strings.Cut(e.Name, "/")
		if !ok || dir == "IMAGES" || !e.Mode.IsRegular() {
			continue
		}
		t := sums[dir]
		if t == nil {
			t = &sum{}
			sums[dir] = t
			order = append(order, dir)
		}
		t.files, t.size = t.files+1, t.size+e.Size
		app := targetfiles.IsApp(e.Name, "gz")
		switch {
		case app:
			t.apps++
		case targetfiles.IsApex(e.Name):
			t.apexes++
		default:
			continue
		}
		if v.s.o.Deep {
			v.app(e)
		}
	}
	for _, dir := range order {
		t := sums[dir]
		text := count(t.files, "file") + ", " + progress.Size(t.size)
		if t.apps > 0 {
			text += ", " + count(t.apps, "app")
		}
		if t.apexes > 0 {
			text += fmt.Sprintf(", %d APEXes", t.apexes)
		}
		v.r.part(&Report{Name: dir + "/", Kind: "folder", Title: "folder", Size: t.size, Summary: text})
	}
	if !v.s.o.Deep {
		v.r.skipped("who signed the apps and APEXes, and the zip's checksums", why)
	}
}

// whole reads an entry, with Options.Deep: its checksum in the zip may differ.
func (v *surveyor) whole(e *targetfiles.Entry) {
	if !v.s.o.Deep || !e.Mode.IsRegular() || v.s.ctx.Err() != nil {
		return
	}
	r, err := e.Open()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	if err != nil {
		v.r.fail(fmt.Errorf("%s: %w", e.Name, err), "fetch or build the file again")
	}
}

// app looks into an app or APEX.
func (v *surveyor) app(e *targetfiles.Entry) {
	if v.s.ctx.Err() != nil {
		return
	}
	r, err := v.open(e)
	if err != nil {
		v.r.fail(err, "")
		return
	}
	defer r.Close()
	v.s.look(part(e.Name, r, e.Size, v.depth), v.r)
}
