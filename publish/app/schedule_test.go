package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios"
	apirepo "mios/api/repo"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/publish/app"
	"mios/publish/app/apptest"
	"mios/publish/app/setup"
	"mios/publish/app/storetest"
)

// keeperEnv makes the test's program a process that does what is due in the store
// in a folder, by a clock that runs fast since a time.
const keeperEnv = "MIOS_TEST_KEEPER"

// fast is how many seconds pass on the clock of a schedule's test in one.
const fast = 600

// fastStore is the store in a folder with such a clock.
func fastStore(ctx context.Context, dir string, since time.Time) (*app.Store, *setup.Opened, error) {
	o, err := setup.Open(ctx, dir, setup.Options{})
	if err != nil {
		return nil, nil, err
	}
	s, err := app.Open(ctx, app.Config{DB: o.DB, Blobs: o.Blobs(), Repo: o.Repo(), Parser: storetest.InProcess{},
		Now: func() time.Time { return since.Add(fast * time.Since(since)) }})
	return s, o, err
}

// keep lets shares grow and compiles, as [app.Store.Run] does, until it is killed.
func keep(ctx context.Context, text string) error {
	dir, begin, _ := strings.Cut(text, "\n")
	n, err := strconv.ParseInt(begin, 10, 64)
	if err != nil {
		return err
	}
	s, _, err := fastStore(ctx, dir, time.Unix(0, n))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		if err := s.Tick(ctx); err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // for others to come in
	}
}

// startKeeper starts such a process, and returns once it is at work.
func (s *shop) startKeeper(since time.Time) (*exec.Cmd, *testkit.Buffer) {
	s.Helper()
	cmd, log := exec.Command(os.Args[0]), new(testkit.Buffer)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s\n%d", keeperEnv, s.dir, since.UnixNano()))
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.Fatalf("a keeper did not begin: %v: %s", err, log)
	}
	return cmd, log
}

// TestScheduleTakenOver has two processes on one PostgreSQL let shares grow, and
// kills one of them at random moments of that: the other takes over, and each
// step of each release is taken once, in order and in its time, and reaches devices.
func TestScheduleTakenOver(t *testing.T) {
	t.Parallel()
	rnd, moments := seed(t, 3)
	pkgs := []string{"org.example.one", "org.example.two", "org.example.three"}
	s := newShop(t, shared(t), 0)
	since := time.Now()
	st, o, err := fastStore(t.Context(), s.dir, since)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	signer := []apksig.Signer{apptest.Signer(t)}
	steady, steadyLog := s.startKeeper(since)
	for round := 1; round <= moments; round++ {
		for _, pkg := range pkgs {
			b := apptest.APK{Package: pkg, Label: pkg, VersionCode: round, Signers: signer}.Build(t)
			release(t, st, b, app.ReleaseOptions{Every: time.Minute})
		}
		killed, log := s.startKeeper(since)
		if round%2 == 0 { // the older one goes, and the new one takes over
			killed, steady, steadyLog = steady, killed, log
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
		killed.Process.Kill()
		killed.Wait()
		for _, pkg := range pkgs {
			s.grown(st, pkg, round, steadyLog)
		}
	}
	if err := steady.Process.Signal(os.Kill); err != nil {
		t.Errorf("the process that was not killed: %v: %s", err, steadyLog)
	}
	if _, err := st.Audit(t.Context(), mios.Digest{}); err != nil {
		t.Error(err)
	}
}

// release hands in a version, and releases it.
func release(t *testing.T, s *app.Store, apk []byte, o app.ReleaseOptions) {
	t.Helper()
	ctx := t.Context()
	sub, err := s.Submit(ctx, "ada", upload(apk))
	if err == nil {
		_, err = s.Review(ctx, "rex", sub.ID, true, "")
	}
	if err == nil {
		_, err = s.Release(ctx, "rex", sub.ID, o)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// grown waits until devices see a release at all of its steps' end, and looks
// that the history has each step of all releases once.
func (s *shop) grown(st *app.Store, pkg string, number int, log fmt.Stringer) {
	s.Helper()
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(10 * time.Millisecond) { // while a process works
		a, err := st.App(s.Context(), pkg)
		if err != nil {
			s.Fatal(err)
		}
		if r := a.Releases[0]; !a.Pending && r.Share == apirepo.Everyone && r.Schedule == nil {
			break
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s does not grow: %+v: %s", pkg, a, log)
		}
	}
	p, err := st.Repo().Package(s.Context(), pkg)
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range p.Releases {
		if r.Release == int64(number) && r.Share != apirepo.Everyone {
			s.Errorf("devices see %s, release %d, at %s", pkg, r.Release, r.Share)
		}
	}
	events, err := st.History(s.Context(), pkg)
	if err != nil {
		s.Fatal(err)
	}
	got, last := map[int64][]apirepo.Share{}, map[int64]time.Time{}
	for _, e := range events {
		var d struct {
			Number int64
			Share  apirepo.Share
		}
		if e.What != "release" && e.What != "share" {
			continue
		}
		if err := json.Unmarshal(e.Data, &d); err != nil {
			s.Fatal(err)
		}
		got[d.Number] = append(got[d.Number], d.Share)
		if after := e.Time.Sub(last[d.Number]); after < time.Minute {
			s.Errorf("%s, release %d: the step to %s comes %s after the one before", pkg, d.Number, d.Share, after)
		}
		last[d.Number] = e.Time
	}
	for n := int64(1); n <= int64(number); n++ {
		if !slices.Equal(got[n], app.DefaultSteps) {
			s.Errorf("%s, release %d went through %v, want %v", pkg, n, got[n], app.DefaultSteps)
		}
	}
}
