package product_test

import (
	"errors"
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

func TestParseErrors(t *testing.T) {
	b, err := os.ReadFile("../../products/iot/product.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown field", "class: iot", "class: iot\ncolour: red", "4:1: unknown field \"colour\""},
		{"unknown nested", "  boot: 40MiB", "  boot: 40MiB\n  bot: 1MiB", ":3: unknown field \"bot\""},
		{"size", "boot: 40MiB", "boot: 40MB", `size "40MB", want a number`},
		{"size place", "boot: 40MiB", "boot: lots", `:9: size "lots"`},
		{"duration", "interval: 6h", "interval: often", `:13: duration "often"`},
		{"arch", "[amd64, arm64]", "[riscv64]", `arch "riscv64"`},
		{"class", "class: iot", "class: toaster", `class is "toaster"`},
		{"host", "hosts: [10.0.2.2]", "hosts: [example.org]", `host "10.0.2.2" is not among hosts`},
		{"super", "super: 144MiB", "super: 128MiB", "partitions.super is 128 MiB, want at least 130 MiB"},
		{"health", "property: net.online=1", "service: netd, property: net.online=1", "exactly one of"},
		{"huge", "boot: 40MiB", "boot: 4194304TiB", "partitions.boot is 4194304 TiB, want a multiple of 1 MiB up to 16 TiB"},
		{"key", "class: iot", "class: iot\nkeys: {avb: ota}", `keys.avb is "ota", want avb, or avb-NAME`},
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

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile("../../products/iot/product.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := product.Parse(b); err == nil && p.Name == "" {
			t.Error("a product without a name")
		}
	})
}
