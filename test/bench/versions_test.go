package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mios/format/apkdelta"
	"mios/internal/readat"
)

// versions are consecutive versions of npm packages that carry APKs, and which
// of their APKs it is.
var versions = []struct{ name, old, new, apk string }{
	{"io.appium.settings", "7.0.22", "7.1.0", "settings_apk-debug.apk"},
	{"io.appium.settings", "7.1.11", "8.0.0", "settings_apk-debug.apk"},
	{"io.appium.settings", "8.0.6", "8.0.8", "settings_apk-debug.apk"},
	{"io.appium.settings", "8.0.9", "8.0.10", "settings_apk-debug.apk"},
	{"appium-uiautomator2-server", "10.3.5", "10.4.0", "appium-uiautomator2-server-v*.apk"},
	{"appium-uiautomator2-server", "10.6.2", "10.6.4", "appium-uiautomator2-server-v*.apk"},
	{"appium-uiautomator2-server", "10.6.4", "10.6.6", "appium-uiautomator2-server-v*.apk"},
	{"android-apidemos", "3.3.1", "4.0.0", "ApiDemos-debug.apk"},
	{"android-apidemos", "4.0.0", "4.1.1", "ApiDemos-debug.apk"},
	{"android-apidemos", "4.1.1", "5.0.0", "ApiDemos-debug.apk"},
}

// BenchmarkVersions compares the size of deltas between an app's versions with
// the whole APK and with what tools make that take it for bytes.
func BenchmarkVersions(b *testing.B) {
	cache, err := filepath.Abs("../../out/cache/releases")
	if err != nil {
		b.Fatal(err)
	}
	tools := []string{"bsdiff", "xdelta3", "zstd"}
	rows := [][]string{{"", "APK", "delta", "of the APK", "bsdiff", "xdelta3 -9", "zstd -19 --patch-from", "made in", "applied in", "scratch"}}
	var ours []float64
	theirs := map[string][]float64{}
	for _, v := range versions {
		old, new := versionOf(b, cache, v.name+"@"+v.old, v.apk), versionOf(b, cache, v.name+"@"+v.new, v.apk)
		patch := filepath.Join(b.TempDir(), "delta")
		made, applied, scratch := between(b, old, new, patch)
		full := float64(fileSize(b, new))
		ratio := float64(fileSize(b, patch)) / full
		ours = append(ours, ratio)
		row := []string{v.name + " " + v.old + " → " + v.new, fmt.Sprintf("%.2f MB", full/1e6), fmt.Sprintf("%.1f kB", float64(fileSize(b, patch))/1e3), percent(ratio)}
		for _, name := range tools {
			measured(b, name, map[string][]string{
				"bsdiff":  {old, new, patch},
				"xdelta3": {"-9", "-e", "-f", "-s", old, new, patch},
				"zstd":    {"-q", "-f", "-19", "--long=31", "--patch-from", old, new, "-o", patch},
			}[name]...)
			r := float64(fileSize(b, patch)) / full
			theirs[name] = append(theirs[name], r)
			row = append(row, percent(r))
		}
		rows = append(rows, append(row, seconds(made), seconds(applied), fmt.Sprintf("%.1f MB", float64(scratch)/1e6)))
	}
	last := []string{"mean", "", "", percent(mean(ours))}
	b.ReportMetric(mean(ours), "delta/full")
	for _, name := range tools {
		last = append(last, percent(mean(theirs[name])))
		b.ReportMetric(mean(theirs[name]), name+"/full")
	}
	print("deltas between an app's versions", append(rows, last))
}

func percent(r float64) string { return fmt.Sprintf("%.2f %%", 100*r) }

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// versionOf returns an APK of an npm package.
func versionOf(b *testing.B, cache, spec, apk string) string {
	b.Helper()
	dir := b.TempDir()
	npmPackage(b, cache, spec, dir)
	files, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	if len(files) == 0 {
		b.Skip("no npm on PATH, which brings the APKs: install it (Debian: apt-get install npm)")
	}
	found, err := filepath.Glob(filepath.Join(cache, "npm", spec, "package", "apks", apk))
	if err != nil || len(found) != 1 {
		b.Fatalf("%s: %d APKs are called %s among %v, %v", spec, len(found), apk, files, err)
	}
	return found[0]
}

// between writes the delta to a file, applies it, and compares.
func between(b *testing.B, old, new, to string) (made, applied time.Duration, scratch int64) {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	from, fromSize, err := readat.Open(old)
	must(err)
	defer from.Close()
	want, err := os.ReadFile(new)
	must(err)
	delta, err := os.Create(to)
	must(err)
	defer delta.Close()
	start := time.Now()
	h, err := apkdelta.Make(context.Background(), from, fromSize, bytes.NewReader(want), int64(len(want)), delta, apkdelta.Options{})
	must(err)
	made = time.Since(start)
	_, err = delta.Seek(0, io.SeekStart)
	must(err)
	keep, err := os.Create(to + ".scratch")
	must(err)
	defer keep.Close()
	var out bytes.Buffer
	start = time.Now()
	_, err = apkdelta.Apply(context.Background(), from, fromSize, delta, &out, apkdelta.Limits{NewSize: int64(len(want)), Scratch: keep})
	must(err)
	applied = time.Since(start)
	if !bytes.Equal(out.Bytes(), want) {
		b.Fatalf("the delta of %s makes another file", new)
	}
	return made, applied, h.Scratch
}
