package shell

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tarFiles packs, unpacks and lists. What it unpacks stays below the folder
// that it unpacks to, whatever names and links an archive holds.
func tarFiles(ctx context.Context, e *Env, args []string) error {
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' { // tar xf FILE
		args = append([]string{"-" + args[0]}, args[1:]...)
	}
	o, names, err := parseOptions(args, "cxtzvpf:C:")
	if err != nil {
		return err
	}
	dir := e.Path(o['C'])
	switch {
	case o.has('c') && !o.has('x') && !o.has('t') && len(names) > 0:
		return tarOut(ctx, e, o, dir, names)
	case o.has('x') != o.has('t') && !o.has('c'):
		return tarIn(ctx, e, o, dir, names)
	}
	return usageError("")
}

func tarOut(ctx context.Context, e *Env, o options, dir string, names []string) (err error) {
	out := e.Stdout
	if f := o['f']; f != "" && f != "-" {
		file, err := os.Create(e.Path(f))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	if o.has('z') {
		z := gzip.NewWriter(out)
		defer func() { err = errors.Join(err, z.Close()) }()
		out = z
	}
	t := tar.NewWriter(out)
	defer func() { err = errors.Join(err, t.Close()) }()
	return each(e, "tar", names, func(name string) error {
		root := name
		if !filepath.IsAbs(root) {
			root = filepath.Join(dir, name)
		}
		return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			stored := strings.TrimLeft(filepath.Join(name, rel), "/")
			if o.has('v') {
				fmt.Fprintln(e.Stderr, stored)
			}
			return tarAdd(t, path, stored)
		})
	})
}

func tarAdd(t *tar.Writer, path, name string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	target := ""
	if fi.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(fi, target)
	if err != nil {
		return err
	}
	if h.Name = name; fi.IsDir() {
		h.Name += "/"
	}
	h.Uname, h.Gname = userName(uint32(h.Uid)), userName(uint32(h.Gid))
	if err := t.WriteHeader(h); err != nil || !fi.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(t, f, h.Size)
	return err
}

func tarIn(ctx context.Context, e *Env, o options, dir string, names []string) error {
	in := e.Stdin
	if f := o['f']; f != "" && f != "-" {
		file, err := os.Open(e.Path(f))
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	in = ctxReader{ctx, in}
	if o.has('z') {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = z
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for t := tar.NewReader(in); ; {
		h, err := t.Next()
		if err != nil {
			return noEOF(err)
		}
		name := filepath.Clean(strings.TrimLeft(h.Name, "/"))
		if !tarWanted(names, name) {
			continue
		}
		if o.has('t') || o.has('v') {
			fmt.Fprintln(e.Stdout, h.Name)
		}
		if o.has('x') {
			if err := untar(root, t, h, name); err != nil {
				return err
			}
		}
	}
}

func tarWanted(names []string, name string) bool {
	for _, n := range names {
		n = filepath.Clean(n)
		if n == "." || name == n || strings.HasPrefix(name, n+"/") {
			return true
		}
	}
	return len(names) == 0
}

func untar(root *os.Root, t *tar.Reader, h *tar.Header, name string) error {
	if name == "." {
		return nil
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode & 0o777)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, 0o777); err != nil && !errors.Is(err, syscall.EEXIST) {
			return err
		}
	case tar.TypeSymlink:
		root.Remove(name)
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		root.Remove(name)
		return root.Link(filepath.Clean(h.Linkname), name)
	case tar.TypeReg:
		root.Remove(name)
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: kind %q is not unpacked", h.Name, h.Typeflag)
	}
	return errors.Join(root.Chmod(name, mode), root.Chtimes(name, h.ModTime, h.ModTime))
}
