// Package otatest makes small releases with their packages, for the tests of
// what publishes, serves and reads them.
package otatest

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mios"
	api "mios/api/repo"
	"mios/build/app"
	buildota "mios/build/ota"
	"mios/build/ota/delta"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/internal/testkit"
	"mios/publish/ota"
	"mios/publish/repo"
)

// Product, Arch and Device are of all builds.
const (
	Product = "phone"
	Arch    = mios.ARM64
	Device  = "oriole"
)

// Key signs payloads and packages.
func Key() *rsa.PrivateKey { return testkit.RSA(0) }

// Certificate is the key's.
func Certificate(tb testing.TB) *x509.Certificate {
	tb.Helper()
	der, err := app.Certificate(Key())
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// A Build is one to publish.
type Build struct {
	Incremental string
	Time        int64
	Images      map[string][]byte // by partition: boot and vbmeta
}

// NewBuild returns a build whose images are alike in most, and differ by its
// time.
func NewBuild(incremental string, time int64) *Build {
	boot := make([]byte, 256<<10)
	rand.NewChaCha8([32]byte{1}).Read(boot)
	vbmeta := make([]byte, payload.DefaultBlockSize)
	copy(vbmeta, "AVB0 "+incremental)
	copy(boot[100<<10:], "this is build "+incremental)
	return &Build{incremental, time, map[string][]byte{"boot": boot, "vbmeta": vbmeta}}
}

// Fingerprint is the build's.
func (b *Build) Fingerprint() string {
	return "mios/" + Product + "/" + Device + ":16/BP1A.1/" + b.Incremental + ":user/release-keys"
}

var partitions = []string{"boot", "vbmeta"}

// Full returns the file of the build's full payload.
func (b *Build) Full(tb testing.TB) string {
	tb.Helper()
	f := payload.Full{MaxTimestamp: b.Time, Signers: []crypto.Signer{Key()}}
	for _, name := range partitions {
		f.Images = append(f.Images, payload.Image{Name: name, Content: bytes.NewReader(b.Images[name]), Size: int64(len(b.Images[name]))})
	}
	dir := tb.TempDir()
	if _, err := buildota.WriteFull(tb.Context(), dir, &f); err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, buildota.PayloadFile)
}

// Delta returns the file of the payload that leads to the build from another.
func (b *Build) Delta(tb testing.TB, from *Build) string {
	tb.Helper()
	d := delta.Delta{Header: payload.Manifest{MinorVersion: 9, MaxTimestamp: b.Time}, Signers: []crypto.Signer{Key()}, Workers: 1}
	image := func(b []byte) delta.Image { return delta.Image{ReaderAt: bytes.NewReader(b), Size: int64(len(b))} }
	for _, name := range partitions {
		d.Partitions = append(d.Partitions, delta.Partition{
			Header: payload.Partition{Name: name}, Old: image(from.Images[name]), New: image(b.Images[name]),
		})
	}
	file := filepath.Join(tb.TempDir(), buildota.PayloadFile)
	if _, _, err := d.WriteFile(tb.Context(), file, true, nil); err != nil {
		tb.Fatal(err)
	}
	return file
}

// Zip returns the file of a package of a payload of the build, from another one
// if that is not nil. change may spoil it.
func (b *Build) Zip(tb testing.TB, file string, from *Build, change func(*otazip.Writer)) string {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	md, err := payload.ReadMetadata(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	props := payload.Properties{FileHash: mios.Sum(data), FileSize: int64(len(data)), MetadataHash: md.Hash(), MetadataSize: md.SignedSize()}
	w := &otazip.Writer{
		Payload: bytes.NewReader(data), Size: int64(len(data)), Properties: props.String(), Key: Key(), Certificate: Certificate(tb),
		CareMap: &otazip.CareMap{},
		Metadata: otazip.Metadata{Type: otazip.AB, Precondition: otazip.DeviceState{Device: []string{Device}}, Postcondition: otazip.DeviceState{
			Device: []string{Device}, Build: []string{b.Fingerprint()}, Incremental: b.Incremental, Timestamp: b.Time, SDKLevel: "36", SecurityPatch: "2026-11-05",
		}},
	}
	if from != nil {
		w.Metadata.Precondition.Build, w.Metadata.Precondition.Incremental = []string{from.Fingerprint()}, from.Incremental
	}
	if change != nil {
		change(w)
	}
	var out bytes.Buffer
	if err := w.Write(tb.Context(), &out); err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(tb.TempDir(), "package.zip")
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// Publish publishes the build as a release in channel stable, for a share of the
// devices, with a delta from each of the others.
func (b *Build) Publish(tb testing.TB, r *repo.Repo, share api.Share, file string, deltas ...string) *api.OSRelease {
	tb.Helper()
	rel, _, err := ota.Publish(tb.Context(), r, ota.Release{
		Product: Product, Arch: Arch, Version: b.Incremental, BuildTime: b.Time, Channels: []string{"stable"}, MaxShare: api.Everyone,
		Keys: []*rsa.PublicKey{&Key().PublicKey}, Deltas: deltas,
	}, file, share)
	if err != nil {
		tb.Fatal(err)
	}
	return rel
}

// PublishZips publishes packages, and must.
func PublishZips(tb testing.TB, r *repo.Repo, set func(*ota.ViewSettings), names ...string) ([]ota.Zip, []ota.View) {
	tb.Helper()
	z := ota.Zips{Certificates: []*x509.Certificate{Certificate(tb)}, Keys: []*rsa.PublicKey{&Key().PublicKey}, Settings: set}
	zips, views, err := ota.PublishZips(tb.Context(), r, z, names...)
	if err != nil {
		tb.Fatal(err)
	}
	return zips, views
}
