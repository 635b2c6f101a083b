package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mios/desk"
	"mios/emulator"
	"mios/internal/tool"
	"mios/publish/repo"
)

// againPerCut bounds what a power cut during a download may cause to be fetched
// again, in bytes: the updater saves how far it is every 8 MiB, by whole
// operations of at most 2 MiB. The rest is what was sent and not yet read, for
// the disk was busy: the device's own TCP window of 3 MiB, and what QEMU holds.
const againPerCut = (8 + 2 + 4) << 20

// seedsPerRun is how many seeds in a row cut the power in all phases.
const seedsPerRun = 5

// TestPowerCut cuts the power of a device at random moments. Each seed is a
// subtest of its own and decides how often, when, and what the disk loses.
// MIOS_SEED runs one seed alone, MIOS_SOAK=1 fifty that nobody has run before,
// and a larger number so many.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	t.Run("update", w.updates)
	t.Run("delta", func(t *testing.T) { w.ways(t, desk.Ways{From: []string{w.build}}) })
	t.Run("adaptive", func(t *testing.T) { w.ways(t, desk.Ways{Chunks: true}) })
	t.Run("install", w.installs)
}

// seeds returns the seeds to run: n, or new ones in a soak.
func seeds(t *testing.T, n int) []uint64 {
	t.Helper()
	var list []uint64
	if s := os.Getenv("MIOS_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("MIOS_SEED: %v", err)
		}
		return append(list, seed)
	}
	base := uint64(0)
	if s := os.Getenv("MIOS_SOAK"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("MIOS_SOAK: %v", err)
		}
		if n == 1 {
			n = 50
		}
		base = uint64(time.Now().Unix())
	}
	for i := range n {
		list = append(list, base+uint64(i)+1)
	}
	return list
}

// eachSeed runs f for each seed. Without a number of its own, the seed of a
// failure is lost.
func eachSeed(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	for _, seed := range seeds(t, n) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("to run it alone: MIOS_SEED=%d go test -count=1 -v -run %s ./test/qemu", seed, path.Dir(t.Name()))
				}
			})
			f(t, seed)
		})
	}
}

// A workshop is where all these devices come from: a device that was healthy
// once, with an app from its repository, and switched off.
type workshop struct {
	cloud    *cloud
	build    string // of release 1
	pkg      string // the app's package
	snapshot string
	install  *journey // through the app's installation
}

// keepsake is a file on /data that outlives whatever happens.
const keepsake = "/data/local/tmp/keepsake"

const helloPort = 8080 // of the app, on the device

func newWorkshop(t *testing.T) *workshop {
	w := &workshop{cloud: newCloud(t), build: release1(t), snapshot: filepath.Join(t.TempDir(), "snapshot")}
	the.mu.Lock()
	p, _, err := the.desk.App(t.Context(), w.cloud.Repo, "../../examples/hello")
	the.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	w.pkg = p.Package
	d := boot(t, w.build, with(w.cloud))
	d.healthy()
	d.shell("seq 100000 > " + keepsake + "; sha256sum " + keepsake + " > " + keepsake + ".sum")
	w.install = &journey{ctx: t.Context(), stage: using, disk: layoutOf(d)}
	d.Disk.Watch(w.install.access)
	d.shell("pm install --repo " + w.pkg)
	d.Disk.Watch(nil)
	d.shell("am start " + w.pkg)
	d.off()
	if err := d.Disk.Snapshot(w.snapshot); err != nil {
		t.Fatal(err)
	}
	t.Logf("moments of installing the app at which a power cut can lose something: %s", w.install.story())
	return w
}

// device starts a device that was healthy once. The journey watches it.
func (w *workshop) device(t *testing.T, c *cloud, j *journey) *device {
	d := boot(t, w.build, func(cfg *desk.DeviceConfig) {
		cfg.Repository, cfg.Forward, cfg.Console = c.GuestURL(), []emulator.Forward{{Guest: helloPort}}, j
		disk, err := emulator.OpenDisk(filepath.Join(cfg.Build, desk.DiskName), filepath.Join(cfg.Dir, desk.OverlayName))
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Restore(w.snapshot); err != nil {
			t.Fatal(err)
		}
		if err := disk.Close(); err != nil {
			t.Fatal(err)
		}
	})
	j.disk = layoutOf(d)
	d.Disk.Watch(j.access)
	t.Cleanup(func() {
		select {
		case <-d.Done():
		default:
			if t.Failed() {
				d.explain()
			}
		}
	})
	return d
}

// off switches a device off as its owner does.
func (d *device) off() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	d.ADB.Run(ctx, "shell", "poweroff") // the connection may end before the command does
	if err := d.Wait(ctx); err != nil {
		d.t.Fatal(err)
	}
}

