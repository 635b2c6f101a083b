// Package debian brings Debian's kernel package of any architecture onto this
// machine and reads it, without changing the host's apt or needing dpkg.
//
// Lists and state are apt's own, in a folder of ours; sources, keys and proxies
// are the host's. What was fetched is kept in a cache by SHA-256.
package debian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mios/internal/atomicfile"
	"mios/internal/digest"
)

// maxDeb bounds a package's file in bytes.
const maxDeb = 1 << 30

// Kernels is where kernels come from.
type Kernels struct {
	Cache    string                  // folder for packages and apt's lists; made when it is not there
	Pins     []Pin                   // nil: DefaultPins
	Notice   func(msg string)        // told when the pinned package is gone and another one is taken; may be nil
	Progress func(done, total int64) // told of downloaded bytes, from one goroutine; may be nil
}

// Open returns the kernel of a line (see [Line]) for an architecture, "amd64"
// or "arm64": the pinned package, from the cache if it is there, or, when
// Debian has it no more, the newest of the line, with a notice. What was once
// taken in a pin's place stays so until the pin is renewed.
func (k *Kernels) Open(ctx context.Context, line, arch string) (*Kernel, error) {
	pins := k.Pins
	if pins == nil {
		pins = DefaultPins()
	}
	i := slices.IndexFunc(pins, func(p Pin) bool { return p.Line == line && p.Arch == arch })
	if i < 0 {
		return nil, fmt.Errorf("kernel %s for %s: not pinned: pin it with mios kernel pin", line, arch)
	}
	pin := pins[i]
	unlock, err := k.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if !k.cached(pin) {
		if pin, err = k.fetchPinned(ctx, pin); err != nil {
			return nil, fmt.Errorf("kernel %s for %s: %w", line, arch, err)
		}
	}
	return open(pin, k.path(pin, ".deb"), k.path(pin, ".tar"))
}

// Newest asks Debian for the newest package of a line and returns its pin.
func (k *Kernels) Newest(ctx context.Context, line, arch string) (Pin, error) {
	if _, err := parseLine(line); err != nil {
		return Pin{}, err
	}
	unlock, err := k.lock(ctx)
	if err != nil {
		return Pin{}, err
	}
	defer unlock()
	a, err := k.apt(arch)
	if err != nil {
		return Pin{}, err
	}
	if err := a.update(ctx); err != nil {
		return Pin{}, err
	}
	pin, ok, err := a.newest(ctx, line)
	if err == nil && !ok {
		err = noneOfLine(line, arch)
	}
	return pin, err
}

func noneOfLine(line, arch string) error {
	return fmt.Errorf("this machine's Debian sources have no kernel %s for %s: build on Debian 12, or choose another line", line, arch)
}

// fetchPinned brings the package of a pin into the cache, or, when Debian has it
// no more, another one, whose pin it returns.
func (k *Kernels) fetchPinned(ctx context.Context, pin Pin) (Pin, error) {
	if other, ok := k.substitute(pin); ok {
		k.notice(pin, other)
		return other, nil
	}
	a, err := k.apt(pin.Arch)
	if err != nil {
		return Pin{}, err
	}
	found, ok, err := a.pin(ctx, pin.Line, pin.Package, pin.Version)
	if err != nil {
		return Pin{}, err
	}
	if ok && found == pin && k.fetch(ctx, a, pin) == nil {
		return pin, nil
	}
	// The lists are missing or old.
	if err := a.update(ctx); err != nil {
		return Pin{}, err
	}
	if found, ok, err = a.pin(ctx, pin.Line, pin.Package, pin.Version); err != nil {
		return Pin{}, err
	}
	if ok && found != pin {
		return Pin{}, fmt.Errorf("%s %s: Debian's lists say SHA-256 %s, pinned is %s: find out which is right, then mios kernel pin",
			pin.Package, pin.Version, found.SHA256, pin.SHA256)
	}
	if ok {
		return pin, k.fetch(ctx, a, pin)
	}
	other, ok, err := a.newest(ctx, pin.Line)
	if err != nil {
		return Pin{}, err
	}
	if !ok {
		return Pin{}, noneOfLine(pin.Line, pin.Arch)
	}
	k.notice(pin, other)
	if !k.cached(other) {
		if err := k.fetch(ctx, a, other); err != nil {
			return Pin{}, err
		}
	}
	return other, k.remember(pin, other)
}

// fetch downloads a package into the cache and checks it against its pin.
func (k *Kernels) fetch(ctx context.Context, a *apt, pin Pin) error {
	dir, err := os.MkdirTemp(k.Cache, ".download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	deb, err := a.download(ctx, pin, dir, k.Progress)
	if err != nil {
		return err
	}
	sum, err := digest.File(deb)
	if err != nil {
		return err
	}
	if sum.String() != pin.SHA256 {
		return fmt.Errorf("%s %s: downloaded file has SHA-256 %s, want %s", pin.Package, pin.Version, sum, pin.SHA256)
	}
	if err := os.Chmod(deb, 0o644); err != nil {
		return err
	}
	return os.Rename(deb, k.path(pin, ".deb"))
}

// cached says whether the cache has the package of a pin; a file that holds
// something else is removed.
func (k *Kernels) cached(pin Pin) bool {
	path := k.path(pin, ".deb")
	sum, err := digest.File(path)
	if err != nil {
		return false
	}
	if sum.String() != pin.SHA256 {
		os.Remove(path)
		return false
	}
	return true
}

// substitute returns what was taken in a pin's place before, if the cache still
// has it.
func (k *Kernels) substitute(pin Pin) (Pin, bool) {
	b, err := os.ReadFile(k.path(pin, ".instead.json"))
	if err != nil {
		return Pin{}, false
	}
	pins, err := ParsePins(b)
	if err != nil || len(pins) != 1 || !k.cached(pins[0]) {
		return Pin{}, false
	}
	return pins[0], true
}

func (k *Kernels) remember(pin, other Pin) error {
	b, err := json.Marshal([]Pin{other})
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(k.path(pin, ".instead.json"), b, 0o644)
}

func (k *Kernels) notice(pin, other Pin) {
	if k.Notice != nil {
		k.Notice(fmt.Sprintf("Debian has %s %s no more; taking %s %s instead: the build is not the pinned one until you run mios kernel pin",
			pin.Package, pin.Version, other.Package, other.Version))
	}
}

func (k *Kernels) path(pin Pin, ext string) string {
	return filepath.Join(k.Cache, pin.SHA256+ext)
}

func (k *Kernels) apt(arch string) (*apt, error) {
	if !slices.Contains(Architectures, arch) {
		return nil, fmt.Errorf("architecture %q: want one of %v", arch, Architectures)
	}
	dir, err := filepath.Abs(filepath.Join(k.Cache, "apt-"+arch))
	if err != nil {
		return nil, err
	}
	a := &apt{dir: dir, arch: arch, etc: "/etc"}
	return a, a.prepare()
}

// lock keeps other processes out of the cache.
func (k *Kernels) lock(ctx context.Context) (unlock func(), err error) {
	if k.Cache == "" {
		return nil, errors.New("kernel cache: no folder given")
	}
	if err := os.MkdirAll(k.Cache, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(k.Cache, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, err
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { <-locked; f.Close() }()
		return nil, ctx.Err()
	}
}
