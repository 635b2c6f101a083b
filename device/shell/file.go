package shell

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func fileCommands() []Command {
	return []Command{
		{"ls", "[-aAdlhinRrtS1] [FILE]...", ls},
		{"mkdir", "[-p] [-m MODE] DIR...", mkdir},
		{"rmdir", "DIR...", rmdir},
		{"rm", "[-rf] FILE...", rm},
		{"ln", "[-sf] TARGET [NAME]", ln},
		{"readlink", "[-f] FILE...", readlink},
		{"realpath", "FILE...", func(ctx context.Context, e *Env, args []string) error {
			return readlink(ctx, e, append([]string{"-f"}, args...))
		}},
		{"basename", "NAME [SUFFIX]", basename},
		{"dirname", "NAME...", dirname},
		{"stat", "[-c FORMAT] [-f] FILE...", stat},
		{"dd", "[if=FILE] [of=FILE] [bs=N] [count=N] [skip=N] [seek=N] [conv=notrunc,fsync]", dd},
		{"du", "[-shk] [FILE]...", du},
		{"cmp", "[-s] FILE FILE", cmpFiles},
		{"find", "[DIR]... [-name PATTERN] [-type T] [-maxdepth N] [-newer FILE] [-exec COMMAND ;] [-delete]", findFiles},
		{"tar", "-c|-x|-t [-zv] [-f FILE] [-C DIR] [FILE]...", tarFiles},
		{"truncate", "-s SIZE FILE...", truncate},
		{"chown", "[-R] UID[:GID] FILE...", chown},
		{"which", "NAME...", which},
		{"sha256sum", "[-c] [FILE]...", digest("sha256sum", sha256.New)},
		{"sha512sum", "[-c] [FILE]...", digest("sha512sum", sha512.New)},
		{"sha1sum", "[-c] [FILE]...", digest("sha1sum", sha1.New)},
		{"md5sum", "[-c] [FILE]...", digest("md5sum", md5.New)},
	}
}

func mkdir(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "pm:")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usageError("")
	}
	mode := uint64(0o777)
	if o.has('m') {
		if mode, err = strconv.ParseUint(o['m'], 8, 12); err != nil {
			return usageError("-m: " + o['m'] + " is not an octal mode")
		}
	}
	return each(e, "mkdir", names, func(name string) error {
		make := os.Mkdir
		if o.has('p') {
			make = os.MkdirAll
		}
		if err := make(e.Path(name), 0o777); err != nil || !o.has('m') {
			return err
		}
		return syscall.Chmod(e.Path(name), uint32(mode))
	})
}

func rmdir(ctx context.Context, e *Env, args []string) error {
	return each(e, "rmdir", args, func(name string) error { return pathError("rmdir", name, syscall.Rmdir(e.Path(name))) })
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func rm(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "rRfi")
	if err != nil {
		return err
	}
	if len(names) == 0 && !o.has('f') {
		return usageError("")
	}
	return each(e, "rm", names, func(name string) error {
		path := e.Path(name)
		if clean := filepath.Clean(path); clean == "/" || strings.HasSuffix("/"+name, "/.") || strings.HasSuffix("/"+name, "/..") {
			return fmt.Errorf("%s: refused", name)
		}
		fi, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && o.has('f'):
			return nil
		case err != nil:
			return err
		case !fi.IsDir():
			return os.Remove(path)
		case o.has('r') || o.has('R'):
			return os.RemoveAll(path)
		}
		return fmt.Errorf("%s: is a directory: use -r", name)
	})
}

func ln(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "sfn")
	if err != nil {
		return err
	}
	if len(names) == 1 {
		names = append(names, ".")
	}
	if len(names) != 2 {
		return usageError("")
	}
	target, name := names[0], e.Path(names[1])
	if fi, err := os.Stat(name); err == nil && fi.IsDir() && !o.has('n') {
		name = filepath.Join(name, filepath.Base(target))
	}
	if o.has('f') {
		os.Remove(name)
	}
	if o.has('s') {
		return os.Symlink(target, name)
	}
	return os.Link(e.Path(target), name)
}

func readlink(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "fen")
	if err != nil {
		return err
	}
	return each(e, "readlink", names, func(name string) error {
		f := os.Readlink
		if o.has('f') || o.has('e') {
			f = filepath.EvalSymlinks
		}
		target, err := f(e.Path(name))
		if err == nil {
			_, err = fmt.Fprintln(e.Stdout, target)
		}
		return err
	})
}

func basename(ctx context.Context, e *Env, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return usageError("")
	}
	name := filepath.Base(args[0])
	if len(args) == 2 && name != args[1] {
		name = strings.TrimSuffix(name, args[1])
	}
	_, err := fmt.Fprintln(e.Stdout, name)
	return err
}

func dirname(ctx context.Context, e *Env, args []string) error {
	return each(e, "dirname", args, func(name string) error {
		if trimmed := strings.TrimRight(name, "/"); trimmed != "" {
			name = trimmed
		}
		_, err := fmt.Fprintln(e.Stdout, filepath.Dir(name))
		return err
	})
}

