// Package desk is the whole of miOS on one desk: keys, builds, a repository
// with its server, and emulated devices, all in one folder. `mios up` tells its
// story with it, and end-to-end tests start from it.
package desk

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"mios"
	"mios/build/image"
	"mios/build/ota"
	"mios/build/product"
	"mios/internal/atomicfile"
	"mios/internal/debian"
	"mios/internal/digest"
	"mios/key"
	"mios/publish/repo"
)

// A Desk is a folder with everything in it.
type Desk struct {
	Dir    string
	Cache  string           // of fetched kernels
	Notice func(msg string) // told what a person should know; may be nil

	keys *key.Set
}

// Open opens the desk in the folder dir, and makes development keys and what
// else is missing.
func Open(dir, cache string) (*Desk, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &Desk{Dir: dir, Cache: cache}
	if err := writable(dir); err != nil {
		return nil, err
	}
	if err := key.Init(d.KeysDir(), key.InitOptions{Development: true}); err != nil {
		return nil, err
	}
	d.keys, err = key.Open(d.KeysDir(), nil)
	return d, err
}

// writable makes a folder, and says what to do if nothing can be written there.
func writable(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".writable-*"); err == nil {
			return errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("folder %s: nothing can be written there (%w): take another one, or make it writable", dir, err)
	}
	return err
}

// KeysDir is the folder of the desk's development keys.
func (d *Desk) KeysDir() string { return d.path("keys") }

// Keys returns the desk's development keys.
func (d *Desk) Keys() *key.Set { return d.keys }

// ADBKey is the file of the private key that the desk's adb shows.
func (d *Desk) ADBKey() string { return filepath.Join(d.KeysDir(), key.ADB+".pem") }

func (d *Desk) path(elem ...string) string { return filepath.Join(append([]string{d.Dir}, elem...)...) }

// adbKeys returns the adb_keys file that authorises the desk's adb.
func (d *Desk) adbKeys() ([]byte, error) {
	pub, err := d.keys.Public(key.ADB)
	if err != nil {
		return nil, err
	}
	return image.ADBKeys(pub[0], "mios@desk")
}

// A BuildSpec says what to build.
type BuildSpec struct {
	Product string // the definition's file
	Arch    mios.Arch
	Variant string // default: userdebug
	Version string
	// After is a build time that this build's must be above, in seconds since
	// 1970, or 0.
	After         int64
	RollbackIndex uint64
	Root          []byte            // the repository's root.json
	Extra         map[string][]byte // more files, by absolute path
	// Change changes the definition before it is built; the spec's Version must
	// tell changes apart.
	Change func(p *product.Product)
	Note   func(what string)
}

// inputs is what a build's bytes depend on, save its time.
type inputs struct {
	Spec     BuildSpec
	Programs []mios.Digest
	Product  string
	CACerts  mios.Digest
	Kernel   string
	Keys     []key.Info
	Extra    []string
}

// MarshalJSON leaves the functions out.
func (s BuildSpec) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{s.Product, s.Arch, s.Variant, s.Version, s.RollbackIndex, string(s.Root)})
}

const inputsFile = "inputs"

// Build returns the folder of a build, and whether it was there already: it is
// built again when anything that goes into it has changed.
func (d *Desk) Build(ctx context.Context, s BuildSpec) (dir string, reused bool, err error) {
	if s.Variant == "" {
		s.Variant = image.Userdebug
	}
	p, err := product.Load(s.Product)
	if err != nil {
		return "", false, err
	}
	if s.Change != nil {
		s.Change(p)
	}
	full, ramdisk, err := image.Programs(s.Arch)
	if err != nil {
		return "", false, err
	}
	kernels := debian.Kernels{Cache: d.Cache, Notice: d.Notice}
	k, err := kernels.Open(ctx, p.Kernel.Line, string(s.Arch))
	if err != nil {
		return "", false, err
	}
	defer k.Close()
	sum, err := d.sum(s, p, k, full, ramdisk)
	if err != nil {
		return "", false, err
	}
	dir = d.path("builds", fmt.Sprintf("%s-%s-%s-%s", p.Name, s.Arch, s.Variant, s.Version))
	if old, err := os.ReadFile(filepath.Join(dir, inputsFile)); err == nil && string(old) == sum {
		if m, err := image.ReadManifest(dir); err == nil && m.BuildTime > s.After {
			return dir, true, nil
		}
	}
	c := image.Config{
		Product: p, Arch: s.Arch, Variant: s.Variant, Version: s.Version,
		BuildTime: time.Unix(max(time.Now().Unix(), s.After+1), 0),
		Kernel:    k, Miosd: full, MiosdRamdisk: ramdisk,
		Root: s.Root, Extra: s.Extra, RollbackIndex: s.RollbackIndex, Note: s.Note, Development: true,
	}
	if err := d.addKeys(&c); err != nil {
		return "", false, err
	}
	if _, err := image.Build(ctx, c, dir); err != nil {
		return "", false, err
	}
	return dir, false, atomicfile.WriteBytes(filepath.Join(dir, inputsFile), []byte(sum), 0o644)
}

func (d *Desk) addKeys(c *image.Config) (err error) {
	if c.AVBKey, err = d.keys.Signer(key.AVB); err != nil {
		return err
	}
	pub, err := d.keys.Public(key.OTA)
	if err != nil {
		return err
	}
	c.OTAKey = pub[0]
	if c.Variant == image.Userdebug {
		c.ADBKeys, err = d.adbKeys()
	}
	return err
}

// sum returns a digest of all that a build depends on.
func (d *Desk) sum(s BuildSpec, p *product.Product, k *debian.Kernel, programs ...string) (string, error) {
	in := inputs{Spec: s, Kernel: k.SHA256, Product: string(p.Source), CACerts: mios.Sum(p.CACerts)}
	var err error
	if in.Keys, err = d.keys.List(); err != nil {
		return "", err
	}
	exe, err := os.Executable() // what build/image does is an input too
	if err != nil {
		return "", err
	}
	for _, f := range append(programs, exe) {
		sum, err := digest.File(f)
		if err != nil {
			return "", err
		}
		in.Programs = append(in.Programs, sum)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Extra)) {
		in.Extra = append(in.Extra, name, mios.Sum(s.Extra[name]).String())
	}
	b, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	return mios.Sum(b).String(), nil
}

// Payload returns the folder of a build's full payload, made when it is not
// there.
func (d *Desk) Payload(ctx context.Context, build string, progress func(done, total int64)) (dir string, reused bool, err error) {
	dir = filepath.Join(build, "ota")
	if _, err := os.Stat(filepath.Join(dir, ota.PropertiesFile)); err == nil {
		return dir, true, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", false, err
	}
	signer, err := d.keys.Signer(key.OTA)
	if err != nil {
		return "", false, err
	}
	_, err = ota.WriteBuild(ctx, build, dir, ota.Options{Signers: []crypto.Signer{signer}, Progress: progress})
	return dir, false, err
}

// rootFile is where the desk keeps the root metadata that its builds trust.
const rootFile = "root.json"

// Root returns the root metadata that the desk's builds trust first: the same
// for all of them, and so a build does not change when the root is rotated.
func (d *Desk) Root(ctx context.Context, r *repo.Repo) ([]byte, error) {
	b, err := os.ReadFile(d.path(rootFile))
	if !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	if b, err = r.RootMetadata(ctx); err != nil {
		return nil, err
	}
	return b, atomicfile.WriteBytes(d.path(rootFile), b, 0o644)
}

// manifest returns the manifest of release i's build.
func (s *story) manifest(i int) (*image.Manifest, error) { return image.ReadManifest(s.builds[i]) }
