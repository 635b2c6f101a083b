package sign

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"mios"
)

// editTags returns a build's tags, as "dev-keys,userdebug", with changes made,
// sorted (releasetools, EditTags).
func editTags(tags string, changes []string) string {
	list := strings.Split(tags, ",")
	for _, c := range changes {
		name := c[1:]
		list = slices.DeleteFunc(list, func(s string) bool { return s == name })
		if c[0] == '+' {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

// checkTags reports whether each change is a tag with + or - before it.
func checkTags(changes []string) error {
	for _, c := range changes {
		if len(c) < 2 || c[0] != '+' && c[0] != '-' || strings.ContainsAny(c[1:], "+, \t\n/") {
			return fmt.Errorf("tag change %q: %w: want such as -dev-keys or +release-keys", c, mios.ErrInvalid)
		}
	}
	return nil
}

// rewriteProperties returns a file of properties with the tags changed wherever
// they stand (releasetools, RewriteProps). Lines that do not change stay byte
// for byte.
func rewriteProperties(b []byte, tags []string) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		key, value, ok := strings.Cut(text, "=")
		if !ok || strings.HasPrefix(text, "#") {
			out.Write(line)
			continue
		}
		now := rewriteProperty(key, value, tags)
		if now == value {
			out.Write(line)
			continue
		}
		out.WriteString(key + "=" + now)
		if bytes.HasSuffix(line, []byte("\n")) {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

func rewriteProperty(key, value string, tags []string) string {
	ro := strings.HasPrefix(key, "ro.")
	switch {
	case ro && (strings.HasSuffix(key, ".build.fingerprint") || strings.HasSuffix(key, ".build.thumbprint")):
		return rewriteFingerprint(value, tags)
	case key == "ro.build.description":
		at := strings.LastIndexByte(value, ' ') + 1
		if !strings.HasSuffix(value, "-keys") {
			return value
		}
		return value[:at] + editTags(value[at:], tags)
	case ro && strings.HasSuffix(key, ".build.tags"):
		return editTags(value, tags)
	case key == "ro.build.display.id":
		words := strings.Fields(value) // "JWR66N dev-keys" becomes "JWR66N"
		if len(words) > 1 && strings.HasSuffix(words[len(words)-1], "-keys") {
			return strings.Join(words[:len(words)-1], " ")
		}
	}
	return value
}

// rewriteFingerprint changes the tags at the end of a fingerprint,
// "brand/name/device:14/ID/1:user/dev-keys".
func rewriteFingerprint(s string, tags []string) string {
	at := strings.LastIndexByte(s, '/') + 1
	if at == 0 || !strings.HasSuffix(s, "-keys") {
		return s
	}
	return s[:at] + editTags(s[at:], tags)
}

// A certMap says which certificate, in DER, takes the place of one.
type certMap struct {
	list []struct{ old, new []byte }
}

// add adds a pair; of one certificate the first new one counts.
func (m *certMap) add(old, now []byte) {
	if len(old) == 0 || m.find(old) != nil {
		return
	}
	m.list = append(m.list, struct{ old, new []byte }{old, now})
}

func (m *certMap) find(old []byte) []byte {
	for _, p := range m.list {
		if bytes.Equal(p.old, old) {
			return p.new
		}
	}
	return nil
}
