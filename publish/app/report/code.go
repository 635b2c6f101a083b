package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mios/format/apk"
	"mios/format/dex"
)

// maxCode is the size of all DEX files together up to which they are read, in
// bytes: what is compared is in memory at once, of two packages. A single one may
// be of [dex.MaxSize].
const maxCode = 512 << 20

// codeNames are the package's DEX files in the order in which Android loads
// them: classes.dex, classes2.dex, up to the first that is not there.
func codeNames(f *apk.File) []string {
	var names []string
	for name := "classes.dex"; f.Entry(name) != nil; name = fmt.Sprintf("classes%d.dex", len(names)+1) {
		names = append(names, name)
	}
	return names
}

// Code reads the package's DEX files.
func Code(f *apk.File) (*dex.Program, error) {
	list, err := CodeFiles(f)
	if err != nil {
		return nil, err
	}
	var files []*dex.File
	for _, c := range list {
		files = append(files, c.File)
	}
	return dex.NewProgram(files)
}

// A CodeFile is one DEX file of a package.
type CodeFile struct {
	*dex.File
	Name string // of the package's entry, which may hold several
}

// CodeFiles reads the package's DEX files, in the order in which Android loads
// them.
func CodeFiles(f *apk.File) ([]CodeFile, error) {
	var files []CodeFile
	total := int64(0)
	for _, name := range codeNames(f) {
		if size := f.Entry(name).Size; total+size > maxCode {
			return nil, fmt.Errorf("%s: %d bytes of code with those before it, at most %d are read", name, total+size, maxCode)
		}
		b, err := f.ReadFile(name, dex.MaxSize)
		if err != nil {
			return nil, err
		}
		total += int64(len(b))
		list, err := dex.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, d := range list {
			files = append(files, CodeFile{d, name})
		}
	}
	return files, nil
}

// A Reference is a class that an app refers to and does not define, and what of
// it.
type Reference struct {
	Class   string   `json:"class"`   // as Java writes it: "android.app.Activity"
	Members []string `json:"members"` // "finish()V", "MODEL:Ljava/lang/String;"; in a diff those that are new or gone
	Where   []string `json:"where"`   // in a diff: some of the places, unless it is the platform's: "org.example.Main.run"
	Whole   bool     `json:"whole"`   // in a diff: the class as a whole is new or gone
}

// References returns the classes that the program refers to and does not
// define, sorted.
func References(p *dex.Program) []Reference {
	list := []Reference{}
	for _, o := range p.Outside() {
		r := Reference{Class: dex.JavaName(o.Class), Members: []string{}, Where: []string{}}
		for _, m := range o.Members {
			r.Members = append(r.Members, memberName(m))
		}
		slices.Sort(r.Members)
		list = append(list, r)
	}
	return list
}

// memberName is a method or field within its class.
func memberName(r dex.Ref) string {
	if r.IsMethod() {
		return r.Name + r.Type
	}
	return r.Name + ":" + r.Type
}

// maxPlaces is how many places are given as examples.
const maxPlaces = 3

// fillPlaces finds places at which the program uses what the references name,
// but for classes of the platform. What cannot be read is passed over.
func fillPlaces(p *dex.Program, list []Reference) {
	wanted := make(map[string]*Reference)
	for i := range list {
		if r := &list[i]; !r.Platform() {
			wanted[r.Class] = r
		}
	}
	if len(wanted) == 0 {
		return
	}
	for use, err := range p.Uses(func(class string) bool { return wanted[dex.JavaName(class)] != nil }) {
		if err != nil {
			continue
		}
		r := wanted[dex.JavaName(use.Class)]
		if _, named := slices.BinarySearch(r.Members, memberName(use.Ref)); !named && !r.Whole {
			continue
		}
		if where := place(use.In); len(r.Where) < maxPlaces && !slices.Contains(r.Where, where) {
			r.Where = append(r.Where, where)
		}
	}
}

func place(r dex.Ref) string {
	if r.Name == "" {
		return dex.JavaName(r.Class)
	}
	return dex.JavaName(r.Class) + "." + r.Name
}

// difference returns what of a is not in b; both are sorted.
func difference[T cmp.Ordered](a, b []T) []T {
	out := []T{}
	for _, v := range a {
		if _, ok := slices.BinarySearch(b, v); !ok {
			out = append(out, v)
		}
	}
	return out
}

// missing returns what of a is not in b: whole classes, or the members of one.
func missing(a, b []Reference) []Reference {
	other := make(map[string]*Reference)
	for i := range b {
		other[b[i].Class] = &b[i]
	}
	out := []Reference{}
	for _, r := range a {
		o := other[r.Class]
		if o == nil {
			r.Whole = true
			out = append(out, r)
			continue
		}
		if r.Members = difference(r.Members, o.Members); len(r.Members) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// Platform reports whether the class is in a package of Android's own, which
// every device has.
func (r *Reference) Platform() bool {
	return slices.ContainsFunc(platformPackages, func(pkg string) bool { return strings.HasPrefix(r.Class, pkg) })
}

var platformPackages = []string{"java.", "javax.", "android.", "dalvik.", "org.w3c.dom.", "org.xml.sax.", "org.json.", "org.xmlpull."}
