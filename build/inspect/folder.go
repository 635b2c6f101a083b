package inspect

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mios/build/image"
	"mios/format/targetfiles"
	"mios/internal/digest"
	"mios/internal/progress"
)

// maxListed is how many files of a folder are looked into.
const maxListed = 1000

// folder says what a folder is: what its files are, and what they are together.
func (s *scan) folder(dir string) (*Report, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Name: dir, Kind: "folder", Title: "folder"}
	switch {
	case exists(dir, "build.json"):
		s.build(dir, r)
	case exists(dir, targetfiles.MiscInfo):
		return s.targetFilesFolder(dir, r)
	case exists(dir, "metadata/timestamp.json"):
		s.repository(dir, r)
		r.Size = s.below(dir)
		return r, s.ctx.Err()
	case exists(dir, "public/metadata/timestamp.json"):
		s.repository(filepath.Join(dir, "public"), r)
		r.fact("tree", "public/ is what devices see")
		r.Size = s.below(dir)
		return r, s.ctx.Err()
	}
	if err := s.list(dir, list, r); err != nil {
		return nil, err
	}
	if r.Kind == "folder" {
		s.together(r)
	}
	return r, s.ctx.Err()
}

func exists(dir, name string) bool {
	fi, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
	return err == nil && fi.Mode().IsRegular()
}

// below is how many bytes the files below a folder have.
func (s *scan) below(dir string) (size int64) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if fi, err := d.Info(); err == nil {
				size += fi.Size()
			}
		}
		return s.ctx.Err() // what cannot be read has no size
	})
	return size
}

// list inspects the files of a folder, and counts those in folders in it.
func (s *scan) list(dir string, list []fs.DirEntry, r *Report) error {
	for _, d := range list {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		full := filepath.Join(dir, d.Name())
		fi, err := os.Stat(full)
		switch {
		case err != nil:
			r.part(&Report{Name: d.Name(), Kind: unknown, Title: "not readable", Problems: []Problem{{Severity: Error, Message: err.Error()}}})
		case len(r.Contents) >= maxListed:
			r.More++
		case fi.IsDir():
			c := &Report{Name: d.Name() + "/", Kind: "folder", Title: "folder", Size: s.below(full)}
			r.Size += c.Size
			r.part(c)
		case !fi.Mode().IsRegular():
			r.part(&Report{Name: d.Name(), Kind: "special", Title: "not a regular file"})
		default:
			c, err := s.file(full, 1)
			if err != nil {
				return err
			}
			c.Name = d.Name()
			r.Size += c.Size
			r.part(c)
		}
	}
	return nil
}

// together says what the files of a folder are together.
func (s *scan) together(r *Report) {
	kinds := make(map[string]int)
	vbmeta := false
	for _, c := range r.Contents {
		kinds[c.Kind]++
		vbmeta = vbmeta || c.Name == "vbmeta.img"
	}
	keys := kinds["private_key"] + kinds["certificate"] + kinds["public_key"] + kinds["avb_public_key"]
	switch n := len(r.Contents); {
	case n == 0:
		r.Summary = "empty"
	case vbmeta:
		r.Kind, r.Title = "images", "images of a device"
	case keys > 0 && keys+kinds[unknown] == n:
		r.Kind, r.Title = "keys", "keys and certificates"
	case kinds["apk"] > 0 && kinds["apk"]+kinds["idsig"] == n:
		r.Kind, r.Title = "packages", "Android packages"
	}
}

// build compares a folder that mios build made with its manifest.
func (s *scan) build(dir string, r *Report) {
	r.Kind, r.Title = "build", "build of mios"
	m, err := image.ReadManifest(dir)
	if err != nil {
		r.fail(err, "build it anew: mios build")
		return
	}
	s.manifestFacts(m, r)
	r.Summary = ""
	bad := false
	for _, p := range m.Partitions {
		name := filepath.Join(dir, p.File)
		fi, err := os.Stat(name)
		switch {
		case err != nil:
			r.fail(err, "build it anew: mios build")
			bad = true
		case fi.Size() != p.Size:
			r.say(Error, "build it anew: mios build", "%s: %d bytes, and build.json says %d", p.File, fi.Size(), p.Size)
			bad = true
		case !s.afford(p.Size):
			r.skipped(fmt.Sprintf("%s, %s, against build.json", p.File, progress.Size(p.Size)), why)
			bad = true
		default:
			sum, err := digest.File(name)
			if err != nil {
				r.fail(err, "")
				bad = true
			} else if sum != p.SHA256 {
				r.say(Error, "build it anew: mios build", "%s: its SHA-256 is %s, and build.json says %s", p.File, sum, p.SHA256)
				bad = true
			}
		}
	}
	if !bad {
		r.done("SHA-256 of %s", count(len(m.Partitions), "image"))
	}
}

// targetFilesFolder tells of an unpacked target-files zip.
func (s *scan) targetFilesFolder(dir string, r *Report) (*Report, error) {
	src, err := targetfiles.Open(dir)
	if err != nil {
		r.Kind, r.Title = "target_files", "target-files"
		r.fail(err, "")
		return r, nil
	}
	defer src.Close()
	r.Kind, r.Title = "target_files", "target-files"
	r.Size = s.below(dir)
	s.survey(&surveyor{s: s, src: src, dir: dir, r: r})
	return r, s.ctx.Err()
}
