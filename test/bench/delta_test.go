package bench_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mios/internal/tool"
)

// Packages of which Debian has two point releases at a time, in main and in
// security: some 90 MiB that change, and more.
var (
	somePackages = []string{"libssl3", "openssl", "libcurl4", "libtomcat10-java", "php8.2-cli", "python3.11-minimal", "libpython3.11-stdlib",
		"postgresql-15", "systemd", "perl-base"}
	morePackages = append([]string{"openjdk-17-jre-headless", "mariadb-server-core", "samba-libs", "libgs10", "git"}, somePackages...)

	// apks are consecutive versions of npm packages, which have real APKs.
	apks = [][2]string{{"io.appium.settings@8.0.9", "io.appium.settings@8.0.10"}, {"appium-uiautomator2-server@10.6.4", "appium-uiautomator2-server@10.6.6"}}
)

// BenchmarkDelta measures "mios ota delta" between two point releases as system
// images. Delta/tools compares its size with that of tools which take images
// for bytes, on 120 MiB, since those take minutes for more; Delta/large makes
// deltas of more than 300 MiB, and Delta/memory one of 2 GiB.
func BenchmarkDelta(b *testing.B) {
	kinds := []string{"ext4", "erofs", "lz4hc"}
	b.Run("tools", func(b *testing.B) {
		for _, kind := range kinds {
			b.Run(kind, func(b *testing.B) {
				old, new := releases(b, "some", somePackages, kind, "")
				deltas(b, kind, old, new, []string{"xdelta3 -9", "zstd --patch-from -19 --long=31", "bsdiff"})
			})
		}
	})
	b.Run("large", func(b *testing.B) {
		for _, kind := range kinds {
			b.Run(kind, func(b *testing.B) {
				old, new := releases(b, "more", morePackages, kind, "")
				deltas(b, kind, old, new, []string{"xdelta3 -9"})
			})
		}
	})
	b.Run("memory", func(b *testing.B) {
		old, new := releases(b, "filled", somePackages, "ext4", "2G")
		most := deltas(b, "ext4 of 2 GiB", old, new, nil)
		b.ReportMetric(float64(most)/1024, "peak-MiB")
	})
}

