package qemu_test

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mios"
	api "mios/api/repo"
	"mios/build/app"
	"mios/key"
	publishapp "mios/publish/app"
)

const (
	hello = "org.mios.hello"
	probe = "org.mios.probe"
)

// apk builds a version of an app in dir, signed by signer, or by the desk's
// key. It returns its file.
func apk(t *testing.T, dir string, code int64, signer crypto.Signer) string {
	t.Helper()
	if signer == nil {
		var err error
		if signer, err = the.desk.Keys().Signer(key.App); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.apk", filepath.Base(dir), code))
	o := app.Options{
		Dir: dir, Arches: []mios.Arch{mios.AMD64}, Key: signer, VersionCode: code, VersionName: fmt.Sprintf("%d.0", code),
	}
	if _, err := app.Build(t.Context(), o, out); err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	helloDir = "../../examples/hello"
	probeDir = "testdata/probe"
)

// testInstall is "adb install" and what it refuses.
func (d *device) testInstall() {
	v1, v2 := apk(d.t, helloDir, 1, nil), apk(d.t, helloDir, 2, nil)
	contains(d.t, "adb install", d.adb("install", v1), "Success")
	if got := d.shell("pm list packages --show-versioncode " + hello); got != "package:"+hello+" versionCode:1" {
		d.t.Errorf("pm list packages = %q", got)
	}
	d.adb("install", "-r", v1)
	contains(d.t, "adb install -r", d.adb("install", "-r", v2), "Success")
	d.shell("echo kept > /data/data/" + hello + "/kept")
	before := d.packages()

	b, err := os.ReadFile(v2)
	if err != nil {
		d.t.Fatal(err)
	}
	dir := d.t.TempDir()
	file := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		write(d.t, name, b, 0o644)
		return name
	}
	flipped := bytes.Clone(b)
	flipped[len(b)/2] ^= 1
	for _, tt := range []struct{ what, file, code string }{
		{"one bit flipped", file("flipped.apk", flipped), "INSTALL_PARSE_FAILED_NO_CERTIFICATES"},
		{"half of it", file("half.apk", b[:len(b)/2]), "INSTALL_PARSE_FAILED_NOT_APK"},
		{"no zip", file("text.apk", []byte("this is text")), "INSTALL_PARSE_FAILED_NOT_APK"},
		{"another signer's", apk(d.t, helloDir, 3, newKey(d.t)), "INSTALL_FAILED_UPDATE_INCOMPATIBLE"},
		{"an older version", v1, "INSTALL_FAILED_VERSION_DOWNGRADE"},
	} {
		r := d.try("install", "-r", tt.file)
		if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "Failure ["+tt.code+": ") {
			d.t.Errorf("adb install of %s = %+v, want %s", tt.what, r, tt.code)
		}
		if now := d.packages(); now != before {
			d.t.Errorf("after adb install of %s there is\n%s\nwant\n%s", tt.what, now, before)
		}
	}
	contains(d.t, "adb install -r -d of an older version", d.adb("install", "-r", "-d", v1), "Success")
	contains(d.t, "adb uninstall -k", d.adb("shell", "cmd", "package", "uninstall", "-k", hello), "Success")
	if got := d.shell("pm list packages; cat /data/data/" + hello + "/kept"); got != "kept" {
		d.t.Errorf("after uninstall -k: %q, want only its data", got)
	}
	contains(d.t, "adb install over its own data", d.adb("install", v2), "Success")
	contains(d.t, "adb uninstall", d.adb("uninstall", hello), "Success")
	if got := d.shell("pm list packages; ls /data/app /data/data"); strings.Contains(got, hello) {
		d.t.Errorf("after adb uninstall there is still\n%s", got)
	}
	if r := d.try("uninstall", hello); !strings.Contains(r.Stdout+r.Stderr, "Failure") {
		d.t.Errorf("adb uninstall of what is not there = %+v", r)
	}
}

// packages is all that the device has of apps.
func (d *device) packages() string {
	d.t.Helper()
	return d.shell("exec 2>&1; cat /data/system/packages.json; find /data/app /data/data | sort; sha256sum /data/app/*/*/*; true")
}

