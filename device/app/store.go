package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"mios"
	"mios/api/repo"
	"mios/device/sandbox"
)

const (
	stateVersion = 1
	maxState     = 16 << 20
	apkName      = "base.apk"
)

// The phases of a record's life.
const (
	installed = "installed"
	removing  = "removing" // its folders are on their way out
	kept      = "kept"     // removed, but for its data
)

// A record is what packages.json says of a package. While there is one, its
// uid belongs to it.
type record struct {
	UID   int    `json:"uid"`
	Phase string `json:"phase"`
	// Dir is the name of the version's folder below the package's.
	Dir         string        `json:"dir,omitempty"`
	VersionCode int64         `json:"version_code"`
	VersionName string        `json:"version_name,omitempty"`
	Label       string        `json:"label,omitempty"`
	Signers     []mios.Digest `json:"signers"`
	SHA256      mios.Digest   `json:"sha256"`
	ABI         string        `json:"abi,omitempty"`
	Executable  string        `json:"executable,omitempty"` // a file in Dir
	Network     bool          `json:"network,omitempty"`
	Run         bool          `json:"run,omitempty"` // start it after a boot
	Splits      []string      `json:"splits,omitempty"`
	// Former are the signers before, as the package's lineage proves, oldest first.
	Former    []former `json:"former,omitempty"`
	Installer string   `json:"installer,omitempty"`
	Release   int64    `json:"release,omitempty"`
}

// A former signer may have given the app on, and may get it back if its
// successor allows that.
type former struct {
	Signer   mios.Digest `json:"signer"`
	Rollback bool        `json:"rollback,omitempty"` // it may sign the app again
}

// packages is the content of packages.json.
type packages struct {
	Version  int                `json:"version"`
	NextUID  int                `json:"next_uid"` // where the search for a free one begins
	Packages map[string]*record `json:"packages"`
}

// store keeps packages.json and knows where everything lies.
type store struct {
	root string // "/data"
	disk disk
	packages
}

func (s *store) appDir(pkg string) string              { return filepath.Join(s.root, "app", pkg) }
func (s *store) versionDir(p string, r *record) string { return filepath.Join(s.appDir(p), r.Dir) }
func (s *store) dataDir(pkg string) string             { return filepath.Join(s.root, "data", pkg) }
func (s *store) systemDir() string                     { return filepath.Join(s.root, "system") }
func (s *store) file() string                          { return filepath.Join(s.systemDir(), "packages.json") }

