package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"mios"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/lazyregexp"
)

// Limits on a package, in bytes.
const (
	MaxPackage    = 4<<30 - 1 // of what a ZIP file without ZIP64 can be
	MaxExecutable = 1 << 30
)

// A staged package is in a folder of its own below app/, where nothing refers
// to it yet.
type staged struct {
	dir  string      // moved into the package's folder to be installed
	apks []stagedAPK // the base first
	abi  string
	exe  string // name of the executable in dir, or ""
	set  *Set   // what the repository says; nil: it came as a file
}

type stagedAPK struct {
	split string
	size  int64
	sum   mios.Digest
	info  *apksig.Package
}

func (st *staged) info() *apksig.Package { return st.apks[0].info }

// stage makes a new folder, in which fill puts APKs and verifies them, and
// extracts the executable. All is on the medium when it returns.
func (m *Manager) stage(fill func(*staged) error) (_ *staged, err error) {
	name := make([]byte, 8)
	rand.Read(name)
	st := &staged{dir: filepath.Join(m.store.root, "app", "vmdl"+hex.EncodeToString(name)+".tmp")}
	if err := m.store.disk.Mkdir(st.dir, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.store.disk.RemoveAll(st.dir))
		}
	}()
	if err := fill(st); err != nil {
		return nil, err
	}
	if err := m.checkFacts(st); err != nil {
		return nil, err
	}
	if err := m.extract(st); err != nil {
		return nil, err
	}
	return st, m.store.disk.SyncDir(st.dir)
}

// receive writes the size bytes of r into a staged package, and verifies them.
func (m *Manager) receive(ctx context.Context, st *staged, r io.Reader, size int64) error {
	if size <= 0 || size > MaxPackage {
		return refuse(CodeInvalid, "a package of %d bytes", size)
	}
	f, err := m.store.disk.Create(filepath.Join(st.dir, apkName), 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), &contextReader{ctx, io.LimitReader(r, size)})
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return refuse(CodeStorage, "no space left after %d of %d bytes; uninstall something", n, size)
	case err != nil:
		return refuse(CodeAborted, "after %d of %d bytes: %v", n, size, err)
	case n < size:
		return refuse(CodeAborted, "only %d of %d bytes came", n, size)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	info, err := inspect(ctx, f, size, m.cfg.SDK)
	if err != nil {
		return err
	}
	st.apks = []stagedAPK{{size: size, sum: mios.Digest(h.Sum(nil)), info: info}}
	return nil
}

// contextReader fails once ctx has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

func inspect(ctx context.Context, r io.ReaderAt, size int64, sdk int) (*apksig.Package, error) {
	p, err := apksig.Inspect(ctx, r, size, sdk)
	if ve, ok := errors.AsType[*apksig.VerifyError](err); ok {
		return nil, refuse(CodeNoCertificates, "%v", ve)
	}
	if fe, ok := errors.AsType[*apk.FormatError](err); ok {
		return nil, refuse(CodeNotAPK, "%v", fe)
	}
	if errors.Is(err, mios.ErrNotFound) {
		return nil, refuse(CodeBadManifest, "%v", err)
	}
	return p, err
}

var executableName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)

// checkFacts refuses what cannot run here, and chooses ABI and executable.
func (m *Manager) checkFacts(st *staged) error {
	p := st.info()
	var abis []string
	for _, a := range st.apks {
		abis = append(abis, a.info.ABIs...)
	}
	switch {
	case p.Manifest.Package == "android":
		return refuse(CodeInvalid, "the package name android is the platform's own")
	case p.Split != "":
		return refuse(CodeInvalid, "%s is the split %q of a package; install a whole one", p.Manifest.Package, p.Split)
	case p.SplitRequired && len(st.apks) == 1:
		return refuse(CodeMissingSplit, "%s does not run without its splits, and there are none for this device; install it from the repository", p.Manifest.Package)
	case p.MinSDK > m.cfg.SDK:
		return refuse(CodeOlderSDK, "%s is for SDK version %d or later, this device is %d", p.Manifest.Package, p.MinSDK, m.cfg.SDK)
	case len(abis) > 0 && !slices.Contains(abis, m.cfg.ABI):
		return refuse(CodeNoABI, "%s is for %v, this device is %s", p.Manifest.Package, abis, m.cfg.ABI)
	}
	if len(abis) > 0 {
		st.abi = m.cfg.ABI
	}
	name, ok := p.MetaData[MetaExecutable]
	if !ok {
		return nil
	}
	if !executableName.MatchString(name) || st.abi == "" {
		return refuse(CodeInvalid, "%s names the program %q, but has no lib/%s/lib%s.so", p.Manifest.Package, name, m.cfg.ABI, name)
	}
	st.exe = "lib" + name + ".so"
	return nil
}

