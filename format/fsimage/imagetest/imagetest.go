// Package imagetest is what the tests of file systems' readers share: folders to
// make images of, and the comparison of a file system with the folder that it was
// made of. Only tests import it.
package imagetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"mios/format/fsimage"
	"mios/internal/tool"
)

// Open opens an image until the test ends, and tells its size in bytes.
func Open(tb testing.TB, name string) (*os.File, int64) {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	fi, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	return f, fi.Size()
}

// A Tree is a folder with files of all kinds. Some are only there for root.
type Tree struct {
	Dir string
	tb  testing.TB
	// AnyOwner is for images that another person made: owners are not compared.
	AnyOwner bool
	// SkipXattrs is for images that have attributes which the folder has not.
	SkipXattrs bool
}

// Small makes a folder of 200 KB, always the same, which compresses well.
// Images of it may be checked in.
func Small(tb testing.TB) *Tree {
	t := &Tree{tb: tb, Dir: filepath.Join(tb.TempDir(), "small"), AnyOwner: true}
	t.Mkdir("folder/inner", 0o755)
	r := rand.New(rand.NewPCG(5, 6))
	lines := func(n int) []byte {
		var b bytes.Buffer
		for b.Len() < n {
			fmt.Fprintf(&b, "line %d of the log: %d\n", b.Len(), r.IntN(10))
		}
		return b.Bytes()[:n]
	}
	log := lines(90_000)
	t.File("folder/log", 0o644, log)
	t.File("folder/again", 0o600, slices.Concat(lines(10), log[10_000:50_000]))
	t.File("folder/short", 0o755, lines(5_000))
	t.File("folder/zeros", 0o444, make([]byte, 30_000))
	t.File("folder/random", 0o644, noise(r, 5_000))
	t.File("folder/inner/tiny", 0o640, []byte("tiny"))
	t.File("folder/inner/empty", 0o640, nil)
	t.Symlink("../log", "folder/inner/link")
	t.ages()
	return t
}

// New makes a folder with files of all types and many sizes, compressible and
// not, with holes, and with attributes as far as the host lets it.
func New(tb testing.TB) *Tree {
	t := &Tree{tb: tb, Dir: filepath.Join(tb.TempDir(), "tree")}
	t.Mkdir(".", 0o755)
	for _, d := range []string{"system/etc/init", "system/bin", "empty", "many"} {
		t.Mkdir(d, 0o755)
	}
	t.Mkdir("sticky", 0o777|fs.ModeSticky)
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 59, 60, 61, 100, 1000, 1023, 1024, 1025, 4095, 4096, 4097, 12345, 65536, 100_000, 300_001} {
		t.File(fmt.Sprintf("system/text-%d", n), 0o644, text(r, n))
		t.File(fmt.Sprintf("system/random-%d", n), 0o600, noise(r, n))
		t.File(fmt.Sprintf("system/zeros-%d", n), 0o640, make([]byte, n))
	}
	t.File("system/mixed", 0o644, slices.Concat(text(r, 70_000), noise(r, 70_000), make([]byte, 50_000), text(r, 9_000)))
	same := text(r, 200_000)
	t.File("system/same", 0o644, same)
	t.File("system/shifted", 0o644, slices.Concat([]byte("shift"), same[5_000:], noise(r, 300), same[:77_777]))
	t.File("system/bin/su", 0o755|fs.ModeSetuid, text(r, 30_000))
	t.File("system/etc/ünï—code", 0o444, []byte("x"))
	for i := range 200 {
		t.File(fmt.Sprintf("many/a rather long name of file number %d", i), 0o644, text(r, r.IntN(200)))
	}
	t.Symlink("/system/bin/su", "system/bin/long-"+strings.Repeat("x", 200))
	t.Symlink(strings.Repeat("../", 30)+"etc", "system/short")
	t.Symlink(strings.Repeat("d/", 500)+"end", "system/far")
	t.check(os.Link(t.path("system/same"), t.path("system/link")))
	t.Sparse("system/sparse", 4<<20+123)
	t.check(syscall.Mkfifo(t.path("system/fifo"), 0o622))
	t.attributes()
	t.ages()
	return t
}

func (t *Tree) path(name string) string { return filepath.Join(t.Dir, name) }

func (t *Tree) check(err error) {
	t.tb.Helper()
	if err != nil {
		t.tb.Fatal(err)
	}
}

// Mkdir makes a folder and those above it.
func (t *Tree) Mkdir(name string, mode fs.FileMode) {
	t.check(os.MkdirAll(t.path(name), 0o755))
	t.check(os.Chmod(t.path(name), mode))
}