// TestApps takes apps from a repository, and looks at how they run.
func TestApps(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	d := boot(t, release1(t), with(c))
	d.healthy()
	a := &apps{device: d, cloud: c, store: new(shelf)}
	for _, s := range []struct {
		name string
		run  func(*apps)
	}{
		{"no release", (*apps).testNoRelease},
		{"install and start", (*apps).testStart},
		{"sandbox", (*apps).testSandbox},
		{"nothing is allowed", (*apps).testProbe},
		{"killed", (*apps).testKilled},
		{"update", (*apps).testUpdate},
		{"another signer", (*apps).testSigner},
		{"reboot", (*apps).testReboot},
		{"stop", (*apps).testStop},
		{"found", (*apps).testFound},
		{"twenty breaks", (*apps).testBreaks},
		{"updated by a delta and whole", (*apps).testUpdates},
		{"not for this device", (*apps).testNotForThis},
		{"a new signer", (*apps).testNewSigner},
		{"rolled back", (*apps).testRollback},
		{"reported", (*apps).testReport},
	} {
		t.Run(s.name, func(t *testing.T) {
			s.run(&apps{device: &device{a.device.Device, t}, cloud: a.cloud, store: a.store})
		})
	}
}

// apps is a device with a repository of apps.
type apps struct {
	*device
	cloud *cloud
	store *shelf // what is published of the hello app, for the store
}

// offer publishes a version of an app.
func (a *apps) offer(dir string, code int64) *api.AppRelease {
	a.t.Helper()
	rel, _, err := publishapp.Publish(a.t.Context(), a.cloud.Repo, apk(a.t, dir, code, nil), true)
	if err != nil {
		a.t.Fatal(err)
	}
	return rel
}

// refused checks that "pm install --repo" fails with the words, and changes
// nothing.
func (a *apps) refused(pkg string, words ...string) {
	a.t.Helper()
	before := a.packages()
	r := a.try("shell", "pm install --repo "+pkg)
	if r.Code == 0 {
		a.t.Errorf("pm install --repo %s = %+v, want a refusal", pkg, r)
	}
	contains(a.t, "what pm says", r.Stdout+r.Stderr, append(words, "Failure [")...)
	if now := a.packages(); now != before {
		a.t.Errorf("after a refused install there is\n%s\nwant\n%s", now, before)
	}
}

// page returns the hello app's page, through a port that adb forwards.
func (d *device) helloPage() string {
	d.t.Helper()
	port := strings.TrimSpace(d.adb("forward", "tcp:0", "tcp:8080"))
	defer d.adb("forward", "--remove", "tcp:"+port)
	var text string
	eventually(d.t, func() error {
		ctx, cancel := context.WithTimeout(d.t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/", nil)
		if err != nil {
			d.t.Fatal(err)
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			return fmt.Errorf("the app's page: %w\n%s", err, d.shell("logcat -d -s app_"+hello+" installd"))
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		text = string(b)
		return err
	})
	return text
}

var visits = regexp.MustCompile(`<b>(\d+)</b> visit`)

// visits pages, and returns the number of the visit.
func (d *device) visits() int {
	d.t.Helper()
	page := d.helloPage()
	m := visits.FindStringSubmatch(page)
	if m == nil {
		d.t.Fatalf("the app's page counts no visits:\n%s", page)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// app returns what "pm dump" says of an app under a name.
func (d *device) app(pkg, name string) string {
	d.t.Helper()
	dump := d.shell("pm dump " + pkg)
	for line := range strings.Lines(dump) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			return v
		}
	}
	d.t.Fatalf("pm dump %s has no %s:\n%s", pkg, name, dump)
	return ""
}

func (a *apps) testNoRelease() {
	a.refused("org.example.nothing", "INSTALL_FAILED_INVALID_APK", "no release of it for this device")
	a.refused("../../etc", "INSTALL_FAILED_INVALID_APK")
}

// testStart installs over a line that breaks.
func (a *apps) testStart() {
	rel := a.offer(helloDir, 1)
	line := &breakingLine{path: rel.Target.File(), cut: rel.Target.Length / 3}
	a.cloud.tamper(line.wrap)
	defer a.cloud.tamper(nil)
	contains(a.t, "pm install --repo", a.shell("pm install --repo "+hello), "Success")
	if got := line.seen(); len(got) < 2 || !strings.HasPrefix(got[1], fmt.Sprintf("bytes=%d-", line.cut)) {
		a.t.Errorf("the package was fetched with the ranges %q, want the second one to go on where the line broke", got)
	}
	contains(a.t, "am start", a.shell("am start "+hello), "Starting: "+hello)
	contains(a.t, "the page", a.helloPage(), "Hello from iot", "1.0 (1)", "iot, 1", "none", "impossible", "<b>1</b> visit,")
	contains(a.t, "the app's log", a.shell("logcat -d -s app_"+hello), "serving")
	if got := a.shell("getprop init.svc.app_" + hello); got != "running" {
		a.t.Errorf("init.svc.app_%s = %q, want running", hello, got)
	}
	contains(a.t, "pm install --repo of what is installed", a.shell("pm install --repo "+hello), "Success")
}

// A breakingLine ends the first transfer of a file before its end.
type breakingLine struct {
	path   string
	cut    int64
	mu     sync.Mutex
	ranges []string // that were asked for
}

func (l *breakingLine) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ranges
}

func (l *breakingLine) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimPrefix(r.URL.Path, "/") != l.path {
			next.ServeHTTP(w, r)
			return
		}
		l.mu.Lock()
		l.ranges = append(l.ranges, r.Header.Get("Range"))
		first := len(l.ranges) == 1
		l.mu.Unlock()
		if first {
			w = &shortWriter{w, l.cut}
		}
		next.ServeHTTP(w, r)
	})
}

