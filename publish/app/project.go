package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"mios"
	"mios/publish/app/fdroid"
)

// A Project is who makes an app and on which terms, which F-Droid's clients tell
// beside the listing. What is empty is not told.
type Project struct {
	License        string   `json:"license,omitempty"` // SPDX
	AuthorName     string   `json:"author_name,omitempty"`
	AuthorEmail    string   `json:"author_email,omitempty"`
	AuthorSite     string   `json:"author_site,omitempty"`
	AuthorPhone    string   `json:"author_phone,omitempty"`
	WebSite        string   `json:"web_site,omitempty"`
	SourceCode     string   `json:"source_code,omitempty"`
	IssueTracker   string   `json:"issue_tracker,omitempty"`
	Translation    string   `json:"translation,omitempty"`
	Changelog      string   `json:"changelog,omitempty"` // URL
	Donate         []string `json:"donate,omitempty"`    // URLs
	Bitcoin        string   `json:"bitcoin,omitempty"`
	Litecoin       string   `json:"litecoin,omitempty"`
	Flattr         string   `json:"flattr,omitempty"`
	Liberapay      string   `json:"liberapay,omitempty"`
	OpenCollective string   `json:"open_collective,omitempty"`
	Categories     []string `json:"categories,omitempty"`
	// AntiFeatures are what people may not like, by F-Droid's names for it: "Ads";
	// the text says why, by locale.
	AntiFeatures map[string]map[string]string `json:"anti_features,omitempty"`
}

// maxProject bounds a project, in bytes of JSON.
const maxProject = 64 << 10

// check refuses what no page may show.
func (p *Project) check() error {
	texts := slices.Concat(p.Donate, p.Categories, []string{p.License, p.AuthorName, p.AuthorEmail, p.AuthorSite, p.AuthorPhone, p.WebSite, p.SourceCode,
		p.IssueTracker, p.Translation, p.Changelog, p.Bitcoin, p.Litecoin, p.Flattr, p.Liberapay, p.OpenCollective})
	for _, name := range slices.Sorted(maps.Keys(p.AntiFeatures)) {
		texts = append(texts, name)
		for _, locale := range slices.Sorted(maps.Keys(p.AntiFeatures[name])) {
			texts = append(texts, locale, p.AntiFeatures[name][locale])
		}
	}
	for _, text := range texts {
		if err := plain(fmt.Sprintf("project: %.40q", text), text, maxNote); err != nil {
			return err
		}
	}
	text, err := encode(p)
	if err == nil && len(text) > maxProject {
		err = fmt.Errorf("project: %d bytes: %w: want at most %d", len(text), mios.ErrInvalid, maxProject)
	}
	return err
}

// SetProject says who makes an app and on which terms, and tells whether that is
// new.
func (s *Store) SetProject(ctx context.Context, who, pkg string, p *Project, why string) (changed bool, err error) {
	if err := p.check(); err != nil {
		return false, err
	}
	err = s.change(ctx, who, func(c *change) error {
		a, err := wantApp(c.Tx, pkg)
		if err != nil {
			return err
		}
		before := a.Project
		if before == nil {
			before = new(Project)
		}
		same, err := sameJSON(before, p)
		if changed = !same; same || err != nil {
			return err
		}
		a.Project = p
		if err := c.saveApp(a); err != nil {
			return err
		}
		if err := c.event("project", pkg, why, p); err != nil {
			return err
		}
		return c.later(workTree, pkg)
	})
	return changed, err
}

// fdroid tells F-Droid's clients of the project.
func (p *Project) fdroid(a *fdroid.App) {
	if p == nil {
		return
	}
	a.License, a.AuthorName, a.AuthorEmail, a.AuthorSite, a.AuthorPhone = p.License, p.AuthorName, p.AuthorEmail, p.AuthorSite, p.AuthorPhone
	a.WebSite, a.SourceCode, a.IssueTracker, a.Translation, a.Changelog = p.WebSite, p.SourceCode, p.IssueTracker, p.Translation, p.Changelog
	a.Donate, a.Bitcoin, a.Litecoin, a.Flattr = p.Donate, p.Bitcoin, p.Litecoin, p.Flattr
	a.Liberapay, a.OpenCollective, a.Categories = p.Liberapay, p.OpenCollective, p.Categories
	for name, texts := range p.AntiFeatures {
		if a.AntiFeatures == nil {
			a.AntiFeatures = map[string]fdroid.Text{}
		}
		a.AntiFeatures[name] = texts
	}
}
