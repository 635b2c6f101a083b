package initd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mios/format/initrc"
)

func location(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// load reads a script, or all *.rc of a folder, and then what they import, as
// AOSP does. What is wrong in them is returned, what is right is in effect.
func (d *Device) load(path string) error {
	fi, err := os.Stat(d.path(path))
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return d.loadFile(path)
	}
	names, err := filepath.Glob(filepath.Join(d.path(path), "*.rc"))
	if err != nil {
		return err
	}
	// init.rc comes first: its actions run before those of the others.
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case filepath.Base(a) == "init.rc":
			return -1
		case filepath.Base(b) == "init.rc":
			return 1
		case a < b:
			return -1
		}
		return 1
	})
	var errs []error
	for _, n := range names {
		errs = append(errs, d.loadFile(filepath.Join(path, filepath.Base(n))))
	}
	return errors.Join(errs...)
}

func (d *Device) loadFile(path string) error {
	if d.loaded[path] {
		return nil
	}
	d.loaded[path] = true
	src, err := os.ReadFile(d.path(path))
	if err != nil {
		return err
	}
	script, err := initrc.Parse(path, src)
	errs := []error{err, script.Check()}
	d.queue.add(script.Actions)
	for i := range script.Services {
		s := &script.Services[i]
		for _, c := range s.Ignored {
			if c.Args[0] != "seclabel" {
				d.log.Debug("option is ignored", "option", c.Args[0], "at", location(path, c.Line))
			}
		}
		errs = append(errs, d.services.add(s))
	}
	for _, i := range script.Imports {
		target, err := expand(i.Path, d.Props.Get)
		if err == nil {
			err = d.load(target)
		}
		if errors.Is(err, fs.ErrNotExist) {
			d.log.Info("import is not there", "path", target, "at", location(path, i.Line))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: import %s: %w", location(path, i.Line), i.Path, err))
		}
	}
	return errors.Join(errs...)
}
