package repo

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	api "mios/api/repo"
	"mios/internal/progress"
	publish "mios/publish/repo"
)

// maxEntries is how many releases a feed has at most, the newest ones.
const maxEntries = 100

// An atomFeed is a feed of releases, as RFC 4287 has it.
type atomFeed struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string      `xml:"id"`
	Title   string      `xml:"title"`
	Updated string      `xml:"updated"`
	Author  string      `xml:"author>name"`
	Self    atomLink    `xml:"link"`
	Entries []atomEntry `xml:"entry"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Href string `xml:"href,attr"` // relative to the feed's own address
	Type string `xml:"type,attr,omitempty"`
	Size int64  `xml:"length,attr,omitempty"`
}

type atomEntry struct {
	ID         string         `xml:"id"`
	Title      string         `xml:"title"`
	Updated    string         `xml:"updated"`
	Links      []atomLink     `xml:"link"`
	Categories []atomCategory `xml:"category"`
	Summary    string         `xml:"summary"`

	time int64
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

// feed answers with the releases that devices may take, the newest first: all,
// or those of the product or the package that the query names.
func (s *Service) feed(w http.ResponseWriter, r *http.Request) error {
	status, tag, err := s.status(r.Context())
	if err != nil {
		return err
	}
	q := r.URL.Query()
	b, err := feedOf(status, q.Get("product"), q.Get("package"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/atom+xml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", `"`+tag.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	return nil
}

// feedOf makes the feed of a product or a package, or of everything.
func feedOf(status *publish.Status, product, pkg string) ([]byte, error) {
	f := atomFeed{ID: atomID("feed", product, pkg), Title: cmp.Or(product, pkg, "Releases"), Author: "miOS",
		Self: atomLink{Rel: "alternate", Href: ".", Type: "text/html"}}
	for i := range status.Releases {
		if rel := &status.Releases[i]; pkg == "" && (product == "" || rel.Product == product) && !rel.Halted && !rel.Withdrawn {
			f.Entries = append(f.Entries, osEntry(rel))
		}
	}
	for i := range status.Apps {
		if rel := &status.Apps[i]; product == "" && (pkg == "" || rel.Package == pkg) && !rel.Halted && !rel.Withdrawn {
			f.Entries = append(f.Entries, appEntry(rel))
		}
	}
	slices.SortStableFunc(f.Entries, func(a, b atomEntry) int { return cmp.Compare(b.time, a.time) })
	f.Entries = f.Entries[:min(len(f.Entries), maxEntries)]
	f.Updated = atomTime(0)
	if len(f.Entries) > 0 {
		f.Updated = f.Entries[0].Updated
	}
	b, err := xml.MarshalIndent(f, "", " ")
	return append([]byte(xml.Header), b...), err
}

func osEntry(r *api.OSRelease) atomEntry {
	e := atomEntry{
		ID:    atomID("os", r.Product, string(r.Arch), r.Version, fmt.Sprint(r.BuildTime)),
		Title: fmt.Sprintf("%s %s for %s", r.Product, r.Version, r.Arch), time: r.BuildTime, Updated: atomTime(r.BuildTime),
		Links:   []atomLink{{"enclosure", r.Target.File(), "application/octet-stream", r.Target.Length}},
		Summary: summary(r.Notes, r.Share, r.Regions, r.Target.Length),
	}
	for _, c := range r.Channels {
		e.Categories = append(e.Categories, atomCategory{c})
	}
	return e
}

func appEntry(r *api.AppRelease) atomEntry {
	e := atomEntry{
		ID:    atomID("app", r.Package, fmt.Sprint(r.Release)),
		Title: fmt.Sprintf("%s %s", cmp.Or(r.Label, r.Package), r.VersionName), time: r.Time, Updated: atomTime(r.Time),
		Links:   []atomLink{{"enclosure", r.Target.File(), "application/vnd.android.package-archive", r.Target.Length}},
		Summary: summary(r.Notes, r.Share, r.Regions, r.Target.Length),
	}
	for _, t := range append(slices.Clone(r.Tracks), r.Package) {
		e.Categories = append(e.Categories, atomCategory{t})
	}
	return e
}

// summary says what is new, and for whom it is.
func summary(notes string, share api.Share, regions []string, size int64) string {
	to := "To " + share.String() + " of the devices"
	if len(regions) > 0 {
		to += " in " + strings.Join(regions, ", ")
	}
	return strings.TrimSpace(notes + "\n" + to + "; " + progress.Size(size) + ".")
}

func atomTime(sec int64) string { return time.Unix(sec, 0).UTC().Format(time.RFC3339) }

// atomID names a thing for ever: a UUID (version 8, RFC 9562) of what it is.
func atomID(parts ...string) string {
	h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
