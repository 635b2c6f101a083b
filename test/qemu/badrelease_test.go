package qemu_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mios/build/product"
	"mios/desk"
	loader "mios/device/boot"
	"mios/device/ota"
	"mios/format/bootctl"
)

// badReleases are releases that boot and do not stay, each newer than the one
// before it.
var badReleases = []struct {
	version string
	breaks  func(t *testing.T, s *desk.BuildSpec)
	console string // what the new slot says
	reason  string // what the device says of it afterwards
}{
	{"2-init", func(t *testing.T, s *desk.BuildSpec) {
		s.Extra = map[string][]byte{"/system/bin/miosd": exits(t)}
	}, `Attempted to kill init`, "as often as it may be"},
	{"2-service", func(t *testing.T, s *desk.BuildSpec) { // which dies before the boot is judged
		s.Extra = map[string][]byte{"/system/etc/init/broken.rc": []byte(dying("broken") + "    class core\n")}
		s.Change = withCheck("waits", 10*time.Minute)
	}, `slot _b: verified and loaded`, "critical service broken exited with status 1"},
	{"2-late", func(t *testing.T, s *desk.BuildSpec) { // which dies in boots that were found healthy
		s.Extra = map[string][]byte{"/system/etc/init/broken.rc": []byte("on property:sys.mios.health=healthy\n    start late\n" + dying("late") + "    disabled\n")}
	}, `mios: healthy .*slot _b`, "critical service late exited with status 1"},
	{"2-health", func(t *testing.T, s *desk.BuildSpec) {
		s.Change = withCheck("never", time.Second)
	}, `mios: health check failed: .*never`, `health check "never"`},
}

// dying returns the definition of a critical service that only ends.
func dying(name string) string {
	return "service " + name + " /system/bin/false\n    user root\n    critical\n    restart_period 1\n"
}

// withCheck returns a change that adds a health check that never holds.
func withCheck(name string, timeout time.Duration) func(*product.Product) {
	return func(p *product.Product) {
		p.Health = append(p.Health, product.HealthCheck{Name: name, Property: "never=1", Timeout: product.Duration(timeout)})
	}
}

// TestBadReleases gives a device one bad release after the other: each time it
// is back on the old slot by itself, says why, and does not try the release
// again. A good one is taken then.
func TestBadReleases(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	d := boot(t, release1(t), with(c))
	d.healthy()
	after := manifest(t, release1(t)).BuildTime
	for i, bad := range badReleases {
		s := desk.BuildSpec{Version: bad.version, After: after}
		bad.breaks(t, &s)
		b := build(t, s)
		after = manifest(t, b).BuildTime
		c.publish(t, b)
		d.client("--update") // the device goes down, and may take the answer with it
		d.waitFor(bad.console)
		d.healthyOn("_a")
		d.want("1 _a healthy")
		st := d.status()
		if len(st.Bad) != i+1 || st.Bad[i].Version != bad.version || !strings.Contains(st.Bad[i].Reason, bad.reason) {
			t.Fatalf("bad releases are %+v, want %s at the end, because of %q", st.Bad, bad.version, bad.reason)
		}
		d.refuses(bad.version, bad.reason)
	}
	d.shell("reboot")
	d.healthyOn("_a")
	for _, bad := range badReleases[len(badReleases)-1:] {
		d.refuses(bad.version, bad.reason)
	}
	c.publish(t, build(t, desk.BuildSpec{Version: "3", After: after}))
	d.client("--update")
	d.healthyOn("_b")
	d.want("3 _b healthy")
}

// refuses asks for an update, and wants to hear that there is none but a bad
// release.
func (d *device) refuses(version, reason string) {
	d.t.Helper()
	out := d.client("--update")
	if !strings.Contains(out, "no newer release") || !strings.Contains(out, version) || !strings.Contains(out, reason) {
		d.t.Errorf("update_engine_client --update says %q, want that there is no newer release than %s, which %q", out, version, reason)
	}
	if st := d.status(); st.State != ota.Idle {
		d.t.Errorf("the updater is at %s, want %s", st.State, ota.Idle)
	}
}

