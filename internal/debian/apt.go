package debian

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"mios/internal/atomicfile"
	"mios/internal/tool"
)

// apt runs the host's apt-get with lists and state of our own, for one
// architecture. The host's sources, keys, proxies and preferences are used and
// nothing of the host's is written.
type apt struct {
	dir  string // absolute
	arch string
	etc  string // the host's /etc
}

// aptConf takes out what hosts are told to run after an update.
const aptConf = `#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear DPkg::Post-Invoke;
`

// prepare makes the folders and files that apt wants to find.
func (a *apt) prepare() error {
	for _, d := range []string{"lists/partial", "cache/archives/partial", "sources"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return err
		}
	}
	sources, err := debianSources(os.DirFS(a.etc))
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"apt.conf": []byte(aptConf), "status": nil,
		"sources/debian.list": sources.list, "sources/debian.sources": sources.deb822} {
		if err := atomicfile.WriteBytes(filepath.Join(a.dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// command returns apt-get or apt-cache with our folders.
func (a *apt) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := tool.Look(name)
	if err != nil {
		return nil, err
	}
	in := func(p string) string { return filepath.Join(a.dir, p) }
	options := []string{"-c", in("apt.conf")}
	for _, o := range []string{
		"APT::Architecture=" + a.arch, "APT::Architectures::=" + a.arch,
		"Dir::Etc::SourceList=/dev/null", "Dir::Etc::SourceParts=" + in("sources"),
		"Dir::State=" + a.dir, "Dir::State::Lists=" + in("lists"), "Dir::State::status=" + in("status"),
		"Dir::Cache=" + in("cache"), "Dir::Log=" + a.dir,
		"APT::Sandbox::User=", "Acquire::Languages=none", "Acquire::Retries=3",
	} {
		options = append(options, "-o", o)
	}
	cmd := exec.CommandContext(ctx, path, append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd, nil
}

// update fetches the lists.
func (a *apt) update(ctx context.Context) error {
	cmd, err := a.command(ctx, "apt-get", "-q", "update")
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get update for %s: %v: %s: look whether this machine reaches its Debian mirror", a.arch, err, lastLine(out))
	}
	return nil
}

// show returns what the lists say of the versions of a package, newest first.
func (a *apt) show(ctx context.Context, pkg string) ([]map[string]string, error) {
	cmd, err := a.command(ctx, "apt-cache", "show", pkg)
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		if _, exited := err.(*exec.ExitError); exited {
			return nil, nil // apt-cache exits with 100 when it knows no such package
		}
		return nil, err
	}
	var all []map[string]string
	for p := range strings.SplitSeq(string(out), "\n\n") {
		if f := parseFields(p); f["Package"] == pkg {
			all = append(all, f)
		}
	}
	return all, nil
}

// pin returns the pin of one version of a package as the lists have it; ok is
// false if they do not have it.
func (a *apt) pin(ctx context.Context, line, pkg, version string) (p Pin, ok bool, err error) {
	all, err := a.show(ctx, pkg)
	if err != nil {
		return Pin{}, false, err
	}
	for _, f := range all {
		if f["Version"] != version {
			continue
		}
		size, err := strconv.ParseInt(f["Size"], 10, 64)
		if err != nil {
			return Pin{}, false, fmt.Errorf("apt-cache show %s: size: %v", pkg, err)
		}
		p := Pin{line, a.arch, pkg, version, size, f["SHA256"]}
		return p, true, p.check()
	}
	return Pin{}, false, nil
}

// newest returns the pin of the newest package of a line that the lists have.
func (a *apt) newest(ctx context.Context, name string) (p Pin, ok bool, err error) {
	l, err := parseLine(name)
	if err != nil {
		return Pin{}, false, err
	}
	metas, err := a.show(ctx, l.meta(a.arch))
	if err != nil {
		return Pin{}, false, err
	}
	for _, meta := range metas {
		for dep := range strings.SplitSeq(meta["Depends"], ",") {
			pkg, rest, _ := strings.Cut(strings.TrimSpace(dep), " ")
			version, isExact := strings.CutPrefix(strings.Trim(rest, "()"), "= ")
			if !isExact || !l.has(pkg, a.arch) {
				continue
			}
			if p, ok, err := a.pin(ctx, name, pkg, version); ok || err != nil {
				return p, ok, err
			}
		}
	}
	return Pin{}, false, nil
}

// download fetches a package into the folder to and returns its path. Apt has
// checked it against the signed lists.
func (a *apt) download(ctx context.Context, p Pin, to string, progress func(done, total int64)) (string, error) {
	cmd, err := a.command(ctx, "apt-get", "-q=2", "-o", "APT::Status-Fd=3", "download", p.Package+"="+p.Version)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = to, &out, &out
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w} // becomes descriptor 3
	if err := cmd.Start(); err != nil {
		w.Close()
		return "", err
	}
	w.Close()
	readStatus(r, p.Size, progress)
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("apt-get download %s=%s: %v: %s", p.Package, p.Version, err, lastLine(out.Bytes()))
	}
	files, err := filepath.Glob(filepath.Join(to, p.Package+"_*.deb"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("apt-get download %s=%s: left %d files, want 1", p.Package, p.Version, len(files))
	}
	return files[0], nil
}

// readStatus reads apt's status lines, "dlstatus:N:PERCENT:TEXT", to their end.
func readStatus(r io.Reader, size int64, progress func(done, total int64)) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.SplitN(sc.Text(), ":", 4)
		if len(f) < 3 || f[0] != "dlstatus" || progress == nil {
			continue
		}
		if percent, err := strconv.ParseFloat(f[2], 64); err == nil {
			progress(int64(float64(size)*percent/100), size)
		}
	}
	io.Copy(io.Discard, r) // a line too long for the scanner must not block apt
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// readOptional returns a file's bytes, none if there is no such file.
func readOptional(fsys fs.FS, name string) ([]byte, error) {
	b, err := fs.ReadFile(fsys, name)
	if os.IsNotExist(err) {
		return nil, nil
	}
	return b, err
}