func du(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "shk")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	show := func(blocks int64, name string) {
		if o.has('h') {
			fmt.Fprintf(e.Stdout, "%s\t%s\n", human(uint64(blocks)*512), name)
			return
		}
		fmt.Fprintf(e.Stdout, "%d\t%s\n", (blocks+1)/2, name)
	}
	var walk func(name string, top bool) (int64, error)
	walk = func(name string, top bool) (int64, error) {
		fi, err := os.Lstat(e.Path(name))
		if err != nil || ctx.Err() != nil {
			return 0, errors.Join(err, ctx.Err())
		}
		var blocks int64
		if sys, ok := fi.Sys().(*syscall.Stat_t); ok {
			blocks = sys.Blocks
		}
		if fi.IsDir() {
			entries, rerr := os.ReadDir(e.Path(name))
			err = rerr
			for _, d := range entries {
				n, werr := walk(filepath.Join(name, d.Name()), false)
				if blocks += n; werr != nil && !errors.Is(werr, fs.ErrNotExist) {
					err = werr
				}
			}
		}
		if top || fi.IsDir() && !o.has('s') {
			show(blocks, name)
		}
		return blocks, err
	}
	return each(e, "du", names, func(name string) error {
		_, err := walk(name, true)
		return err
	})
}

func cmpFiles(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "s")
	if err != nil {
		return err
	}
	if len(names) != 2 {
		return usageError("")
	}
	var r [2]*bufio.Reader
	for i, name := range names {
		if name == "-" {
			r[i] = bufio.NewReader(ctxReader{ctx, e.Stdin})
			continue
		}
		f, err := os.Open(e.Path(name))
		if err != nil {
			fmt.Fprintf(e.Stderr, "cmp: %v\n", err)
			return exitStatus(2)
		}
		defer f.Close()
		r[i] = bufio.NewReader(ctxReader{ctx, f})
	}
	line := 1
	for at := int64(1); ; at++ {
		a, err1 := r[0].ReadByte()
		b, err2 := r[1].ReadByte()
		if (err1 != nil && err1 != io.EOF) || (err2 != nil && err2 != io.EOF) {
			return errors.Join(err1, err2)
		}
		switch {
		case err1 != nil && err2 != nil:
			return nil
		case o.has('s') && (err1 != nil || err2 != nil || a != b):
		case err1 != nil:
			fmt.Fprintf(e.Stderr, "cmp: EOF on %s after byte %d\n", names[0], at-1)
		case err2 != nil:
			fmt.Fprintf(e.Stderr, "cmp: EOF on %s after byte %d\n", names[1], at-1)
		case a != b:
			fmt.Fprintf(e.Stdout, "%s %s differ: byte %d, line %d\n", names[0], names[1], at, line)
		default:
			if a == '\n' {
				line++
			}
			continue
		}
		return exitStatus(1)
	}
}

func truncate(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "s:")
	if err != nil {
		return err
	}
	if !o.has('s') || len(names) == 0 {
		return usageError("")
	}
	n, err := parseSize(o['s'])
	if err != nil {
		return err
	}
	return each(e, "truncate", names, func(name string) error {
		f, err := os.OpenFile(e.Path(name), os.O_WRONLY|os.O_CREATE, 0o666)
		if err != nil {
			return err
		}
		return errors.Join(f.Truncate(n), f.Close())
	})
}

func chown(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "Rh")
	if err != nil {
		return err
	}
	if len(names) < 2 {
		return usageError("")
	}
	user, group, _ := strings.Cut(names[0], ":")
	ids := [2]int{-1, -1}
	for i, s := range []string{user, group} {
		if s == "root" {
			s = "0"
		}
		if s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return usageError(fmt.Sprintf("%q is not a number: this device has no names for users", s))
		}
		ids[i] = int(n)
	}
	return each(e, "chown", names[1:], func(name string) error {
		if !o.has('R') {
			return os.Lchown(e.Path(name), ids[0], ids[1])
		}
		return filepath.WalkDir(e.Path(name), func(path string, d fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, ids[0], ids[1]))
		})
	})
}

func which(ctx context.Context, e *Env, args []string) error {
	return each(e, "which", args, func(name string) error {
		for _, dir := range filepath.SplitList(e.Getenv("PATH", binDir)) {
			path := e.Path(filepath.Join(dir, name))
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				_, err := fmt.Fprintln(e.Stdout, path)
				return err
			}
		}
		return exitStatus(1)
	})
}

// digest prints hashes, or with -c checks those that a file lists.
func digest(command string, make func() hash.Hash) func(context.Context, *Env, []string) error {
	sum := func(r io.Reader) (string, error) {
		h := make()
		_, err := io.CopyBuffer(h, r, bytes.Repeat([]byte{0}, 256<<10))
		return hex.EncodeToString(h.Sum(nil)), err
	}
	return func(ctx context.Context, e *Env, args []string) error {
		o, names, err := parseOptions(args, "cb")
		if err != nil {
			return err
		}
		if !o.has('c') {
			return inputs(ctx, e, command, names, func(in input) error {
				s, err := sum(in)
				if err == nil {
					_, err = fmt.Fprintf(e.Stdout, "%s  %s\n", s, in.name)
				}
				return err
			})
		}
		bad := false
		err = inputs(ctx, e, command, names, func(list input) error {
			return readLines(list, func(line string) error {
				want, name, ok := strings.Cut(line, "  ")
				if !ok {
					return fmt.Errorf("%s: %q is no line of hash and name", list.name, line)
				}
				verdict := "FAILED"
				err := inputs(ctx, e, command, []string{name}, func(in input) error {
					got, err := sum(in)
					if err == nil && strings.EqualFold(got, want) {
						verdict = "OK"
					}
					return err
				})
				bad = bad || err != nil || verdict != "OK"
				_, err = fmt.Fprintf(e.Stdout, "%s: %s\n", name, verdict)
				return err
			})
		})
		if err == nil && bad {
			return exitStatus(1)
		}
		return err
	}
}
