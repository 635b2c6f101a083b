package repo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mios"
	"mios/internal/lazyregexp"
)

// The catalogue is what people look for apps in, cut into small files: nobody has
// to fetch all of it. One target of the apps role's bins names the others by
// their SHA-256, those name more, and so on: a category's pages, and a tree of
// words.

// PageSize is how many apps a page of a category has, at most.
const PageSize = 50

// A Listing is what people are told of an app. Its texts are plain text.
type Listing struct {
	Package      string   `json:"package"`
	Categories   []string `json:"categories,omitempty"` // names as [CheckCategory] wants them
	Author       string   `json:"author,omitempty"`
	Email        string   `json:"email,omitempty"`
	Web          string   `json:"web,omitempty"`
	Source       string   `json:"source,omitempty"`
	Issues       string   `json:"issues,omitempty"`
	License      string   `json:"license,omitempty"` // SPDX
	AntiFeatures []string `json:"anti_features,omitempty"`
	Added        int64    `json:"added,omitempty"` // seconds since 1970
	// Default is the locale for who asks for one that is not there; en-US if it
	// is empty.
	Default string                   `json:"default,omitempty"`
	Locales map[string]LocaleListing `json:"locales"` // by BCP 47 tag
}

// A LocaleListing is a [Listing] in one language.
type LocaleListing struct {
	Name        string  `json:"name"`
	Summary     string  `json:"summary,omitempty"`
	Description string  `json:"description,omitempty"`
	Notes       string  `json:"notes,omitempty"` // what is new in the newest release
	Icon        *Target `json:"icon,omitempty"`  // at [ImagePath]
	Feature     *Target `json:"feature,omitempty"`
	// Screenshots by kind of device, as fastlane calls them: phone, sevenInch,
	// tenInch, tv, wear.
	Screenshots map[string][]Target `json:"screenshots,omitempty"`
}

// An Entry is an app among others.
type Entry struct {
	Package string  `json:"package"`
	Name    string  `json:"name"`
	Summary string  `json:"summary,omitempty"`
	Icon    *Target `json:"icon,omitempty"`
}

// A Category is one of the catalogue's. Its pages are numbered from 0; an app
// stays in its page for as long as it is in the category, so that a page may
// have fewer than [PageSize], or none.
type Category struct {
	Name  string `json:"name"`
	Apps  int    `json:"apps"`
	Pages int    `json:"pages"`
}

// Seen is what a device knew of packages when it last asked [Client.Changed]:
// the SHA-256 of each one's [Package].
type Seen map[string]mios.Digest

// A Catalogue answers what people look for. *[Client] is one. Every method
// fetches the few files that it needs beyond the last [Client.Refresh], and
// verifies them.
type Catalogue interface {
	Listing(ctx context.Context, pkg string) (*Listing, error)
	Categories(ctx context.Context) ([]Category, error)
	Page(ctx context.Context, category string, page int, locale string) ([]Entry, error)
	Search(ctx context.Context, query, locale string) ([]Entry, error)
	Changed(ctx context.Context, since Seen, pkgs ...string) ([]string, Seen, error)
}

// ListingPath is where a package's listing lies, without the hash in its name.
func ListingPath(pkg string) string { return "listings/" + pkg + ".json" }

// CataloguePath is the target that holds an [Index].
const CataloguePath = "apps/_catalogue.json"

// A Ref is a file of the catalogue, by what is in it.
type Ref struct {
	SHA256 mios.Digest `json:"sha256"`
	Length int64       `json:"length"`
}

// Target returns the target that the file is; kind is one of "category", "page",
// "words" and "fresh".
func (r Ref) Target(kind string) Target {
	return Target{Path: "catalogue/" + kind + ".json", Length: r.Length, SHA256: r.SHA256}
}

// An Index is the content of the catalogue's first file.
type Index struct {
	Categories []IndexedCategory `json:"categories"`      // by name
	Words      *Ref              `json:"words,omitempty"` // the root of the tree of words
	Fresh      *Ref              `json:"fresh,omitempty"` // [Fresh]
}