// A shortWriter hangs up after left bytes.
type shortWriter struct {
	http.ResponseWriter
	left int64
}

func (w *shortWriter) Write(b []byte) (int, error) {
	if int64(len(b)) < w.left {
		w.left -= int64(len(b))
		return w.ResponseWriter.Write(b)
	}
	w.ResponseWriter.Write(b[:w.left])
	panic(http.ErrAbortHandler)
}

// testSandbox looks at the running app from outside.
func (a *apps) testSandbox() {
	uid := a.app(hello, "userId")
	if n, err := strconv.Atoi(uid); err != nil || n < 10000 || n > 19999 {
		a.t.Errorf("the app's uid is %s, want one from 10000 to 19999", uid)
	}
	status := a.shell("cat /proc/" + a.app(hello, "pid") + "/status")
	id := uid + `\t` + uid + `\t` + uid + `\t` + uid
	matches(a.t, "the app's status", status, `^Uid:\t`+id+`$`, `^Gid:\t`+id+`$`, `^Groups:\t3003 ?$`,
		`^CapInh:\t0+$`, `^CapPrm:\t0+$`, `^CapEff:\t0+$`, `^CapBnd:\t0+$`, `^CapAmb:\t0+$`, `^NoNewPrivs:\t1$`, `^NSpid:\t\d+\t1$`)
	if got := a.shell("stat -c '%a %u %g' /data/data/" + hello); got != "700 "+uid+" "+uid {
		a.t.Errorf("the data folder has mode and owner %s, want 700 %s %s", got, uid, uid)
	}
	if got := a.shell("cat /proc/" + a.app(hello, "pid") + "/cgroup"); !strings.Contains(got, "0::/") {
		a.t.Errorf("the app's cgroup is %q", got)
	}
}

// testProbe runs an app that tries what it may not do.
func (a *apps) testProbe() {
	a.offer(probeDir, 1)
	a.shell("pm install --repo " + probe + " && am start " + probe)
	report := "/data/data/" + probe + "/report"
	text := a.shell("timeout 300 sh -c 'until [ -e " + report + " ]; do usleep 50000; done'; cat " + report)
	want := map[string]string{
		"dial": "unreachable", "dial the host": "unreachable", "dial adbd": "unreachable|refused",
		"read another app's data": "no such file|permission denied", "read another app's package": "no such file|permission denied",
		"read what the system keeps": "no such file|permission denied", "read the list of packages": "no such file|permission denied",
		"talk to installd": "no such file|permission denied", "talk to update_engine": "no such file|permission denied", "set a property": "no such file|permission denied",
		"write the system": "read-only", "write its package": "read-only|permission denied", "open the disk": "no such file|permission denied",
		"become root": "not permitted", "mount": "not permitted", "see init": "there is only", "run a program of its data folder": "permission denied",
		"write its data": "^done$", "write /tmp": "^done$",
	}
	for line := range strings.Lines(text) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), "=")
		w, ok := want[name]
		if !ok {
			a.t.Errorf("the probe tells of %q: %s", name, result)
		} else if !regexp.MustCompile(w).MatchString(result) {
			a.t.Errorf("an app without permissions tries to %s: %s, want %s", name, result, w)
		}
		delete(want, name)
	}
	for name := range want {
		a.t.Errorf("the probe did not %s:\n%s", name, text)
	}
	one, two := a.app(hello, "userId"), a.app(probe, "userId")
	if one == two {
		a.t.Errorf("both apps have uid %s", one)
	}
	if got := a.app(probe, "network"); got != "false" {
		a.t.Errorf("pm dump: network=%s, want false", got)
	}
	matches(a.t, "the probe's status", a.shell("cat /proc/"+a.app(probe, "pid")+"/status"), `^Groups:\t ?$`, `^CapBnd:\t0+$`)
	contains(a.t, "pm uninstall", a.shell("pm uninstall "+probe), "Success")
}

