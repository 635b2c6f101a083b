package product_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/build/product"
)

// TestShipped reads every product that we ship.
func TestShipped(t *testing.T) {
	files, _ := filepath.Glob("../../products/*/product.yaml")
	if len(files) == 0 {
		t.Fatal("no products")
	}
	for _, f := range files {
		p, err := product.Load(f)
		if err != nil {
			t.Errorf("Load: %v", err)
			continue
		}
		for _, a := range p.Arch {
			if err := p.Device(a, "userdebug", "1", 1).Check(); err != nil {
				t.Errorf("%s: device description for %s: %v", f, a, err)
			}
		}
	}
}

// TestParseErrors changes a definition of the tests' own, so that places stay.
func TestParseErrors(t *testing.T) {
	b, err := os.ReadFile("testdata/product.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown field", "class: iot", "class: iot\ncolour: red", "4:1: unknown field \"colour\""},
		{"unknown nested", "  boot: 40MiB", "  boot: 40MiB\n  bot: 1MiB", ":3: unknown field \"bot\""},
		{"size", "boot: 40MiB", "boot: 40MB", `size "40MB", want a number`},
		{"size place", "boot: 40MiB", "boot: lots", `:9: size "lots"`},
		{"duration", "interval: 6h", "interval: often", `:13: duration "often"`},
		{"arch", "[amd64, arm64]", "[riscv64]", `5:8: arch "riscv64"`},
		{"name", "product: iot", "product: my-iot", `2:10: product: name "my-iot"`},
		{"channel", "channel: stable", "channel: Beta", `26:10: channel: name "Beta"`},
		{"region", "regions: [CN]", "regions: [CN, de]", `27:15: region "de"`},
		{"class", "class: iot", "class: toaster", `3:8: class is "toaster"`},
		{"host", "hosts: [10.0.2.2]", "hosts: [example.org]", `24:14: repository "http://10.0.2.2:8480/": host "10.0.2.2" is not among hosts`},
		{"super", "super: 144MiB", "super: 128MiB", "18:10: partitions.super is 128 MiB, want at least 130 MiB"},
		{"health", "property: net.online=1", "service: netd, property: net.online=1", "35:6: "},
		{"huge", "boot: 40MiB", "boot: 4194304TiB", "17:9: partitions.boot is 4194304 TiB, want a multiple of 1 MiB up to 16 TiB"},
		{"key", "class: iot", "class: iot\nkeys: {avb: ota}", `4:13: keys.avb is "ota", want avb, or avb-NAME`},
		{"second health check", "property: sys.mios.packages=ready, ", "", "36:6: "},
		{"second address", "8480/]", "8480/, nowhere]", `24:37: repository "nowhere" is not an address`},
		{"not there", "  boot: 40MiB\n", "", "17:3: partitions.boot is 0 B"}, // what it belongs to
		{"no repository", "repository: [http://10.0.2.2:8480/]\n", "", "1:1: repository is empty"},
		{"tag", "arch: [amd64, arm64]", "arch: !x\n0", "5:7: anchors, aliases and tags are not read here"},
		{"twice", "class: iot", "class: iot\nclass: car", "4:1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Replace(string(b), tt.old, tt.new, 1)
			if in == string(b) {
				t.Fatal("the replacement found nothing")
			}
			_, err := product.Parse([]byte(in))
			if !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestTrustStore reads certificates beside the definition, and nothing else.
func TestTrustStore(t *testing.T) {
	def, err := os.ReadFile("../../products/iot/product.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for _, tt := range []struct{ name, file, text, want string }{
		{"one", "ca.pem", cert, ""},
		{"two", "ca.pem", cert + cert, ""},
		{"none", "ca.pem", "hello", "no certificate in PEM"},
		{"a key", "ca.pem", cert + strings.ReplaceAll(cert, "CERTIFICATE", "PRIVATE KEY"), "block 2 is a PRIVATE KEY, want a CERTIFICATE"},
		{"outside", "../ca.pem", cert, "want the name of a file beside the definition"},
		{"missing", "no.pem", cert, "want the name of a file beside the definition"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"product.yaml": string(def) + "\ntrust_store: " + tt.file + "\n", "ca.pem": tt.text} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p, err := product.Load(filepath.Join(dir, "product.yaml"))
			switch {
			case tt.want == "" && (err != nil || string(p.CACerts) != tt.text):
				t.Errorf("Load = %v, want the certificates", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Load = %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile("../../products/iot/product.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("A:\nA\narch: !00\n0000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := product.Parse(b); err == nil && p.Name == "" {
			t.Error("a product without a name")
		}
	})
}
