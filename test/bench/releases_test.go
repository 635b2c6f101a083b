package bench_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Packages of which Debian has two point releases at a time, in main and in
// security.
var (
	somePackages = []string{"libssl3", "openssl", "libcurl4", "libtomcat10-java", "php8.2-cli", "python3.11-minimal", "libpython3.11-stdlib",
		"postgresql-15", "systemd", "perl-base", "openjdk-17-jre-headless"}
	morePackages = append([]string{"mariadb-server-core", "samba-libs", "libgs10", "git", "libnode108", "libreoffice-core", "libwebkit2gtk-4.0-37"}, somePackages...)

	// apks are consecutive versions of npm packages, which have real APKs.
	apks = [][2]string{{"io.appium.settings@8.0.9", "io.appium.settings@8.0.10"}, {"appium-uiautomator2-server@10.6.4", "appium-uiautomator2-server@10.6.6"}}
)

// A releasePair says what an older and a newer image are made of.
type releasePair struct {
	kind     string // "ext4", "erofs", or how erofs is compressed
	packages []string
	size     string // of an ext4, as mke2fs takes it
	filled   bool   // with what no release changes
}

// images makes the images of the older and the newer release in dir. The same
// versions of packages give the same bytes.
func (p releasePair) images(b *testing.B, dir string) (old, new string) {
	b.Helper()
	cache, err := filepath.Abs("../../out/cache/releases")
	if err != nil {
		b.Fatal(err)
	}
	var out [2]string
	for i, which := range []string{"old", "new"} {
		at := 1700000000 + int64(i)*1000000
		tree := filepath.Join(dir, which+".tree")
		if err := os.MkdirAll(tree, 0o755); err != nil {
			b.Fatal(err)
		}
		for _, name := range p.packages {
			command(b, "dpkg-deb", "-x", debianPackage(b, cache, name, i), tree)
		}
		for _, a := range apks {
			npmPackage(b, cache, a[i], filepath.Join(tree, "app", strings.Split(a[i], "@")[0]))
		}
		if p.filled {
			fillTree(b, tree, i == 1)
		}
		command(b, "find", tree, "-mmin", "-120", "-exec", "touch", "-h", "-d", fmt.Sprint("@", at), "{}", "+")
		folder := filepath.Join(dir, which)
		if err := os.Mkdir(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		out[i] = filepath.Join(folder, "system.img")
		p.image(b, tree, out[i], at)
		if err := os.RemoveAll(tree); err != nil {
			b.Fatal(err)
		}
	}
	return out[0], out[1]
}

// image makes a file system of a tree, as a build of its own would: an ext4 has
// the inodes that it needs and little room, as AOSP's have. In much of it bsdiff
// would look for hours.
func (p releasePair) image(b *testing.B, tree, name string, at int64) {
	b.Helper()
	const uuid = "12345678-1234-1234-1234-123456789abc"
	switch p.kind {
	case "ext4":
		b.Setenv("E2FSPROGS_FAKE_TIME", fmt.Sprint(at))
		command(b, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-N", "8192", "-O", "^has_journal", "-U", uuid, "-E", "hash_seed="+uuid, "-d", tree, name, p.size)
		sameTimes(b, tree, name, at)
	case "erofs":
		command(b, "mkfs.erofs", "--quiet", fmt.Sprint("-T", at), "-U"+uuid, name, tree)
	default:
		command(b, "mkfs.erofs", "--quiet", fmt.Sprint("-T", at), "-U"+uuid, "-z"+p.kind+",9", "-C65536", name, tree)
	}
}

// sameTimes sets the times in an ext4's inodes that mke2fs takes from those of
// the tree's files and nobody can set there: of change and of access.
func sameTimes(b *testing.B, tree, image string, at int64) {
	b.Helper()
	inodes := map[uint64]bool{}
	err := filepath.WalkDir(tree, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		inodes[st.Ino] = true
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var script strings.Builder
	for i := range len(inodes) + 11 { // 2 is the root, 11 lost+found, and the tree's follow
		if n := i + 1; n == 2 || n >= 11 {
			for _, f := range []string{"ctime", "atime"} {
				fmt.Fprintf(&script, "sif <%d> %s @%d\nsif <%d> %s_extra 0\n", n, f, at, n, f)
			}
		}
	}
	file := image + ".debugfs"
	if err := os.WriteFile(file, []byte(script.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	command(b, "debugfs", "-w", "-f", file, image)
	if err := os.Remove(file); err != nil {
		b.Fatal(err)
	}
}

// fillTree adds 1.5 GiB in files of 128 MiB, as random as what is compressed: of
// twelve one is new in the newer release, one is moved by 100 bytes, one is
// changed in 4096 places, and the others are as they were.
func fillTree(b *testing.B, tree string, newer bool) {
	b.Helper()
	const size, step = 128 << 20, 1 << 15
	for i := range 12 {
		seed := [32]byte{byte(i)}
		if newer && i == 1 {
			seed[1] = 1
		}
		content := make([]byte, size)
		rand.NewChaCha8(seed).Read(content)
		if newer && i == 2 {
			content = append(make([]byte, 100), content...)
		}
		if newer && i == 3 {
			for at := 0; at < size; at += step {
				content[at]++
			}
		}
		name := filepath.Join(tree, fmt.Sprintf("filling-%d", i))
		if err := os.WriteFile(name, content, 0o644); err != nil {
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