func (a *apps) testKilled() {
	before, pid := a.visits(), a.app(hello, "pid")
	a.shell("kill -9 " + pid)
	eventually(a.t, func() error {
		if now := a.app(hello, "pid"); now == pid || now == "0" {
			return fmt.Errorf("after it was killed the app runs as process %s: %s", now, a.shell("pm dump "+hello))
		}
		return nil
	})
	if got := a.visits(); got != before+1 {
		a.t.Errorf("after it was killed the app counts %d visits, want %d", got, before+1)
	}
	if got := a.app(hello, "restarts"); got != "1" {
		a.t.Errorf("restarts=%s, want 1", got)
	}
	if got := a.app(hello, "lastExit"); !strings.Contains(got, "kill") {
		a.t.Errorf("lastExit=%q, want what ended it", got)
	}
}

func (a *apps) testUpdate() {
	before, uid := a.visits(), a.app(hello, "userId")
	a.offer(helloDir, 2)
	contains(a.t, "pm install --repo", a.shell("pm install --repo "+hello), "Success")
	page := a.helloPage()
	contains(a.t, "the page", page, "2.0 (2)", fmt.Sprintf("<b>%d</b> visits", before+1))
	if got := a.app(hello, "userId"); got != uid {
		a.t.Errorf("the next version has uid %s, want %s", got, uid)
	}
	if got := a.shell("ls /data/app/" + hello); strings.Contains(got, "\n") || !strings.HasPrefix(got, "2-") {
		a.t.Errorf("beside the new version there is %q", got)
	}
}

// testSigner is what a stolen online key could do to apps.
func (a *apps) testSigner() {
	claim, _, err := a.cloud.ClaimOf(a.t.Context(), hello)
	if err != nil {
		a.t.Fatal(err)
	}
	file := apk(a.t, helloDir, 3, newKey(a.t))
	if _, _, err := publishapp.Publish(a.t.Context(), a.cloud.Repo, file, true); err == nil {
		a.t.Error("an APK of another signer was published")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		a.t.Fatal(err)
	}
	rel := &api.AppRelease{
		Package: hello, VersionCode: 3, VersionName: "3.0", Signers: claim.Signers, MinSDK: 24, ABIs: []string{"x86_64"},
		Tracks: []string{api.TrackProduction}, Share: api.Everyone,
	}
	rel.Target.Path, rel.Target.Length, rel.Target.SHA256 = api.AppPath(hello, 3), int64(len(b)), mios.Sum(b)
	if _, err := a.cloud.PublishApp(a.t.Context(), rel, bytes.NewReader(b)); err != nil {
		a.t.Fatal(err)
	}
	a.refused(hello, "INSTALL_FAILED_VERIFICATION_FAILURE", "the repository promised "+hello+" version 3 by")
	contains(a.t, "the page", a.helloPage(), "2.0 (2)")
}

func (a *apps) testReboot() {
	before := a.visits()
	a.try("reboot")
	a.healthy()
	a.want("1 _a healthy")
	if got := a.visits(); got != before+1 {
		a.t.Errorf("after a reboot the app counts %d visits, want %d", got, before+1)
	}
}

func (a *apps) testStop() {
	a.shell("am force-stop " + hello)
	if got := a.shell("getprop init.svc.app_" + hello); got != "stopped" {
		a.t.Errorf("init.svc.app_%s = %q, want stopped", hello, got)
	}
	if r := a.try("shell", "curl -s http://127.0.0.1:8080/"); r.Code == 0 {
		a.t.Errorf("after am force-stop there is still a page: %+v", r)
	}
	a.shell("am start " + hello)
	a.visits()
	contains(a.t, "pm uninstall", a.shell("pm uninstall "+hello), "Success")
	if r := a.try("shell", "am start "+hello); r.Code == 0 || r.Stderr == "" {
		a.t.Errorf("am start of what is not installed = %+v", r)
	}
	a.refused("org.example.nothing", "no release")
}
