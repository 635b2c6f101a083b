package google

import (
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"mios"
	"mios/internal/strictyaml"
)

//go:embed markers.yaml
var markersYAML []byte

// Markers are what shows that an app uses a service. The file that they are read
// from, and its fields, are described in docs/checks.md.
type Markers struct {
	Version   int       `yaml:"version"`
	Libraries []string  `yaml:"libraries"` // packages of Google's own client code
	Asks      []string  `yaml:"asks"`      // classes that say whether Google's services are there
	Services  []*marker `yaml:"services"`
}

// A marker is one service. Names that end in "." or "*" are beginnings.
type marker struct {
	ID      string  `yaml:"id"`
	Name    string  `yaml:"name"`
	Without Verdict `yaml:"without"` // of an app that calls it and has to do without
	Says    string  `yaml:"says"`
	Instead string  `yaml:"instead"`

	Classes       []string `yaml:"classes"`        // of the client library
	Components    []string `yaml:"components"`     // classes of components in the manifest
	Actions       []string `yaml:"actions"`        // of intents, in filters and queries
	Permissions   []string `yaml:"permissions"`    // that the app asks for
	MetaData      []string `yaml:"meta_data"`      // names
	UsesLibraries []string `yaml:"uses_libraries"` // of the platform; a required one is a use
	Strings       []string `yaml:"strings"`        // in code, where a shrinker has renamed the classes
	Resources     []string `yaml:"resources"`      // "string/google_app_id"
	Files         []string `yaml:"files"`          // patterns of path.Match
	Brings        []string `yaml:"brings"`         // the same: with one of them the app does not need the service
}

// builtIn are the markers that come with the program.
var builtIn = sync.OnceValues(func() (*Markers, error) { return ParseMarkers(markersYAML) })

// ParseMarkers reads a list of markers. Errors wrap [mios.ErrInvalid].
func ParseMarkers(b []byte) (*Markers, error) {
	m := new(Markers)
	err := strictyaml.Unmarshal(b, m)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("markers: %w", err)
	}
	return m, nil
}

func (m *Markers) check() error {
	if m.Version < 1 || len(m.Services) == 0 {
		return fmt.Errorf("no version or no services: %w", mios.ErrInvalid)
	}
	ids := make(map[string]bool)
	for _, s := range m.Services {
		if s == nil || s.ID == "" || s.Name == "" || s.Says == "" || s.Instead == "" || ids[s.ID] {
			return fmt.Errorf("service %+v: id, name, says and instead have to be there, and an id once: %w", s, mios.ErrInvalid)
		}
		ids[s.ID] = true
		if !slices.Contains([]Verdict{Works, Partly, Fails}, s.Without) {
			return fmt.Errorf("service %s: without %q: want %q, %q or %q: %w", s.ID, s.Without, Works, Partly, Fails, mios.ErrInvalid)
		}
		for _, pattern := range slices.Concat(s.Files, s.Brings) {
			if _, err := path.Match(pattern, ""); errors.Is(err, path.ErrBadPattern) {
				return fmt.Errorf("service %s: pattern %q: %w", s.ID, pattern, mios.ErrInvalid)
			}
		}
	}
	return nil
}

// names finds which of many names or beginnings of names a text is or begins
// with: the longest one.
type names[T any] struct {
	of     map[string]T
	begins []string // the longest first
}

func (n *names[T]) add(list []string, v T) {
	if n.of == nil {
		n.of = make(map[string]T)
	}
	for _, name := range list {
		if begin, ok := strings.CutSuffix(name, "*"); ok {
			name = begin
			n.begins = append(n.begins, name)
		} else if strings.HasSuffix(name, ".") {
			n.begins = append(n.begins, name)
		}
		n.of[name] = v
	}
	slices.SortFunc(n.begins, func(a, b string) int { return len(b) - len(a) })
}

func (n *names[T]) find(text string) (v T, ok bool) {
	if v, ok = n.of[text]; ok {
		return v, true
	}
	for _, begin := range n.begins {
		if strings.HasPrefix(text, begin) {
			return n.of[begin], true
		}
	}
	return v, false
}
