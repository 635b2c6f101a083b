package qemu_test

import (
	"bytes"
	"crypto"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"mios"
	api "mios/api/repo"
	"mios/build/app"
	"mios/format/apkdelta"
	"mios/key"
	"mios/publish/repo"
)

// A shelf is what is published of the hello app.
type shelf struct {
	releases []api.AppRelease
	apks     map[int64][]byte
}

// shelve makes a version of the hello app its package's next release, signed by
// the desk's key or another one. change may say more of it.
func (a *apps) shelve(code int64, signer crypto.Signer, change func(*api.AppRelease) []repo.File) *api.AppRelease {
	a.t.Helper()
	s := a.store
	b := s.apks[code]
	if b == nil || signer != nil {
		var err error
		if b, err = os.ReadFile(apk(a.t, helloDir, code, signer)); err != nil {
			a.t.Fatal(err)
		}
	}
	if s.apks == nil {
		s.apks = make(map[int64][]byte)
	}
	s.apks[code] = b
	if signer == nil {
		var err error
		if signer, err = the.desk.Keys().Signer(key.App); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := app.Certificate(signer)
	if err != nil {
		a.t.Fatal(err)
	}
	r := api.AppRelease{
		Release: int64(len(s.releases) + 100), Package: hello, VersionCode: code, VersionName: fmt.Sprintf("%d.0", code), Label: "Hello", MinSDK: 24,
		ABIs: []string{"x86_64"}, Signers: []mios.Digest{mios.Sum(cert)}, Tracks: []string{api.TrackProduction}, Share: api.Everyone,
		Target: api.Target{Path: api.AppPath(hello, code), Length: int64(len(b)), SHA256: mios.Sum(b)},
	}
	files := []repo.File{{Target: r.Target, Content: bytes.NewReader(b)}}
	if change != nil {
		files = append(files, change(&r)...)
	}
	s.releases = append(s.releases, r)
	a.publish(files...)
	return &s.releases[len(s.releases)-1]
}

// publish brings the repository to what the shelf has.
func (a *apps) publish(files ...repo.File) {
	a.t.Helper()
	app := repo.App{Package: api.Package{Package: hello, Releases: a.store.releases}, Files: files, Listing: &api.Listing{
		Package: hello, Categories: []string{"system"},
		Locales: map[string]api.LocaleListing{"en-US": {Name: "Hello, visitor", Summary: "Counts who visits"}},
	}}
	if _, err := a.cloud.SetApps(a.t.Context(), app); err != nil {
		a.t.Fatal(err)
	}
}

// said runs a command, which must succeed or not, and wants words in what it says.
func (a *apps) said(command string, ok bool, words ...string) {
	a.t.Helper()
	r := a.try("shell", command)
	if (r.Code == 0) != ok {
		a.t.Errorf("%s = %+v, want success: %v", command, r, ok)
	}
	contains(a.t, command, r.Stdout+r.Stderr, words...)
}

func (a *apps) testFound() {
	a.shelve(1, nil, nil)
	a.said("store search visitors nothing", false, "no app for this device")
	if out := a.shell("store search VISIT"); out != hello+"\tHello, visitor" {
		a.t.Errorf("store search = %q", out)
	}
	a.said("store show "+hello, true, "Hello, visitor", "Counts who visits", "1.0 (1)")
}

// A lossyLine ends every transfer of some files after so many bytes, for as often
// as it has breaks.
type lossyLine struct {
	end    string // of the files' names
	after  int64
	mu     sync.Mutex
	breaks int
	ranges []string // that were asked for
}

func (l *lossyLine) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, l.end) {
			l.mu.Lock()
			l.ranges = append(l.ranges, r.Header.Get("Range"))
			if l.breaks > 0 {
				l.breaks--
				w = &shortWriter{w, l.after}
			}
			l.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// testBreaks installs over a line that breaks twenty times: no byte comes twice.
func (a *apps) testBreaks() {
	length := a.store.releases[0].Target.Length
	line := &lossyLine{end: ".apk", after: length / 22, breaks: 20}
	a.cloud.tamper(line.wrap)
	defer a.cloud.tamper(nil)
	a.said("store install "+hello, true, hello+" installed 1.0 (1), full")
	if len(line.ranges) != 21 || line.breaks != 0 {
		a.t.Fatalf("the package was asked for %d times, with %q", len(line.ranges), line.ranges)
	}
	for i, got := range line.ranges {
		if want := fmt.Sprintf("bytes=%d-%d", int64(i)*line.after, length-1); got != want {
			a.t.Errorf("after break %d the device asked for %s, want %s", i, got, want)
		}
	}
	a.shell("am start " + hello)
	contains(a.t, "the page", a.helloPage(), "1.0 (1)")
}

// testUpdates goes on by a delta, and where there is none by the whole package.
func (a *apps) testUpdates() {
	line := &lossyLine{end: ".apk"}
	a.cloud.tamper(line.wrap)
	defer a.cloud.tamper(nil)
	uid := a.app(hello, "userId")
	two := a.shelve(2, nil, func(r *api.AppRelease) []repo.File {
		old, b := a.store.apks[1], a.store.apks[2]
		var out bytes.Buffer
		_, err := apkdelta.Make(a.t.Context(), bytes.NewReader(old), int64(len(old)), bytes.NewReader(b), int64(len(b)), &out, apkdelta.Options{})
		if err != nil {
			a.t.Fatal(err)
		}
		d := api.AppDelta{From: mios.Sum(old), Target: api.Target{Path: api.DeltaPath(hello, 2, mios.Sum(old)), Length: int64(out.Len()), SHA256: mios.Sum(out.Bytes())}}
		r.Deltas = []api.AppDelta{d}
		return []repo.File{{Target: d.Target, Content: bytes.NewReader(out.Bytes())}}
	})
	a.said("store update", true, hello+" updated 1.0 (1) -> 2.0 (2), delta, ")
	if len(line.ranges) != 0 {
		a.t.Errorf("beside the delta the device fetched the package: %q", line.ranges)
	}
	a.t.Logf("a delta of %d bytes for a package of %d", two.Deltas[0].Target.Length, two.Target.Length)
	if got := a.app(hello, "sha256"); got != two.Target.SHA256.String() {
		a.t.Errorf("the package that the delta made is %s, want %s", got, two.Target.SHA256)
	}
	contains(a.t, "the page", a.helloPage(), "2.0 (2)") // runs on, as the new version
	a.shelve(3, nil, nil)
	a.said("store update --all", true, hello+" updated 2.0 (2) -> 3.0 (3), full, ")
	contains(a.t, "the page", a.helloPage(), "3.0 (3)")
	if got := a.app(hello, "userId"); got != uid {
		a.t.Errorf("the next version has uid %s, want %s", got, uid)
	}
	a.said("store update", true, hello+" current 3.0 (3)")
}

// testNotForThis keeps away from what is halted, and from what is for elsewhere:
// the device is where its product is sold, in CN.
func (a *apps) testNotForThis() {
	a.shelve(4, nil, func(r *api.AppRelease) []repo.File { r.Halted = true; return nil })
	a.said("store update "+hello, true, "current 3.0 (3)", "is halted")
	last := &a.store.releases[len(a.store.releases)-1]
	last.Halted, last.Regions = false, []string{"DE", "FR"}
	a.publish()
	a.said("store update "+hello, true, "current 3.0 (3)", "is for DE, FR, and this device is in any of CN")

	elsewhere := slices.Clone(a.store.releases)
	for i := range a.store.releases {
		a.store.releases[i].Regions = []string{"DE"}
	}
	a.publish()
	a.said("store search visit", false, "no app for this device")
	a.store.releases = elsewhere
	a.store.releases[len(elsewhere)-1].Regions = []string{"DE", "CN"}
	a.publish()
	a.said("store search visit", true, hello)
	a.said("store update", true, hello+" updated 3.0 (3) -> 4.0 (4), full, ")
}

// testNewSigner refuses who took the package over without the old signer's word,
// and fetches nothing for it.
func (a *apps) testNewSigner() {
	other := newKey(a.t)
	claim, _, err := a.cloud.ClaimOf(a.t.Context(), hello)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := app.Certificate(other)
	if err != nil {
		a.t.Fatal(err)
	}
	claim.Signers = append(claim.Signers, mios.Sum(cert))
	if _, err := a.cloud.Claim(a.t.Context(), claim); err != nil {
		a.t.Fatal(err)
	}
	line := &lossyLine{end: ".apk"}
	a.cloud.tamper(line.wrap)
	defer a.cloud.tamper(nil)
	a.shelve(5, other, nil)
	before := a.packages()
	a.said("store update", false, hello+" refused 4.0 (4) -> 5.0 (5)", "this is a new app to the device; uninstall it first, with its data, if you trust the new signer")
	a.said("store install "+hello, false, "INSTALL_FAILED_UPDATE_INCOMPATIBLE", "new app to the device")
	if now := a.packages(); now != before {
		a.t.Errorf("after a refused update there is\n%s\nwant\n%s", now, before)
	}
	if len(line.ranges) != 0 {
		a.t.Errorf("the device fetched what it refuses: %q", line.ranges)
	}
	a.store.releases = a.store.releases[:len(a.store.releases)-1]
}

// testRollback goes down to a version that is released again, with its data, and
// never to one that is only older.
func (a *apps) testRollback() {
	before := a.visits()
	a.shelve(2, nil, nil)
	a.said("store update", true, hello+" current 4.0 (4)", "has version code 2, and 4 is installed")
	a.store.releases[len(a.store.releases)-1].Rollback = true
	a.publish()
	a.said("store update", true, hello+" lowered 4.0 (4) -> 2.0 (2), full, ", "released this older version again")
	page := a.helloPage()
	contains(a.t, "the page", page, "2.0 (2)", fmt.Sprintf("<b>%d</b> visits", before+1))
	a.said("store update", true, hello+" current 2.0 (2)")
}

// testReport reads what the device says of all that.
func (a *apps) testReport() {
	a.said("store list", true, hello+"\t2.0 (2)\tstore\tcurrent")
	a.said("pm updates", true, hello+" current 2.0 (2)", "looked ", "looks again ", "data used: ")
	if got := a.shell("cat /data/misc/store/report.json"); !strings.Contains(got, `"outcome":"current"`) {
		a.t.Errorf("the report is %s", got)
	}
	if got := a.shell("ls /data/misc/store/files /data/app/" + hello); strings.Count(got, "\n") != 3 {
		a.t.Errorf("downloads or versions are left:\n%s", got)
	}
	contains(a.t, "the log", a.shell("logcat -d -s installd"), "outcome=updated", "outcome=lowered", "outcome=refused")
	a.shell("pm uninstall " + hello)
}
