package signtest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mios/format/fsimage/imagetest"
)

// A placed node is one at its path in an image; "" is the root.
type placed struct {
	*node
	at string
}

// place places nodes below a folder of an image.
func place(nodes []*node, below string) []placed {
	var out []placed
	for _, n := range nodes {
		out = append(out, placed{n, path.Join(below, n.name)})
	}
	return out
}

// stage writes what an image is made of into a folder.
func stage(tb testing.TB, list []placed) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "stage")
	nodes, at := []*node{}, map[*node]string{}
	for _, p := range list {
		nodes = append(nodes, p.node)
		at[p.node] = filepath.Join(dir, p.at)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	new(tree).write(tb, nodes, func(n *node) string { return at[n] })
	return dir
}

// mkfsConf are the features of AOSP's own mke2fs.conf.
const mkfsConf = `[defaults]
	base_features = sparse_super,large_file,filetype,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
	reserved_ratio = 1.0
[fs_types]
	ext4 = {
		features = has_journal,extent,huge_file,dir_nlink,extra_isize,uninit_bg
		inode_size = 256
	}
`

// ext4 makes an image as AOSP's mkuserimg_mke2fs does of a partition that is
// only read, with room for as many bytes more.
func makeExt4(tb testing.TB, out, mount string, list []placed, room int64) {
	tb.Helper()
	dir := stage(tb, list)
	conf := filepath.Join(tb.TempDir(), "mke2fs.conf")
	if err := os.WriteFile(conf, []byte(mkfsConf), 0o644); err != nil {
		tb.Fatal(err)
	}
	size := int64(1<<20) + room
	for _, p := range list {
		size += (p.size()+4095)/4096*4096 + 4096
	}
	size = (size + size/64 + 4095) / 4096
	cmd := imagetest.Command(tb, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-O", "^has_journal",
		"-N", fmt.Sprint(2*len(list)+64), "-L", mount, "-M", mount, "-U", "4729639d-b5f2-5cc1-a120-9ac5f788683c",
		"-E", "hash_seed=4729639d-b5f2-5cc1-a120-9ac5f788683c,root_owner=0:0", "-d", dir, out, fmt.Sprint(size))
	cmd.Env = append(os.Environ(), "MKE2FS_CONFIG="+conf, fmt.Sprint("E2FSPROGS_FAKE_TIME=", madeAt.Unix()))
	if msg, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("mke2fs: %v\n%s", err, msg)
	}
	ownExt4(tb, out, list)
}

// ownExt4 gives the files of an image their owners, modes and labels.
func ownExt4(tb testing.TB, image string, list []placed) {
	tb.Helper()
	dir := tb.TempDir()
	labels := map[string]string{}
	var script bytes.Buffer
	for _, p := range list {
		at := "/" + p.at
		file := labels[p.label]
		if file == "" {
			file = filepath.Join(dir, fmt.Sprint("label", len(labels)))
			labels[p.label] = file
			if err := os.WriteFile(file, []byte(p.label+"\x00"), 0o644); err != nil {
				tb.Fatal(err)
			}
		}
		kind := 0o100000
		switch {
		case p.mode.IsDir():
			kind = 0o040000
		case p.mode&fs.ModeSymlink != 0:
			kind = 0o120000
		}
		for _, f := range []string{"atime", "ctime", "mtime", "crtime"} {
			fmt.Fprintf(&script, "set_inode_field %s %s @%d\n", at, f, madeAt.Unix())
		}
		fmt.Fprintf(&script, "set_inode_field %s uid %d\nset_inode_field %s gid %d\nset_inode_field %s mode 0%o\n", at, p.uid, at, p.gid, at, kind|int(p.mode.Perm()))
		fmt.Fprintf(&script, "ea_set -f %s %s security.selinux\n", file, at)
	}
	name := filepath.Join(dir, "script")
	if err := os.WriteFile(name, script.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
	cmd := imagetest.Command(tb, "debugfs", "-w", "-f", name, image)
	cmd.Env = append(os.Environ(), fmt.Sprint("E2FSPROGS_FAKE_TIME=", madeAt.Unix()))
	msg, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(msg)) {
		if !strings.HasPrefix(line, "debugfs") && strings.TrimSpace(line) != "" {
			tb.Fatalf("debugfs: %v: %s", err, line)
		}
	}
}

// makeErofs makes an image as AOSP's mkerofsimage does; compression is mkfs's
// -z, or "".
func makeErofs(tb testing.TB, out, compression string, list []placed) {
	tb.Helper()
	dir := stage(tb, list)
	var contexts bytes.Buffer
	for _, p := range list {
		fmt.Fprintf(&contexts, "/%s %s\n", regexp.QuoteMeta(p.at), p.label)
	}
	name := filepath.Join(tb.TempDir(), "file_contexts")
	if err := os.WriteFile(name, contexts.Bytes(), 0o644); err != nil {
		tb.Fatal(err)
	}
	args := []string{"--quiet", "--all-root", fmt.Sprint("-T", madeAt.Unix()), "-U4729639d-b5f2-5cc1-a120-9ac5f788683c", "--file-contexts=" + name}
	if compression != "" {
		args = append(args, "-z"+compression)
	}
	imagetest.Run(tb, "mkfs.erofs", append(args, out, dir)...)
}
