package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

var errPower = errors.New("power is gone")

// powerDisk loses power at its nth change: that change and all later ones
// fail. lose then takes back what a journaled file system could lose: the last
// changes of names that were not followed by a sync, and of files what was not
// synced.
type powerDisk struct {
	osDisk
	left    int // changes until the cut
	rng     *rand.Rand
	trash   string // where removed things lie until a sync
	undo    []func() error
	files   map[string]*powerFile
	changes []string // for the test's log
}

func (d *powerDisk) step(name, path string) error {
	if d.left--; d.left < 0 {
		return fmt.Errorf("%s %s: %w", name, path, errPower)
	}
	d.changes = append(d.changes, name+" "+filepath.Base(path))
	return nil
}

func (d *powerDisk) Mkdir(path string, perm fs.FileMode) error {
	if err := d.step("mkdir", path); err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		d.undo = append(d.undo, func() error { return os.RemoveAll(path) })
	}
	return d.osDisk.Mkdir(path, perm)
}

func (d *powerDisk) Create(path string, perm fs.FileMode) (diskFile, error) {
	if err := d.step("create", path); err != nil {
		return nil, err
	}
	f, err := d.osDisk.Create(path, perm)
	if err != nil {
		return nil, err
	}
	d.undo = append(d.undo, func() error { return os.RemoveAll(path) })
	pf := &powerFile{diskFile: f, d: d, path: path}
	d.files[path] = pf
	return pf, nil
}

func (d *powerDisk) Rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	old, err := os.ReadFile(to)
	had := err == nil
	if err := d.osDisk.Rename(from, to); err != nil {
		return err
	}
	for p, f := range d.files { // what lies below has a new name
		if rest, ok := strings.CutPrefix(p, from); ok {
			delete(d.files, p)
			f.path = to + rest
			d.files[f.path] = f
		}
	}
	d.undo = append(d.undo, func() error {
		err := os.Rename(to, from)
		if had {
			err = errors.Join(err, os.WriteFile(to, old, 0o600))
		}
		return err
	})
	return nil
}

func (d *powerDisk) Link(from, to string) error {
	if err := d.step("link", to); err != nil {
		return err
	}
	d.undo = append(d.undo, func() error { return os.RemoveAll(to) })
	return d.osDisk.Link(from, to)
}

func (d *powerDisk) RemoveAll(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.step("remove", path); err != nil {
		return err
	}
	kept := filepath.Join(d.trash, fmt.Sprint(len(d.undo), "-", d.rng.Int()))
	if err := os.Rename(path, kept); err != nil {
		return err
	}
	d.undo = append(d.undo, func() error { return os.Rename(kept, path) })
	return nil
}

func (d *powerDisk) Chown(path string, id int) error {
	if err := d.step("chown", path); err != nil {
		return err
	}
	return d.osDisk.Chown(path, id)
}

func (d *powerDisk) SyncDir(path string) error {
	if err := d.step("sync", path); err != nil {
		return err
	}
	d.undo = nil // a journal keeps the order: what came before is durable too
	return nil
}

