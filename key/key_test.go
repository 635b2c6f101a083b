package key_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios"
	"mios/key"
)

// someRoles are those whose keys are quick to make.
var someRoles = []string{key.Root, key.OS, key.Timestamp}

func TestInitListLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	made := 0
	o := key.InitOptions{Development: true, Roles: someRoles, Made: func(string, key.Algorithm) { made++ }}
	for range 2 { // the second time nothing is left to do
		if err := key.Init(dir, o); err != nil {
			t.Fatal(err)
		}
	}
	if made != 6 {
		t.Errorf("made %d keys, want 6", made)
	}
	if !key.IsDevelopment(dir) {
		t.Error("IsDevelopment = false after Init of development keys")
	}
	set, err := key.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := set.List()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range list {
		names = append(names, k.Name)
		if k.Kind != "file" || k.Algorithm != key.P256 || !k.Development {
			t.Errorf("List has %+v, want a development file with %s", k, key.P256)
		}
	}
	if want := []string{"root", "root-2", "root-3", "os", "os-2", "timestamp"}; !slices.Equal(names, want) {
		t.Errorf("List names %v, want %v", names, want)
	}
	signers, err := set.Signers(key.Root)
	if err != nil || len(signers) != 3 {
		t.Errorf("Signers(root) = %d keys, %v; want 3", len(signers), err)
	}
	pub, err := set.Public(key.Root)
	if err != nil || len(pub) != 3 {
		t.Errorf("Public(root) = %d keys, %v; want 3", len(pub), err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "root.pem"))
	if err != nil || !strings.Contains(string(b), "DEVELOPMENT KEY") {
		t.Errorf("root.pem does not say that it is a development key: %v", err)
	}
	if _, err := set.Signer(key.AVB); !errors.Is(err, mios.ErrNotFound) || !strings.Contains(err.Error(), "avb.pem") {
		t.Errorf("Signer(avb) = %v, want not found and what to do", err)
	}
	if _, err := set.Signer("avbb"); !errors.Is(err, mios.ErrNotFound) {
		t.Errorf("Signer(avbb) = %v, want not found", err)
	}
}

func TestInitKeepsKindsApart(t *testing.T) {
	dir := t.TempDir()
	if err := key.Init(dir, key.InitOptions{Development: true, Roles: []string{key.Timestamp}}); err != nil {
		t.Fatal(err)
	}
	if err := key.Init(dir, key.InitOptions{Passphrase: "correct horse"}); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("Init of real keys among development keys = %v, want a conflict", err)
	}
}

// TestNames keeps a key that a product has for itself beside the role's.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	k, err := key.Generate(key.P256)
	if err != nil {
		t.Fatal(err)
	}
	other, err := key.Generate(key.P256)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]crypto.Signer{"avb.pem": k, "avb-watch.pem": other, "stray.pem": k} {
		if err := key.Save(filepath.Join(dir, name), k, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	set, err := key.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := set.Signer("avb-watch")
	if err != nil || !other.(*ecdsa.PrivateKey).PublicKey.Equal(got.Public()) {
		t.Errorf("Signer(avb-watch) = %v, want the product's own key", err)
	}
	pub, err := set.PublicKey("avb")
	if err != nil || !k.(*ecdsa.PrivateKey).PublicKey.Equal(pub) {
		t.Errorf("PublicKey(avb) = %v, want the role's key", err)
	}
	list, err := set.List()
	if err != nil || len(list) != 2 || list[0].Name != "avb" || list[1].Name != "avb-watch" || list[1].Role != key.AVB {
		t.Errorf("List = %+v, %v; want avb and avb-watch", list, err)
	}
	for _, name := range []string{"stray", "avbb", "avb-", "avb-../x", "avb/x", "../avb", "avb-X", ""} {
		if _, err := set.Signer(name); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("Signer(%q) = %v, want not found", name, err)
		}
		if err := set.AddHelper(name, k.Public(), key.Helper{Command: []string{"x"}}); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("AddHelper(%q) = %v, want not found", name, err)
		}
	}
	if _, err := set.PublicKey("ota"); !errors.Is(err, mios.ErrNotFound) || !strings.Contains(err.Error(), "ota.pem") {
		t.Errorf("PublicKey(ota) = %v, want not found and what to do", err)
	}
	// What is trusted must be what signs.
	if err := key.SavePublic(filepath.Join(dir, "avb.pub.pem"), other.Public()); err != nil {
		t.Fatal(err)
	}
	if _, err := set.Signer("avb"); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("Signer(avb) beside another key's avb.pub.pem = %v, want a conflict", err)
	}
}

