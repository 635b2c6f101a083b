// Package fdroid_test measures what F-Droid's indexes cost.
package fdroid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"mios"
	"mios/build/app"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/internal/testkit"
	"mios/internal/tool"
	"mios/publish/app/fdroid"
	"mios/publish/app/report"
	"mios/storage/tree/dir"
)

// apks is how many APKs the repository has that one more is added to.
var apks = flag.Int("apks", 500, "APKs in the repository that fdroid update adds one to")

// runs is how often each measurement is taken.
const runs = 5

// makeAPK makes a signed package without code.
func makeAPK(tb testing.TB, n int) []byte {
	tb.Helper()
	root, err := apk.ParseText(fmt.Appendf(nil, `<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="%s"
  android:versionCode="1" android:versionName="1.0"><uses-sdk android:minSdkVersion="24" android:targetSdkVersion="34"/>
  <uses-permission android:name="android.permission.INTERNET"/><application android:label="App" android:hasCode="false"/></manifest>`, name(n)))
	if err != nil {
		tb.Fatal(err)
	}
	var plain, signed bytes.Buffer
	w := apk.NewWriter(&plain)
	if err := w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	cert, err := app.Certificate(testkit.RSA(1))
	if err != nil {
		tb.Fatal(err)
	}
	o := apksig.SignOptions{Signers: []apksig.Signer{{Key: testkit.RSA(1), Certificate: cert}}, V1: true, V2: true}
	if err := apksig.Sign(context.Background(), bytes.NewReader(plain.Bytes()), int64(plain.Len()), o, &signed); err != nil {
		tb.Fatal(err)
	}
	return signed.Bytes()
}

func name(n int) string { return fmt.Sprintf("org.example.app%05d", n) }

// A repository is ours.
type repository struct {
	b      *testing.B
	config fdroid.Config
	apps   []*fdroid.App
}

func newRepository(b *testing.B) *repository {
	return &repository{b: b, config: fdroid.Config{
		Tree: dir.New(b.TempDir()), Key: testkit.RSA(0), Name: fdroid.Text{"en-US": "Bench"}, Address: "https://example.org/apps",
		Time: time.Unix(1_700_000_000, 0),
	}}
}

// add does what there is to do when an APK comes: it is read and verified, and
// stored.
func (r *repository) add(b []byte) {
	facts, err := report.Describe(r.b.Context(), bytes.NewReader(b), int64(len(b)), report.Options{})
	if err != nil {
		r.b.Fatal(err)
	}
	sum := mios.Sum(b)
	f := fdroid.File{Name: fmt.Sprintf("%s.%s_%d.apk", sum, facts.Package, facts.VersionCode), Digest: sum, Size: int64(len(b))}
	if err := r.config.Tree.Create(r.b.Context(), fdroid.Folder+"/"+f.Name, bytes.NewReader(b)); err != nil {
		r.b.Fatal(err)
	}
	r.apps = append(r.apps, &fdroid.App{
		Package: facts.Package, Name: fdroid.Text{"en-US": facts.Label}, Versions: []fdroid.Version{fdroid.NewVersion(facts, f)},
		Added: 1_600_000_000, Updated: 1_600_000_000,
	})
}

// publish writes the indexes.
func (r *repository) publish() *fdroid.Result {
	r.config.Time = r.config.Time.Add(time.Minute)
	res, err := fdroid.Publish(r.b.Context(), r.config, func(yield func(*fdroid.App, error) bool) {
		for _, a := range r.apps {
			if !yield(a, nil) {
				return
			}
		}
	})
	if err != nil {
		r.b.Fatal(err)
	}
	return res
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkFDroidUpdate adds one APK to a repository, with Debian's "fdroid
// update" and here. Both verify the APK and write and sign all indexes.
func BenchmarkFDroidUpdate(b *testing.B) {
	program, err := tool.Look("fdroid")
	if err != nil {
		b.Fatal(err)
	}
	home := newHome(b)
	ours := newRepository(b)
	for i := range *apks {
		bytes := makeAPK(b, i)
		write(b, filepath.Join(home, "repo", name(i)+"_1.apk"), bytes)
		ours.add(bytes)
	}
	update := func() {
		cmd := exec.CommandContext(b.Context(), program, "update", "--create-metadata")
		cmd.Dir, cmd.Env = home, append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("fdroid update: %v\n%s", err, out)
		}
	}
	update()
	ours.publish()
	var theirs, mine []time.Duration
	for i := range runs {
		bytes := makeAPK(b, *apks+i)
		write(b, filepath.Join(home, "repo", name(*apks+i)+"_1.apk"), bytes)
		start := time.Now()
		update()
		theirs = append(theirs, time.Since(start))
		start = time.Now()
		ours.add(bytes)
		ours.publish()
		mine = append(mine, time.Since(start))
	}
	a, o := median(theirs), median(mine)
	b.Logf("one APK more in a repository of %d: fdroid update %v, here %v: %.0f times as fast", *apks, a.Round(time.Millisecond), o.Round(time.Millisecond), float64(a)/float64(o))
	b.ReportMetric(float64(a)/float64(o), "times-as-fast")
	b.ReportMetric(o.Seconds()*1000, "ms")
	b.ReportMetric(a.Seconds()*1000, "fdroid-update-ms")
}

