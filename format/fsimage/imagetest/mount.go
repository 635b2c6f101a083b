package imagetest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mios/format/fsimage"
)

// Mount has the kernel read all of an image, if MIOS_MOUNT is set: that wants
// root and loop devices. Data, links, owners, modes, times and attributes must be those of the model.
func (m Model) Mount(tb testing.TB, kind, image string) {
	tb.Helper()
	if os.Getenv("MIOS_MOUNT") == "" {
		return
	}
	dir := tb.TempDir()
	if out, err := exec.CommandContext(tb.Context(), "mount", "-t", kind, "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
		tb.Fatalf("mount: %v: %s", err, out)
	}
	defer func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			tb.Errorf("umount: %v: %s", err, out)
		}
	}()
	m.CompareDir(tb, dir)
	for name, want := range m {
		path := filepath.Join(dir, name)
		fi, err := os.Lstat(path)
		if err != nil {
			tb.Fatal(err)
		}
		st := fi.Sys().(*syscall.Stat_t)
		list, err := hostXattrs(path)
		if want.Mode&fs.ModeSymlink != 0 {
			list, err = nil, nil
			want = &Entry{Mode: want.Mode, UID: want.UID, GID: want.GID, Time: want.Time, Links: want.Links}
		}
		if err != nil || fi.Mode() != want.Mode || st.Uid != want.UID || st.Gid != want.GID || fi.ModTime().Unix() != want.Time ||
			uint32(st.Nlink) != want.Links || attributes(list) != want.Xattrs {
			tb.Errorf("%s: the kernel has %v of %d:%d, %v, %d links, %q, %v, want %+v",
				name, fi.Mode(), st.Uid, st.Gid, fi.ModTime(), st.Nlink, attributes(list), err, *want)
		}
	}
}

// hostXattrs are the attributes of a file of the host.
func hostXattrs(path string) ([]fsimage.Xattr, error) {
	buf := make([]byte, 1<<16)
	n, err := syscall.Listxattr(path, buf)
	if err != nil {
		return nil, err
	}
	var out []fsimage.Xattr
	for name := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 1<<16)
		size, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		out = append(out, fsimage.Xattr{Name: name, Value: value[:size]})
	}
	return out, nil
}