func TestEncrypted(t *testing.T) {
	dir := t.TempDir()
	if err := key.Init(dir, key.InitOptions{Passphrase: "correct horse", Roles: []string{key.Timestamp}}); err != nil {
		t.Fatal(err)
	}
	if key.IsDevelopment(dir) {
		t.Error("IsDevelopment = true for encrypted keys")
	}
	for _, tt := range []struct {
		pass key.Passphrase
		want error
	}{
		{func(string) (string, error) { return "correct horse", nil }, nil},
		{func(string) (string, error) { return "wrong", nil }, mios.ErrDenied},
		{nil, mios.ErrDenied},
	} {
		set, err := key.Open(dir, tt.pass)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.Signer(key.Timestamp); !errors.Is(err, tt.want) {
			t.Errorf("Signer = %v, want %v", err, tt.want)
		}
	}
	set, _ := key.Open(dir, nil)
	if list, err := set.List(); err != nil || len(list) != 1 || list[0].Kind != "encrypted" {
		t.Errorf("List without a passphrase = %+v, %v", list, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	k, err := key.Generate(key.P256)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "avb.pem")
	if err := key.Save(path, k, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o660} {
		os.Chmod(path, mode)
		if _, err := key.Load(path, nil); !errors.Is(err, mios.ErrDenied) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("Load with mode %v = %v, want a refusal that says chmod 600", mode, err)
		}
	}
	for name, text := range map[string]string{
		"empty.pem":   "",
		"rsa.pem":     "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
		"garbage.pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"long.pem":    strings.Repeat("x", 1<<17),
		"x.helper":    `{"command":[]}`,
		"y.helper":    `{"comand":["x"]}`,
		"z.pem.age":   "age-encryption.org/v1\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := key.Load(path, func(string) (string, error) { return "p", nil }); err == nil {
			t.Errorf("Load(%s) accepted it", name)
		}
	}
}

// TestHelper signs with openssl as avbtool's own tests do: the padded block
// comes in, and is signed raw.
func TestHelper(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is missing: apt-get install openssl")
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		name   string
		alg    key.Algorithm
		script string
		want   string // the algorithm's name to the helper
	}{
		{"avb", key.RSA2048, "%s rsautl -sign -inkey %s -raw 2>/dev/null", "SHA256_RSA2048"},
		{"timestamp", key.P256, "%s pkeyutl -sign -inkey %s", "SHA256_ECDSA_P256"},
	} {
		k, err := key.Generate(tt.alg)
		if err != nil {
			t.Fatal(err)
		}
		secret := filepath.Join(dir, tt.name+"-in-the-hsm")
		if err := key.Save(secret, k, "", ""); err != nil {
			t.Fatal(err)
		}
		sh := filepath.Join(dir, tt.name+".sh")
		text := fmt.Sprintf("#!/bin/sh\ntest \"$2\" = %s || { echo \"algorithm $2\" >&2; exit 1; }\ntest -f \"$3\" || exit 1\n"+tt.script+"\n", tt.want, openssl, secret)
		if err := os.WriteFile(sh, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		set, err := key.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.AddHelper(tt.name, k.Public(), key.Helper{Command: []string{"/bin/sh", sh, "slot-1"}}); err != nil {
			t.Fatal(err)
		}
		signer, err := set.Signer(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte("hello"))
		sig, err := signer.Sign(nil, digest[:], crypto.SHA256)
		if err == nil {
			err = verify(signer.Public(), digest[:], sig)
		}
		if err != nil {
			t.Errorf("%s: signature: %v", tt.name, err)
		}
		other, _ := key.Generate(tt.alg)
		if err := key.SavePublic(filepath.Join(dir, tt.name+".pub.pem"), other.Public()); err != nil {
			t.Fatal(err)
		}
		if signer, err = set.Signer(tt.name); err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Sign(nil, digest[:], crypto.SHA256); err == nil || !strings.Contains(err.Error(), "another key") {
			t.Errorf("%s: Sign with another key's helper = %v", tt.name, err)
		}
	}
}

func verify(pub crypto.PublicKey, digest, sig []byte) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, sig)
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(pub, digest, sig) {
			return nil
		}
	}
	return errors.New("wrong")
}
