package shell

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A listing is a call of ls.
type listing struct {
	o   options
	out *bufio.Writer
}

// A fileEntry is a line of ls.
type fileEntry struct {
	name string
	path string
	fi   fs.FileInfo
}

func ls(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "aAdlhinRrtS1FpZsg")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	l := &listing{o, bufio.NewWriter(e.Stdout)}
	defer l.out.Flush()
	var files, dirs []fileEntry
	err = each(e, "ls", names, func(name string) error {
		path := e.Path(name)
		stat := os.Stat
		if o.has('d') || o.has('l') && !strings.HasSuffix(name, "/") {
			stat = os.Lstat
		}
		fi, err := stat(path)
		if err != nil {
			if fi, err = os.Lstat(path); err != nil { // a link to nothing is listed
				return err
			}
		}
		if fi.IsDir() && !o.has('d') {
			dirs = append(dirs, fileEntry{name, path, fi})
		} else {
			files = append(files, fileEntry{name, path, fi})
		}
		return nil
	})
	l.print(files)
	titled := len(names) > 1 || o.has('R')
	for i, d := range dirs {
		if i > 0 || len(files) > 0 {
			fmt.Fprintln(l.out)
		}
		if derr := l.dir(ctx, e, d, titled); derr != nil {
			err = derr
		}
	}
	return err
}

func (l *listing) dir(ctx context.Context, e *Env, d fileEntry, titled bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if titled {
		fmt.Fprintf(l.out, "%s:\n", d.name)
	}
	names, err := os.ReadDir(d.path)
	var list []fileEntry
	if l.o.has('a') {
		for _, name := range []string{".", ".."} {
			if fi, err := os.Lstat(filepath.Join(d.path, name)); err == nil {
				list = append(list, fileEntry{name, filepath.Join(d.path, name), fi})
			}
		}
	}
	var blocks int64
	for _, n := range names {
		if n.Name()[0] == '.' && !l.o.has('a') && !l.o.has('A') {
			continue
		}
		if fi, err := n.Info(); err == nil { // or it is gone meanwhile
			list = append(list, fileEntry{n.Name(), filepath.Join(d.path, n.Name()), fi})
			blocks += fi.Sys().(*syscall.Stat_t).Blocks
		}
	}
	if l.o.has('l') {
		fmt.Fprintf(l.out, "total %d\n", blocks/2)
	}
	l.print(list)
	if err != nil {
		fmt.Fprintf(e.Stderr, "ls: %v\n", err)
		err = exitStatus(1)
	}
	if !l.o.has('R') {
		return err
	}
	for _, f := range list {
		if f.fi.IsDir() && f.name != "." && f.name != ".." {
			fmt.Fprintln(l.out)
			f.name = filepath.Join(d.name, f.name)
			if derr := l.dir(ctx, e, f, true); derr != nil {
				err = derr
			}
		}
	}
	return err
}

func (l *listing) print(list []fileEntry) {
	slices.SortFunc(list, func(a, b fileEntry) int {
		c := 0
		switch {
		case l.o.has('t'):
			c = b.fi.ModTime().Compare(a.fi.ModTime())
		case l.o.has('S'):
			c = cmp.Compare(b.fi.Size(), a.fi.Size())
		}
		if c == 0 {
			c = strings.Compare(a.name, b.name)
		}
		if l.o.has('r') {
			return -c
		}
		return c
	})
	var rows [][]string
	var width [6]int
	for _, f := range list {
		prefix := ""
		if l.o.has('i') {
			prefix = fmt.Sprintf("%d ", f.fi.Sys().(*syscall.Stat_t).Ino)
		}
		if !l.o.has('l') {
			fmt.Fprintf(l.out, "%s%s%s\n", prefix, f.name, l.suffix(f))
			continue
		}
		row := l.long(f)
		row[0] = prefix + row[0]
		for i := range width {
			width[i] = max(width[i], len(row[i]))
		}
		rows = append(rows, row)
	}
	for _, r := range rows {
		fmt.Fprintf(l.out, "%*s %*s %-*s %-*s %*s %s %s\n", width[0], r[0], width[1], r[1], width[2], r[2], width[3], r[3], width[4], r[4], r[5], r[6])
	}
}

func (l *listing) suffix(f fileEntry) string {
	switch {
	case !l.o.has('F') && !l.o.has('p'):
	case f.fi.IsDir():
		return "/"
	case l.o.has('F') && f.fi.Mode()&fs.ModeSymlink != 0:
		return "@"
	case l.o.has('F') && f.fi.Mode().IsRegular() && f.fi.Mode()&0o111 != 0:
		return "*"
	}
	return ""
}

// long returns the columns of ls -l.
func (l *listing) long(f fileEntry) []string {
	sys := f.fi.Sys().(*syscall.Stat_t)
	size := strconv.FormatInt(sys.Size, 10)
	switch {
	case f.fi.Mode()&fs.ModeDevice != 0:
		size = fmt.Sprintf("%d,%d", unix.Major(sys.Rdev), unix.Minor(sys.Rdev))
	case l.o.has('h'):
		size = human(uint64(sys.Size))
	}
	target := ""
	if f.fi.Mode()&fs.ModeSymlink != 0 {
		if to, err := os.Readlink(f.path); err == nil {
			target = " -> " + to
		}
	}
	return []string{modeString(sys.Mode), strconv.FormatUint(uint64(sys.Nlink), 10), l.owner(sys.Uid), l.owner(sys.Gid), size,
		f.fi.ModTime().Format("2006-01-02 15:04"), f.name + l.suffix(f) + target}
}

