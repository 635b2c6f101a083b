package app

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"slices"

	"mios"
	"mios/format/apksig"
	"mios/internal/lazyregexp"
)

// A File is an APK that lies whole on the file system that packages lie on.
type File struct {
	Split  string // its name, "" for the base
	Path   string
	Size   int64
	SHA256 mios.Digest
}

// A Set is an app as a signed repository promises it: a base APK and the splits
// that this device wants, which are installed as one or not at all.
type Set struct {
	Package     string
	VersionCode int64
	Signers     []mios.Digest
	Lineage     []mios.Digest // the signers before, as far as the repository knows
	Release     int64         // the repository's number of it
	// Lower lets it replace a newer version, whose data stays: the repository
	// says that devices are to go down to this one.
	Lower bool
	Base  File
	// Splits have one name each.
	Splits []File
}

var splitName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`)

// apkFile is the name of an APK in its version's folder: those of Android.
func apkFile(split string) string {
	if split == "" {
		return apkName
	}
	return "split_" + split + ".apk"
}

// InstallSet installs a set, whose files stay where they are. The package is the
// store's from then on. The error of a refusal is an [*Error].
func (m *Manager) InstallSet(ctx context.Context, set *Set) (*Status, error) {
	st, err := m.stage(func(st *staged) error { return m.linkSet(ctx, st, set) })
	if err != nil {
		return nil, err
	}
	st.set = set
	return m.install(st, InstallOptions{})
}

// linkSet takes a set's files into a staged package.
func (m *Manager) linkSet(ctx context.Context, st *staged, set *Set) error {
	for _, f := range append([]File{set.Base}, set.Splits...) {
		if f.Split != "" && (!splitName.MatchString(f.Split) || slices.ContainsFunc(st.apks, func(a stagedAPK) bool { return a.split == f.Split })) {
			return refuse(CodeInvalid, "%s has a split %q, or has it twice", set.Package, f.Split)
		}
		a, err := m.link(ctx, st, f)
		if err != nil {
			return err
		}
		st.apks = append(st.apks, a)
		p := a.info
		if set.Package != p.Manifest.Package || set.VersionCode != p.VersionCode || f.Split != p.Split || !slices.Equal(set.Signers, p.Signers) {
			return refuse(CodeVerification, "the repository promised %s version %d%s by %v, but the package is %s version %d%s by %v",
				set.Package, set.VersionCode, ofSplit(f.Split), set.Signers, p.Manifest.Package, p.VersionCode, ofSplit(p.Split), p.Signers)
		}
	}
	return nil
}

func ofSplit(name string) string {
	if name == "" {
		return ""
	}
	return " split " + name
}

// link gives a file a second name in the staged package's folder, and verifies
// it there.
func (m *Manager) link(ctx context.Context, st *staged, file File) (a stagedAPK, err error) {
	path := filepath.Join(st.dir, apkFile(file.Split))
	if err := m.store.disk.Link(file.Path, path); err != nil {
		return a, err
	}
	f, err := os.Open(path)
	if err != nil {
		return a, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, &contextReader{ctx, f})
	if err != nil {
		return a, err
	}
	a = stagedAPK{split: file.Split, size: n, sum: mios.Digest(h.Sum(nil))}
	if n != file.Size || a.sum != file.SHA256 {
		return a, refuse(CodeVerification, "the repository promised a package with SHA-256 %v, but sent %v", file.SHA256, a.sum)
	}
	a.info, err = inspect(ctx, f, n, m.cfg.SDK)
	return a, err
}

// Keep makes the store the installer of record of a package that has exactly the
// bytes of one of its releases, if it is not yet, and says which release it is.
// The error of a package that is not there is an [*Error].
func (m *Manager) Keep(pkg string, release int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.store.Packages[pkg]
	if r == nil || r.Phase != installed {
		return notInstalled(pkg)
	}
	if r.Installer == StoreInstaller && r.Release == release {
		return nil
	}
	changed := *r
	changed.Installer, changed.Release = StoreInstaller, release
	return m.store.commit(pkg, &changed, m.store.NextUID)
}

// MayReplace says, before anything is fetched, why a set cannot replace what
// there is of its package, or nil. Whether its signature proves what the repository
// says of it, [Manager.InstallSet] tells. The error is an [*Error].
func (m *Manager) MayReplace(set *Set) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.store.Packages[set.Package]
	if old == nil {
		return nil
	}
	all := make([]former, len(set.Lineage))
	for i, signer := range set.Lineage {
		all[i].Signer = signer
	}
	if err := old.succeeds(set.Package, set.Signers, all, func(int) bool { return true }); err != nil {
		return err
	}
	return m.checkVersion(set.Package, set.VersionCode, old, set.Lower)
}

// succeeds refuses signers that may not replace those of what is there: they
// must be the same, or one that follows it in the package's lineage with the leave
// to take over its data, or one that precedes it with the leave to come back (AOSP
// SigningDetails.checkCapability).
func (r *record) succeeds(pkg string, signers []mios.Digest, before []former, data func(i int) bool) error {
	if sameSigners(r.Signers, signers) {
		return nil
	}
	what := "is installed"
	if r.Phase == kept {
		what = "has left data"
	}
	why := "nothing proves that it succeeds the other one (a lineage of APK Signature Scheme v3 would), so this is a new app to the device"
	for i, f := range before {
		if slices.Equal(r.Signers, []mios.Digest{f.Signer}) {
			if data(i) {
				return nil
			}
			why = "its lineage names the other signer, but does not let it take over that one's data"
		}
	}
	for _, f := range r.Former {
		if slices.Equal(signers, []mios.Digest{f.Signer}) {
			if f.Rollback {
				return nil
			}
			why = "it has given the app on, and the lineage of the one that is there does not let it come back"
		}
	}
	return refuse(CodeIncompatible, "%s %s, signed by %v, and the new one is signed by %v: %s; uninstall it first, with its data, if you trust the new signer",
		pkg, what, r.Signers, signers, why)
}

// lineage returns the certificates before the signer's own, oldest first.
func lineage(p *apksig.Package) [][]byte {
	if p.Lineage == nil || len(p.Signers) != 1 {
		return nil
	}
	var list [][]byte
	for _, c := range p.Lineage.Certificates() {
		if mios.Sum(c) == p.Signers[0] {
			break
		}
		list = append(list, c)
	}
	return list
}

// formerSigners is what a record keeps of a lineage.
func formerSigners(p *apksig.Package) (list []former) {
	for i, c := range lineage(p) {
		list = append(list, former{mios.Sum(c), p.Lineage.Capabilities(i).Has(apksig.Rollback)})
	}
	return list
}