// File makes a file.
func (t *Tree) File(name string, mode fs.FileMode, data []byte) {
	t.check(os.WriteFile(t.path(name), data, 0o600))
	t.check(os.Chmod(t.path(name), mode))
}

// Symlink makes a symbolic link.
func (t *Tree) Symlink(target, name string) { t.check(os.Symlink(target, t.path(name))) }

// Sparse makes a file with data in few places: "not a hole" at its beginning, at
// 1 MiB, at 3 MiB and 7, and at its end.
func (t *Tree) Sparse(name string, size int64) {
	f, err := os.Create(t.path(name))
	t.check(err)
	defer f.Close()
	for _, off := range []int64{0, 1 << 20, 3<<20 + 7, size - 10} {
		_, err := f.WriteAt([]byte("not a hole"), off)
		t.check(err)
	}
}

// attributes gives some files extended attributes, owners and devices.
func (t *Tree) attributes() {
	set := func(name, attr, value string) {
		err := syscall.Setxattr(t.path(name), attr, []byte(value), 0)
		if err != nil && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.EPERM) {
			t.check(fmt.Errorf("%s: %s: %w", name, attr, err))
		}
	}
	for _, name := range []string{"system/text-1000", "system/bin/su", "system/etc", "many", "system/random-60"} {
		set(name, "user.mios.comment", "of "+name)
		set(name, "security.selinux", "u:object_r:system_file:s0\x00")
	}
	set("system/text-1", "user.large", strings.Repeat("0123456789", 75))
	set("system/text-100", "user.empty", "")
	set("system/zeros-0", "user.only", "attribute")
	set("system/bin/su", "security.capability", "\x01\x00\x00\x02\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	if os.Getuid() != 0 {
		return
	}
	t.check(os.Lchown(t.path("system/text-59"), 1000, 2000))
	t.check(os.Lchown(t.path("system/text-60"), 100_000, 200_000))
	t.check(syscall.Mknod(t.path("system/null"), syscall.S_IFCHR|0o666, 1<<8|3))
	t.check(syscall.Mknod(t.path("system/disk"), syscall.S_IFBLK|0o660, 259<<8|5|0x100<<12))
}

// ages gives all files times that are not now.
func (t *Tree) ages() {
	at := time.Unix(1_600_000_000, 0)
	t.check(filepath.WalkDir(t.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		at = at.Add(time.Hour)
		return os.Chtimes(path, at, at)
	}))
}

func text(r *rand.Rand, n int) []byte {
	words := strings.Fields("the kernel reads system vendor product odm boot super and of in mios image file block with a to")
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %x ", words[r.IntN(len(words))], r.IntN(1<<8))
	}
	return b.Bytes()[:n]
}