// TestRollbackIndex raises the stored rollback index by two releases, one for
// each slot, and then puts an older one in a slot.
func TestRollbackIndex(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	d := boot(t, release1(t), with(c))
	d.healthy()
	after := manifest(t, release1(t)).BuildTime
	for i, r := range []struct {
		version string
		index   uint64
	}{{"index-5", 5}, {"index-7", 7}} {
		b := build(t, desk.BuildSpec{Version: r.version, RollbackIndex: r.index, After: after})
		after = manifest(t, b).BuildTime
		c.publish(t, b)
		d.client("--update")
		slot := bootctl.Suffix(1 - i)
		d.healthyOn(slot)
		d.want(r.version + " " + slot + " healthy")
		if got := d.storedIndex(); got != 0 {
			t.Errorf("the stored rollback index is %d in the first boot of %s, want 0: the other slot's is below it, or this one has not proved itself", got, r.version)
		}
	}
	d.shell("reboot")
	d.healthyOn("_a")
	if got := d.storedIndex(); got != 5 {
		t.Errorf("the stored rollback index is %d with 7 in slot a and 5 in slot b, want 5", got)
	}
	d.Stop()
	p := openParts(t, release1(t), d.Disk)
	p.install(1)
	p.control(func(c *bootctl.Control) {
		c.MarkUnbootable(1)
		c.SetActive(1, 3)
	})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.waitFor(`loader: slot _b: vbmeta: .*rollback index.*: the slot is refused`)
	d.healthyOn("_a")
	d.want("index-7 _a healthy")
	if got := d.storedIndex(); got != 5 {
		t.Errorf("the stored rollback index is %d after an old release was refused, want 5", got)
	}
}

// install writes the images of the build into a slot, as somebody with the disk
// in hand can.
func (p *parts) install(slot int) {
	p.t.Helper()
	for _, part := range manifest(p.t, p.build).Partitions {
		b, err := os.ReadFile(filepath.Join(p.build, part.File))
		if err != nil {
			p.t.Fatal(err)
		}
		if part.Logical {
			_, err = p.logical(part.Name, slot).WriteAt(b, 0)
		} else {
			_, err = p.open(part.Name+bootctl.Suffix(slot)).WriteAt(b, 0)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// storedIndex returns the rollback index that the loader keeps.
func (d *device) storedIndex() uint64 {
	d.t.Helper()
	n, err := loader.StoredRollbackIndex(openParts(d.t, "", d.Disk).open("rpmb"), 0)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// waitFor waits for a line on the console.
func (d *device) waitFor(line string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if _, err := d.WaitFor(ctx, regexp.MustCompile(line)); err != nil {
		d.t.Fatal(err)
	}
}

// healthyOn waits until the device is healthy on a slot, and adb is connected.
func (d *device) healthyOn(slot string) {
	d.t.Helper()
	d.waitFor(`mios: healthy .*slot ` + slot)
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if err := d.ADB.Connect(ctx); err != nil {
		d.t.Fatal(err)
	}
}

// client runs update_engine_client once the updater is at nothing else, and
// returns what it prints.
func (d *device) client(args string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	for {
		r, err := d.ADB.Run(ctx, "shell", "update_engine_client "+args)
		if err != nil {
			d.t.Fatal(err)
		}
		if out := r.Stdout + r.Stderr; !strings.Contains(out, "the updater is at work") {
			return out
		}
	}
}

// status returns what the updater says of itself.
func (d *device) status() ota.Status {
	d.t.Helper()
	var s ota.Status
	if err := json.Unmarshal([]byte(d.shell("update_engine_client --status --json")), &s); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// exits builds a program that only ends.
func exits(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	src, prog := filepath.Join(dir, "main.go"), filepath.Join(dir, "prog")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", prog, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(prog)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
