package repo

import "context"

// The catalogue is what people look for apps in, cut into small signed files:
// nobody has to fetch all of it. Its files are targets of the apps role's bins,
// as packages are.

// PageSize is how many apps a page of a category has, at most.
const PageSize = 50

// A Listing is what people are told of an app. Its texts are plain text.
type Listing struct {
	Package      string   `json:"package"`
	Categories   []string `json:"categories,omitempty"` // names as [CheckName] wants them
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
	Summary     string  `json:"summary,omitempty"`     // at most 80 characters in F-Droid
	Description string  `json:"description,omitempty"` // at most 4000
	Notes       string  `json:"notes,omitempty"`       // what is new in the newest release
	Icon        *Target `json:"icon,omitempty"`        // at [ImagePath]
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

// A Category is one of the catalogue's. Its pages are numbered from 0; each
// has so many apps, which stay in their page for as long as they are in the
// category.
type Category struct {
	Name  string `json:"name"`
	Pages []int  `json:"pages"`
}

// Seen is what a device knew of packages when it last asked [Client.Changed]:
// the SHA-256 of each one's [Package].
type Seen map[string]string

// ListingPath is where a package's listing lies, without the hash in its name.
func ListingPath(pkg string) string { return "listings/" + pkg + ".json" }

// A Catalogue answers what people look for. *Client is one. Every method fetches
// the few files that it needs beyond the last [Client.Refresh], and verifies
// them.
type Catalogue interface {
	// Listing returns what people are told of a package. The error wraps
	// [mios.ErrNotFound] where there is no such package, or nothing is said of it.
	Listing(ctx context.Context, pkg string) (*Listing, error)
	// Categories returns the catalogue's categories by name.
	Categories(ctx context.Context) ([]Category, error)
	// Page returns a page of a category, in the language of locale as far as
	// there is one.
	Page(ctx context.Context, category string, page int, locale string) ([]Entry, error)
	// Search returns the apps that have a word for each word of the query, in
	// any language, which begins with it: whatever the case and the accents.
	Search(ctx context.Context, query, locale string) ([]Entry, error)
	// Changed returns those of the packages of which the repository says another
	// thing than when the device last asked, and what to pass the next time. Package files are
	// fetched for those only whose bin has changed.
	Changed(ctx context.Context, since Seen, pkgs ...string) ([]string, Seen, error)
}