func noise(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// Command is a program of a Debian package, to be run.
func Command(tb testing.TB, name string, args ...string) *exec.Cmd {
	tb.Helper()
	path, err := tool.Look(name)
	if err != nil {
		tb.Fatal(err)
	}
	return exec.CommandContext(tb.Context(), path, args...)
}

// Run runs a program of a Debian package and returns what it prints.
func Run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	out, err := Command(tb, name, args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Setxattr gives a file of the host an extended attribute.
func Setxattr(path, name string, value []byte) error { return syscall.Setxattr(path, name, value, 0) }

// Compare compares a file system with the folder that it was made of: names,
// types, modes, owners, sizes, times, targets, data and attributes. It leaves
// out what skip names.
func (t *Tree) Compare(tb testing.TB, f *fsimage.FS, skip ...string) {
	tb.Helper()
	root, err := f.Root()
	if err != nil {
		tb.Fatal(err)
	}
	seen := 0
	err = f.Walk("", root, func(name string, n fsimage.Node) error {
		if slices.Contains(skip, name) {
			if n.Info().Mode.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		seen++
		if err := t.same(f, name, n); err != nil {
			tb.Errorf("%s: %v", name, err)
		}
		return nil
	})
	if err != nil {
		tb.Error(err)
	}
	want := 0
	err = filepath.WalkDir(t.Dir, func(_ string, _ fs.DirEntry, err error) error { want++; return err })
	if err != nil {
		tb.Error(err)
	}
	if seen != want {
		tb.Errorf("%d files, want %d", seen, want)
	}
}

// CompareFS has testing/fstest check the view of the small tree as an fs.FS.
func (t *Tree) CompareFS(tb testing.TB, f *fsimage.FS) {
	tb.Helper()
	if err := fstest.TestFS(f, "folder/log", "folder/inner/link", "folder/inner/empty"); err != nil {
		tb.Error(err)
	}
}

func (t *Tree) same(f *fsimage.FS, name string, n fsimage.Node) error {
	fi, err := os.Lstat(t.path(name))
	if err != nil {
		return err
	}
	st, info := fi.Sys().(*syscall.Stat_t), n.Info()
	type facts struct {
		mode     fs.FileMode
		uid, gid uint32
		time     int64
		size     int64
		links    uint64
		device   string
	}
	got := facts{info.Mode, info.UID, info.GID, info.ModTime.Unix(), info.Size, uint64(info.Links), fmt.Sprint(info.Major, info.Minor)}
	want := facts{fi.Mode(), st.Uid, st.Gid, fi.ModTime().Unix(), fi.Size(), uint64(st.Nlink), "0 0"}
	if st.Rdev != 0 {
		want.device = fmt.Sprint(st.Rdev>>8&0xfff, st.Rdev&0xff|st.Rdev>>12&0xfff00)
	}
	if t.AnyOwner {
		got.uid, got.gid, want.uid, want.gid = 0, 0, 0, 0
	}
	if fi.IsDir() { // of no meaning
		got.size, want.size = 0, 0
		got.links, want.links = 0, 0
	}
	if fi.Mode()&fs.ModeSymlink != 0 || name == "" { // ages does not reach links, and mke2fs makes the root anew
		got.time, want.time = 0, 0
	}
	if got != want {
		return fmt.Errorf("%+v, want %+v", got, want)
	}
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return t.sameLink(name, n)
	case fi.Mode().IsRegular():
		if err := t.sameData(f, name, n); err != nil {
			return err
		}
	}
	if t.SkipXattrs {
		return nil
	}
	return t.sameXattrs(name, n)
}

func (t *Tree) sameLink(name string, n fsimage.Node) error {
	want, err := os.Readlink(t.path(name))
	if err != nil {
		return err
	}
	got, err := n.Target()
	if err == nil && got != want {
		err = fmt.Errorf("target %q, want %q", got, want)
	}
	return err
}

// sameData compares data, read from beginning to end, and here and there.
func (t *Tree) sameData(f *fsimage.FS, name string, n fsimage.Node) error {
	want, err := os.ReadFile(t.path(name))
	if err != nil {
		return err
	}
	sum := sha256.New()
	if n, err := f.Copy(sum, n); err != nil || n != int64(len(want)) {
		return fmt.Errorf("copied %d of %d bytes: %w", n, len(want), err)
	}
	if got := [32]byte(sum.Sum(nil)); got != sha256.Sum256(want) {
		return errors.New("other data")
	}
	r := rand.New(rand.NewPCG(3, uint64(len(want))))
	data := f.Data(n)
	for range 8 {
		if len(want) == 0 {
			break
		}
		off := r.IntN(len(want))
		p := make([]byte, r.IntN(min(len(want)-off+10, 10_000)))
		n, err := data.ReadAt(p, int64(off))
		if rest := min(len(p), len(want)-off); n != rest || (err == io.EOF) != (rest < len(p)) || err != nil && err != io.EOF {
			return fmt.Errorf("ReadAt(%d bytes, %d) of %d = %d, %v", len(p), off, len(want), n, err)
		}
		if !bytes.Equal(p[:n], want[off:off+n]) {
			return fmt.Errorf("other data in the %d bytes at %d", n, off)
		}
	}
	return nil
}

func (t *Tree) sameXattrs(name string, n fsimage.Node) error {
	list, err := n.Xattrs()
	if err != nil {
		return err
	}
	got := map[string]string{}
	for _, x := range list {
		got[x.Name] = string(x.Value)
	}
	buf := make([]byte, 1<<16)
	size, err := syscall.Listxattr(t.path(name), buf)
	if err != nil && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	for attr := range strings.SplitSeq(strings.TrimRight(string(buf[:max(size, 0)]), "\x00"), "\x00") {
		if attr == "" {
			continue
		}
		value := make([]byte, 1<<16)
		size, err := syscall.Getxattr(t.path(name), attr, value)
		if err != nil {
			return err
		}
		if v, ok := got[attr]; !ok || v != string(value[:size]) {
			return fmt.Errorf("attribute %s = %q, want %q", attr, v, value[:size])
		}
		delete(got, attr)
	}
	if len(got) > 0 {
		return fmt.Errorf("attributes %v are too many", got)
	}
	return nil
}
