package debian

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// A Module is a kernel module that can be loaded with finit_module.
type Module struct {
	Name string // as lsmod prints it, with underscores: dm_verity
	Path string // below the module folder: kernel/drivers/md/dm-verity.ko
	Data []byte // the ELF file, signature included
	// Needs are the names of those that are to be loaded before it, of what it
	// names itself: not what those need in turn.
	Needs []string
}

// aliasTable gives the modules that an exact alias stands for, sorted.
type aliasTable map[string][]string

// maxModinfo bounds a module's .modinfo section: Debian's largest are the
// alias lists of some drivers, 50 KiB.
const maxModinfo = 1 << 20

// moduleName returns what a module at a path is called in the kernel.
func moduleName(p string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(p), ".ko"), "-", "_")
}

// listModules finds the modules and what is built in. Debian's packages have
// no modules.dep: depmod makes it where they are installed.
func (k *Kernel) listModules() error {
	k.root = "lib/modules/" + k.Release + "/"
	if _, usr := k.files.files["usr/"+k.root+"modules.builtin"]; usr {
		k.root = "usr/" + k.root
	}
	k.paths = make(map[string]string)
	for name := range k.files.files {
		if strings.HasPrefix(name, k.root) && strings.HasSuffix(name, ".ko") {
			k.paths[moduleName(name)] = name
		}
	}
	if len(k.paths) == 0 {
		return fmt.Errorf("no modules below %s", k.root)
	}
	list, err := k.files.read(k.root + "modules.builtin")
	if err != nil {
		return err
	}
	k.builtin = make(map[string]bool)
	for line := range strings.Lines(string(list)) {
		k.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	info, err := k.files.read(k.root + "modules.builtin.modinfo")
	if err != nil {
		return err
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		if _, field, _ := strings.Cut(key, "."); field == "alias" {
			k.builtin[strings.ReplaceAll(value, "-", "_")] = true
		}
	}
	return nil
}

// Builtin says whether a module, or what an alias stands for, is part of the
// image.
func (k *Kernel) Builtin(name string) bool {
	return k.builtin[strings.ReplaceAll(name, "-", "_")]
}

// Modules returns the named modules and all that they need, in the order in
// which they are to be loaded. A name may have dashes or underscores. What is
// built into the kernel is left out, and so is a soft dependency that something
// built in answers; an unknown name is an error.
func (k *Kernel) Modules(names ...string) ([]Module, error) {
	l := &loadOrder{k: k, state: make(map[string]int), needs: make(map[string][]string)}
	for _, name := range names {
		if err := l.add(strings.ReplaceAll(name, "-", "_")); err != nil {
			return nil, err
		}
	}
	out := make([]Module, len(l.order))
	for i, name := range l.order {
		data, err := k.files.read(k.paths[name])
		if err != nil {
			return nil, err
		}
		out[i] = Module{name, strings.TrimPrefix(k.paths[name], k.root), data, l.needs[name]}
	}
	return out, nil
}

// loadOrder sorts modules so that each comes after what it needs.
type loadOrder struct {
	k     *Kernel
	order []string
	state map[string]int      // 1: its dependencies are being added, 2: added
	needs map[string][]string // see Module.Needs
}

func (l *loadOrder) add(name string) error {
	if l.state[name] != 0 { // a circle of soft dependencies ends here too
		return nil
	}
	p, ok := l.k.paths[name]
	switch {
	case !ok && l.k.builtin[name]:
		return nil
	case !ok:
		return fmt.Errorf("kernel %s: no module %q: check its name, or take a kernel that has it", l.k.Release, name)
	}
	l.state[name] = 1
	info, err := readModinfo(l.k.files.files[p])
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	pre, post := splitSoftdep(info["softdep"])
	needs, err := l.addSoft(pre)
	if err != nil {
		return err
	}
	for _, deps := range info["depends"] {
		for dep := range strings.SplitSeq(deps, ",") {
			if dep == "" {
				continue
			}
			dep = strings.ReplaceAll(dep, "-", "_")
			if err := l.add(dep); err != nil {
				return fmt.Errorf("%s needs: %w", name, err)
			}
			needs = append(needs, dep)
		}
	}
	l.order, l.needs[name] = append(l.order, name), needs
	l.state[name] = 2
	_, err = l.addSoft(post)
	return err
}

// addSoft adds soft dependencies: names of modules or aliases, none of which
// has to exist. It returns the modules that they stand for.
func (l *loadOrder) addSoft(names []string) (modules []string, err error) {
	for _, name := range names {
		name = strings.ReplaceAll(name, "-", "_")
		if l.k.builtin[name] {
			continue
		}
		list := []string{name}
		if _, ok := l.k.paths[name]; !ok {
			aliases, err := l.k.aliases()
			if err != nil {
				return nil, err
			}
			list = aliases[name]
		}
		for _, m := range list {
			if err := l.add(m); err != nil {
				return nil, err
			}
		}
		modules = append(modules, list...)
	}
	return modules, nil
}

// readAliases reads the exact aliases of all modules.
func (k *Kernel) readAliases() (aliasTable, error) {
	t := make(aliasTable)
	for name, p := range k.paths {
		info, err := readModinfo(k.files.files[p])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		for _, a := range info["alias"] {
			if !strings.ContainsAny(a, "*?[") {
				a = strings.ReplaceAll(a, "-", "_")
				t[a] = append(t[a], name)
			}
		}
	}
	for _, names := range t {
		slices.Sort(names)
	}
	return t, nil
}

// splitSoftdep reads softdep entries: "pre: a b post: c".
func splitSoftdep(entries []string) (pre, post []string) {
	for _, e := range entries {
		var to *[]string
		for word := range strings.FieldsSeq(e) {
			switch {
			case word == "pre:":
				to = &pre
			case word == "post:":
				to = &post
			case to != nil:
				*to = append(*to, word)
			}
		}
	}
	return pre, post
}

// readModinfo returns the entries of a module's .modinfo section by key.
func readModinfo(r io.ReaderAt) (map[string][]string, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil || s.Size > maxModinfo {
		return nil, fmt.Errorf("no .modinfo section of at most %d bytes", maxModinfo)
	}
	b, err := s.Data()
	if err != nil {
		return nil, err
	}
	info := make(map[string][]string)
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if key, value, ok := strings.Cut(string(entry), "="); ok {
			info[key] = append(info[key], value)
		}
	}
	return info, nil
}