// An IndexedCategory is a category, and the [Pages] of it.
type IndexedCategory struct {
	Category
	File Ref `json:"file"`
}

// Pages is the content of a category's file.
type Pages struct {
	Category string `json:"category"`
	Pages    []Page `json:"pages"`
}

// A Page is one page of a category: so many apps, and the [Entries] in each
// app's own default language. Locales has those in others, of the apps that have them.
type Page struct {
	Apps    int            `json:"apps"`
	File    *Ref           `json:"file,omitempty"`
	Locales map[string]Ref `json:"locales,omitempty"`
}

// Entries is the content of a page's file, by package.
type Entries struct {
	Entries []Entry `json:"entries"`
}

// MaxHits is how many hits a node of the tree of words has before it is split.
const MaxHits = 96

// A WordNode is a node of the tree of words. Of the keys that begin with its
// prefix, those that go on as a child does are below that child, all others here.
type WordNode struct {
	Hits     []Hit       `json:"hits,omitempty"` // by key
	Children []WordChild `json:"children,omitempty"`
}

// A WordChild is a node whose prefix is that of its parent with Next behind it.
type WordChild struct {
	Next string `json:"next"` // one rune
	File Ref    `json:"file"`
}

// A Hit is an app under one of its words.
type Hit struct {
	Key string `json:"key"` // [HitKey]
	Found
}

// Found is what a search has to know of an app.
type Found struct {
	Package string            `json:"package"`
	Name    string            `json:"name"`
	Names   map[string]string `json:"names,omitempty"` // by locale, where it is another
	Words   string            `json:"words"`           // all words of the app, with spaces between
}

// Fresh is the content of a file of apps that changed since the tree of words was
// written. What it says of an app is what holds, not the tree's hits. So a
// change of one app writes one file, and not one for each of its words.
type Fresh struct {
	Apps []FreshApp `json:"apps"` // by package
}

// A FreshApp is an app as it is now. One that is no more has a package alone, and the
// keys that it had.
type FreshApp struct {
	Found
	Keys []string `json:"keys,omitempty"` // of the hits that it is to have
	Was  []string `json:"was,omitempty"`  // of those that the tree has of it
}

// MaxFresh is how many apps a [Fresh] has, at most. With one more, all go into the tree.
const MaxFresh = 32

// HitKey is what puts a hit in its place: the word, a space, when the app was
// added, as eight hexadecimal digits, and 128 bits of the SHA-256 of the package's name, so
// that no two are the same. Apps that were added one after another are beside each other:
// what is new changes few nodes.
func HitKey(word string, l *Listing) string {
	return fmt.Sprintf("%s %08x%.32s", word, max(l.Added, 0), mios.Sum([]byte(l.Package)))
}

// MaxWords is how many words an app is found by.
const MaxWords = 40

