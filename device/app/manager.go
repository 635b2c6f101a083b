package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"mios/device/sandbox"
)

// A Config is what a [Manager] needs. Root, SDK, ABI, Helper and Log must be set.
type Config struct {
	Root       string // "/data" on a device
	SDK        int
	ABI        string
	Debuggable bool              // allows downgrades
	Helper     []string          // words that run [sandbox.Exec] in a new process
	Env        map[string]string // for every program
	// Output returns where a program's output goes; nil: nowhere.
	Output func(pkg string, pid, uid int) io.Writer
	// Changed hears of every change of a program's state; nil: nobody does.
	Changed func(pkg, state string)
	Log     *slog.Logger
}

// A Manager keeps the packages below one root. Its methods may be called
// concurrently.
type Manager struct {
	cfg   Config
	ctx   context.Context // of all programs
	mu    sync.Mutex      // store and runners
	store *store
	run   map[string]*runner
	wg    sync.WaitGroup
}

// Open completes or takes back what a power cut interrupted, and starts the
// programs that ran. They end with ctx; Wait returns when they have.
func Open(ctx context.Context, cfg Config) (*Manager, error) {
	return open(ctx, cfg, osDisk{})
}

func open(ctx context.Context, cfg Config, d disk) (*Manager, error) {
	m := &Manager{cfg: cfg, ctx: ctx, store: &store{root: cfg.Root, disk: d}, run: make(map[string]*runner)}
	if err := m.store.load(); err != nil {
		return nil, err
	}
	if err := m.store.recover(); err != nil {
		return nil, fmt.Errorf("recover packages: %w", err)
	}
	for pkg, r := range m.store.Packages {
		if r.Phase == installed && r.Run {
			m.start(pkg, r)
		}
	}
	return m, nil
}

// Wait returns when all programs have ended, after the context of [Open] has.
func (m *Manager) Wait() { m.wg.Wait() }

// Install installs the package in the next size bytes of r. The error of a
// refusal is an [*Error].
func (m *Manager) Install(ctx context.Context, r io.Reader, size int64, o InstallOptions) (*Status, error) {
	st, err := m.stage(func(st *staged) error { return m.receive(ctx, st, r, size) })
	if err != nil {
		return nil, err
	}
	return m.install(st, o)
}

// install makes a staged package the installed one.
func (m *Manager) install(st *staged, o InstallOptions) (_ *Status, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pkg := st.info().Manifest.Package
	if old := m.store.Packages[pkg]; old != nil && old.Phase == removing {
		err = m.store.finishRemoval(pkg) // which failed before
	}
	if err == nil {
		err = m.checkUpdate(st, m.store.Packages[pkg], o)
	}
	if err != nil {
		return nil, errors.Join(err, m.store.disk.RemoveAll(st.dir))
	}
	if err := m.place(st); err != nil {
		if now := m.store.Packages[pkg]; now == nil || m.store.versionDir(pkg, now) != st.dir {
			err = errors.Join(err, m.store.disk.RemoveAll(st.dir))
		}
		return nil, err
	}
	rec := m.store.Packages[pkg]
	m.cfg.Log.Info("installed", "package", pkg, "version", rec.VersionCode, "uid", rec.UID, "signers", rec.Signers)
	m.stop(pkg)
	if rec.Run {
		m.start(pkg, rec)
	}
	if err := m.store.dropOldVersions(pkg); err != nil {
		m.cfg.Log.Warn("old versions stay until the next boot", "package", pkg, "err", err)
	}
	return m.status(pkg, rec), nil
}

// Uninstall removes a package. With keep its data stays, and with it its uid
// and who may install it again.
func (m *Manager) Uninstall(ctx context.Context, pkg string, keep bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.store.Packages[pkg]
	if old == nil || keep && old.Phase != installed {
		return notInstalled(pkg)
	}
	m.stop(pkg)
	gone := &record{UID: old.UID, Phase: removing, Signers: old.Signers, VersionCode: old.VersionCode}
	if keep {
		gone.Phase = kept
	}
	if err := m.store.commit(pkg, gone, m.store.NextUID); err != nil {
		return refuse(CodeDelete, "%s: %v", pkg, err)
	}
	var err error
	if keep {
		err = errors.Join(m.store.disk.RemoveAll(m.store.appDir(pkg)), m.store.disk.SyncDir(filepath.Join(m.cfg.Root, "app")))
	} else {
		err = m.store.finishRemoval(pkg)
	}
	if err != nil {
		return refuse(CodeDelete, "%s: %v; the rest is removed at the next boot", pkg, err)
	}
	m.cfg.Log.Info("uninstalled", "package", pkg, "data kept", keep)
	return nil
}

