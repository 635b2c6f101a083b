package ota_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mios"
	api "mios/api/repo"
	"mios/format/payload"
	"mios/key"
	"mios/publish/ota"
	"mios/publish/repotest"
)

// writePayload makes a small payload of the build of a time.
func writePayload(t *testing.T, buildTime int64, k crypto.Signer) (string, payload.Properties) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "payload.bin")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	spool, err := os.Create(filepath.Join(dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	image := bytes.Repeat([]byte("boot"), 4096)
	full := payload.Full{
		Images:       []payload.Image{{Name: "boot", Content: bytes.NewReader(image), Size: int64(len(image))}},
		MaxTimestamp: buildTime, SecurityPatch: "2026-11-05", Signers: []crypto.Signer{k},
	}
	props, err := full.Write(t.Context(), w, spool)
	if err != nil {
		t.Fatal(err)
	}
	return path, props
}

func TestPublish(t *testing.T) {
	const buildTime = 1_800_000_000
	good, err := key.Generate(key.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := key.Generate(key.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	r := repotest.New(t, repotest.Keys(t), "iot")
	rel := ota.Release{
		Product: "iot", Arch: mios.AMD64, Version: "1.0", BuildTime: buildTime, Channels: []string{"stable"},
		MaxShare: api.Everyone, Keys: []*rsa.PublicKey{good.Public().(*rsa.PublicKey)},
	}
	path, props := writePayload(t, buildTime, good)
	out, res, err := ota.Publish(t.Context(), r, rel, path, 500)
	if err != nil || !res.Published {
		t.Fatalf("Publish = %+v, %v", res, err)
	}
	for _, line := range strings.Split(strings.TrimSpace(props.String()), "\n") {
		if name, value, _ := strings.Cut(line, "="); out.Properties[name] != value {
			t.Errorf("property %s is %q, want %q", name, out.Properties[name], value)
		}
	}
	if len(out.Properties) != 4 || out.SecurityPatch != "2026-11-05" || out.Properties["FILE_SIZE"] != strconv.FormatInt(out.Target.Length, 10) {
		t.Errorf("release %+v", out)
	}
	again, _, err := ota.Publish(t.Context(), r, rel, path, 500)
	if err != nil || again.Salt != out.Salt {
		t.Errorf("published again: salt %q, %v; want %q", again.Salt, err, out.Salt)
	}

	other, _ := writePayload(t, buildTime+1, good)
	forged, _ := writePayload(t, buildTime, wrong)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	short, noise := filepath.Join(t.TempDir(), "short"), filepath.Join(t.TempDir(), "noise")
	if err := errors.Join(os.WriteFile(short, b[:len(b)-1], 0o600), os.WriteFile(noise, []byte("no payload"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"another build's", other, "it is of the build of 1800000001"},
		{"a wrong key's", forged, "sign it with the ota key"},
		{"a truncated one", short, "bytes, want"},
		{"no payload", noise, "payload"},
		{"none", filepath.Join(t.TempDir(), "none"), "no such file"},
	} {
		rel.Version = "2.0"
		if _, _, err := ota.Publish(t.Context(), r, rel, tt.path, 500); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Publish of %s = %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	k, err := key.Generate(key.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	r := repotest.New(t, repotest.Keys(t), "iot")
	path, _ := writePayload(t, 1_800_000_000, k)
	rel := ota.Release{Product: "car", Arch: mios.AMD64, Version: "1.0", BuildTime: 1_800_000_000, Channels: []string{"stable"}, MaxShare: api.Everyone}
	if _, _, err := ota.Publish(t.Context(), r, rel, path, 500); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Publish for a product that is not there = %v, want not found", err)
	}
	rel.Product, rel.MaxShare = "iot", 100
	if _, _, err := ota.Publish(t.Context(), r, rel, path, 500); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("Publish to more than the limit = %v, want invalid", err)
	}
}
