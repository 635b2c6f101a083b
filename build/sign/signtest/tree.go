package signtest

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A node is a file, folder or link below one of the folder's trees.
type node struct {
	tree     string // "SYSTEM"
	name     string // in it; "" is the tree itself
	mode     fs.FileMode
	uid, gid int
	label    string // SELinux, without the zero at its end
	data     []byte
	large    func() []byte // makes data of largeSize bytes, where that is not to be kept
	target   string        // of a link
}

// largeSize is the size of a large file, in bytes.
const largeSize = 16 << 20

// size returns the file's size in bytes.
func (n *node) size() int64 {
	if n.large != nil {
		return largeSize
	}
	return int64(len(n.data))
}

// bytes returns the file's data.
func (n *node) bytes() []byte {
	if n.large != nil {
		return n.large()
	}
	return n.data
}

func (n *node) path() string { return path.Join(n.tree, n.name) }

// mounts are the trees that become part of file systems, by what they are
// called there; fs_config and SELinux see them under that name.
var mounts = map[string]string{
	"SYSTEM": "system", "SYSTEM_EXT": "system_ext", "PRODUCT": "product", "VENDOR": "vendor", "ROOT": "",
}

// A tree collects nodes.
type tree struct {
	nodes []*node
	seen  map[string]bool
}

// add adds a node, and the folders above it.
func (t *tree) add(n *node) *node {
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	if dir := path.Dir(n.name); n.name != "" {
		if dir == "." {
			dir = ""
		}
		if !t.seen[path.Join(n.tree, dir)] {
			t.dir(n.tree, dir)
		}
	}
	if n.label == "" {
		n.label = labelOf(n.tree, n.name)
	}
	t.seen[n.path()] = true
	t.nodes = append(t.nodes, n)
	return n
}

func (t *tree) dir(tree, name string) {
	n := &node{tree: tree, name: name, mode: fs.ModeDir | 0o755}
	if path.Base(name) == "bin" {
		n.mode, n.gid = fs.ModeDir|0o751, 2000 // shell, as AOSP's fs_config
	}
	t.add(n)
}

// file adds a file as AOSP's fs_config has most: 0644 root:root, and programs
// 0755 root:shell.
func (t *tree) file(name string, data []byte) *node {
	tr, rest := split(name)
	n := &node{tree: tr, name: rest, mode: 0o644, data: data}
	if strings.HasPrefix(rest, "bin/") {
		n.mode, n.gid = 0o755, 2000
	}
	return t.add(n)
}

func (t *tree) link(name, target string) {
	tr, rest := split(name)
	t.add(&node{tree: tr, name: rest, mode: fs.ModeSymlink | 0o777, target: target})
}

// deep are the trees that are folders of others.
var deep = []string{"VENDOR_BOOT/RAMDISK_FRAGMENTS/recovery/RAMDISK", "VENDOR_BOOT/RAMDISK", "INIT_BOOT/RAMDISK"}

// split returns the tree of a path, and the name in it.
func split(name string) (tree, rest string) {
	for _, d := range deep {
		if rest, ok := strings.CutPrefix(name, d+"/"); ok {
			return d, rest
		}
	}
	tree, rest, _ = strings.Cut(name, "/")
	return tree, rest
}

// labelOf is what a policy of some rules gives a file.
func labelOf(tree, name string) string {
	if tree == "VENDOR" {
		switch {
		case strings.HasPrefix(name, "overlay"):
			return "u:object_r:vendor_overlay_file:s0"
		case strings.HasPrefix(name, "app"):
			return "u:object_r:vendor_app_file:s0"
		case strings.HasPrefix(name, "etc"):
			return "u:object_r:vendor_configs_file:s0"
		}
		return "u:object_r:vendor_file:s0"
	}
	switch {
	case tree == "ROOT":
		return "u:object_r:rootfs:s0"
	case name == "bin/sh":
		return "u:object_r:shell_exec:s0"
	case strings.HasPrefix(name, "etc/security/cacerts"):
		return "u:object_r:system_security_cacerts_file:s0"
	}
	return "u:object_r:system_file:s0"
}

// in returns the nodes of a tree, sorted by name.
func (t *tree) in(name string) []*node {
	var out []*node
	for _, n := range t.nodes {
		if n.tree == name {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	return out
}

// config is what AOSP's fs_config prints of a tree: META/filesystem_config.txt.
func (t *tree) config(name, prefix string) []byte {
	var b bytes.Buffer
	for _, n := range t.in(name) {
		label := ""
		if _, ok := mounts[name]; ok {
			label = " selabel=" + n.label
		}
		p := path.Join(prefix, n.name)
		if n.mode.IsDir() {
			p += "/"
		}
		fmt.Fprintf(&b, "%s %d %d %o%s capabilities=0x0\n", strings.TrimPrefix(p, "/"), n.uid, n.gid, n.mode.Perm(), label)
	}
	return b.Bytes()
}

// made is when all files are from: AOSP's fixed time of reproducible images.
var madeAt = time.Unix(1230768000, 0)

// write puts the nodes of some trees into a folder; at returns where a node
// goes.
func (t *tree) write(tb testing.TB, nodes []*node, at func(*node) string) {
	tb.Helper()
	for _, n := range nodes {
		p := at(n)
		var err error
		switch {
		case n.mode.IsDir():
			err = os.MkdirAll(p, 0o755)
		case n.mode&fs.ModeSymlink != 0:
			err = os.Symlink(n.target, p)
		default:
			err = os.WriteFile(p, n.bytes(), 0o644)
			if err == nil {
				err = os.Chmod(p, n.mode.Perm())
			}
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	for _, n := range slices.Backward(nodes) {
		if n.mode&fs.ModeSymlink == 0 {
			if err := os.Chtimes(at(n), madeAt, madeAt); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// put writes a file of the folder that is in no tree.
func (t *Target) put(tb testing.TB, name string, data []byte) {
	tb.Helper()
	p := filepath.Join(t.Dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o644); err != nil {
		tb.Fatal(err)
	}
}

// path returns the path of a file of the folder.
func (t *Target) path(name string) string { return filepath.Join(t.Dir, name) }

// text returns n bytes that compress well.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("the system server binds a service of the package manager and waits until the boot is complete")
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %x\n", words[r.IntN(len(words))], r.IntN(1<<12))
	}
	return b.Bytes()[:n]
}

// noise returns n bytes that do not compress.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}