// lose does what the cut does to the medium.
func (d *powerDisk) lose() error {
	var err error
	for n := d.rng.IntN(len(d.undo) + 1); n > 0; n-- {
		i := len(d.undo) - 1
		err = errors.Join(err, d.undo[i]())
		d.undo = d.undo[:i]
	}
	for _, f := range d.files {
		if lost := f.written - f.synced; lost > 0 {
			if e := os.Truncate(f.path, f.synced+d.rng.Int64N(lost)); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

type powerFile struct {
	diskFile
	d               *powerDisk
	path            string
	written, synced int64
}

func (f *powerFile) Write(b []byte) (int, error) {
	if err := f.d.step("write", f.path); err != nil {
		n, _ := f.diskFile.Write(b[:len(b)/2]) // torn
		f.written += int64(n)
		return n, err
	}
	n, err := f.diskFile.Write(b)
	f.written += int64(n)
	return n, err
}

func (f *powerFile) Sync() error {
	if err := f.d.step("sync", f.path); err != nil {
		return err
	}
	f.synced = f.written
	return nil
}

// fastDisk never waits for the medium: here power is lost by powerDisk alone.
type fastDisk struct{ osDisk }

func (fastDisk) SyncDir(string) error { return nil }
func (d fastDisk) Create(path string, perm fs.FileMode) (diskFile, error) {
	f, err := d.osDisk.Create(path, perm)
	return fastFile{f}, err
}

type fastFile struct{ diskFile }

func (fastFile) Sync() error { return nil }

// TestPowerCut cuts the power at each change that an operation makes. After the
// next start the package is what it was before or what it shall be, never a
// mixture, and the operation can be done again.
func TestPowerCut(t *testing.T) {
	wantRoot(t)
	one, two := testPackage(t, testSpec{code: 1}), testPackage(t, testSpec{code: 2})
	install := func(b []byte) func(*Manager) error {
		return func(m *Manager) error {
			_, err := m.Install(t.Context(), bytes.NewReader(b), int64(len(b)), InstallOptions{})
			return err
		}
	}
	for _, op := range []struct {
		name          string
		prepare       []func(*Manager) error
		do            func(*Manager) error
		before, after []byte // what is installed; nil: nothing
	}{
		{"install", nil, install(one), nil, one},
		{"update", []func(*Manager) error{install(one)}, install(two), one, two},
		{"uninstall", []func(*Manager) error{install(one)}, func(m *Manager) error { return m.Uninstall(t.Context(), testPkg, false) }, one, nil},
		{"uninstall -k", []func(*Manager) error{install(one)}, func(m *Manager) error { return m.Uninstall(t.Context(), testPkg, true) }, one, nil},
		{"install over kept data", []func(*Manager) error{install(one), func(m *Manager) error { return m.Uninstall(t.Context(), testPkg, true) }}, install(two), nil, two},
	} {
		t.Run(op.name, func(t *testing.T) {
			for n := 0; ; n++ {
				c := cutCase{n: n, prepare: op.prepare, do: op.do, before: op.before, after: op.after}
				if !c.run(t) {
					if n < 5 {
						t.Errorf("the operation is done after %d changes", n)
					}
					return
				}
			}
		})
	}
}

type cutCase struct {
	n             int
	prepare       []func(*Manager) error
	do            func(*Manager) error
	before, after []byte
}

// run reports whether the power was cut.
func (c *cutCase) run(t *testing.T) bool {
	t.Helper()
	root := t.TempDir()
	m := openTest(t, root, fastDisk{})
	for _, f := range c.prepare {
		if err := f(m); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(root, "data", testPkg, "file")
	hadData := len(c.prepare) > 0
	if hadData {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trash := t.TempDir()
	d := &powerDisk{left: 1 << 30, rng: rand.New(rand.NewPCG(uint64(c.n), 1)), trash: trash, files: map[string]*powerFile{}}
	m = openTest(t, root, d)
	d.left, d.undo, d.changes = c.n, nil, nil
	err := c.do(m)
	if err == nil {
		checkInstalled(t, openTest(t, root, fastDisk{}), root, c.after)
		return false
	}
	if !strings.Contains(err.Error(), errPower.Error()) {
		t.Fatalf("cut at %d: %v", c.n, err)
	}
	if err := d.lose(); err != nil {
		t.Fatalf("cut at %d: %v", c.n, err)
	}
	where := fmt.Sprintf("cut at %d, after %v", c.n, d.changes)
	m = openTest(t, root, fastDisk{})
	now := c.before
	if list := m.List(); len(list) > 0 && list[0].VersionCode == codeOf(c.after) || len(list) == 0 && c.after == nil {
		now = c.after
	}
	checkInstalled(t, m, root, now)
	if hadData && now != nil {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: the package's data is gone: %v", where, err)
		}
	}
	if err := c.do(m); err != nil && !(c.after == nil && now == nil) {
		t.Errorf("%s: once more: %v", where, err)
	}
	checkInstalled(t, m, root, c.after)
	if t.Failed() {
		t.Fatal(where)
	}
	return true
}

func codeOf(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(b[len(b)-1]) // testPackage writes it there, as a comment
}

// checkInstalled compares what lies below root with the package b, nil for none.
func checkInstalled(t *testing.T, m *Manager, root string, b []byte) {
	t.Helper()
	list := m.List()
	apps, _ := os.ReadDir(filepath.Join(root, "app"))
	for pkg, r := range m.store.Packages {
		if r.Phase == removing {
			t.Errorf("%s is still on its way out", pkg)
		}
	}
	if b == nil {
		if len(list) != 0 || len(apps) != 0 {
			t.Errorf("installed: %v, folders %v; want none", list, apps)
		}
		if _, err := os.Stat(filepath.Join(root, "data", testPkg)); err == nil && m.store.Packages[testPkg] == nil {
			t.Error("a data folder without a record")
		}
		return
	}
	if len(list) != 1 || len(apps) != 1 || apps[0].Name() != testPkg {
		t.Errorf("installed: %v, folders %v; want %s", list, apps, testPkg)
		return
	}
	st := list[0]
	if versions, _ := os.ReadDir(filepath.Join(root, "app", testPkg)); len(versions) != 1 {
		t.Errorf("versions %v, want one", versions)
	}
	if got, err := os.ReadFile(st.Path); !bytes.Equal(got, b) {
		t.Errorf("%s: %d bytes, %v; want %d", st.Path, len(got), err, len(b))
	}
	if got, err := os.ReadFile(st.Executable); string(got) != testProgram(codeOf(b)) {
		t.Errorf("%s: %q, %v", st.Executable, got, err)
	}
	fi, err := os.Stat(st.DataDir)
	if err != nil {
		t.Error(err)
		return
	}
	if sys := fi.Sys().(*syscall.Stat_t); int(sys.Uid) != st.UID || fi.Mode().Perm() != 0o700 {
		t.Errorf("%s: owner %d, mode %v; want %d, 0700", st.DataDir, sys.Uid, fi.Mode().Perm(), st.UID)
	}
}