// on switches a device on again.
func (d *device) on(j *journey) {
	d.t.Helper()
	j.powerOn()
	if err := d.Start(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

// cut waits for the journey's moment, unless early is closed before, and cuts
// the power.
func (d *device) cut(j *journey, seed uint64, early <-chan struct{}, tally *tally) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	select {
	case <-j.trap.reached:
	case <-early:
	case <-d.Done():
		d.t.Fatalf("the device has ended by itself before the power was cut; %s", j)
	case <-ctx.Done():
		d.t.Fatalf("the moment of the power cut does not come; %s", j)
	}
	damage, err := d.PowerCut(seed)
	if err != nil {
		d.t.Fatal(err)
	}
	j.mu.Lock()
	t := *j.trap
	if !t.isReached {
		t.at = phase{j.stage, theEnd}
	}
	j.mu.Unlock()
	d.t.Logf("power cut at %s (meant: %s): %s; %s", t.at, t.moment, damage, j)
	if n := damage.Kept + damage.Dropped + damage.Torn; t.isReached && n != t.unflushed {
		d.t.Errorf("%d writes were not flushed at that moment, and the power cut was of %d", t.unflushed, n)
	}
	tally.add(t.at, damage)
}

// explain logs what a device says of its update.
func (d *device) explain() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), time.Minute)
	defer cancel()
	for _, command := range []string{"update_engine_client --status", "cat /data/ota/state.json", "logcat -d -t 200"} {
		r, err := d.ADB.Run(ctx, "shell", command)
		d.t.Logf("%s: %s%s%v", command, r.Stdout, r.Stderr, err)
	}
}

// whole checks /data: the app that was installed runs, the keepsake is what it
// was, and once the device is off e2fsck finds nothing.
func (w *workshop) whole(d *device) {
	d.t.Helper()
	d.shell("sha256sum -c " + keepsake + ".sum")
	if got := d.shell("pm list packages"); got != "package:"+w.pkg {
		d.t.Errorf("pm list packages = %q, want %s", got, w.pkg)
	}
	d.page()
	d.off()
	off, size := d.partition("userdata")
	file := filepath.Join(d.t.TempDir(), "userdata")
	if err := extract(d.Disk, off, size, file); err != nil {
		d.t.Fatal(err)
	}
	fsck, err := tool.Look("e2fsck")
	if err != nil {
		d.t.Fatal(err)
	}
	// The journal first, as a mount does it, which e2fsck calls a correction.
	if out, err := exec.CommandContext(d.t.Context(), fsck, "-y", "-E", "journal_only", file).CombinedOutput(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			d.t.Errorf("e2fsck of the journal: %v\n%s", err, out)
		}
	}
	if out, err := exec.CommandContext(d.t.Context(), fsck, "-fn", file).CombinedOutput(); err != nil {
		d.t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// extract copies a part of a disk to a file; what is zero stays a hole.
func extract(disk *emulator.Disk, off, size int64, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	b, zeroes := make([]byte, 1<<20), string(make([]byte, 1<<20))
	for at := int64(0); at < size; at += int64(len(b)) {
		b := b[:min(int64(len(b)), size-at)]
		if _, err := disk.ReadAt(b, off+at); err != nil {
			return err
		}
		if string(b) == zeroes[:len(b)] {
			continue
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return f.Close()
}

// page waits until the app answers on its forwarded port.
func (d *device) page() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", d.Port(helloPort)), nil)
		if err != nil {
			d.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("status %s", resp.Status)
		}
		select {
		case <-ctx.Done():
			d.t.Fatalf("the app does not answer: %v", err)
		case <-time.After(100 * time.Millisecond): // between two looks
		}
	}
}

// copyOf returns a server of a copy of a repository.
func copyOf(t *testing.T, c *cloud) *repo.Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.CopyFS(dir, os.DirFS(c.Dir())); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(dir, repo.WithKeys(the.desk.Keys()))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An updater cuts the power between the first fetched byte and healthy.
type updater struct {
	*workshop
	repo  *repo.Repo
	to    string // version
	file  string // of the payload
	size  int64  // of the payload; 0 if another way is taken
	uncut *journey
	tally tally
}

func (w *workshop) updates(t *testing.T) {
	u := &updater{workshop: w, repo: copyOf(t, w.cloud), to: "2"}
	dir := release2(t)
	the.mu.Lock()
	rel, _, err := the.desk.Publish(t.Context(), u.repo, dir, nil)
	the.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	u.file, u.size = rel.Target.File(), rel.Target.Length
	u.uncut = u.run(t, nil, nil)
	if u.uncut.served != u.size {
		t.Errorf("without a power cut %d bytes of the payload were fetched, and it has %d", u.uncut.served, u.size)
	}
	t.Logf("payload of %d bytes; moments at which a power cut can lose something: %s", u.size, u.uncut.story())
	t.Cleanup(func() { u.tally.check(t, u.uncut.phases(downloading)) })
	eachSeed(t, seedsPerRun, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 14))
		u.run(t, rng, plan(rng, u.uncut, downloading, seed, seedsPerRun))
	})
}