func write(b *testing.B, name string, data []byte) {
	b.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		b.Fatal(err)
	}
}

// newHome is a folder in which fdroid update runs, with a key of its own.
func newHome(b *testing.B) string {
	home := b.TempDir()
	if err := os.Mkdir(filepath.Join(home, "repo"), 0o700); err != nil {
		b.Fatal(err)
	}
	write(b, filepath.Join(home, "config.yml"), []byte(`repo_url: https://example.org/fdroid/repo
repo_name: Bench
repo_description: Apps
keystore: keystore.p12
keystorepass: password
keypass: password
repo_keyalias: repo
keydname: CN=repo
`))
	keytool := exec.CommandContext(b.Context(), "keytool", "-genkeypair", "-keystore", "keystore.p12", "-storetype", "PKCS12",
		"-storepass", "password", "-keypass", "password", "-alias", "repo", "-keyalg", "RSA", "-keysize", "2048", "-validity", "10000", "-dname", "CN=repo")
	keytool.Dir = home
	if out, err := keytool.CombinedOutput(); err != nil {
		b.Fatalf("keytool: %v\n%s", err, out)
	}
	return home
}

// BenchmarkFDroidIndexes writes the indexes of 10,000 apps of two versions, of
// which one has changed, with the diffs from ten indexes before.
func BenchmarkFDroidIndexes(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRepository(b)
			for i := range n {
				r.apps = append(r.apps, kept(b, large(i, 1)))
			}
			for i := range 11 {
				r.apps[i] = kept(b, large(i, 2+i))
				r.publish()
			}
			var took, busy []time.Duration
			var size int64
			for i := range runs {
				r.apps[n/2] = kept(b, large(n/2, 2+i))
				start, worked := time.Now(), cpu(b)
				size = r.publish().Index.Size
				took, busy = append(took, time.Since(start)), append(busy, cpu(b)-worked)
			}
			b.Logf("indexes of %d apps, index-v2 of %d MB: %v, %v of processors", n, size/1e6, median(took).Round(time.Millisecond), median(busy).Round(time.Millisecond))
			b.ReportMetric(median(took).Seconds()*1000, "ms")
			b.ReportMetric(median(busy).Seconds()*1000, "cpu-ms")
		})
	}
}

// kept is an app as a store's database has it.
func kept(b *testing.B, a *fdroid.App) *fdroid.App {
	text, err := json.Marshal(a)
	if err != nil {
		b.Fatal(err)
	}
	return fdroid.Lazy(a.Package, text)
}

// cpu is what this process has had of processors, which other work on the
// machine changes little.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// large is an app as stores have them: two versions, two languages.
func large(i, version int) *fdroid.App {
	long := fmt.Sprintf("What there is to say of application number %d, which takes a few lines.\n", i)
	for range 3 {
		long += long
	}
	a := &fdroid.App{
		Package: name(i), Added: 1_600_000_000, Updated: 1_650_000_000 + int64(i), License: "Apache-2.0", Categories: []string{"Internet"},
		Name: fdroid.Text{"en-US": fmt.Sprint("App ", i), "de": fmt.Sprint("App ", i)}, Summary: fdroid.Text{"en-US": "Does it", "de": "Tut es"},
		Description: fdroid.Text{"en-US": long, "de": long}, SourceCode: "https://example.org/" + name(i), WebSite: "https://example.org/" + name(i),
	}
	for v := version + 1; v >= version; v-- {
		sum := mios.Sum(fmt.Appendf(nil, "%d %d", i, v))
		a.Versions = append(a.Versions, fdroid.Version{
			File: fdroid.File{Name: fmt.Sprintf("%s.%s_%d.apk", sum, name(i), v), Digest: sum, Size: 5_000_000}, Code: int64(v), Name: fmt.Sprint("1.", v),
			MinSDK: 24, TargetSDK: 35, Signers: []mios.Digest{mios.Sum([]byte(name(i)))}, ABIs: []string{"arm64-v8a", "x86_64"}, Added: 1_650_000_000,
			Permissions: []fdroid.Permission{{Name: "android.permission.INTERNET"}, {Name: "android.permission.CAMERA"}, {Name: "android.permission.VIBRATE"}},
			WhatsNew:    fdroid.Text{"en-US": "Fixes."},
		})
	}
	return a
}