// extract writes the executable, which may be in any of the APKs, beside them.
func (m *Manager) extract(st *staged) error {
	if st.exe == "" {
		return nil
	}
	name := "lib/" + st.abi + "/" + st.exe
	for _, a := range st.apks {
		found, err := m.extractFrom(st, a, name)
		if found || err != nil {
			return err
		}
	}
	return refuse(CodeInvalid, "%s names its program in %s, but has no %s", st.info().Manifest.Package, MetaExecutable, name)
}

func (m *Manager) extractFrom(st *staged, a stagedAPK, name string) (found bool, err error) {
	in, err := os.Open(filepath.Join(st.dir, apkFile(a.split)))
	if err != nil {
		return false, err
	}
	defer in.Close()
	f, err := apk.Open(in, a.size)
	if err != nil {
		return false, err
	}
	e := f.Entry(name)
	if e == nil {
		return false, nil
	}
	if e.Size > MaxExecutable {
		return false, refuse(CodeInvalid, "%s: %d bytes, at most %d are extracted", name, e.Size, MaxExecutable)
	}
	r, err := f.OpenEntry(e)
	if err != nil {
		return false, refuse(CodeInvalid, "%v", err)
	}
	defer r.Close()
	out, err := m.store.disk.Create(filepath.Join(st.dir, st.exe), 0o755)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(out, r)
	err = errors.Join(err, out.Sync(), out.Close())
	if fe, ok := errors.AsType[*apk.FormatError](err); ok {
		return false, refuse(CodeInvalid, "%v", fe)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return false, refuse(CodeStorage, "no space left for %s; uninstall something", name)
	}
	return true, err
}

// checkUpdate refuses what may not replace what is there.
func (m *Manager) checkUpdate(st *staged, old *record, o InstallOptions) error {
	if old == nil {
		return nil
	}
	p := st.info()
	mayTakeData := func(i int) bool { return p.Lineage.Capabilities(i).Has(apksig.InstalledData) }
	if err := old.succeeds(p.Manifest.Package, p.Signers, formerSigners(p), mayTakeData); err != nil {
		return err
	}
	return m.checkVersion(p.Manifest.Package, p.VersionCode, old, o.Downgrade && m.cfg.Debuggable || st.set != nil && st.set.Lower)
}

// checkVersion refuses an older version, unless down says that it may come.
func (m *Manager) checkVersion(pkg string, code int64, old *record, down bool) error {
	if old.Phase != installed || code >= old.VersionCode || down {
		return nil
	}
	hint := "uninstall it first"
	if m.cfg.Debuggable {
		hint = "use -d"
	}
	return refuse(CodeDowngrade, "%s version %d is installed, which is newer than %d; %s", pkg, old.VersionCode, code, hint)
}

func sameSigners(a, b []mios.Digest) bool {
	key := func(list []mios.Digest) []string {
		out := make([]string, len(list))
		for i, d := range list {
			out[i] = d.String()
		}
		slices.Sort(out)
		return out
	}
	return len(a) > 0 && slices.Equal(key(a), key(b))
}

// place makes a staged package the installed one. The old version's folder is
// still there.
func (m *Manager) place(st *staged) error {
	p, s := st.info(), m.store
	pkg := p.Manifest.Package
	old := s.Packages[pkg]
	r := &record{
		Phase: installed, Dir: fmt.Sprintf("%d-%s", p.VersionCode, filepath.Base(st.dir)[4:12]),
		VersionCode: p.VersionCode, VersionName: p.VersionName, Label: p.Label, Signers: p.Signers, SHA256: st.apks[0].sum,
		ABI: st.abi, Executable: st.exe, Network: p.Uses(apk.PermissionInternet, m.cfg.SDK), Former: formerSigners(p),
	}
	for _, a := range st.apks[1:] {
		r.Splits = append(r.Splits, a.split)
	}
	if st.set != nil {
		r.Installer, r.Release = StoreInstaller, st.set.Release
	}
	next := s.NextUID
	if old != nil {
		r.UID, r.Run = old.UID, old.Run && st.exe != ""
	} else {
		var err error
		if r.UID, next, err = s.freeUID(); err != nil {
			return err
		}
	}
	if err := s.disk.Mkdir(s.appDir(pkg), 0o755); err != nil {
		return err
	}
	if err := s.disk.Rename(st.dir, s.versionDir(pkg, r)); err != nil {
		return err
	}
	st.dir = s.versionDir(pkg, r)
	if err := errors.Join(s.disk.SyncDir(s.appDir(pkg)), s.disk.SyncDir(filepath.Dir(s.appDir(pkg)))); err != nil {
		return err
	}
	if err := s.commit(pkg, r, next); err != nil {
		return err
	}
	return s.ensureData(pkg, r.UID)
}
