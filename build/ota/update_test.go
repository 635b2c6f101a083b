package ota

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/build/app"
	"mios/build/ota/input"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/format/payload/payloadtest"
	"mios/internal/testkit"
)

// images writes a folder of images and opens it.
func images(t *testing.T, files map[string][]byte) *input.Build {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name+".img"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := input.Open(dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func sampleImages() map[string][]byte {
	return map[string][]byte{
		"boot":   bytes.Repeat([]byte("kernel"), 20_000),
		"system": append(make([]byte, 4<<20), bytes.Repeat([]byte("files"), 20_000)...),
		"vendor": bytes.Repeat([]byte("firmware"), 4096),
	}
}

func TestPackage(t *testing.T) {
	b := images(t, sampleImages())
	full, err := Of(b, Options{Timestamp: 1700000000, Partitions: []string{"boot", "system"}, Signers: []crypto.Signer{testkit.RSA(0)}})
	if err != nil {
		t.Fatal(err)
	}
	if !full.PartialUpdate || full.MinorVersion != MinorPartial || len(full.Images) != 2 {
		t.Errorf("a payload of two of three partitions: partial %v, minor version %d, %d images", full.PartialUpdate, full.MinorVersion, len(full.Images))
	}
	dir := t.TempDir()
	props, err := WriteFull(t.Context(), dir, full)
	if err != nil {
		t.Fatal(err)
	}
	p := &Package{Payload: filepath.Join(dir, PayloadFile), New: b, Key: testkit.RSA(0), Wipe: true}
	name := filepath.Join(dir, "ota.zip")
	if err := p.WriteFile(t.Context(), name); err == nil || !strings.Contains(err.Error(), "--device") {
		t.Errorf("a package for nothing: %v", err)
	}
	p.Device = "iot"
	if err := p.WriteFile(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	u, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.Package.CheckPropertyFiles(); err != nil {
		t.Error(err)
	}
	if got := u.Package.Properties; got != props.String()+"POWERWASH=1\n" {
		t.Errorf("payload_properties.txt is %q", got)
	}
	if m := u.Package.Metadata; m.Type != otazip.AB || !m.Wipe || m.Precondition.Device[0] != "iot" || m.Postcondition.Timestamp != 1700000000 {
		t.Errorf("metadata is %+v", m)
	}
	der, err := app.Certificate(testkit.RSA(0))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Package.Verify(t.Context(), []*x509.Certificate{cert}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(p.Payload, []byte("CrAU and no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteFile(t.Context(), name); err == nil {
		t.Error("a package of half a payload is written")
	}
}

func TestOfRefuses(t *testing.T) {
	b := images(t, sampleImages())
	b.Dynamic = &payload.DynamicPartitions{Groups: []payload.Group{{Name: "main", Size: 1 << 20, Partitions: []string{"system"}}}}
	for _, tc := range []struct {
		o    Options
		want string
	}{
		{Options{}, "--timestamp"},
		{Options{Timestamp: 1, Partitions: []string{"odm"}}, "partition odm: not in the build"},
		{Options{Timestamp: 1}, "group main of super has 1048576"},
	} {
		if _, err := Of(b, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Of(%+v) = %v, want %q", tc.o, err, tc.want)
		}
	}
	f, err := Of(b, Options{Timestamp: 1, Partitions: []string{"boot"}})
	if err != nil || f.Dynamic != nil {
		t.Errorf("a payload of boot alone: %v, dynamic partitions %+v", err, f.Dynamic)
	}
}

// TestExtractGoesOn interrupts an extraction again and again.
func TestExtractGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("one worker, many times")
	}
	files := sampleImages()
	b := images(t, files)
	full, err := Of(b, Options{Timestamp: 1700000000})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := WriteFull(t.Context(), dir, full); err != nil {
		t.Fatal(err)
	}
	u, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	out := filepath.Join(t.TempDir(), "images")
	went, last, reached := 0, -1, int64(0)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		x := &Extraction{Update: u, Dir: out, Workers: 1}
		x.Progress = func(done, total int64) {
			if done > reached && done < total {
				reached = done
				cancel()
			}
		}
		resumed, err := x.Run(ctx)
		cancel()
		if resumed > 0 {
			went++
		}
		if err == nil {
			last = resumed
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(out, "system.img")); err == nil {
			t.Error("an image has its name before it is whole")
		}
	}
	if went == 0 || last < 0 {
		t.Errorf("%d runs went on where one ended, the last from operation %d", went, last)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(out, name+".img"))
		if err != nil || !bytes.Equal(got[:len(want)], want) {
			t.Errorf("%s.img: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	if list, _ := filepath.Glob(filepath.Join(out, ".*")); len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
}

// TestExtractBeside does not go on in an image that somebody put where one of an
// extraction would get its name, and goes on where images begin to get them.
func TestExtractBeside(t *testing.T) {
	if testing.Short() {
		t.Skip("one worker, many times")
	}
	files := sampleImages()
	full, err := Of(images(t, files), Options{Timestamp: 1700000000})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := WriteFull(t.Context(), dir, full); err != nil {
		t.Fatal(err)
	}
	u, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	out := t.TempDir()
	x := &Extraction{Update: u, Dir: out, Workers: 1}
	wanted, err := x.choose()
	if err != nil {
		t.Fatal(err)
	}
	s := state{Metadata: mios.Digest(u.Metadata.Hash())}
	for _, p := range wanted {
		s.Partitions = append(s.Partitions, p.Name)
		s.Operations += len(p.Operations)
	}
	for _, tt := range []struct {
		name    string
		whole   bool
		theirs  func(name string, b []byte) []byte
		resumed int
	}{
		{"somebody's", false, func(_ string, b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }, 0},
		{"its own", true, func(_ string, b []byte) []byte { return b }, s.Operations},
	} {
		s.Whole = tt.whole
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		put := map[string][]byte{stateFile: b}
		for _, p := range wanted {
			image := append(bytes.Clone(files[p.Name]), make([]byte, int(p.NewInfo.Size)-len(files[p.Name]))...)
			put[p.Name+".img"] = tt.theirs(p.Name, image)
		}
		for name, b := range put {
			if err := os.WriteFile(filepath.Join(out, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		resumed, err := (&Extraction{Update: u, Dir: out, Workers: 1}).Run(t.Context())
		if err != nil || resumed != tt.resumed {
			t.Errorf("beside images that are %s: went on from operation %d, %v; want %d", tt.name, resumed, err, tt.resumed)
		}
		for name, want := range files {
			if got, err := os.ReadFile(filepath.Join(out, name+".img")); err != nil || !bytes.Equal(got[:len(want)], want) {
				t.Errorf("beside images that are %s: %s.img has other bytes, %v", tt.name, name, err)
			}
		}
	}
}

// TestExtractDelta makes the new image from the old one, and from no other.
func TestExtractDelta(t *testing.T) {
	old := bytes.Repeat([]byte("0123456789abcdef"), 16*4096/16)
	b, want := payloadtest.Good(t, payloadtest.Spec{Partition: "system", Old: old, MaxTimestamp: 1})
	name := filepath.Join(t.TempDir(), "payload.bin")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	u, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	out := t.TempDir()
	x := &Extraction{Update: u, Old: images(t, map[string][]byte{"system": old}), Dir: out}
	if _, err := x.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(out, "system.img")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("system.img: %v, or other bytes", err)
	}
	old[100] ^= 1
	for _, tc := range []struct {
		old  *input.Build
		want error
	}{
		{images(t, map[string][]byte{"system": old}), payload.ErrSource},
		{images(t, map[string][]byte{"vendor": old}), mios.ErrNotFound},
		{nil, mios.ErrInvalid},
	} {
		out := t.TempDir()
		x := &Extraction{Update: u, Old: tc.old, Dir: out}
		if _, err := x.Run(t.Context()); !errors.Is(err, tc.want) {
			t.Errorf("from another system: %v, want %v", err, tc.want)
		}
		if list, _ := os.ReadDir(out); len(list) > 0 {
			t.Errorf("left behind: %v", list)
		}
	}
	x = &Extraction{Update: u, Dir: out, Partitions: []string{"odm"}}
	if _, err := x.Run(t.Context()); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("a partition that is not there: %v", err)
	}
}