func (l *listing) owner(id uint32) string {
	if l.o.has('n') {
		return strconv.FormatUint(uint64(id), 10)
	}
	return userName(id)
}

// userName returns AOSP's name of a user or group: root, system, shell, and
// u0_aN for the apps; the number for the others. AOSP: android_filesystem_config.h.
func userName(id uint32) string {
	switch {
	case id == 0:
		return "root"
	case id == 1000:
		return "system"
	case id == 2000:
		return "shell"
	case id >= 10000 && id < 20000:
		return fmt.Sprintf("u0_a%d", id-10000)
	}
	return strconv.FormatUint(uint64(id), 10)
}

// modeString writes st_mode as ls -l does.
func modeString(mode uint32) string {
	b := []byte("?rwxrwxrwx")
	b[0] = map[uint32]byte{unix.S_IFREG: '-', unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's'}[mode&unix.S_IFMT]
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	for i, special := range []struct {
		bit  uint32
		char byte
	}{{unix.S_ISUID, 's'}, {unix.S_ISGID, 's'}, {unix.S_ISVTX, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		at := 3 * (i + 1)
		if b[at] == '-' {
			special.char -= 'a' - 'A'
		}
		b[at] = special.char
	}
	return string(b)
}

func stat(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "c:fLt")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usageError("")
	}
	format := "  File: %N\n  Size: %s\tBlocks: %b\tIO Block: %o\t%F\nDevice: %D\tInode: %i\tLinks: %h\nAccess: (%04a/%A)\tUid: (%u/%U)\tGid: (%g/%G)\nAccess: %x\nModify: %y\nChange: %z"
	if o.has('c') {
		format = o['c']
	}
	return each(e, "stat", names, func(name string) error {
		if o.has('f') {
			return statfs(e, name)
		}
		call := unix.Lstat
		if o.has('L') {
			call = unix.Stat
		}
		var st unix.Stat_t
		if err := call(e.Path(name), &st); err != nil {
			return pathError("stat", name, err)
		}
		_, err := fmt.Fprintln(e.Stdout, expandStat(format, name, e.Path(name), &st))
		return err
	})
}

// expandStat fills in a format of stat -c.
func expandStat(format, name, path string, st *unix.Stat_t) string {
	when := func(t unix.Timespec) string {
		return time.Unix(t.Unix()).Format("2006-01-02 15:04:05.000000000 -0700")
	}
	quoted := name
	if to, err := os.Readlink(path); err == nil {
		quoted += " -> " + to
	}
	kind := map[uint32]string{unix.S_IFREG: "regular file", unix.S_IFDIR: "directory", unix.S_IFLNK: "symbolic link", unix.S_IFCHR: "character device",
		unix.S_IFBLK: "block device", unix.S_IFIFO: "fifo", unix.S_IFSOCK: "socket"}[st.Mode&unix.S_IFMT]
	return strings.NewReplacer(
		"%%", "%", "%n", name, "%N", quoted, "%s", fmt.Sprint(st.Size), "%b", fmt.Sprint(st.Blocks), "%o", fmt.Sprint(st.Blksize), "%F", kind,
		"%D", fmt.Sprintf("%xh", st.Dev), "%d", fmt.Sprint(st.Dev), "%i", fmt.Sprint(st.Ino), "%h", fmt.Sprint(st.Nlink),
		"%04a", fmt.Sprintf("%04o", st.Mode&0o7777), "%a", fmt.Sprintf("%o", st.Mode&0o7777), "%A", modeString(st.Mode), "%f", fmt.Sprintf("%x", st.Mode),
		"%u", fmt.Sprint(st.Uid), "%U", userName(st.Uid), "%g", fmt.Sprint(st.Gid), "%G", userName(st.Gid),
		"%x", when(st.Atim), "%X", fmt.Sprint(st.Atim.Sec), "%y", when(st.Mtim), "%Y", fmt.Sprint(st.Mtim.Sec), "%z", when(st.Ctim), "%Z", fmt.Sprint(st.Ctim.Sec),
		"%t", fmt.Sprintf("%x", unix.Major(uint64(st.Rdev))), "%T", fmt.Sprintf("%x", unix.Minor(uint64(st.Rdev))), `\n`, "\n", `\t`, "\t",
	).Replace(format)
}

func statfs(e *Env, name string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(e.Path(name), &st); err != nil {
		return pathError("statfs", name, err)
	}
	_, err := fmt.Fprintf(e.Stdout, "  File: %s\n  Type: %x\tBlock size: %d\nBlocks: Total: %d\tFree: %d\tAvailable: %d\nInodes: Total: %d\tFree: %d\n",
		name, st.Type, st.Bsize, st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree)
	return err
}
