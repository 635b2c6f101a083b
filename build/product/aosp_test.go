package product_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mios"
	"mios/build/product"
)

// TestAOSPErrors changes a definition of base aosp, a word at a time.
func TestAOSPErrors(t *testing.T) {
	b, err := os.ReadFile("testdata/phone.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := product.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Apps) != 2 || p.Apps[0].Partition != "product" || p.Apps[1].Partition != "system_ext" || p.Endpoints.SUPL.Port != 7275 {
		t.Errorf("Parse = %+v", p)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"base", "base: aosp", "base: gms", `base is "gms", want core or aosp`},
		{"of core", "class: phone", "class: phone\npartitions: {boot: 40MiB}", "partitions is for base core"},
		{"kernel", "class: phone", "class: phone\nkernel: {cmdline: quiet}", "kernel is for base core"},
		{"no input", "target_files: target_files.zip", "target_files: \"\"", "aosp.target_files is empty"},
		{"key", "shared: platform", "shared: ../platform", "no name of a key"},
		{"remove", "[/product/app/Browser2]", "[/product]", "want a path as on a device"},
		{"remove relative", "[/product/app/Browser2]", "[/product/../system/app]", "want a path as on a device"},
		{"apk", "Store.apk", "Store.zip", "want a file that ends in .apk"},
		{"partition", "partition: system_ext", "partition: vendor", `20:33: partition is "vendor", want product, system_ext, system`},
		{"permissions", "privileged: true, ", "", "permissions are for privileged apps"},
		{"permission", "[android.permission.INSTALL_PACKAGES]", "[install]", `permission "install"`},
		{"brand", "model: Example Phone", "model: \"a\\nb\"", "want one line of up to 91 bytes"},
		{"foreign host", "ntp://time.example.com", "ntp://time.android.com", `host "time.android.com" is not among hosts`},
		{"scheme", "ntp://time.example.com", "time.example.com", "want an address with ntp"},
		{"portal", "https: https://connectivity", "https: http://connectivity", "want an address with https"},
		{"supl", "supl: {host: supl.example.com, port: 7275}", "supl: {host: supl.example.com}", "want a host and a port"},
		{"dns", "gnss_ntp:", "dns: [dns.google]\n  gnss_ntp:", "want an IP address"},
		{"shell", "remote_provisioning: rkp.example.com", "remote_provisioning: \"rkp.example.com\\nro.debuggable=1\"", "is no host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.Replace(string(b), tt.old, tt.new, 1)
			if in == string(b) {
				t.Fatal("the replacement found nothing")
			}
			if _, err := product.Parse([]byte(in)); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want %q", err, tt.want)
			}
		})
	}
	core, err := os.ReadFile("testdata/product.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, add := range []string{"aosp: {target_files: x}", "apps: [{apk: x.apk}]", "brand: {model: x}", "endpoints: {dns: [9.9.9.9]}"} {
		if _, err := product.Parse([]byte(string(core) + "\n" + add + "\n")); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "is for base aosp") {
			t.Errorf("core with %q: %v", add, err)
		}
	}
}
