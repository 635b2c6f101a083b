package aosp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// contexts says which SELinux label a file of a device has: the file_contexts
// of the build's policy, as libselinux reads them (label_file.c): of all lines
// that match, the last counts, but lines without a pattern before those with
// one.
type contexts struct{ rules []contextRule }

type contextRule struct {
	re    *regexp.Regexp // nil: exact is the path
	exact string
	kind  fs.FileMode // type of file; any, if typed is not set
	typed bool
	label string
}

// contextFiles are the policy's, as text, in the order in which they count.
var contextFiles = []string{
	"SYSTEM/etc/selinux/plat_file_contexts", "SYSTEM_EXT/etc/selinux/system_ext_file_contexts", "PRODUCT/etc/selinux/product_file_contexts",
	"VENDOR/etc/selinux/vendor_file_contexts", "ODM/etc/selinux/odm_file_contexts",
}

func readContexts(src *source) (*contexts, error) {
	c := &contexts{}
	for _, name := range contextFiles {
		b, err := src.readAll(name, maxText)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = c.parse(b)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

// contextKinds are the types of files in a line.
var contextKinds = map[string]fs.FileMode{
	"--": 0, "-d": fs.ModeDir, "-l": fs.ModeSymlink, "-b": fs.ModeDevice, "-c": fs.ModeDevice | fs.ModeCharDevice, "-p": fs.ModeNamedPipe, "-s": fs.ModeSocket,
}

func (c *contexts) parse(b []byte) error {
	s := bufio.NewScanner(bytes.NewReader(b))
	for line := 1; s.Scan(); line++ {
		f := strings.Fields(s.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		r := contextRule{label: f[len(f)-1]}
		switch {
		case len(f) == 3:
			kind, ok := contextKinds[f[1]]
			if !ok {
				return fmt.Errorf("line %d: %q is no type of file", line, f[1])
			}
			r.kind, r.typed = kind, true
		case len(f) != 2:
			return fmt.Errorf("line %d: want a path, perhaps a type of file, and a label", line)
		}
		if r.label == "<<none>>" {
			r.label = ""
		}
		if plain, ok := unescape(f[0]); ok {
			r.exact = plain
		} else if re, err := regexp.Compile("^(?:" + f[0] + ")$"); err == nil {
			r.re = re
		} else {
			return fmt.Errorf("line %d: %w", line, err)
		}
		c.rules = append(c.rules, r)
	}
	return s.Err()
}

// unescape returns the path that a pattern stands for, if it has nothing but
// escaped characters.
func unescape(p string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '\\' && i+1 < len(p) && strings.IndexByte(`.^$?*+|[](){}-`, p[i+1]) >= 0:
			i++
			b.WriteByte(p[i])
		case strings.IndexByte(`.^$?*+|[](){}\`, p[i]) >= 0:
			return "", false
		default:
			b.WriteByte(p[i])
		}
	}
	return b.String(), true
}

// label returns the label of a path as on a device, or "".
func (c *contexts) label(name string, mode fs.FileMode) string {
	for _, exact := range []bool{true, false} {
		for i := len(c.rules) - 1; i >= 0; i-- {
			r := &c.rules[i]
			if (r.re == nil) != exact || r.typed && r.kind != mode.Type() {
				continue
			}
			if exact && r.exact == name || !exact && r.re.MatchString(name) {
				return r.label
			}
		}
	}
	return ""
}
