package boot

import (
	"slices"
	"strings"
)

// An option is one key=value of a kernel command line.
type option struct{ key, value string }

// kept are options that only this loader and AVB may set: those of its own
// command line are not handed on.
var kept = []string{"androidboot.vbmeta.", "androidboot.verity", "androidboot.verifiedbootstate", "androidboot.slot_suffix", "androidboot.boottime"}

// commandLine returns the command line for a slot's kernel: the boot image's
// own, AVB's, the loader's options, and those androidboot.* of the loader's own
// command line that neither AVB nor the loader must set. The loader's own
// command line wins over its options.
func commandLine(image, avb, own string, options []option) string {
	handed := ownOptions(own, avb)
	words := []string{image, avb}
	for _, o := range options {
		same := func(h option) bool { return h.key == o.key }
		if !slices.ContainsFunc(handed, same) && o.value != "" {
			handed = append(handed, o)
		}
	}
	for _, o := range handed {
		words = append(words, o.key+"="+o.value)
	}
	return strings.TrimSpace(strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
}

// ownOptions returns those options of the loader's own command line that are
// handed on, in the order of the keys' first appearance; the last value of a
// key counts.
func ownOptions(own, avb string) []option {
	var handed []option
	for _, w := range split(own) {
		key, v, ok := strings.Cut(w, "=")
		held := slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(key, k) }) ||
			slices.ContainsFunc(split(avb), func(w string) bool { return strings.HasPrefix(w, key+"=") })
		if !ok || !strings.HasPrefix(key, "androidboot.") || held {
			continue
		}
		i := slices.IndexFunc(handed, func(h option) bool { return h.key == key })
		if i < 0 {
			handed = append(handed, option{key, v})
		} else {
			handed[i].value = v
		}
	}
	return handed
}

// split returns the words of a command line. Spaces between double quotes
// belong to a word, as the kernel has it.
func split(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	})
}

// value returns the value of a key on a command line, the last one's, or "".
func value(line, key string) string {
	v := ""
	for _, w := range split(line) {
		if k, s, _ := strings.Cut(w, "="); k == key {
			v = strings.Trim(s, `"`)
		}
	}
	return v
}
