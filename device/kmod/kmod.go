// Package kmod loads kernel modules. It does not look for dependencies or
// aliases: whoever builds the image lists the modules in the order in which
// they load.
package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ListName is the list's name in the modules' folder, as in AOSP: a path
// relative to the folder on each line; empty lines and those that begin with #
// are skipped.
const ListName = "modules.load"

// DepName is the name of the list of what each module of the first list needs,
// "a.ko: b.ko c.ko" a line. It may be missing.
const DepName = "modules.dep"

// errUnknownSymbol is what the kernel's ENOENT means for a module.
var errUnknownSymbol = errors.New("it uses a symbol that the kernel does not have: list the modules that it needs before it")

// LoadAll loads the modules that the list in the folder dir names, in their
// order; where the folder has the list of what each one needs, beside each other
// and each one after those. One that is in the kernel already is fine, and one
// that cannot be loaded does not keep the others from being tried: the error
// names each. Root only.
func LoadAll(dir string) error {
	return loadAll(dir, func(f *os.File) error { return initModule(f, "") })
}

func loadAll(dir string, init func(f *os.File) error) error {
	list, err := os.ReadFile(filepath.Join(dir, ListName))
	if err != nil {
		return fmt.Errorf("kernel modules: %w", err)
	}
	dep, err := os.ReadFile(filepath.Join(dir, DepName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("kernel modules: %w", err)
	}
	names := parseList(list)
	after := order(names, dep, err == nil)
	errs, done := make([]error, len(names)), make([]chan struct{}, len(names))
	for i := range done {
		done[i] = make(chan struct{})
	}
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			defer close(done[i])
			for _, j := range after[i] {
				<-done[j]
			}
			turns <- struct{}{}
			defer func() { <-turns }()
			errs[i] = loadListed(dir, name, init)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func loadListed(dir, name string, init func(f *os.File) error) error {
	err := errors.New("not in " + dir)
	if filepath.IsLocal(name) {
		err = load(filepath.Join(dir, name), init)
	}
	if err != nil {
		return fmt.Errorf("kernel module %s: %w", name, err)
	}
	return nil
}

// order returns for each of the names which ones before it, by their indexes,
// it has to wait for: those that the second list names, or, without one, the one
// before it.
func order(names []string, dep []byte, known bool) [][]int {
	needs, at, after := make(map[string][]string), make(map[string]int), make([][]int, len(names))
	for _, line := range parseList(dep) {
		name, list, _ := strings.Cut(line, ":")
		needs[name] = strings.Fields(list)
	}
	for i, name := range names {
		if !known && i > 0 {
			after[i] = []int{i - 1}
		}
		for _, n := range needs[name] {
			if j, ok := at[n]; ok { // one behind it is not waited for: two would wait for each other
				after[i] = append(after[i], j)
			}
		}
		at[name] = i
	}
	return after
}

func parseList(b []byte) (names []string) {
	for line := range strings.Lines(string(b)) {
		if name := strings.TrimSpace(line); name != "" && name[0] != '#' {
			names = append(names, name)
		}
	}
	return names
}

func load(path string, init func(f *os.File) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := init(f); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// Load loads the module in the file at path, with parameters NAME=VALUE that
// blanks divide.
func Load(path, params string) error {
	if err := load(path, func(f *os.File) error { return initModule(f, params) }); err != nil {
		return fmt.Errorf("kernel module %s: %w", path, err)
	}
	return nil
}

// initModule gives the module to the kernel, which decompresses it if its name
// says so and the kernel can.
func initModule(f *os.File, params string) error {
	flags := 0
	switch filepath.Ext(f.Name()) {
	case ".xz", ".gz", ".zst":
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err := unix.FinitModule(int(f.Fd()), params, flags)
	if errors.Is(err, unix.ENOENT) { // the file is there: it is open
		return errUnknownSymbol
	}
	return err
}