func notInstalled(pkg string) error { return refuse(CodeNotInstalled, "%s is not installed", pkg) }

// List returns the installed packages by name.
func (m *Manager) List() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Status
	for _, pkg := range slices.Sorted(maps.Keys(m.store.Packages)) {
		if r := m.store.Packages[pkg]; r.Phase == installed {
			list = append(list, *m.status(pkg, r))
		}
	}
	return list
}

// Get returns one installed package.
func (m *Manager) Get(pkg string) (*Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.store.Packages[pkg]
	if r == nil || r.Phase != installed {
		return nil, notInstalled(pkg)
	}
	return m.status(pkg, r), nil
}

func (m *Manager) status(pkg string, r *record) *Status {
	st := &Status{
		Package: pkg, VersionCode: r.VersionCode, VersionName: r.VersionName, Label: r.Label, UID: r.UID, Signers: r.Signers,
		SHA256: r.SHA256, Splits: r.Splits, Installer: r.Installer, Release: r.Release, Path: filepath.Join(m.store.versionDir(pkg, r), apkName), DataDir: m.store.dataDir(pkg),
		ABI: r.ABI, Network: r.Network, State: Stopped,
	}
	if r.Executable != "" {
		st.Executable = filepath.Join(m.store.versionDir(pkg, r), r.Executable)
	}
	if run := m.run[pkg]; run != nil {
		run.fill(st)
	}
	return st
}

// Start runs the package's program, now and after every boot.
func (m *Manager) Start(ctx context.Context, pkg string) (*Status, error) {
	return m.setRun(pkg, true)
}

// Stop ends it, until Start is called.
func (m *Manager) Stop(ctx context.Context, pkg string) (*Status, error) {
	return m.setRun(pkg, false)
}

func (m *Manager) setRun(pkg string, run bool) (*Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.store.Packages[pkg]
	switch {
	case r == nil || r.Phase != installed:
		return nil, notInstalled(pkg)
	case run && r.Executable == "":
		return nil, refuse(CodeInvalid, "%s names no program in the meta-data %s", pkg, MetaExecutable)
	}
	if r.Run != run {
		changed := *r
		changed.Run = run
		if err := m.store.commit(pkg, &changed, m.store.NextUID); err != nil {
			return nil, err
		}
		r = m.store.Packages[pkg]
	}
	if !run {
		m.stop(pkg)
	} else if m.run[pkg] == nil {
		m.start(pkg, r)
	}
	return m.status(pkg, r), nil
}

// start begins to keep a package's program running.
func (m *Manager) start(pkg string, r *record) {
	env := maps.Clone(m.cfg.Env)
	if env == nil {
		env = make(map[string]string)
	}
	env["MIOS_PACKAGE"], env["MIOS_VERSION_NAME"], env["MIOS_VERSION_CODE"] = pkg, r.VersionName, fmt.Sprint(r.VersionCode)
	spec := sandbox.Spec{
		Package: pkg, UID: r.UID, Network: r.Network, Env: env,
		AppDir: m.store.versionDir(pkg, r), Path: filepath.Join(m.store.versionDir(pkg, r), r.Executable), DataDir: m.store.dataDir(pkg),
	}
	ctx, cancel := context.WithCancel(m.ctx)
	run := &runner{cancel: cancel, done: make(chan struct{}), state: Running}
	run.changed = func(state string) {
		if m.cfg.Changed != nil {
			m.cfg.Changed(pkg, state)
		}
	}
	m.run[pkg] = run
	log := m.cfg.Log.With("package", pkg)
	m.wg.Go(func() {
		run.keep(ctx, func(ctx context.Context) error { return m.runOnce(ctx, run, spec) }, log)
	})
}

// stop ends a package's program and waits until it has ended.
func (m *Manager) stop(pkg string) {
	if run := m.run[pkg]; run != nil {
		run.cancel()
		<-run.done
		delete(m.run, pkg)
	}
}
