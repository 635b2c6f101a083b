package aosp

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mios"
	"mios/build/endpoint"
	"mios/build/image"
	"mios/build/image/avbtool"
	"mios/internal/digest"
)

// manifest writes build.json, the list of all inputs, and what was changed.
func (b *builder) manifest() error {
	m := b.out.Manifest
	top, err := avbtool.Read(filepath.Join(b.dir, "vbmeta.img"))
	if err != nil {
		return err
	}
	m.AVBKey = mios.Sum(top.PublicKey)
	m.RollbackIndex = top.RollbackIndex
	inputs, err := b.inputs()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(b.out, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		image.WriteManifest(b.dir, m, inputs),
		os.WriteFile(filepath.Join(b.dir, ChangesFile), append(text, '\n'), 0o644))
}

// inputs are all that the build was made from.
func (b *builder) inputs() ([]image.Input, error) {
	sum, err := b.inputDigest()
	if err != nil {
		return nil, err
	}
	list := []image.Input{
		{Name: filepath.Base(b.Input()), Version: b.props.get("ro.build.id"), License: "NOASSERTION", Comment: "the build of AOSP: " + b.props.get("ro.build.fingerprint"), SHA256: sum},
		{Name: "product.yaml", Version: b.out.Version, Comment: "the product's definition", SHA256: mios.Sum(b.Product.Source)},
		{Name: "root.json", Version: b.out.Version, Comment: "the repository's root of trust", SHA256: mios.Sum(b.Root)},
	}
	for _, a := range b.Product.Apps {
		sum, err := digest.File(b.Product.Path(a.APK))
		if err != nil {
			return nil, err
		}
		list = append(list, image.Input{Name: filepath.Base(a.APK), Version: b.out.Version, License: "NOASSERTION", Comment: "an app of the product", SHA256: sum})
	}
	return list, nil
}

// inputDigest is the SHA-256 of the zip of target-files; of a folder, of a list
// of all that is in it, each with its type, its name, and the SHA-256 of its
// bytes.
func (b *builder) inputDigest() (mios.Digest, error) {
	if fi, err := os.Stat(b.Input()); err != nil || !fi.IsDir() {
		return digest.File(b.Input())
	}
	list := sha256.New()
	for _, e := range b.src.Entries {
		if err := b.ctx.Err(); err != nil {
			return mios.Digest{}, err
		}
		h := sha256.New()
		switch {
		case e.Mode.IsRegular():
			r, err := e.Open()
			if err != nil {
				return mios.Digest{}, err
			}
			_, err = io.CopyBuffer(struct{ io.Writer }{h}, r, make([]byte, 1<<20))
			r.Close()
			if err != nil {
				return mios.Digest{}, fmt.Errorf("%s: %w", e.Name, err)
			}
		case e.Mode&fs.ModeSymlink != 0:
			target, err := e.Link()
			if err != nil {
				return mios.Digest{}, err
			}
			io.WriteString(h, target)
		}
		fmt.Fprintf(list, "%v %s %x\n", e.Mode, e.Name, h.Sum(nil))
	}
	return mios.Digest(list.Sum(nil)), nil
}

// inventory writes which servers of others' the images still name.
func (b *builder) inventory() error {
	r, err := endpoint.Scan(b.ctx, b.dir, endpoint.Options{Answered: b.out.Answered()})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, EndpointsFile), append(text, '\n'), 0o644)
}

// Answered are the endpoints that the product sets, as in [endpoint.Host.Set].
func (r *Result) Answered() []string {
	var out []string
	for _, s := range r.Endpoints {
		if name := "endpoints." + s.Endpoint; !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// ReadResult reads what a build says of itself, if it is one of base aosp.
func ReadResult(dir string) (*Result, error) {
	b, err := os.ReadFile(filepath.Join(dir, ChangesFile))
	if err != nil {
		return nil, err
	}
	r := new(Result)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ChangesFile), err)
	}
	return r, nil
}