// ways is updates by another way than the full payload, to a release with some
// megabytes that are new.
func (w *workshop) ways(t *testing.T, ways desk.Ways) {
	u := &updater{workshop: w, repo: copyOf(t, w.cloud), to: "2-ways"}
	dir := build(t, desk.BuildSpec{Version: u.to, After: manifest(t, w.build).BuildTime, Extra: news(1, 4<<20)})
	the.mu.Lock()
	_, _, err := the.desk.PublishWays(t.Context(), u.repo, dir, ways, nil)
	the.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	u.uncut = u.run(t, nil, nil)
	t.Logf("moments at which a power cut can lose something: %s", u.uncut.story())
	eachSeed(t, seedsPerRun*2/5, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 15))
		u.run(t, rng, plan(rng, u.uncut, downloading, seed, seedsPerRun))
	})
}

// run updates a device whose power is cut at these moments. Nobody asks it to: an
// update that was interrupted goes on with the first look for one, which comes
// right behind a boot's health checks.
func (u *updater) run(t *testing.T, rng *rand.Rand, cuts []moment) *journey {
	j := &journey{ctx: t.Context(), to: u.to, size: u.size}
	c := serve(t, u.repo)
	if u.size > 0 {
		c.tamper(j.watch(u.file))
	}
	var d *device
	fetching := 0
	for i := range cuts {
		j.arm(&cuts[i])
		if i == 0 {
			d = u.device(t, c, j)
		} else {
			d.on(j)
		}
		d.cut(j, rng.Uint64(), nil, &u.tally)
		if at := j.trap.at.stage; at == downloading || at == installing {
			fetching++
		}
	}
	j.arm(nil)
	if len(cuts) == 0 {
		d = u.device(t, c, j)
	} else {
		d.on(j)
	}
	for line := ""; !strings.Contains(line, "(iot "+u.to+", slot _b,"); {
		line = d.healthy()
	}
	d.want(u.to + " _b healthy")
	if got := d.shell("update_engine_client --status --json"); !strings.Contains(got, `"state":"IDLE"`) && !strings.Contains(got, `"state":"CHECKING_FOR_UPDATE"`) || strings.Contains(got, `"bad"`) {
		t.Errorf("the updater is not done, or thinks ill of a release: %s", got)
	}
	if u.size > 0 {
		j.fetchedAgain(t, len(cuts), fetching)
	}
	u.whole(d)
	return j
}

// fetchedAgain checks what power cuts cost of the network.
func (j *journey) fetchedAgain(t *testing.T, cuts, fetching int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t.Logf("%d power cuts: %d bytes fetched of a payload of %d; requests: %s; bytes that they asked for again: %v",
		cuts, j.served, j.size, strings.Join(j.asked, "; "), j.again)
	for _, n := range j.again {
		if n > againPerCut {
			t.Errorf("%d bytes of the payload were fetched again at once, want at most %d", n, againPerCut)
		}
	}
	if len(j.again) > 1+fetching {
		t.Errorf("the payload was asked for %d times, and the power was cut %d times while it was fetched", len(j.again), fetching)
	}
	if len(j.late) > 0 {
		t.Errorf("the payload was fetched again after it was installed: %q", j.late)
	}
}

// installs cuts the power while an app is installed.
func (w *workshop) installs(t *testing.T) {
	c := new(tally)
	t.Cleanup(func() { c.check(t, w.install.phases(using)) })
	eachSeed(t, seedsPerRun, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		j := &journey{ctx: t.Context()}
		d := w.device(t, w.cloud, j)
		d.healthy()
		for _, m := range plan(rng, w.install, using, seed, seedsPerRun) {
			w.interrupt(d, j, m, rng.Uint64(), c)
		}
		if out := d.shell("pm install --repo " + w.pkg); !strings.Contains(out, "Success") {
			t.Errorf("pm install = %q", out)
		}
		d.shell("am start " + w.pkg)
		w.whole(d)
	})
}

// interrupt cuts the power while the app is installed, switches the device on
// again, and wants the app to be there or not.
func (w *workshop) interrupt(d *device, j *journey, m moment, seed uint64, c *tally) {
	t := d.t
	t.Helper()
	d.shell("pm uninstall " + w.pkg + " || true")
	j.arm(&m)
	ended := make(chan struct{})
	said := false
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		r, err := d.ADB.Run(ctx, "shell", "pm install --repo "+w.pkg)
		said = err == nil && r.Code == 0 && strings.Contains(r.Stdout, "Success")
	}()
	d.cut(j, seed, ended, c)
	cancel()
	<-ended
	j.arm(nil)
	d.on(j)
	d.healthy()
	there := d.shell("pm list packages")
	t.Logf("the installation said success: %v; installed: %q", said, there)
	folders := d.shell("ls /data/app")
	switch {
	case there == "" && said:
		t.Error("the installation was a success, and the app is gone")
	case there == "" && folders != "":
		t.Errorf("the app is not installed, but there is %q", folders)
	case there != "":
		d.shell("am start " + w.pkg)
		d.page()
	}
}
