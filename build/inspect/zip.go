package inspect

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"mios/format/apk"
	"mios/internal/progress"
	"mios/internal/readat"
)

// A zipKind is one of the formats that are zips: told by the names in it.
type zipKind struct {
	kind, title string
	is          func(names map[string]bool, in *input) bool
	read        func(s *scan, in *input, r *Report, z *zip.Reader) error
}

// zipKinds are in the order in which they are tried.
func zipKinds() []zipKind {
	has := func(all ...string) func(map[string]bool, *input) bool {
		return func(names map[string]bool, _ *input) bool {
			return !slices.ContainsFunc(all, func(n string) bool { return !names[n] })
		}
	}
	return []zipKind{
		{"apex", "APEX", has("apex_manifest.pb", "apex_payload.img"), (*scan).apex},
		{"apex", "compressed APEX", has("apex_manifest.pb", "original_apex"), (*scan).apex},
		{"target_files", "target-files", has("META/misc_info.txt"), (*scan).targetFilesZip},
		{"ota", "update package", has("payload.bin", "META-INF/com/android/metadata"), (*scan).ota},
		{"ota", "update package for devices without slots", isBlockOTA, (*scan).signedZip},
		{"ota", "zip signed as a whole, as updates are", func(_ map[string]bool, in *input) bool { return isWholeFile(in) }, (*scan).signedZip},
		{"aab", "Android App Bundle", has("BundleConfig.pb"), (*scan).plainZip},
		{"apk", "Android package", has(apk.ManifestName), (*scan).apk},
		{"apks", "set of Android packages (bundletool)", has("toc.pb"), (*scan).packages},
		{"xapk", "set of Android packages (XAPK)", isSet, (*scan).packages},
		{"otacerts", "certificates of updates", isOTACerts, (*scan).otacerts},
		{"images", "images to be flashed", isImages, (*scan).images},
		{"jar", "signed JAR", isSigned, (*scan).signedZip},
		{"jar", "JAR", func(n map[string]bool, in *input) bool { return n["META-INF/MANIFEST.MF"] }, (*scan).plainZip},
		{"apk", "Android package", func(_ map[string]bool, in *input) bool { return strings.HasSuffix(in.name, ".apk") }, (*scan).apk},
		{"apex", "APEX", func(_ map[string]bool, in *input) bool {
			return strings.HasSuffix(in.name, ".apex") || strings.HasSuffix(in.name, ".capex")
		}, (*scan).apex},
		{"zip", "zip", func(map[string]bool, *input) bool { return true }, (*scan).plainZip},
	}
}

func isBlockOTA(names map[string]bool, _ *input) bool {
	return names["META-INF/com/google/android/update-binary"] || names["META-INF/com/google/android/updater-script"] ||
		names["META-INF/com/android/metadata"]
}

// isWholeFile says whether the zip ends with the marks of a signature over the
// whole file (AOSP bootable/recovery, install/verifier.cpp).
func isWholeFile(in *input) bool {
	tail := make([]byte, 6)
	return in.size > 28 && readat.Full(in, tail, in.size-6) == nil && tail[2] == 0xff && tail[3] == 0xff
}

func isSet(names map[string]bool, in *input) bool {
	for n := range names {
		if strings.HasSuffix(n, ".apk") && !strings.Contains(n, "/") {
			return names["manifest.json"] || names["base.apk"] || strings.HasSuffix(in.name, ".xapk") || strings.HasSuffix(in.name, ".apks")
		}
	}
	return false
}

func isOTACerts(names map[string]bool, _ *input) bool {
	for n := range names {
		if !strings.HasSuffix(n, ".pem") {
			return false
		}
	}
	return len(names) > 0
}

func isImages(names map[string]bool, _ *input) bool {
	if names["android-info.txt"] || names["fastboot-info.txt"] {
		return true
	}
	for n := range names {
		if !strings.HasSuffix(n, ".img") {
			return false
		}
	}
	return len(names) > 0
}

func isSigned(names map[string]bool, _ *input) bool {
	for n := range names {
		if dir, file := path.Split(n); dir == "META-INF/" && path.Ext(file) == ".SF" {
			return true
		}
	}
	return false
}

// zip says which of the zips it is.
func (s *scan) zip(in *input, r *Report) error {
	z, err := zip.NewReader(in, in.size)
	names := make(map[string]bool)
	if err == nil {
		for _, f := range z.File {
			if !strings.HasSuffix(f.Name, "/") {
				names[f.Name] = true
			}
		}
	}
	for _, k := range zipKinds() {
		if !k.is(names, in) {
			continue
		}
		r.Kind, r.Title = k.kind, k.title
		if err != nil {
			return err
		}
		return k.read(s, in, r, z)
	}
	return err
}

