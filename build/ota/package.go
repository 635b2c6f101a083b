package ota

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"mios"
	"mios/build/app"
	"mios/build/ota/input"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/internal/atomicfile"
)

// A Package says what the package of an update, an OTA zip, is made of.
type Package struct {
	Payload string       // file
	New     *input.Build // that the payload brings
	Old     *input.Build // that it is made from; nil for a full one
	// Downgrade says that New is older than Old; Wipe that user data goes.
	Downgrade, Wipe bool
	// Key signs the whole file: RSA of 2048 or 4096 bits or ECDSA P-256; nil
	// leaves it unsigned. Certificate is the key's; nil takes [app.Certificate].
	Key         crypto.Signer
	Certificate *x509.Certificate
	// Device names the devices that may take it, if the builds do not say.
	Device string
}

// WriteFile writes the package into the file of that name. The same payload,
// builds and (RSA) key give the same bytes.
func (p *Package) WriteFile(ctx context.Context, name string) error {
	f, err := os.Open(p.Payload)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := p.writer(ctx, f)
	if err != nil {
		return err
	}
	return atomicfile.Fill(name, 0o644, func(out *os.File) error { return w.Write(ctx, out) })
}

func (p *Package) writer(ctx context.Context, f *os.File) (*otazip.Writer, error) {
	md, err := payload.ReadMetadata(io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	whole, err := md.ReadFile(ctx, f, nil)
	if err == nil && fi.Size() != md.PayloadSize() {
		err = fmt.Errorf("%d bytes, want %d: %w", fi.Size(), md.PayloadSize(), mios.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Payload, err)
	}
	props := payload.Properties{FileHash: whole.SHA256, FileSize: fi.Size(), MetadataHash: md.Hash(), MetadataSize: md.SignedSize()}
	w := &otazip.Writer{Payload: f, Size: fi.Size(), Properties: props.String(), Key: p.Key, Certificate: p.Certificate}
	if p.Wipe {
		w.Properties += "POWERWASH=1\n"
	}
	if err := p.describe(w, md.Manifest); err != nil {
		return nil, err
	}
	if p.Key != nil && p.Certificate == nil {
		der, err := app.Certificate(p.Key)
		if err != nil {
			return nil, err
		}
		if w.Certificate, err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	return w, nil
}

// Ready returns an error if the builds do not say what the package must. To be
// asked before the payload is made, which may take long.
func (p *Package) Ready() error {
	_, err := p.state()
	return err
}

// state is what the package says of the new build.
func (p *Package) state() (otazip.DeviceState, error) {
	if err := p.New.ReadState(); err != nil {
		return otazip.DeviceState{}, err
	}
	post := p.New.State
	if len(post.Device) == 0 && p.Device != "" {
		post.Device = []string{p.Device}
	}
	if len(post.Device) == 0 {
		return post, fmt.Errorf("the build does not say what device it is for (ro.product.device): %w: say it with --device", mios.ErrInvalid)
	}
	return post, nil
}

// describe fills in what the package says of the builds.
func (p *Package) describe(w *otazip.Writer, m *payload.Manifest) error {
	post, err := p.state()
	if err != nil {
		return err
	}
	post.Timestamp = m.MaxTimestamp
	if post.SecurityPatch == "" {
		post.SecurityPatch = m.SecurityPatch
	}
	post.Partitions = brought(post.Partitions, m)
	w.Metadata = otazip.Metadata{Type: otazip.AB, Wipe: p.Wipe, Downgrade: p.Downgrade, Postcondition: post,
		Precondition: otazip.DeviceState{Device: post.Device}}
	if p.New.ApexInfo != nil {
		apexes := *p.New.ApexInfo
		apexes.Apexes = slices.Clone(apexes.Apexes)
		w.Apexes = &apexes
	}
	if p.New.CareMap != nil {
		w.CareMap = &otazip.CareMap{}
		for _, c := range p.New.CareMap.Partitions {
			if m.Partition(c.Name) != nil {
				w.CareMap.Partitions = append(w.CareMap.Partitions, c)
			}
		}
	}
	if p.Old == nil {
		return nil
	}
	if err := p.Old.ReadState(); err != nil {
		return err
	}
	pre := p.Old.State
	if len(pre.Device) == 0 {
		pre.Device = post.Device
	}
	w.Metadata.Precondition = otazip.DeviceState{Device: pre.Device, Build: pre.Build, Incremental: pre.Incremental, Partitions: brought(pre.Partitions, m)}
	if w.Apexes != nil && p.Old.ApexInfo != nil {
		w.Apexes.From(p.Old.ApexInfo)
	}
	return nil
}

// brought are the states of partitions that the payload brings.
func brought(all []otazip.PartitionState, m *payload.Manifest) (out []otazip.PartitionState) {
	for _, s := range all {
		if m.Partition(s.Name) != nil {
			out = append(out, s)
		}
	}
	return out
}

// An Update is a payload that is read, in a file of its own or in a package.
type Update struct {
	Metadata *payload.Metadata
	Payload  io.ReaderAt // from its first byte on
	Size     int64       // of the payload, in bytes
	Package  *otazip.Package
	Path     string

	file *os.File
}

// Open opens a payload.bin, the folder of one, or a package. It must be closed.
func Open(name string) (*Update, error) {
	if fi, err := os.Stat(name); err == nil && fi.IsDir() {
		name = filepath.Join(name, PayloadFile)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	u := &Update{Path: name, file: f}
	if err := u.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return u, nil
}

func (u *Update) read() error {
	fi, err := u.file.Stat()
	if err != nil {
		return err
	}
	u.Payload, u.Size = u.file, fi.Size()
	var magic [4]byte
	if _, err := u.file.ReadAt(magic[:], 0); err != nil && err != io.EOF {
		return err
	}
	if string(magic[:2]) == "PK" {
		if u.Package, err = otazip.Open(u.file, fi.Size()); err != nil {
			return err
		}
		u.Payload, u.Size = u.Package.Payload(), u.Package.PayloadSize
	}
	u.Metadata, err = payload.ReadMetadata(io.NewSectionReader(u.Payload, 0, u.Size))
	return err
}

// Close closes the file.
func (u *Update) Close() error { return u.file.Close() }
