// Package listing reads what people see of an app in a store: texts and pictures
// per locale, in the layout of fastlane's supply that developers keep beside
// their sources and that F-Droid's and Play's tools read.
// docs/listings.md describes it.
//
// Pictures come from strangers: mios/publish/app/worker decodes them in a
// process that holds no key.
package listing

import (
	"context"

	"mios"
)

// The limits of texts, in characters, and of screenshots of a form are Play's.
const (
	MaxTitle       = 30
	MaxShort       = 80
	MaxFull        = 4000
	MaxChangelog   = 500
	MaxScreenshots = 8
)

// The limits of all that there is.
const (
	MaxLocales  = 200
	MaxPictures = 400       // of all locales
	MaxPicture  = 16 << 20  // bytes of a picture as it is handed in
	MaxTotal    = 256 << 20 // bytes of all pictures as clients get them
	maxText     = 64 << 10  // bytes of a text file
	maxEntries  = 2000      // of a folder
)

// A Listing is what a store shows of an app.
type Listing struct {
	Locales map[string]*Locale `json:"locales"` // by BCP 47: "en-US", "pt-BR", "zh-Hans-CN"
}

// A Locale is a listing in one language. What the developer left out is empty.
type Locale struct {
	Title      string           `json:"title,omitempty"`
	Short      string           `json:"short_description,omitempty"`
	Full       string           `json:"full_description,omitempty"` // plain lines, or HTML of the tags in Tags
	Video      string           `json:"video,omitempty"`            // URL
	Changelogs map[int64]string `json:"changelogs,omitempty"`       // by version code; 0: what versions without their own have

	Icon           []Picture `json:"icon,omitempty"` // the same in IconSizes, ascending
	FeatureGraphic *Picture  `json:"feature_graphic,omitempty"`
	PromoGraphic   *Picture  `json:"promo_graphic,omitempty"`
	TVBanner       *Picture  `json:"tv_banner,omitempty"`

	Screenshots map[Form][]Picture `json:"screenshots,omitempty"` // in the order of their names
}

// A Form is the kind of device that a screenshot is of.
type Form string

// The forms; each is a folder of images/ with "Screenshots" behind it.
const (
	Phone     Form = "phone"
	SevenInch Form = "sevenInch"
	TenInch   Form = "tenInch"
	TV        Form = "tv"
	Wear      Form = "wear"
)

// Forms are all of them.
var Forms = []Form{Phone, SevenInch, TenInch, TV, Wear}

// IconSizes are the widths and heights in pixels in which clients want icons:
// those of launchers from mdpi to xxxhdpi, and a store's page.
var IconSizes = []int{48, 72, 96, 144, 192, 512}

// A Picture is an image as clients get it: checked, scaled, encoded anew.
type Picture struct {
	Name   string      `json:"name"` // of the file that it was made from, in the locale's folder
	MIME   string      `json:"mime"` // image/png or image/jpeg
	Width  int         `json:"width"`
	Height int         `json:"height"`
	SHA256 mios.Digest `json:"sha256"`
	Size   int64       `json:"size"` // of Data in bytes, which may be kept elsewhere
	Data   []byte      `json:"data,omitempty"`
}

// Ext is the picture's file name extension: ".png" or ".jpg".
func (p *Picture) Ext() string {
	if p.MIME == mimeJPEG {
		return ".jpg"
	}
	return ".png"
}

// A Kind says what a picture is for, and so what it must be and becomes.
type Kind string

// The kinds.
const (
	KindIcon       Kind = "icon"       // square; becomes one of each of IconSizes that it reaches
	KindFeature    Kind = "feature"    // about twice as wide as high (1024x500)
	KindPromo      Kind = "promo"      // about 3:2 (180x120)
	KindBanner     Kind = "banner"     // about 16:9 (1280x720)
	KindScreenshot Kind = "screenshot" // at most 2.5 times as high as wide, or as wide as high
)

const (
	mimePNG  = "image/png"
	mimeJPEG = "image/jpeg"
)

// A Converter makes of the bytes of a picture what clients get: [Convert], or
// a worker's, which does it elsewhere. What is wrong with the picture wraps
// mios.ErrInvalid.
type Converter func(ctx context.Context, in []byte, kind Kind) ([]Picture, error)

// A Problem is one thing that is wrong with a listing.
type Problem struct {
	File   string `json:"file"` // in the folder: "en-US/title.txt"
	Refuse bool   `json:"refuse"`
	Detail string `json:"detail"` // a sentence
	Advice string `json:"advice,omitempty"`
}
