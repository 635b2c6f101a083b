package targetfiles

import (
	"fmt"
	"slices"
	"strings"
)

// An attrTable is a file of lines of name="value" pairs.
type attrTable struct {
	file     string
	required []string
	optional []string
	lines    []string
	rows     []attrRow
}

type attrRow struct {
	line   int   // in lines
	off    int64 // of the line in the file
	names  []string
	values []string
}

func (r *attrRow) get(name string) string {
	if i := slices.Index(r.names, name); i >= 0 {
		return r.values[i]
	}
	return ""
}

// parseAttrTable reads a table. Empty lines and comments are kept; a line that
// is none of these and lacks a required attribute, has one twice or one that is
// in neither list is an error.
func parseAttrTable(b []byte, file string, required, optional []string) (*attrTable, error) {
	lines, err := splitLines(b)
	if err != nil {
		return nil, err
	}
	t := &attrTable{file: file, required: required, optional: optional, lines: lines}
	var off int64
	for i, text := range lines {
		if trimmed := strings.TrimSpace(text); trimmed != "" && trimmed[0] != '#' {
			r, msg := t.parseRow(trimmed)
			if msg != "" {
				return nil, &FormatError{file, off, fmt.Sprintf("line %d: %s", i+1, msg)}
			}
			r.line, r.off = i, off
			t.rows = append(t.rows, r)
		}
		off += int64(len(text)) + 1
	}
	return t, nil
}

func (t *attrTable) parseRow(text string) (r attrRow, msg string) {
	for text != "" {
		name, rest, ok := strings.Cut(text, `="`)
		value, rest, ok2 := strings.Cut(rest, `"`)
		switch {
		case !ok || !ok2:
			return r, fmt.Sprintf(`%q is not NAME="VALUE"`, text)
		case !slices.Contains(t.required, name) && !slices.Contains(t.optional, name):
			return r, fmt.Sprintf("%q is no attribute of this file", name)
		case slices.Contains(r.names, name):
			return r, fmt.Sprintf("%q twice", name)
		case rest != "" && rest[0] != ' ' && rest[0] != '\t':
			return r, fmt.Sprintf("no space behind %s", name)
		}
		r.names, r.values = append(r.names, name), append(r.values, value)
		text = strings.TrimLeft(rest, " \t")
	}
	for _, name := range t.required {
		if !slices.Contains(r.names, name) {
			return r, fmt.Sprintf("%s is missing", name)
		}
	}
	return r, ""
}

// bytes returns the file with these values, in the order of required and
// optional: those of rows[i] in the place of t.rows[i], later ones at the end.
func (t *attrTable) bytes(rows [][]string) []byte {
	lines := slices.Clone(t.lines)
	names := append(slices.Clone(t.required), t.optional...)
	dropped := make(map[int]bool)
	var added []string
	for i, values := range rows {
		if i >= len(t.rows) {
			added = append(added, t.format(names, values, nil))
			continue
		}
		r := &t.rows[i]
		if !slices.EqualFunc(names, values, func(n, v string) bool { return r.get(n) == v }) {
			lines[r.line] = t.format(names, values, r)
		}
	}
	for _, r := range t.rows[min(len(rows), len(t.rows)):] {
		dropped[r.line] = true
	}
	var out []string
	for i, l := range lines {
		if !dropped[i] {
			out = append(out, l)
		}
	}
	if n := len(out); n > 0 && out[n-1] == "" {
		out = append(out[:n-1], append(added, "")...)
	} else {
		out = append(out, added...)
	}
	return []byte(strings.Join(out, "\n"))
}

// format writes a row. Optional attributes that are empty are left out, unless
// the row had them.
func (t *attrTable) format(names, values []string, r *attrRow) string {
	var b strings.Builder
	for i, name := range names {
		if values[i] == "" && i >= len(t.required) && (r == nil || !slices.Contains(r.names, name)) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, `%s="%s"`, name, values[i])
	}
	return b.String()
}