var (
	categoryRE = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9 &_-]{0,62}$`)
	localeRE   = lazyregexp.New(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
)

// CheckCategory refuses what cannot be a category's name.
func CheckCategory(s string) error {
	if !categoryRE.MatchString(s) {
		return fmt.Errorf("category %q: %w: want letters, digits, spaces and & _ -, at most 63", s, mios.ErrInvalid)
	}
	return nil
}

// Limits on a [Listing].
const (
	MaxListing     = 1 << 20 // bytes of its JSON
	MaxLocales     = 100
	MaxCategories  = 8
	MaxScreenshots = 20 // of a kind, in a locale
)

// Check says what is wrong with a listing, in itself.
func (l *Listing) Check() error {
	if err := CheckPackage(l.Package); err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if len(l.Categories) > MaxCategories || len(l.Locales) > MaxLocales {
		return fmt.Errorf("listing of %s: %d categories, %d locales: %w: at most %d and %d", l.Package, len(l.Categories), len(l.Locales), mios.ErrInvalid, MaxCategories, MaxLocales)
	}
	for i, c := range l.Categories {
		if err := CheckCategory(c); err != nil {
			return fmt.Errorf("listing of %s: %w", l.Package, err)
		}
		if slices.Contains(l.Categories[:i], c) {
			return fmt.Errorf("listing of %s: category %q twice: %w", l.Package, c, mios.ErrInvalid)
		}
	}
	if len(l.Locales) == 0 {
		return fmt.Errorf("listing of %s: no text in any language: %w", l.Package, mios.ErrInvalid)
	}
	for locale, t := range l.Locales {
		if !localeRE.MatchString(locale) {
			return fmt.Errorf("listing of %s: locale %q: %w: want en-US or the like", l.Package, locale, mios.ErrInvalid)
		}
		for _, img := range t.Images() {
			name, ok := strings.CutPrefix(img.Path, ImagePath(l.Package, ""))
			if !ok || CheckImage(name) != nil || img.Length <= 0 {
				return fmt.Errorf("listing of %s: image %q of %d bytes: %w: want %s and a name", l.Package, img.Path, img.Length, mios.ErrInvalid, ImagePath(l.Package, ""))
			}
		}
		for kind, list := range t.Screenshots {
			if len(list) > MaxScreenshots {
				return fmt.Errorf("listing of %s: %d screenshots of kind %s: %w: at most %d", l.Package, len(list), kind, mios.ErrInvalid, MaxScreenshots)
			}
		}
	}
	return nil
}

// Images returns all images of a listing in one language.
func (t *LocaleListing) Images() []Target {
	var list []Target
	for _, img := range []*Target{t.Icon, t.Feature} {
		if img != nil {
			list = append(list, *img)
		}
	}
	for _, shots := range t.Screenshots {
		list = append(list, shots...)
	}
	return list
}

// Images returns all images of a listing, which may be nil.
func (l *Listing) Images() []Target {
	if l == nil {
		return nil
	}
	var list []Target
	for _, locale := range sortedLocales(l.Locales) {
		t := l.Locales[locale]
		list = append(list, t.Images()...)
	}
	return list
}

// In returns the listing in the locale, in another of the same language, in the
// default one, or in any there is.
func (l *Listing) In(locale string) LocaleListing {
	if t, ok := l.Locales[Nearest(locale, l.Locales)]; ok {
		return t
	}
	return l.Locales[l.DefaultLocale()]
}

// DefaultLocale is the locale of who asks for one that is not there.
func (l *Listing) DefaultLocale() string {
	for _, locale := range []string{l.Default, "en-US", "en"} {
		if _, ok := l.Locales[locale]; ok {
			return locale
		}
	}
	first := ""
	for locale := range l.Locales {
		if first == "" || locale < first {
			first = locale
		}
	}
	return first
}

// Nearest returns the locale among those of m that is best for one: itself, its
// language alone, or the first of that language; "" if there is none.
func Nearest[T any](locale string, m map[string]T) string {
	if _, ok := m[locale]; ok {
		return locale
	}
	lang, _, _ := strings.Cut(locale, "-")
	best := ""
	for l := range m {
		if have, _, _ := strings.Cut(l, "-"); have == lang && lang != "" && (best == "" || l < best) {
			best = l
		}
	}
	return best
}

// Words returns what the app is found by: the words of its names, its author and
// its summary, at most [MaxWords]. Keys are those that lead to it by themselves: short words of a
// summary do not.
func (l *Listing) Words() (all, keys []string) {
	def := l.Locales[l.DefaultLocale()]
	text := []string{def.Name}
	for _, locale := range sortedLocales(l.Locales) {
		text = append(text, l.Locales[locale].Name)
	}
	keys = Words(strings.Join(append(text, l.Author), "\n"))
	all = Words(strings.Join(append(text, l.Author, def.Summary), "\n"))
	all = all[:min(len(all), MaxWords)]
	for _, w := range all[min(len(keys), len(all)):] {
		if significant(w) {
			keys = append(keys, w)
		}
	}
	return all, keys[:min(len(keys), MaxWords)]
}

// significant tells whether a word of a summary leads to its app: most shorter
// ones are in half of all summaries.
func significant(word string) bool { return len(word) > 3 }

func sortedLocales(m map[string]LocaleListing) []string {
	list := make([]string, 0, len(m))
	for l := range m {
		list = append(list, l)
	}
	slices.Sort(list)
	return list
}
