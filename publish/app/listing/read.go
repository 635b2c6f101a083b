package listing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mios"
)

// roots are where in a project the folders of locales lie.
var roots = []string{"fastlane/metadata/android", "metadata/android", "."}

// Read reads the listing in a folder that has one subfolder a locale:
// metadata/android of a project, or the project that has it. Pictures are made
// by convert, several at once. What is wrong stands in the problems, and is left
// out of the listing; the error is of a folder that cannot be read at all, or of
// a picture that convert could not look at.
func Read(ctx context.Context, dir fs.FS, convert Converter) (*Listing, []Problem, error) {
	for _, root := range roots {
		if fi, err := fs.Stat(dir, root); err == nil && fi.IsDir() {
			sub, err := fs.Sub(dir, root)
			if err != nil {
				return nil, nil, err
			}
			dir = sub
			break
		}
	}
	r := &reader{ctx: ctx, dir: dir, convert: convert, listing: &Listing{Locales: make(map[string]*Locale)}}
	entries := r.entries(".")
	if r.err == nil {
		for _, e := range entries {
			r.locale(e)
		}
	}
	r.pictures()
	if r.err != nil {
		return nil, nil, r.err
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
	return r.listing, r.problems, nil
}

// reader reads one listing.
type reader struct {
	ctx      context.Context
	dir      fs.FS
	convert  Converter
	listing  *Listing
	jobs     []job
	problems []Problem
	err      error
}

// A job is one picture to be made.
type job struct {
	name string // in the listing's folder
	kind Kind
	put  func([]Picture)
	out  []Picture
	err  error
}

func (r *reader) refuse(file, advice, format string, args ...any) {
	r.problems = append(r.problems, Problem{file, true, fmt.Sprintf(format, args...), advice})
}

func (r *reader) note(file, advice, format string, args ...any) {
	r.problems = append(r.problems, Problem{file, false, fmt.Sprintf(format, args...), advice})
}

// entries lists a folder, without what begins with a dot.
func (r *reader) entries(dir string) []fs.DirEntry {
	if err := r.ctx.Err(); err != nil {
		r.err = err
		return nil
	}
	list, err := fs.ReadDir(r.dir, dir)
	if err != nil {
		r.err = fmt.Errorf("listing: %w", err)
		return nil
	}
	if len(list) > maxEntries {
		r.refuse(dir, "", "The folder has %d entries, at most %d are read.", len(list), maxEntries)
		list = list[:maxEntries]
	}
	return slices.DeleteFunc(list, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") })
}

// file reports whether the entry is a file; a link would lead elsewhere.
func (r *reader) file(name string, e fs.DirEntry) bool {
	switch {
	case e.Type().IsRegular():
		return true
	case e.Type()&fs.ModeSymlink != 0:
		r.refuse(name, "Put the file itself there.", "It is a link.")
	default:
		r.note(name, "", "It is no file, and nothing that a listing has: left out.")
	}
	return false
}

func (r *reader) locale(e fs.DirEntry) {
	if !e.IsDir() {
		r.note(e.Name(), "", "It is not in the folder of a locale: left out.")
		return
	}
	tag, ok := Normalize(e.Name())
	switch {
	case !ok:
		r.refuse(e.Name(), "Name the folder like en-US, pt-BR or sr-Latn.", "The folder's name is no locale.")
		return
	case r.listing.Locales[tag] != nil:
		r.refuse(e.Name(), "Keep one of them.", "Another folder is of the locale %s too.", tag)
		return
	case len(r.listing.Locales) == MaxLocales:
		r.refuse(e.Name(), "", "There are more than %d locales.", MaxLocales)
		return
	}
	l := new(Locale)
	r.listing.Locales[tag] = l
	for _, f := range r.entries(e.Name()) {
		name := path.Join(e.Name(), f.Name())
		t := texts[f.Name()]
		switch {
		case t != nil && r.file(name, f):
			if s, ok := r.text(name, t); ok {
				t.set(l, s)
			}
		case t != nil:
		case f.IsDir() && f.Name() == "changelogs":
			r.changelogs(name, l)
		case f.IsDir() && f.Name() == "images":
			r.images(name, l)
		default:
			r.note(name, "", "It is nothing that a listing has: left out.")
		}
	}
}

// changelog is what a changelog must be.
var changelog = &textKind{max: MaxChangelog, lines: true}

func (r *reader) changelogs(dir string, l *Locale) {
	for _, e := range r.entries(dir) {
		name := path.Join(dir, e.Name())
		if !r.file(name, e) {
			continue
		}
		base, ok := strings.CutSuffix(e.Name(), ".txt")
		code, err := strconv.ParseInt(base, 10, 64)
		if base == "default" {
			code, err = 0, nil
		} else if code <= 0 || strconv.FormatInt(code, 10) != base {
			ok = false
		}
		if !ok || err != nil {
			r.note(name, "Name it after the version code, such as 42.txt.", "It is the changelog of no version: left out.")
			continue
		}
		if s, ok := r.text(name, changelog); ok {
			if l.Changelogs == nil {
				l.Changelogs = make(map[int64]string)
			}
			l.Changelogs[code] = s
		}
	}
}

// pictureExts are the ends of names of pictures.
var pictureExts = []string{".png", ".jpg", ".jpeg", ".webp"}

// graphics are the single pictures of a locale, by their names.
var graphics = map[string]struct {
	kind Kind
	put  func(*Locale, []Picture)
}{
	"icon":           {KindIcon, func(l *Locale, p []Picture) { l.Icon = p }},
	"featureGraphic": {KindFeature, func(l *Locale, p []Picture) { l.FeatureGraphic = &p[0] }},
	"promoGraphic":   {KindPromo, func(l *Locale, p []Picture) { l.PromoGraphic = &p[0] }},
	"tvBanner":       {KindBanner, func(l *Locale, p []Picture) { l.TVBanner = &p[0] }},
}

func (r *reader) images(dir string, l *Locale) {
	seen := make(map[string]bool)
	for _, e := range r.entries(dir) {
		name := path.Join(dir, e.Name())
		if form := Form(strings.TrimSuffix(e.Name(), "Screenshots")); e.IsDir() && slices.Contains(Forms, form) && string(form) != e.Name() {
			r.screenshots(name, form, l)
			continue
		}
		ext := path.Ext(e.Name())
		base := strings.TrimSuffix(e.Name(), ext)
		g, ok := graphics[base]
		switch {
		case !ok || !slices.Contains(pictureExts, strings.ToLower(ext)):
			r.note(name, "", "It is nothing that a listing has: left out.")
		case !r.file(name, e):
		case seen[base]:
			r.note(name, "Keep one of them.", "There is another one of that name: left out.")
		default:
			seen[base] = true
			r.job(name, g.kind, func(p []Picture) { g.put(l, p) })
		}
	}
}

func (r *reader) screenshots(dir string, form Form, l *Locale) {
	n := 0
	for _, e := range r.entries(dir) {
		name := path.Join(dir, e.Name())
		switch {
		case !slices.Contains(pictureExts, strings.ToLower(path.Ext(e.Name()))):
			r.note(name, "", "It is no picture: left out.")
		case !r.file(name, e):
		case n == MaxScreenshots:
			r.note(name, "Keep the best ones.", "There are more than %d: left out.", MaxScreenshots)
		default:
			n++
			r.job(name, KindScreenshot, func(p []Picture) {
				if l.Screenshots == nil {
					l.Screenshots = make(map[Form][]Picture)
				}
				l.Screenshots[form] = append(l.Screenshots[form], p[0])
			})
		}
	}
}

func (r *reader) job(name string, kind Kind, put func([]Picture)) {
	switch {
	case len(r.jobs) < MaxPictures:
		r.jobs = append(r.jobs, job{name: name, kind: kind, put: put})
	case len(r.jobs) == MaxPictures:
		r.refuse(name, "Leave out those of locales that have the same.", "There are more than %d pictures.", MaxPictures)
		r.jobs = append(r.jobs, job{put: func([]Picture) {}})
	}
}

// atOnce is how many pictures are made at once.
const atOnce = 4

// pictures makes the pictures, and puts them where they belong in the order in
// which they were found.
func (r *reader) pictures() {
	if len(r.jobs) > MaxPictures {
		r.jobs = r.jobs[:MaxPictures]
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range r.jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r.jobs[i].make(r)
		})
	}
	wg.Wait()
	total := 0
	for _, j := range r.jobs {
		switch {
		case r.err != nil:
			return
		case errors.Is(j.err, mios.ErrInvalid):
			r.refuse(j.name, "", "%s.", strings.TrimSuffix(j.err.Error(), ": "+mios.ErrInvalid.Error()))
		case j.err != nil:
			r.err = fmt.Errorf("listing: %s: %w", j.name, j.err)
		default:
			for i := range j.out {
				j.out[i].Name = j.name
				total += len(j.out[i].Data)
			}
			j.put(j.out)
		}
	}
	if total > MaxTotal {
		r.err = fmt.Errorf("listing: its pictures are of %d bytes, at most %d: %w: leave out those of locales that have the same", total, MaxTotal, mios.ErrInvalid)
	}
}

func (j *job) make(r *reader) {
	var b []byte
	if b, j.err = r.read(j.name, MaxPicture); j.err != nil {
		return
	}
	if j.out, j.err = r.convert(r.ctx, b, j.kind); j.err == nil && len(j.out) == 0 {
		j.err = errors.New("no picture was made of it")
	}
}

// read reads a file of at most so many bytes.
func (r *reader) read(name string, most int64) ([]byte, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := r.dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("it has more than %d bytes: %w", most, mios.ErrInvalid)
	}
	return b, nil
}