// load reads packages.json; without one nothing is installed.
func (s *store) load() error {
	s.packages = packages{Version: stateVersion, NextUID: sandbox.FirstUID, Packages: map[string]*record{}}
	b, err := os.ReadFile(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// A device that goes back to its old slot has an older program than the one that
	// wrote the file: fields that it does not know are no error.
	if err := json.Unmarshal(b, &s.packages); err != nil {
		return fmt.Errorf("%s: %v: %w: installed packages are unknown; reset the device's data", s.file(), err, mios.ErrInvalid)
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("%s: %v: %w: installed packages are unknown; reset the device's data", s.file(), err, mios.ErrInvalid)
	}
	return nil
}

func (s *store) check() error {
	if s.Version != stateVersion {
		return fmt.Errorf("version %d, want %d", s.Version, stateVersion)
	}
	uids := map[int]string{}
	for pkg, r := range s.Packages {
		if err := repo.CheckPackage(pkg); err != nil {
			return err
		}
		switch {
		case r == nil:
			return fmt.Errorf("%s has no record", pkg)
		case r.UID < sandbox.FirstUID || r.UID > sandbox.LastUID:
			return fmt.Errorf("%s has uid %d", pkg, r.UID)
		case uids[r.UID] != "":
			return fmt.Errorf("%s and %s have uid %d", pkg, uids[r.UID], r.UID)
		case r.Phase != installed && r.Phase != removing && r.Phase != kept:
			return fmt.Errorf("%s is %q", pkg, r.Phase)
		case r.Phase == installed && (r.Dir == "" || filepath.Base(r.Dir) != r.Dir):
			return fmt.Errorf("%s lies in %q", pkg, r.Dir)
		case slices.ContainsFunc(r.Splits, func(s string) bool { return !splitName.MatchString(s) }):
			return fmt.Errorf("%s has the splits %q", pkg, r.Splits)
		case r.Executable != "" && filepath.Base(r.Executable) != r.Executable:
			return fmt.Errorf("%s has the program %q", pkg, r.Executable)
		}
		uids[r.UID] = pkg
	}
	return nil
}

// save replaces packages.json. After an error the old one or the new one is
// there.
func (s *store) save() error {
	b, err := json.MarshalIndent(&s.packages, "", "\t")
	if err != nil {
		return err
	}
	if len(b) > maxState {
		return fmt.Errorf("%s: %d bytes: too many packages", s.file(), len(b))
	}
	if err := s.disk.Mkdir(s.systemDir(), 0o700); err != nil {
		return err
	}
	tmp := s.file() + ".tmp"
	if err := s.disk.RemoveAll(tmp); err != nil {
		return err
	}
	f, err := s.disk.Create(tmp, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := s.disk.Rename(tmp, s.file()); err != nil {
		return err
	}
	return s.disk.SyncDir(s.systemDir())
}

// commit changes the record of pkg, nil for none, on disk and then in memory.
// After an error memory says what the disk says.
func (s *store) commit(pkg string, r *record, nextUID int) error {
	old := s.packages
	s.packages.NextUID = nextUID
	s.packages.Packages = maps.Clone(old.Packages)
	delete(s.packages.Packages, pkg)
	if r != nil {
		s.packages.Packages[pkg] = r
	}
	err := s.save()
	if err != nil {
		if e := s.load(); e != nil {
			s.packages = old
			err = errors.Join(err, e)
		}
	}
	return err
}

// freeUID returns a uid that no record and no data folder has, and where to
// search next time: a uid is used again as late as possible.
func (s *store) freeUID() (uid, next int, err error) {
	taken := map[int]bool{}
	for _, r := range s.Packages {
		taken[r.UID] = true
	}
	entries, err := os.ReadDir(filepath.Join(s.root, "data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, err
	}
	for _, e := range entries {
		if fi, err := e.Info(); err == nil {
			taken[int(fi.Sys().(*syscall.Stat_t).Uid)] = true
		}
	}
	const n = sandbox.LastUID - sandbox.FirstUID + 1
	for i := range n {
		uid := sandbox.FirstUID + (max(s.NextUID, sandbox.FirstUID)-sandbox.FirstUID+i)%n
		if !taken[uid] {
			return uid, sandbox.FirstUID + (uid+1-sandbox.FirstUID)%n, nil
		}
	}
	return 0, 0, refuse(CodeStorage, "all %d uids for packages are taken; uninstall some", n)
}

// ensureData makes the package's data folder, or makes it the package's own.
func (s *store) ensureData(pkg string, uid int) error {
	parent := filepath.Join(s.root, "data")
	if err := s.disk.Mkdir(parent, 0o771); err != nil {
		return err
	}
	dir := s.dataDir(pkg)
	if err := s.disk.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := s.disk.Chown(dir, uid); err != nil {
		return err
	}
	return errors.Join(s.disk.SyncDir(dir), s.disk.SyncDir(parent))
}

// recover brings the folders to what packages.json says.
func (s *store) recover() error {
	apps := filepath.Join(s.root, "app")
	if err := s.disk.Mkdir(apps, 0o771); err != nil {
		return err
	}
	entries, err := os.ReadDir(apps)
	if err != nil {
		return err
	}
	for _, e := range entries { // what was staged, and what is no longer installed
		if r := s.Packages[e.Name()]; r == nil || r.Phase != installed {
			if err := s.disk.RemoveAll(filepath.Join(apps, e.Name())); err != nil {
				return err
			}
			continue
		}
		if err := s.dropOldVersions(e.Name()); err != nil {
			return err
		}
	}
	if err := s.disk.SyncDir(apps); err != nil {
		return err
	}
	for _, pkg := range slices.Sorted(maps.Keys(s.Packages)) {
		r := s.Packages[pkg]
		switch r.Phase {
		case removing:
			err = s.finishRemoval(pkg)
		case installed:
			err = s.ensureData(pkg, r.UID)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", pkg, err)
		}
	}
	return nil
}

// dropOldVersions removes all versions of a package but the installed one.
func (s *store) dropOldVersions(pkg string) error {
	entries, err := os.ReadDir(s.appDir(pkg))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != s.Packages[pkg].Dir {
			if err := s.disk.RemoveAll(filepath.Join(s.appDir(pkg), e.Name())); err != nil {
				return err
			}
		}
	}
	return s.disk.SyncDir(s.appDir(pkg))
}

// finishRemoval removes the folders of a package whose record says so, and
// then the record, which frees the uid.
func (s *store) finishRemoval(pkg string) error {
	for _, dir := range []string{s.appDir(pkg), s.dataDir(pkg)} {
		if err := s.disk.RemoveAll(dir); err != nil {
			return err
		}
		if err := s.disk.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.commit(pkg, nil, s.NextUID)
}
