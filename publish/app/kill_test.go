package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mios"
	"mios/api"
	apirepo "mios/api/repo"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/setup"
	"mios/publish/app/worker"
	"mios/publish/repotest"
	"mios/storage/record"
)

// developerEnv makes the test's program a developer and a reviewer at work, on
// the store and the package that it names.
const developerEnv = "MIOS_TEST_DEVELOPER"

func TestMain(m *testing.M) {
	worker.Main()
	if text := os.Getenv(developerEnv); text != "" {
		dir, pkg, _ := strings.Cut(text, "\n")
		if err := develop(context.Background(), dir, pkg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(keeperEnv); text != "" {
		fmt.Fprintln(os.Stderr, keep(context.Background(), text))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// develop takes a package from version to version, from wherever it is, until
// there is none left or the process is killed. What is done it says, a line
// each. Each request is tried twice.
func develop(ctx context.Context, dir, pkg string) error {
	s, err := setup.Open(ctx, dir, setup.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("ready")
	for n := int64(1); ; n++ {
		file := apkFile(dir, pkg, n)
		if _, err := os.Stat(file); err != nil {
			return nil
		}
		if err := developOne(ctx, s.Store, file, pkg, n); err != nil {
			return fmt.Errorf("version %d: %w", n, err)
		}
	}
}

// twice is a client that tries a request once more.
func twice[T any](f func() (T, error)) (T, error) {
	v, err := f()
	if err != nil {
		v, err = f()
	}
	return v, err
}

func developOne(ctx context.Context, s *app.Store, file, pkg string, n int64) error {
	list, err := s.Submissions(ctx, app.Filter{Package: pkg, Limit: 1000})
	if err != nil {
		return err
	}
	var sub *app.Submission
	if i := slices.IndexFunc(list, func(o app.Submission) bool { return o.VersionCode == n }); i >= 0 {
		sub = &list[i]
	} else if sub, err = twice(func() (*app.Submission, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return s.Submit(ctx, "ada", app.Upload{Files: []app.UploadFile{{Name: "a.apk", Content: f}}})
	}); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	fmt.Println("submitted", n)
	if sub.State == app.Review {
		if sub, err = twice(func() (*app.Submission, error) { return s.Review(ctx, "rex", sub.ID, true, "") }); err != nil {
			return fmt.Errorf("review: %w", err)
		}
	}
	fmt.Println("approved", n)
	a, err := s.App(ctx, pkg)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(a.Releases, func(r app.Release) bool { return r.VersionCode == n }) {
		return nil
	}
	o := app.ReleaseOptions{Share: apirepo.Everyone}
	if _, err := twice(func() (*app.Release, error) { return s.Release(ctx, "rex", sub.ID, o) }); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	fmt.Println("released", n)
	if _, err := twice(func() (*app.Compiled, error) { return s.Compile(ctx) }); err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	fmt.Println("compiled", n)
	if n%3 == 0 {
		return s.MakeDeltas(ctx, func(string) {})
	}
	return nil
}

func apkFile(dir, pkg string, n int64) string {
	return filepath.Join(dir, fmt.Sprintf("%s_%d.apk", pkg, n))
}

// A shop is a store's folder and what its developers have said is done.
type shop struct {
	*testing.T
	dir string

	mu   sync.Mutex
	said map[string]int64 // the highest version, by package and what was done
}

// newShop makes a store and the versions of its packages.
func newShop(t *testing.T, c setup.Config, versions int, pkgs ...string) *shop {
	t.Helper()
	s := &shop{T: t, dir: t.TempDir(), said: map[string]int64{}}
	keys := repotest.Keys(t)
	c.Keys, c.Repository, c.Name = keys.Dir(), "repo", "shop"
	if err := setup.Init(t.Context(), s.dir, keys, setup.InitOptions{Config: c, AppBits: 1}); err != nil {
		t.Fatal(err)
	}
	rnd := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 256<<10)
	rnd.Read(noise)
	for _, pkg := range pkgs {
		signer := []apksig.Signer{apptest.Signer(t)}
		for n := 1; n <= versions; n++ {
			rnd.Read(noise[:1<<10]) // a little of each version is new
			a := apptest.APK{Package: pkg, VersionCode: n, Signers: signer, Files: map[string]string{"assets/noise": string(noise)}}
			if err := os.WriteFile(apkFile(s.dir, pkg, int64(n)), a.Build(t), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// shared is a store's place on PostgreSQL and S3.
func shared(t *testing.T) setup.Config {
	return setup.Config{Records: testkit.Postgres(t), Blobs: testkit.S3(t), Tree: testkit.S3(t)}
}

// A developer is a process at work.
type developer struct {
	cmd  *exec.Cmd
	log  strings.Builder
	ends chan error
}

// start starts a developer and returns once it is at work.
func (s *shop) start(pkg string) *developer {
	s.Helper()
	d := &developer{cmd: exec.Command(os.Args[0]), ends: make(chan error, 1)}
	d.cmd.Env = append(os.Environ(), developerEnv+"="+s.dir+"\n"+pkg)
	d.cmd.Stderr = &d.log
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { d.cmd.Process.Kill() })
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			what, n, _ := strings.Cut(lines.Text(), " ")
			if what == "ready" {
				ready <- true
				continue
			}
			version, _ := strconv.ParseInt(n, 10, 64)
			s.mu.Lock()
			s.said[pkg+" "+what] = max(s.said[pkg+" "+what], version)
			s.mu.Unlock()
		}
		d.ends <- d.cmd.Wait()
		close(ready)
	}()
	if !<-ready {
		s.Fatalf("a developer of %s did not begin: %s", pkg, d.log.String())
	}
	return d
}

// seed returns what decides when processes are killed, and how often: moments,
// or as many as a soak wants.
func seed(t *testing.T, moments int) (*rand.Rand, int) {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("MIOS_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MIOS_SEED: %v", err)
		}
	}
	if s := os.Getenv("MIOS_SOAK"); s != "" {
		var err error
		if moments, err = strconv.Atoi(s); err != nil {
			t.Fatalf("MIOS_SOAK: %v", err)
		}
		moments = max(moments, 50)
	}
	t.Logf("MIOS_SEED=%d, %d moments", n, moments)
	return rand.New(rand.NewPCG(n, 0)), moments
}

// TestKill kills a store's process at random moments of an app's life, upload,
// review, compile and swap: what it has said is done is done, the tree is whole
// all the time, and nothing is left behind.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); testKill(t, setup.Defaults, 8) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); testKill(t, shared(t), 4) })
}

func testKill(t *testing.T, c setup.Config, moments int) {
	rnd, moments := seed(t, moments)
	s := newShop(t, c, 3*moments, clock)
	begin := time.Now()
	d := s.start(clock)
	s.await(d, clock, 2) // how long a version takes
	cycle := time.Since(begin) / 2
	for range moments {
		time.Sleep(time.Duration(rnd.Int64N(int64(cycle))))
		d.cmd.Process.Kill()
		<-d.ends
		s.check(clock)
		if t.Failed() {
			t.Fatalf("said to be done: %v; stderr: %s", s.said, d.log.String())
		}
		d = s.start(clock)
	}
	d.cmd.Process.Kill()
	<-d.ends
	s.check(clock)
	s.checkFiles()
	t.Logf("killed %d times: %d versions were submitted, %d released", moments, s.done(clock, "submitted"), s.done(clock, "released"))
}

// await waits until a developer at work has said of n versions that they are
// compiled.
func (s *shop) await(d *developer, pkg string, n int64) {
	s.Helper()
	for s.done(pkg, "compiled") < n {
		select {
		case err := <-d.ends:
			s.Fatalf("a developer of %s ended: %v: %s", pkg, err, d.log.String())
		case <-time.After(time.Millisecond): // between two looks
		}
	}
}

func (s *shop) done(pkg, what string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said[pkg+" "+what]
}

// check looks at what a killed process has left: at the tree first, as devices
// see it, and then at the store, which takes up its work.
func (s *shop) check(pkgs ...string) {
	s.Helper()
	ctx := s.Context()
	o, err := setup.Open(ctx, s.dir, setup.Options{})
	if err != nil {
		s.Fatal(err)
	}
	defer o.Close()
	for _, pkg := range pkgs {
		if got, want := s.offered(o, pkg), s.done(pkg, "compiled"); got < want {
			s.Errorf("%s: devices are offered version %d, and %d was compiled", pkg, got, want)
		}
	}
	if err := o.Recover(ctx, 0); err != nil {
		s.Error(err)
	}
	if _, err := o.Compile(ctx); err != nil {
		s.Error(err)
	}
	for _, pkg := range pkgs {
		s.checkRows(o, pkg)
	}
	if _, err := o.Audit(ctx, mios.Digest{}); err != nil {
		s.Error(err)
	}
}

// offered returns the version that a new device is offered, or 0, after it has
// checked all files of all releases.
func (s *shop) offered(o *setup.Opened, pkg string) int64 {
	s.Helper()
	c := client(s.T, o.Repo())
	dev := apirepo.AppDevice{ID: "device", SDK: api.SDK, Class: "phone"}
	r, err := c.AppOffer(s.Context(), pkg, &dev, apirepo.AppInstalled{})
	if errors.Is(err, mios.ErrNotFound) {
		return 0
	}
	if err != nil {
		s.Fatal(err)
	}
	p, err := o.Repo().Package(s.Context(), pkg)
	if err != nil {
		s.Fatal(err)
	}
	for i := range p.Releases {
		wholeRelease(s.T, o.Repo(), &p.Releases[i])
	}
	return r.VersionCode
}

// checkRows compares the rows of a package with what was said to be done.
func (s *shop) checkRows(o *setup.Opened, pkg string) {
	s.Helper()
	ctx := s.Context()
	list, err := o.Submissions(ctx, app.Filter{Package: pkg, Limit: 1000})
	if err != nil {
		s.Fatal(err)
	}
	seen := map[int64]app.State{}
	for _, sub := range list {
		if seen[sub.VersionCode] != "" {
			s.Errorf("%s: two submissions of version %d", pkg, sub.VersionCode)
		}
		seen[sub.VersionCode] = sub.State
	}
	for n := int64(1); n <= s.done(pkg, "submitted"); n++ {
		if seen[n] == "" || seen[n] == app.Checking || n <= s.done(pkg, "approved") && seen[n] != app.Approved {
			s.Errorf("%s: version %d, which was submitted, is %q", pkg, n, seen[n])
		}
	}
	a, err := o.App(ctx, pkg)
	if errors.Is(err, mios.ErrNotFound) && s.done(pkg, "approved") == 0 {
		return
	}
	if err != nil {
		s.Fatal(err)
	}
	released := map[int64]int{}
	newest := int64(0)
	for _, r := range a.Releases {
		released[r.VersionCode]++
		newest = max(newest, r.VersionCode)
	}
	for n := int64(1); n <= max(newest, s.done(pkg, "released")); n++ {
		if released[n] != 1 {
			s.Errorf("%s: version %d was released %d times", pkg, n, released[n])
		}
	}
	if got := s.offered(o, pkg); got != newest {
		s.Errorf("%s: devices are offered version %d, want %d", pkg, got, newest)
	}
}

// checkFiles checks that no file is left that nothing needs.
func (s *shop) checkFiles() {
	s.Helper()
	o, err := setup.Open(s.Context(), s.dir, setup.Options{})
	if err != nil {
		s.Fatal(err)
	}
	defer o.Close()
	if _, err := o.Sweep(s.Context(), -time.Hour); err != nil { // whatever the server's clock says
		s.Fatal(err)
	}
	want := 0
	if err := o.DB.View(s.Context(), func(tx *record.Tx) error {
		return tx.QueryRow(`SELECT COUNT(DISTINCT sha256) FROM store_blobs`).Scan(&want)
	}); err != nil {
		s.Fatal(err)
	}
	if got := countRows(s.T, o.DB, o.Blobs())["files"]; got != want {
		s.Errorf("%d files are left, want the %d that are needed", got, want)
	}
}

// TestProcesses has two processes work on one database and one S3, and kills one
// of them under load again and again: no request of the other fails after one
// retry, and no submission or release of either is lost or doubled.
func TestProcesses(t *testing.T) {
	t.Parallel()
	rnd, moments := seed(t, 3)
	const one, other = "org.example.one", "org.example.other"
	s := newShop(t, shared(t), 4*moments, one, other)
	killed, steady := s.start(one), s.start(other)
	for range moments {
		s.await(killed, one, 1) // each package is there first
		time.Sleep(time.Duration(rnd.Int64N(int64(500 * time.Millisecond))))
		killed.cmd.Process.Kill()
		<-killed.ends
		killed = s.start(one)
	}
	for name, d := range map[string]*developer{one: killed, other: steady} {
		if err := <-d.ends; err != nil {
			t.Errorf("the developer of %s: %v: %s", name, err, d.log.String())
		}
	}
	for _, pkg := range []string{one, other} {
		if got := s.done(pkg, "compiled"); got != int64(4*moments) {
			t.Errorf("%s: %d versions were compiled, want %d", pkg, got, 4*moments)
		}
	}
	s.check(one, other)
	s.checkFiles()
}
