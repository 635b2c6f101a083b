package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	dir  string // moved into the package's folder to be installed
	sum  mios.Digest
	info *apksig.Package
	abi  string
	exe  string // name of the executable in dir, or ""
}

// stage writes the size bytes of r into a new folder, verifies them and
// extracts the executable. All is on the medium when it returns. With want the
// bytes must be those.
func (m *Manager) stage(ctx context.Context, r io.Reader, size int64, want *Release) (_ *staged, err error) {
	if size <= 0 || size > MaxPackage {
		return nil, refuse(CodeInvalid, "a package of %d bytes", size)
	}
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
	f, err := m.store.disk.Create(filepath.Join(st.dir, apkName), 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := st.receive(ctx, f, r, size, want); err != nil {
		return nil, err
	}
	if st.info, err = inspect(ctx, f, size, m.cfg.SDK); err != nil {
		return nil, err
	}
	if err := m.checkFacts(st, want); err != nil {
		return nil, err
	}
	if err := m.extract(st, f, size); err != nil {
		return nil, err
	}
	return st, m.store.disk.SyncDir(st.dir)
}

// receive copies exactly size bytes.
func (st *staged) receive(ctx context.Context, f diskFile, r io.Reader, size int64, want *Release) error {
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
	st.sum = mios.Digest(h.Sum(nil))
	if want != nil && st.sum != want.SHA256 {
		return refuse(CodeVerification, "the repository promised a package with SHA-256 %v, but sent %v", want.SHA256, st.sum)
	}
	return f.Sync()
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

// checkFacts refuses what cannot run here, and what is not what the repository
// said, and chooses ABI and executable.
func (m *Manager) checkFacts(st *staged, want *Release) error {
	p := st.info
	switch {
	case p.Manifest.Package == "android":
		return refuse(CodeInvalid, "the package name android is the platform's own")
	case p.Split != "":
		return refuse(CodeInvalid, "%s is the split %q of a package; install a whole one", p.Manifest.Package, p.Split)
	case p.MinSDK > m.cfg.SDK:
		return refuse(CodeOlderSDK, "%s is for SDK version %d or later, this device is %d", p.Manifest.Package, p.MinSDK, m.cfg.SDK)
	case len(p.ABIs) > 0 && !slices.Contains(p.ABIs, m.cfg.ABI):
		return refuse(CodeNoABI, "%s is for %v, this device is %s", p.Manifest.Package, p.ABIs, m.cfg.ABI)
	}
	if want != nil && (want.Package != p.Manifest.Package || want.VersionCode != p.VersionCode || !slices.Equal(want.Signers, p.Signers)) {
		return refuse(CodeVerification, "the repository promised %s version %d by %v, but the package is %s version %d by %v",
			want.Package, want.VersionCode, want.Signers, p.Manifest.Package, p.VersionCode, p.Signers)
	}
	if len(p.ABIs) > 0 {
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

// extract writes the executable beside the package.
func (m *Manager) extract(st *staged, apkFile io.ReaderAt, size int64) error {
	if st.exe == "" {
		return nil
	}
	f, err := apk.Open(apkFile, size)
	if err != nil {
		return err
	}
	name := "lib/" + st.abi + "/" + st.exe
	e := f.Entry(name)
	if e == nil {
		return refuse(CodeInvalid, "%s names its program in %s, but has no %s", st.info.Manifest.Package, MetaExecutable, name)
	}
	if e.Size > MaxExecutable {
		return refuse(CodeInvalid, "%s: %d bytes, at most %d are extracted", name, e.Size, MaxExecutable)
	}
	r, err := f.OpenEntry(e)
	if err != nil {
		return refuse(CodeInvalid, "%v", err)
	}
	defer r.Close()
	out, err := m.store.disk.Create(filepath.Join(st.dir, st.exe), 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	err = errors.Join(err, out.Sync(), out.Close())
	if fe, ok := errors.AsType[*apk.FormatError](err); ok {
		return refuse(CodeInvalid, "%v", fe)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return refuse(CodeStorage, "no space left for %s; uninstall something", name)
	}
	return err
}

// checkUpdate refuses what may not replace what is there.
func (m *Manager) checkUpdate(p *apksig.Package, old *record, o InstallOptions) error {
	if old == nil {
		return nil
	}
	pkg := p.Manifest.Package
	if !sameSigners(old.Signers, p.Signers) {
		what := "is installed"
		if old.Phase == kept {
			what = "has left data"
		}
		return refuse(CodeIncompatible, "%s %s, signed by %v, and this package is signed by %v; uninstall it first, with its data, if you trust the new signer",
			pkg, what, old.Signers, p.Signers)
	}
	if old.Phase == installed && p.VersionCode < old.VersionCode && !(o.Downgrade && m.cfg.Debuggable) {
		hint := "uninstall it first"
		if m.cfg.Debuggable {
			hint = "use -d"
		}
		return refuse(CodeDowngrade, "%s version %d is installed, which is newer than %d; %s", pkg, old.VersionCode, p.VersionCode, hint)
	}
	return nil
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
	p, s := st.info, m.store
	pkg := p.Manifest.Package
	old := s.Packages[pkg]
	r := &record{
		Phase: installed, Dir: fmt.Sprintf("%d-%s", p.VersionCode, filepath.Base(st.dir)[4:12]),
		VersionCode: p.VersionCode, VersionName: p.VersionName, Label: p.Label, Signers: p.Signers, SHA256: st.sum,
		ABI: st.abi, Executable: st.exe, Network: p.Uses(apk.PermissionInternet, m.cfg.SDK),
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