// count is a number and what is counted.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	switch end := what[len(what)-2:]; {
	case end[1] == 'y' && end[0] != 'e': // a key has keys
		what = strings.TrimSuffix(what, "y") + "ie"
	case end[1] == 's', end[1] == 'X':
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// plainZip tells of a zip what its folders hold.
func (s *scan) plainZip(in *input, r *Report, z *zip.Reader) error {
	s.zipContents(r, z)
	s.checksums(r, z)
	r.fact("entries", "%d", len(z.File))
	r.Summary = count(len(z.File), "entry")
	return nil
}

// checksums reads all entries, whose checksums that verifies.
func (s *scan) checksums(r *Report, z *zip.Reader) {
	var size int64
	for _, f := range z.File {
		size += int64(min(f.UncompressedSize64, 1<<40))
	}
	if !s.afford(size) {
		r.skipped("the checksums of the entries, "+progress.Size(size), why)
		return
	}
	bad := 0
	for _, f := range z.File {
		if s.ctx.Err() != nil {
			return
		}
		err := readEntry(f)
		if err == nil {
			continue
		}
		if bad++; bad <= 8 {
			r.fail(fmt.Errorf("%s: %w", f.Name, err), "it is damaged: fetch or make it anew")
		}
	}
	if bad == 0 && len(z.File) > 0 {
		r.done("checksums of %s", count(len(z.File), "entry"))
	}
}

func readEntry(f *zip.File) error {
	rc, err := f.Open()
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = io.Copy(io.Discard, rc)
	return err
}

// zipContents lists the folders, or the files if they are few.
func (s *scan) zipContents(r *Report, z *zip.Reader) {
	if len(z.File) <= 24 {
		for _, f := range z.File {
			if !strings.HasSuffix(f.Name, "/") {
				r.part(&Report{Name: f.Name, Kind: "file", Title: "file", Size: int64(min(f.UncompressedSize64, 1<<62))})
			}
		}
		return
	}
	type sum struct {
		files int
		size  int64
	}
	dirs := make(map[string]sum)
	for _, f := range z.File {
		dir, _, ok := strings.Cut(f.Name, "/")
		if ok {
			dir += "/"
		} else {
			dir = "(files at the top)"
		}
		d := dirs[dir]
		dirs[dir] = sum{d.files + 1, d.size + int64(min(f.UncompressedSize64, 1<<40))}
	}
	for _, dir := range slices.SortedFunc(maps.Keys(dirs), func(a, b string) int {
		return cmp.Or(cmp.Compare(dirs[b].size, dirs[a].size), cmp.Compare(a, b))
	}) {
		r.part(&Report{Name: dir, Kind: "folder", Title: "folder", Size: dirs[dir].size, Summary: count(dirs[dir].files, "file")})
	}
	r.limitParts(24)
}

// entry returns an entry of a zip as a part: where it lies if it is stored, else
// unpacked, if that is not large.
func (s *scan) entry(in *input, f *zip.File) (*input, error) {
	size := int64(f.UncompressedSize64)
	if f.Method == zip.Store {
		off, err := f.DataOffset()
		if err != nil {
			return nil, err
		}
		if size < 0 || off > in.size || size > in.size-off {
			return nil, fmt.Errorf("%s: it passes the end", f.Name)
		}
		return in.section(f.Name, off, size), nil
	}
	if size > maxUnpack || size < 0 {
		return nil, errTooLarge
	}
	rc, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, size+1))
	if err != nil {
		return nil, err
	}
	return part(f.Name, bytesAt(b), int64(len(b)), in.depth), nil
}

// maxUnpack is how much of a compressed part is unpacked, in bytes.
const maxUnpack = 64 << 20

var errTooLarge = errors.New("too large to be unpacked here")

// bytesAt is an io.ReaderAt of bytes.
func bytesAt(b []byte) io.ReaderAt { return bytes.NewReader(b) }

// packages tells of a set of Android packages.
func (s *scan) packages(in *input, r *Report, z *zip.Reader) error {
	n := 0
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".apk") {
			continue
		}
		n++
		if len(r.Contents) >= 64 {
			r.More++
			continue
		}
		p, err := s.entry(in, f)
		if err != nil {
			r.part(&Report{Name: f.Name, Kind: "apk", Title: "Android package", Size: int64(f.UncompressedSize64), Summary: "not looked into: " + err.Error()})
			continue
		}
		s.look(p, r)
	}
	r.Summary = count(n, "package")
	return nil
}

// images tells of a zip of images, as img_from_target_files makes it.
func (s *scan) images(in *input, r *Report, z *zip.Reader) error {
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		p, err := s.entry(in, f)
		if err != nil {
			r.part(&Report{Name: f.Name, Kind: unknown, Title: "image", Size: int64(min(f.UncompressedSize64, 1<<62)), Summary: progress.Size(int64(f.UncompressedSize64)) + ", not looked into: it is compressed and large"})
			continue
		}
		s.look(p, r)
	}
	r.Summary = count(len(r.Contents), "image")
	return nil
}
