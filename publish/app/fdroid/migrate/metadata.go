package migrate

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"mios"
	"mios/internal/strictyaml"
	"mios/publish/app/fdroid"
)

// metadata is metadata/PACKAGE.yml, as far as the indexes tell of it
// (fdroidserver, metadata.py).
type metadata struct {
	Name, AutoName, Summary, Description string

	AuthorName, AuthorEmail, AuthorWebSite, AuthorPhone string

	License, WebSite, SourceCode, IssueTracker, Translation, Changelog string

	Donate, Bitcoin, Litecoin, FlattrID, Liberapay, OpenCollective string

	Categories         []string
	AntiFeatures       any
	NoSourceSince      string
	Disabled           any
	CurrentVersion     string
	CurrentVersionCode int64
	Builds             []build
}

// build is how a version was made.
type build struct {
	VersionName  string
	VersionCode  int64
	Disable      any
	AntiFeatures any
}

// parseMetadata reads fields as fdroidserver does: a number where a text belongs
// is that text, whatever is written without quotes.
func parseMetadata(b []byte) (*metadata, error) {
	var raw map[string]any
	if err := strictyaml.Loose(b, &raw); err != nil {
		return nil, err
	}
	m := new(metadata)
	for name, to := range map[string]*string{
		"Name": &m.Name, "AutoName": &m.AutoName, "Summary": &m.Summary, "Description": &m.Description, "AuthorName": &m.AuthorName,
		"AuthorEmail": &m.AuthorEmail, "AuthorWebSite": &m.AuthorWebSite, "AuthorPhone": &m.AuthorPhone, "License": &m.License,
		"WebSite": &m.WebSite, "SourceCode": &m.SourceCode, "IssueTracker": &m.IssueTracker, "Translation": &m.Translation,
		"Changelog": &m.Changelog, "Donate": &m.Donate, "Bitcoin": &m.Bitcoin, "Litecoin": &m.Litecoin, "FlattrID": &m.FlattrID,
		"Liberapay": &m.Liberapay, "OpenCollective": &m.OpenCollective, "NoSourceSince": &m.NoSourceSince, "CurrentVersion": &m.CurrentVersion,
	} {
		*to = asText(raw[name])
	}
	m.Categories, m.AntiFeatures, m.Disabled = asList(raw["Categories"]), raw["AntiFeatures"], raw["Disabled"]
	m.CurrentVersionCode = asNumber(raw["CurrentVersionCode"])
	list, _ := raw["Builds"].([]any)
	for _, one := range list {
		fields, ok := one.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("builds: %v is no build: %w", one, mios.ErrInvalid)
		}
		m.Builds = append(m.Builds, build{asText(fields["versionName"]), asNumber(fields["versionCode"]), fields["disable"], fields["antifeatures"]})
	}
	return m, nil
}

// asText is what a value was written as, as nearly as YAML tells.
func asText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	return fmt.Sprint(v)
}

func asList(v any) []string {
	list, ok := v.([]any)
	if !ok && v != nil {
		list = []any{v}
	}
	var out []string
	for _, one := range list {
		out = append(out, asText(one))
	}
	return out
}

func asNumber(v any) int64 {
	n, err := strconv.ParseInt(asText(v), 0, 64)
	if err != nil {
		return 0
	}
	return n
}

// asMap reads anti-features, which are written as one name, a list of them, or
// with what there is to say of each, in one language or several.
func asMap(v any) map[string]fdroid.Text {
	out := map[string]fdroid.Text{}
	add := func(name string, v any) {
		t := fdroid.Text{}
		switch v := v.(type) {
		case nil:
		case map[string]any:
			for locale, s := range v {
				t[locale] = asText(s)
			}
		default:
			if s := asText(v); s != "" {
				t[fdroid.DefaultLocale] = s
			}
		}
		out[name] = t
	}
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for name, s := range v {
			add(name, s)
		}
	case []any:
		for _, one := range v {
			if m, ok := one.(map[string]any); ok {
				for name, s := range m {
					add(name, s)
				}
				continue
			}
			add(asText(one), nil)
		}
	default:
		add(asText(v), nil)
	}
	return out
}

func (m *metadata) build(code int64) *build {
	for i := range m.Builds {
		if m.Builds[i].VersionCode == code {
			return &m.Builds[i]
		}
	}
	return nil
}

func (m *metadata) versionName(code int64) string {
	if b := m.build(code); b != nil {
		return b.VersionName
	}
	return ""
}

func (m *metadata) disabled(code int64) bool {
	b := m.build(code)
	return b != nil && b.Disable != nil && b.Disable != false && b.Disable != ""
}

// metadatas reads all of them, by package.
func (r *reader) metadatas() (map[string]*metadata, error) {
	list, err := fs.ReadDir(r.fs, "metadata")
	if err != nil {
		return nil, err
	}
	out := map[string]*metadata{}
	for _, e := range list {
		pkg, extension := ext(e.Name())
		if extension != "yml" || e.IsDir() {
			continue
		}
		name := "metadata/" + e.Name()
		b, err := r.read(name, maxText)
		if err != nil {
			return nil, err
		}
		m, err := parseMetadata(b)
		if err != nil {
			r.problem(name, fmt.Sprintf("it cannot be read: %v", err))
			continue
		}
		out[pkg] = m
	}
	return out, nil
}

// config reads config.yml, which may be missing.
func (r *reader) config() error {
	b, err := r.read("config.yml", maxText)
	if err != nil {
		return err
	}
	var c struct {
		Name        string `yaml:"repo_name"`
		Description string `yaml:"repo_description"`
		Address     string `yaml:"repo_url"`
		Mirrors     any    `yaml:"mirrors"`
	}
	if err := strictyaml.Loose(b, &c); err != nil {
		return fmt.Errorf("migrate: config.yml: %w", err)
	}
	r.out.Name, r.out.Description, r.out.Address = c.Name, c.Description, c.Address
	list, ok := c.Mirrors.([]any)
	if !ok && c.Mirrors != nil {
		list = []any{c.Mirrors}
	}
	for _, m := range list {
		if fields, ok := m.(map[string]any); ok {
			m = fields["url"]
		}
		r.out.Mirrors = append(r.out.Mirrors, asText(m))
	}
	return nil
}
