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

func isKept(key string) bool {
	return slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(key, k) })
}

// commandLine returns the command line for a slot's kernel: the boot image's
// own, AVB's, those androidboot.* of the loader's own command line that nobody
// has set and that are not kept, and the loader's options. No androidboot.* is
// set twice, for the first stage refuses that, unless the boot image sets one
// that the loader keeps: then it shall refuse.
func commandLine(image, avb, own string, options []option) string {
	var set []option
	for _, w := range append(split(image), split(avb)...) {
		key, v, _ := strings.Cut(w, "=")
		set = append(set, option{key, v})
	}
	has := func(list []option, key string) bool {
		return slices.ContainsFunc(list, func(o option) bool { return o.key == key })
	}
	var added []option
	for _, o := range ownOptions(own) {
		if !has(set, o.key) {
			added = append(added, o)
		}
	}
	for _, o := range options {
		if o.value != "" && !has(added, o.key) && (isKept(o.key) || !has(set, o.key)) {
			added = append(added, o)
		}
	}
	words := []string{strings.TrimSpace(image), strings.TrimSpace(avb)}
	for _, o := range added {
		words = append(words, o.key+"="+o.value)
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// ownOptions returns those options of the loader's own command line that may
// be handed on, in the order of the keys' first appearance; the last value of
// a key counts.
func ownOptions(own string) []option {
	var handed []option
	for _, w := range split(own) {
		key, v, ok := strings.Cut(w, "=")
		if !ok || !strings.HasPrefix(key, "androidboot.") || isKept(key) {
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
