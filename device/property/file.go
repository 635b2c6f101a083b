package property

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios"
)

// ParseFile reads a file such as build.prop: NAME=VALUE lines, blanks around
// both are taken away, # starts a comment line. A name that stands twice keeps
// the later value, as in AOSP. Names that do something when they are set
// (ctl., sys.powerctl) are refused. What is right is returned also beside an
// error, which names all lines that are wrong.
func ParseFile(r io.Reader) ([]Property, error) {
	var list []Property
	var errs []error
	at := make(map[string]int)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(text, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		err := error(nil)
		switch {
		case !ok:
			err = fmt.Errorf("%w: no = in %.80q", mios.ErrInvalid, text)
		case strings.HasPrefix(name, "ctl.") || name == PowerControl:
			err = fmt.Errorf("%s: %w in a file", name, mios.ErrDenied)
		default:
			err = errors.Join(CheckName(name), CheckValue(name, value))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		if i, twice := at[name]; twice {
			list[i].Value = value
			continue
		}
		at[name] = len(list)
		list = append(list, Property{name, value})
	}
	return list, errors.Join(append(errs, lines.Err())...)
}

// Load sets all properties of a file as [ParseFile] reads it. It goes on after
// an error.
func (s *Store) Load(r io.Reader) error {
	list, err := ParseFile(r)
	for _, p := range list {
		err = errors.Join(err, s.Set(p.Name, p.Value))
	}
	return err
}
