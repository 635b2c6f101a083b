package adb_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/adb"
)

// hostKey is a pair that Debian's adb made.
func hostKey(t testing.TB) (*rsa.PrivateKey, string) {
	t.Helper()
	if _, err := exec.LookPath("adb"); err != nil {
		t.Fatalf("%v: install the Debian package adb", err)
	}
	file := filepath.Join(t.TempDir(), "adbkey")
	cmd := exec.Command("adb", "keygen", file)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("adb keygen: %v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s is no PEM", file)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return k.(*rsa.PrivateKey), strings.TrimSpace(string(pub))
}

func TestKey(t *testing.T) {
	priv, line := hostKey(t)
	k, err := adb.ParseKey(line + "\x00")
	if err != nil {
		t.Fatal(err)
	}
	if k.Public.N.Cmp(priv.N) != 0 || k.Public.E != priv.E {
		t.Error("adb's public key is not that of its private key")
	}
	ours, err := adb.NewKey(&priv.PublicKey, k.Comment)
	if err != nil || ours.String() != line || len(k.Fingerprint()) != 64 {
		t.Errorf("NewKey = %q, %v, want adb's %q", ours, err, line)
	}
	token := make([]byte, adb.TokenSize)
	rand.Read(token)
	sig, err := adb.Sign(priv, token)
	if err != nil || k.Verify(token, sig) != nil {
		t.Errorf("Sign, Verify = %v, %v", err, k.Verify(token, sig))
	}
	token[0] ^= 1
	if k.Verify(token, sig) == nil || k.Verify(token[1:], sig) == nil || k.Verify(token, nil) == nil {
		t.Error("a wrong token or signature verifies")
	}
}

func TestParseKeys(t *testing.T) {
	_, line := hostKey(t)
	text, _, _ := strings.Cut(line, " ")
	keys, err := adb.ParseKeys([]byte("# mine\n\n" + line + "\r\nbroken\n" + text + "\n"))
	if len(keys) != 2 || keys[1].Comment != "" || err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("ParseKeys = %d keys, %v; want 2 and an error about line 4", len(keys), err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 4, 8, 8 + 255, 8 + 256, 8 + 512} { // words, n0inv, modulus, rr, exponent
		bad := append([]byte(nil), raw...)
		bad[at] ^= 0xff
		if k, err := adb.ParseKey(base64.StdEncoding.EncodeToString(bad)); err == nil {
			t.Errorf("byte %d changed: accepted as %s", at, k)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	_, line := hostKey(f)
	f.Add(line)
	f.Add(line + " more\x00")
	f.Fuzz(func(t *testing.T, line string) {
		if k, err := adb.ParseKey(line); err == nil && strings.TrimRight(k.String(), " ") != strings.TrimRight(strings.TrimRight(line, "\x00"), " ") {
			t.Errorf("ParseKey(%q).String() = %q", line, k)
		}
	})
}
