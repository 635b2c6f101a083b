package targetfiles

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Dict is a text file of KEY=VALUE lines: misc_info.txt, a build.prop. Of
// several lines with one key the last counts, as it does for releasetools
// (common.py, LoadDictionaryFromLines). All other lines are kept.
type Dict struct {
	lines []line
	last  map[string]int // of a key: the line that counts
	props bool
}

type line struct {
	text  string // as it stands in the file, without the newline
	key   string // "" if it is no such line
	value string
}

// ParseDict reads a file such as META/misc_info.txt.
func ParseDict(b []byte) (*Dict, error) { return parseDict(b, false) }

// ParseProps reads a build.prop, default.prop or prop.default. Lines with import
// are not properties.
func ParseProps(b []byte) (*Dict, error) { return parseDict(b, true) }

func parseDict(b []byte, props bool) (*Dict, error) {
	lines, err := splitLines(b)
	if err != nil {
		return nil, err
	}
	d := &Dict{lines: make([]line, len(lines)), last: make(map[string]int), props: props}
	for i, text := range lines {
		d.lines[i] = line{text: text}
		trimmed := strings.TrimSpace(text)
		if trimmed == "" || trimmed[0] == '#' || props && isImport(trimmed) {
			continue
		}
		if k, v, ok := strings.Cut(trimmed, "="); ok && strings.TrimSpace(k) != "" {
			d.lines[i].key, d.lines[i].value = strings.TrimSpace(k), strings.TrimSpace(v)
			d.last[d.lines[i].key] = i
		}
	}
	return d, nil
}

func isImport(text string) bool {
	return strings.HasPrefix(text, "import ") || strings.HasPrefix(text, "import\t")
}

// splitLines splits a text at newlines: joined with them it is the text again.
func splitLines(b []byte) ([]string, error) {
	if len(b) > maxText {
		return nil, &FormatError{Msg: fmt.Sprintf("a text of %d bytes; at most %d are read", len(b), maxText)}
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || r == 0 {
			return nil, &FormatError{Off: int64(i), Msg: fmt.Sprintf("byte %#02x is not of a text", b[i])}
		}
		i += n
	}
	return strings.Split(string(b), "\n"), nil
}

// Get returns the value of a key, or "".
func (d *Dict) Get(key string) string {
	v, _ := d.Lookup(key)
	return v
}

// Lookup returns the value of a key and whether there is one.
func (d *Dict) Lookup(key string) (string, bool) {
	i, ok := d.last[key]
	if !ok {
		return "", false
	}
	return d.lines[i].value, true
}

// Fields returns the words of a value, which spaces part.
func (d *Dict) Fields(key string) []string { return strings.Fields(d.Get(key)) }

// Bool says whether the value of a key is "true".
func (d *Dict) Bool(key string) bool { return d.Get(key) == "true" }

// Int returns the value of a key as a number, in the notation of Go and Python
// (0x10), or def if the key is not there or empty.
func (d *Dict) Int(key string, def int64) (int64, error) {
	v := d.Get(key)
	if v == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("targetfiles: %s=%s: not a number", key, v)
	}
	return n, nil
}

// All iterates over all keys and the values that count, in the order of the
// lines that count.
func (d *Dict) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, l := range d.lines {
			if l.key != "" && d.last[l.key] == i && !yield(l.key, l.value) {
				return
			}
		}
	}
}

// Set changes every line of that key that says something else, or adds one at
// the end.
func (d *Dict) Set(key, value string) {
	if _, ok := d.last[key]; !ok {
		d.insert(line{text: key + "=" + value, key: key, value: value})
		return
	}
	for i := range d.lines {
		if l := &d.lines[i]; l.key == key && l.value != value {
			*l = line{text: key + "=" + value, key: key, value: value}
		}
	}
}

// insert adds a line behind the last that is not empty.
func (d *Dict) insert(l line) {
	at := len(d.lines)
	if at > 0 && d.lines[at-1].text == "" {
		at-- // the text ends with a newline, and shall go on to do so
	}
	d.lines = append(d.lines[:at], append([]line{l}, d.lines[at:]...)...)
	d.last[l.key] = at
}

// Delete removes all lines of that key.
func (d *Dict) Delete(key string) {
	kept := d.lines[:0]
	for _, l := range d.lines {
		if l.key != key || key == "" {
			kept = append(kept, l)
		}
	}
	d.lines = kept
	clear(d.last)
	for i, l := range d.lines {
		if l.key != "" {
			d.last[l.key] = i
		}
	}
}

// An Import is a line of a build.prop that reads another file in its place.
type Import struct {
	Path   string // on the device; may hold ${ro.boot.x}
	Prefix string // only properties that begin with it, perhaps with * at the end; "": all
}

// Imports returns the import lines of a file that ParseProps read.
func (d *Dict) Imports() []Import {
	var out []Import
	for _, l := range d.lines {
		f := strings.Fields(l.text)
		switch {
		case !d.props || len(f) < 2 || f[0] != "import":
		case len(f) == 2:
			out = append(out, Import{Path: f[1]})
		case len(f) == 3:
			out = append(out, Import{Path: f[1], Prefix: f[2]})
		}
	}
	return out
}

// Bytes returns the file.
func (d *Dict) Bytes() []byte {
	texts := make([]string, len(d.lines))
	for i, l := range d.lines {
		texts[i] = l.text
	}
	return []byte(strings.Join(texts, "\n"))
}
