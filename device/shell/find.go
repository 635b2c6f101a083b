package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A finder is a call of find: tests, all of which must hold, and what to do.
type finder struct {
	tests      []func(name string, d fs.DirEntry) bool
	act        func(name string) error
	least, max int // depth
}

// findFiles walks folders. It knows no parentheses and no -o.
func findFiles(ctx context.Context, e *Env, args []string) error {
	var roots []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		roots, args = append(roots, args[0]), args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	f := finder{max: 1 << 30, act: func(name string) error {
		_, err := fmt.Fprintln(e.Stdout, name)
		return err
	}}
	for len(args) > 0 {
		n, err := f.option(ctx, e, args)
		if err != nil {
			return err
		}
		args = args[n:]
	}
	return each(e, "find", roots, func(root string) error { return f.walk(ctx, e, root) })
}

func (f *finder) walk(ctx context.Context, e *Env, root string) error {
	start := e.Path(root)
	var failed error
	err := filepath.WalkDir(start, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(e.Stderr, "find: %v\n", err)
			failed = exitStatus(1)
			return nil
		}
		name, depth := root, 0
		if p != start {
			rel := strings.TrimPrefix(p[len(start):], "/")
			name, depth = strings.TrimRight(root, "/")+"/"+rel, strings.Count(rel, "/")+1
		}
		if depth >= f.least && f.match(name, d) {
			if err := f.act(name); err != nil {
				return err
			}
		}
		if d.IsDir() && depth >= f.max {
			return fs.SkipDir
		}
		return nil
	})
	return errors.Join(err, failed)
}

func (f *finder) match(name string, d fs.DirEntry) bool {
	for _, t := range f.tests {
		if !t(name, d) {
			return false
		}
	}
	return true
}

// option takes one option and its values, and returns how many words those were.
func (f *finder) option(ctx context.Context, e *Env, args []string) (int, error) {
	switch args[0] {
	case "-print":
		return 1, nil
	case "-print0":
		f.act = func(name string) error {
			_, err := fmt.Fprintf(e.Stdout, "%s\x00", name)
			return err
		}
		return 1, nil
	case "-delete":
		f.act = func(name string) error { return os.RemoveAll(e.Path(name)) }
		return 1, nil
	case "-exec":
		for i, a := range args {
			if a == ";" && i > 1 {
				f.act = execEach(ctx, e, args[1:i])
				return i + 1, nil
			}
		}
		return 0, usageError("-exec: no ; at its end")
	}
	if len(args) < 2 {
		return 0, usageError(args[0] + ": unknown, or needs a value")
	}
	return 2, f.valued(e, args[0], args[1])
}

// valued takes an option that has a value.
func (f *finder) valued(e *Env, option, value string) (err error) {
	switch option {
	case "-maxdepth":
		f.max, err = strconv.Atoi(value)
	case "-mindepth":
		f.least, err = strconv.Atoi(value)
	case "-name", "-iname", "-path":
		fold := option == "-iname"
		if fold {
			value = strings.ToLower(value)
		}
		_, err = path.Match(value, "")
		whole := option == "-path"
		f.tests = append(f.tests, func(name string, d fs.DirEntry) bool {
			if !whole {
				name = path.Base(name)
			}
			if fold {
				name = strings.ToLower(name)
			}
			ok, _ := path.Match(value, name)
			return ok
		})
	case "-type":
		kinds := map[string]fs.FileMode{"f": 0, "d": fs.ModeDir, "l": fs.ModeSymlink, "s": fs.ModeSocket, "p": fs.ModeNamedPipe, "b": fs.ModeDevice, "c": fs.ModeDevice | fs.ModeCharDevice}
		want, ok := kinds[value]
		if !ok {
			err = errors.New("no type " + value)
		}
		f.tests = append(f.tests, func(_ string, d fs.DirEntry) bool { return d.Type() == want })
	case "-newer":
		var st unix.Stat_t
		err = unix.Stat(e.Path(value), &st)
		f.tests = append(f.tests, func(name string, d fs.DirEntry) bool {
			fi, err := d.Info()
			return err == nil && fi.ModTime().UnixNano() > st.Mtim.Nano()
		})
	default:
		return usageError("unknown option " + option)
	}
	if err != nil {
		return usageError(option + ": " + err.Error())
	}
	return nil
}

// execEach runs a command for each name, which takes the place of {}.
func execEach(ctx context.Context, e *Env, words []string) func(string) error {
	return func(name string) error {
		argv := make([]string, len(words))
		for i, w := range words {
			argv[i] = strings.ReplaceAll(w, "{}", name)
		}
		runCommand(ctx, e, argv, nil)
		return ctx.Err()
	}
}