// deltas makes deltas of a pair of images with mios and with other tools, and
// prints sizes, times and memory. It returns the most memory that mios took, in
// KiB.
func deltas(b *testing.B, kind, old, new string, tools []string) int64 {
	b.Helper()
	dir := b.TempDir()
	var size int64
	var rows [][]string
	add := func(name, file string, took time.Duration, memory int64) {
		n := fileSize(b, file)
		if size == 0 {
			size = n
		}
		rows = append(rows, []string{name, fmt.Sprintf("%.2f MB", float64(n)/1e6), fmt.Sprintf("%.2f", float64(n)/float64(size)),
			seconds(took), fmt.Sprintf("%d MiB", memory/1024)})
		if name != "mios ota delta" {
			b.ReportMetric(float64(size)/float64(n), strings.Fields(name)[0]+"-ratio")
		}
	}
	// Payloads are unsigned: a signature is 267 bytes, twice. Each is applied to
	// the old image by another command than that which made it.
	took, memory := measured(b, miosProgram(), "ota", "delta", "--json", "--unsigned", "--no-verify", "--minor-version", "9", "--partition", "system", "--out", dir, old, new)
	payload := filepath.Join(dir, "payload.bin")
	add("mios ota delta", payload, took, memory)
	applied := filepath.Join(dir, "new")
	if err := os.Mkdir(applied, 0o755); err != nil {
		b.Fatal(err)
	}
	from := filepath.Join(dir, "old")
	if err := os.Mkdir(from, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.Link(old, filepath.Join(from, "system.img")); err != nil {
		b.Fatal(err)
	}
	apply, applyMemory := measured(b, miosProgram(), "ota", "apply", "--out", applied, payload, from)
	command(b, "cmp", filepath.Join(applied, "system.img"), new)
	for _, name := range tools {
		out := filepath.Join(dir, "patch")
		args := map[string][]string{
			"xdelta3": {"-9", "-e", "-f", "-s", old, new, out},
			"zstd":    {"-q", "-f", "-19", "--long=31", "--patch-from", old, new, "-o", out},
			"bsdiff":  {old, new, out},
		}[strings.Fields(name)[0]]
		took, memory := measured(b, strings.Fields(name)[0], args...)
		add(name, out, took, memory)
	}
	print(fmt.Sprintf("delta of two releases, %s, %.0f MB (applied in %s, %d MiB)", kind, float64(fileSize(b, new))/1e6, seconds(apply), applyMemory/1024), rows)
	return memory
}

func fileSize(b *testing.B, name string) int64 {
	b.Helper()
	fi, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	return fi.Size()
}

// measured runs a program, and returns how long it took and the most memory
// that it had, in KiB.
func measured(b *testing.B, name string, args ...string) (time.Duration, int64) {
	b.Helper()
	if name != miosProgram() {
		path, err := tool.Look(name)
		if err != nil {
			b.Fatal(err)
		}
		name = path
	}
	cmd := exec.CommandContext(b.Context(), name, args...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return time.Since(start), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
}

// releases returns images of the older and the newer release of packages and
// APKs; they are kept for the other benchmarks.
func releases(b *testing.B, set string, packages []string, kind, size string) (old, new string) {
	b.Helper()
	cache, err := filepath.Abs("../../out/cache/releases")
	if err != nil {
		b.Fatal(err)
	}
	var out [2]string
	for i, which := range []string{"old", "new"} {
		tree := filepath.Join(the.dir, "releases", set+"-"+which)
		if _, err := os.Stat(tree); err != nil {
			if err := os.MkdirAll(tree, 0o755); err != nil {
				b.Fatal(err)
			}
			for _, p := range packages {
				command(b, "dpkg-deb", "-x", debianPackage(b, cache, p, i), tree)
			}
			for _, a := range apks {
				npmPackage(b, cache, a[i], filepath.Join(tree, "app", strings.Split(a[i], "@")[0]))
			}
			if size != "" {
				fillTree(b, tree)
			}
		}
		out[i] = filepath.Join(the.dir, "releases", strings.Join([]string{set, kind, size, which}, "-")+".img")
		if _, err := os.Stat(out[i]); err != nil {
			makeImage(b, tree, out[i], kind, size, 1700000000+i*1000000)
		}
	}
	return out[0], out[1]
}

// makeImage makes a file system of a tree, as a build of its own would.
func makeImage(b *testing.B, tree, name, kind, size string, at int) {
	b.Helper()
	const uuid = "12345678-1234-1234-1234-123456789abc"
	switch kind {
	case "ext4":
		if size == "" {
			size = "512M"
		}
		b.Setenv("E2FSPROGS_FAKE_TIME", fmt.Sprint(at))
		command(b, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal", "-U", uuid, "-E", "hash_seed="+uuid, "-d", tree, name, size)
	case "erofs":
		command(b, "mkfs.erofs", "--quiet", fmt.Sprint("-T", at), "-U"+uuid, name, tree)
	default:
		command(b, "mkfs.erofs", "--quiet", fmt.Sprint("-T", at), "-U"+uuid, "-z"+kind+",9", "-C65536", name, tree)
	}
}

// fillTree adds 1.5 GiB that no release changes.
func fillTree(b *testing.B, tree string) {
	b.Helper()
	r := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, 1<<20)
	for i := range 12 {
		f, err := os.Create(filepath.Join(tree, fmt.Sprintf("filling-%d", i)))
		if err != nil {
			b.Fatal(err)
		}
		for range 128 {
			r.Read(buf)
			if _, err := f.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// debianPackage returns the file of the older (0) or the newer (1) of the two
// newest versions of a package.
func debianPackage(b *testing.B, cache, name string, which int) string {
	b.Helper()
	list, err := exec.CommandContext(b.Context(), "apt-cache", "madison", name).Output()
	if err != nil {
		b.Fatalf("apt-cache madison %s: %v", name, err)
	}
	var versions []string
	for line := range strings.Lines(string(list)) {
		if words := strings.Split(line, "|"); len(words) == 3 {
			versions = append(versions, strings.TrimSpace(words[1]))
		}
	}
	slices.SortFunc(versions, func(x, y string) int {
		if exec.CommandContext(b.Context(), "dpkg", "--compare-versions", x, "lt", y).Run() == nil {
			return -1
		}
		return 1
	})
	if versions = slices.Compact(versions); len(versions) < 2 {
		b.Fatalf("apt-cache knows %d versions of %s, want 2: run apt-get update", len(versions), name)
	}
	version := versions[len(versions)-2+which]
	dir := filepath.Join(cache, name, strings.ReplaceAll(version, ":", "_"))
	if found, _ := filepath.Glob(filepath.Join(dir, "*.deb")); len(found) == 1 {
		return found[0]
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "apt-get", "download", "-q", name+"="+version)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("apt-get download %s=%s: %v\n%s", name, version, err, out)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(found) != 1 {
		b.Fatalf("apt-get download %s=%s made %d files", name, version, len(found))
	}
	return found[0]
}

// npmPackage puts the APKs of an npm package into a folder, under names that
// say no version. Where there is no npm, the releases are without.
func npmPackage(b *testing.B, cache, spec, to string) {
	b.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		fmt.Println("no npm on PATH: no APKs in the images")
		return
	}
	dir := filepath.Join(cache, "npm", spec)
	if _, err := os.Stat(filepath.Join(dir, "package")); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		cmd := exec.CommandContext(b.Context(), npm, "pack", "--silent", "--json", spec)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("npm pack %s: %v", spec, err)
		}
		var made []struct{ Filename string }
		if err := json.Unmarshal(out, &made); err != nil || len(made) != 1 {
			b.Fatalf("npm pack %s printed %q", spec, out)
		}
		command(b, "tar", "xzf", filepath.Join(dir, made[0].Filename), "-C", dir)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		b.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "package", "apks", "*.apk"))
	if len(found) == 0 {
		b.Fatalf("%s has no APK", spec)
	}
	for _, apk := range found {
		name := strings.ReplaceAll(filepath.Base(apk), "-v"+strings.Split(spec, "@")[1], "")
		command(b, "cp", apk, filepath.Join(to, name))
	}
}
