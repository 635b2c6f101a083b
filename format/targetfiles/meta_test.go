package targetfiles

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mios/internal/conformance"
	"mios/internal/testkit"
	"mios/internal/tool"
)

func TestDict(t *testing.T) {
	const in = "# a comment\na=1\n\n  b = x=y  \nnothing\na=2\nempty=\n"
	d, err := ParseDict([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(d.Bytes()); got != in {
		t.Errorf("Bytes = %q, want what it was", got)
	}
	if a, b := d.Get("a"), d.Get("b"); a != "2" || b != "x=y" {
		t.Errorf("a = %q, b = %q", a, b)
	}
	if _, ok := d.Lookup("nothing"); ok {
		t.Error("a line without = is a key")
	}
	var keys []string
	for k := range d.All() {
		keys = append(keys, k)
	}
	if want := []string{"b", "a", "empty"}; !slices.Equal(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
	d.Set("b", "x=y") // as it is: the line stays
	d.Set("a", "2")
	d.Set("new", "1")
	if got, want := string(d.Bytes()), strings.Replace(in, "a=1", "a=2", 1)+"new=1\n"; got != want {
		t.Errorf("Bytes = %q, want %q", got, want)
	}
	d.Delete("a")
	if got, want := string(d.Bytes()), "# a comment\n\n  b = x=y  \nnothing\nempty=\nnew=1\n"; got != want {
		t.Errorf("Bytes = %q, want %q", got, want)
	}
	if d.Get("new") != "1" {
		t.Error("a key behind a deleted line is lost")
	}
	for _, in := range []string{"a=\x00", "a=\xff", strings.Repeat("a", maxText+1)} {
		if _, err := ParseDict([]byte(in)); err == nil {
			t.Errorf("ParseDict(%.10q): no error", in)
		}
	}
}

func TestDictNumbers(t *testing.T) {
	d, _ := ParseDict([]byte("n=0x10\nbad=ten\nyes=true\nlist= a  b\n"))
	if n, err := d.Int("n", 0); n != 16 || err != nil {
		t.Errorf("Int(n) = %d, %v", n, err)
	}
	if n, err := d.Int("none", 7); n != 7 || err != nil {
		t.Errorf("Int(none) = %d, %v", n, err)
	}
	if _, err := d.Int("bad", 0); err == nil {
		t.Error("Int(bad): no error")
	}
	if !d.Bool("yes") || d.Bool("n") || !slices.Equal(d.Fields("list"), []string{"a", "b"}) {
		t.Error("Bool or Fields are wrong")
	}
}

func TestProps(t *testing.T) {
	const in = "import /vendor/a=b.prop\nimport /oem/oem.prop ro.config.*\nro.build.tags=test-keys\n"
	d, err := ParseProps([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	want := []Import{{Path: "/vendor/a=b.prop"}, {Path: "/oem/oem.prop", Prefix: "ro.config.*"}}
	if got := d.Imports(); !reflect.DeepEqual(got, want) {
		t.Errorf("Imports = %v, want %v", got, want)
	}
	d.Set("ro.build.tags", "release-keys")
	if got, want := string(d.Bytes()), strings.Replace(in, "test", "release", 1); got != want {
		t.Errorf("Bytes = %q, want %q", got, want)
	}
}

func TestApkCerts(t *testing.T) {
	const in = `# made by the build
name="A.apk" certificate="build/make/target/product/security/platform.x509.pem" private_key="build/make/target/product/security/platform.pk8" partition="system"
name="B.apk"  certificate="PRESIGNED"  private_key=""  compressed="gz"

name="C.apk" certificate="EXTERNAL" private_key=""
`
	c, err := ParseApkCerts([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Bytes()); got != in {
		t.Errorf("Bytes = %q, want what it was", got)
	}
	if a := c.Find("A.apk"); a == nil || a.Key() != "build/make/target/product/security/platform" || a.Partition != "system" {
		t.Errorf("A.apk: %+v", a)
	}
	if b := c.Find("B.apk"); b == nil || b.Key() != Presigned || b.Compressed != "gz" {
		t.Errorf("B.apk: %+v", b)
	}
	a := c.Find("A.apk")
	a.Certificate, a.PrivateKey = "keys/platform.x509.pem", "keys/platform.pk8"
	c.Certs = append(c.Certs, ApkCert{Name: "D.apk", Certificate: Presigned})
	want := strings.ReplaceAll(in, "build/make/target/product/security", "keys") + `name="D.apk" certificate="PRESIGNED" private_key=""` + "\n"
	if got := string(c.Bytes()); got != want {
		t.Errorf("Bytes = %q, want %q", got, want)
	}
	for _, in := range []string{
		`name="A.apk"`,
		`name="A.apk" certificate="a.x509.pem" private_key="b.pk8"`,
		`name="A.apk" certificate="a.x509.pem" private_key=""`,
		`name="A.apk" certificate="PRESIGNED" private_key="b.pk8"`,
		`name="A.apk" certificate="PRESIGNED" private_key="" x="y"`,
		`name="A.apk" name="A.apk" certificate="PRESIGNED" private_key=""`,
		`name="A.apk"certificate="PRESIGNED" private_key=""`,
		`name="A.apk" certificate="PRESIGNED`,
	} {
		if _, err := ParseApkCerts([]byte("\n" + in)); err == nil || !strings.Contains(err.Error(), "offset 0x1:") {
			t.Errorf("ParseApkCerts(%s): %v, want an error at 0x1", in, err)
		}
	}
}

func TestApexKeys(t *testing.T) {
	const in = `name="com.android.tzdata.apex" public_key="a/t.avbpubkey" private_key="a/t.pem" container_certificate="a/t.x509.pem" container_private_key="a/t.pk8" partition="system" sign_tool="sign_virt"
name="p.apex" public_key="PRESIGNED" private_key="PRESIGNED" container_certificate="PRESIGNED" container_private_key="PRESIGNED" partition="vendor"
`
	k, err := ParseApexKeys([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(k.Bytes()); got != in {
		t.Errorf("Bytes = %q, want what it was", got)
	}
	if a := k.Find("com.android.tzdata.capex"); a == nil || a.ContainerKey() != "a/t" || a.SignTool != "sign_virt" {
		t.Errorf("com.android.tzdata: %+v", a)
	}
	if p := k.Find("p.apex"); p == nil || p.ContainerKey() != Presigned {
		t.Errorf("p: %+v", p)
	}
	if k.Find("q.apex") != nil {
		t.Error("Find finds what is not there")
	}
	k.Keys = k.Keys[:1]
	if got := strings.Count(string(k.Bytes()), "\n"); got != 1 {
		t.Errorf("with one key there are %d lines", got)
	}
}

func TestLists(t *testing.T) {
	words, err := ParseList([]byte("boot\n\n system \nvbmeta"))
	if want := []string{"boot", "system", "vbmeta"}; err != nil || !slices.Equal(words, want) {
		t.Errorf("ParseList = %v, %v", words, err)
	}
	if got := string(FormatList(words)); got != "boot\nsystem\nvbmeta\n" {
		t.Errorf("FormatList = %q", got)
	}
	if _, err := ParseList([]byte("a\nb c\n")); err == nil || !strings.Contains(err.Error(), "offset 0x2: line 2") {
		t.Errorf("two words: %v", err)
	}
	v, err := ParseUpdateEngineConfig([]byte("PAYLOAD_MAJOR_VERSION=2\nPAYLOAD_MINOR_VERSION=8\n"))
	if v != (Versions{2, 8}) || err != nil {
		t.Errorf("ParseUpdateEngineConfig = %v, %v", v, err)
	}
	if _, err := ParseUpdateEngineConfig([]byte("PAYLOAD_MAJOR_VERSION=2\n")); err == nil {
		t.Error("no minor version: no error")
	}
}

func TestFSConfig(t *testing.T) {
	const in = " 0 0 755 capabilities=0x0\nsystem/bin/run-as 0 2000 750 selabel=u:object_r:runas_exec:s0 capabilities=0xc0\n"
	list, err := ParseFSConfig([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	want := []FSEntry{{Mode: 0o755}, {"system/bin/run-as", 0, 2000, 0o750, "u:object_r:runas_exec:s0", 0xc0}}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("ParseFSConfig = %+v", list)
	}
	if got := string(FormatFSConfig(list)); got != in {
		t.Errorf("FormatFSConfig = %q", got)
	}
	for _, bad := range []string{"a 0 0", "a x 0 755", "a 0 0 999", "a 0 0 17777", "a 0 0 755 b=c", "a 0 0 755 capabilities=x"} {
		if _, err := ParseFSConfig([]byte(bad)); err == nil {
			t.Errorf("ParseFSConfig(%q): no error", bad)
		}
	}
}

const miscInfo = `avb_enable=true
avb_vbmeta_key_path=external/avb/test/data/testkey_rsa4096.pem
avb_vbmeta_algorithm=SHA256_RSA4096
avb_vbmeta_args=--padding_size 4096 --rollback_index 7
avb_boot_key_path=external/avb/test/data/testkey_rsa2048.pem
avb_boot_algorithm=SHA256_RSA2048
avb_boot_rollback_index=0x64
avb_boot_rollback_index_location=2
avb_boot_add_hash_footer_args=--prop a:b
avb_vbmeta_system=system product
avb_vbmeta_system_key_path=k.pem
avb_vbmeta_system_algorithm=SHA256_RSA2048
avb_vbmeta_system_rollback_index_location=1
avb_custom_images_partition_list=oem
avb_oem_key_path=oem.pem
avb_oem_algorithm=SHA256_RSA4096
use_dynamic_partitions=true
virtual_ab=true
dynamic_partition_list=system vendor
super_block_devices=super
super_super_device_size=4294967296
super_partition_groups=g
super_g_group_size=4290772992
super_g_partition_list=system vendor
super_metadata_device=super
super_partition_size=4294967296
`

func TestAVB(t *testing.T) {
	d, _ := ParseDict([]byte(miscInfo))
	got, err := AVBPartitions(d)
	if err != nil {
		t.Fatal(err)
	}
	want := []AVB{
		{Partition: "boot", KeyPath: "external/avb/test/data/testkey_rsa2048.pem", Algorithm: "SHA256_RSA2048", RollbackIndex: 100, Location: 2, Args: "--prop a:b"},
		{Partition: "vbmeta_system", KeyPath: "k.pem", Algorithm: "SHA256_RSA2048", Location: 1, Contents: []string{"system", "product"}},
		{Partition: "oem", KeyPath: "oem.pem", Algorithm: "SHA256_RSA4096"},
		{Partition: "vbmeta", KeyPath: "external/avb/test/data/testkey_rsa4096.pem", Algorithm: "SHA256_RSA4096", Args: "--padding_size 4096 --rollback_index 7"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("AVBPartitions = %+v", got)
	}
	d.Set("avb_boot_rollback_index", "soon")
	if _, err := AVBPartitions(d); err == nil {
		t.Error("a rollback index that is no number: no error")
	}
	for part, want := range map[string]string{
		"system": "avb_system_add_hashtree_footer_args", "dtbo": "avb_dtbo_add_hash_footer_args", "vbmeta_vendor": "avb_vbmeta_vendor_args",
		"oem": "avb_oem_add_hashtree_footer_args",
	} {
		if got := AVBArgsKey(part); got != want {
			t.Errorf("AVBArgsKey(%s) = %s, want %s", part, got, want)
		}
	}
}

func TestDynamic(t *testing.T) {
	d, _ := ParseDict([]byte(miscInfo))
	got, err := ParseDynamic(d)
	if err != nil {
		t.Fatal(err)
	}
	want := &Dynamic{
		Enabled: true, VirtualAB: true, Partitions: []string{"system", "vendor"},
		Groups:  []Group{{"g", 4290772992, []string{"system", "vendor"}}},
		Devices: []Device{{"super", 1 << 32}}, Metadata: "super", SuperSize: 1 << 32,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("ParseDynamic = %+v", got)
	}
	d.Set("super_g_group_size", "-1")
	if _, err := ParseDynamic(d); err == nil {
		t.Error("a group of -1 bytes: no error")
	}
}

func TestPartitionOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"SYSTEM/etc/hosts": {"system", "etc/hosts"}, "VENDOR_BOOT/RAMDISK/init": {"vendor_boot", "RAMDISK/init"},
		"META/misc_info.txt": {}, "SYSTEM": {}, "IMAGES/system.img": {},
	} {
		if p, rest := PartitionOf(name); p != want[0] || rest != want[1] {
			t.Errorf("PartitionOf(%s) = %q, %q", name, p, rest)
		}
	}
	if !IsBuildProp("VENDOR_BOOT/RAMDISK/default.prop") || IsBuildProp("SYSTEM/x.prop") || !IsApex("a/b.capex") || !IsApp("a.apk.gz", "gz") || IsApp("a.apk.gz", "") {
		t.Error("a file is taken for another")
	}
}

func newCert(tb testing.TB, key *rsa.PrivateKey, name string) *x509.Certificate {
	tb.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestOTACerts(t *testing.T) {
	a, b := newCert(t, testkit.RSA(0), "a"), newCert(t, testkit.RSA(1), "b")
	z, err := FormatOTACerts([]OTACert{{Name: "keys/a.x509.pem", Certificate: a}, {Name: "b.x509.pem", Certificate: b}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseOTACerts(z)
	if err != nil || len(got) != 2 || !got[0].Certificate.Equal(a) || got[1].Name != "b.x509.pem" {
		t.Fatalf("ParseOTACerts = %v, %v", got, err)
	}
	again, err := FormatOTACerts(got)
	if err != nil || !bytes.Equal(again, z) {
		t.Errorf("FormatOTACerts of what was parsed differs: %v", err)
	}
	if _, err := FormatOTACerts([]OTACert{got[0], got[0]}); err == nil {
		t.Error("one name twice: no error")
	}
	if _, err := ParseOTACerts(makeZip(t, file{name: "a.pem", data: "nothing"})); err == nil {
		t.Error("no certificate: no error")
	}
	openssl, err := tool.Look("openssl")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "a.pem")
	if err := os.WriteFile(name, got[0].PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(openssl, "x509", "-in", name, "-noout", "-subject").CombinedOutput(); err != nil || !strings.Contains(string(out), "a") {
		t.Errorf("openssl x509: %v\n%s", err, out)
	}
}

func TestMacPermissions(t *testing.T) {
	a, b, c := newCert(t, testkit.RSA(0), "a").Raw, newCert(t, testkit.RSA(1), "b").Raw, newCert(t, testkit.RSA(2), "c").Raw
	in := fmt.Sprintf(`<?xml version="1.0" encoding="iso-8859-1"?><!-- %x -->
<policy><signer signature="%X"><seinfo value="platform" /></signer>
<signer><cert signature='%x'/><package name="a.b"><seinfo value="x"/></package></signer></policy>`, a, a, b)
	in = strings.Replace(in, ` encoding="iso-8859-1"`, "", 1)
	m, err := ParseMacPermissions([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Signers) != 2 || m.Signers[0].SEInfo != "platform" || !bytes.Equal(m.Signers[0].Certificates[0], a) ||
		!reflect.DeepEqual(m.Signers[1].Packages, [][2]string{{"a.b", "x"}}) {
		t.Errorf("signers %+v", m.Signers)
	}
	if n := m.Replace(a, c); n != 1 {
		t.Errorf("Replace = %d", n)
	}
	if n := m.Replace(a, c); n != 0 {
		t.Errorf("Replace again = %d", n)
	}
	got, err := m.Bytes()
	if want := strings.Replace(in, fmt.Sprintf("%X", a), hex.EncodeToString(c), 1); err != nil || string(got) != want {
		t.Errorf("Bytes: %v\n%s\nwant\n%s", err, got, want)
	}
	for _, bad := range []string{
		"", "<x/>", "<policy><signer signature='zz'/></policy>", "<policy><signer signature='@PLATFORM'/></policy>", "<policy>",
		fmt.Sprintf(`<policy><signer signature="%x"><seinfo value="a"/></signer><signer signature="%x"><seinfo value="b"/></signer></policy>`, a, a),
	} {
		if _, err := ParseMacPermissions([]byte(bad)); err == nil {
			t.Errorf("ParseMacPermissions(%.80q): no error", bad)
		}
	}
}

func TestTestKeys(t *testing.T) {
	if n := len(testKeys()); n < 120 {
		t.Errorf("%d digests of test keys", n)
	}
	for digest, k := range testKeys() {
		if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 || !strings.Contains(k.Path, "/") {
			t.Errorf("%s of %s is not a SHA-256", digest, k.Path)
		}
	}
	// The keys whose digests everybody knows: of AOSP's testkey and platform
	// certificates, and of AVB's testkey_rsa4096.
	for digest, name := range map[string]string{
		"a40da80a59d170caa950cf15c18c454d47a39b26989d8b640ecd745ba71bf5dc": "testkey",
		"c8a2e9bccf597c2fb6dc66bee293fc13f2fc47ec77bc6b2b0d52c11f51192ab8": "platform",
		"7728e30f50bfa5cea165f473175a08803f6a8346642b5aa10913e9d9e6defef6": "testkey_rsa4096",
	} {
		if k := testKeys()[digest]; k.Name() != name {
			t.Errorf("%s is %q, want %s", digest, k.Path, name)
		}
	}
	c := newCert(t, testkit.RSA(0), "a")
	if k, ok := TestCertificate(c); ok {
		t.Errorf("a fresh certificate is said to be %s", k.Path)
	}
}

// TestConformanceTestKeys knows AOSP's testkey by its certificate (v1) and by
// another of the same key (v3), among others that are nobody's.
func TestConformanceTestKeys(t *testing.T) {
	dir := conformance.Dir(t, "ota_zip")
	tally := conformance.New(t, "test keys")
	for _, name := range []string{"testkey_v1", "testkey_v2", "testkey_v3"} {
		b, err := os.ReadFile(filepath.Join(dir, name+".x509.pem"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCertificate(b)
		if err != nil {
			t.Fatal(err)
		}
		k, ok := TestCertificate(c)
		right := ok == (name != "testkey_v2") && (!ok || k.Path == "build/make/target/product/security/testkey")
		tally.Case(right)
		if !right {
			t.Errorf("%s is %q", name, k.Path)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte(miscInfo))
	f.Add([]byte("import /a b\n#\nro.a=b"))
	f.Add([]byte(`name="A.apk" certificate="PRESIGNED" private_key=""`))
	f.Add([]byte(`<policy><signer signature="00"><seinfo value="a"/></signer></policy>`))
	f.Add([]byte(" 0 0 755 capabilities=0x0\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if d, err := ParseProps(in); err == nil {
			if !bytes.Equal(d.Bytes(), in) {
				t.Error("ParseProps and Bytes change a text")
			}
			d.Set("fuzz", "1")
			if again, err := ParseProps(d.Bytes()); err != nil || again.Get("fuzz") != "1" {
				t.Errorf("Set: %v", err)
			}
		}
		if c, err := ParseApkCerts(in); err == nil && !bytes.Equal(c.Bytes(), in) {
			t.Error("ParseApkCerts and Bytes change a text")
		}
		if k, err := ParseApexKeys(in); err == nil && !bytes.Equal(k.Bytes(), in) {
			t.Error("ParseApexKeys and Bytes change a text")
		}
		if l, err := ParseFSConfig(in); err == nil {
			if again, err := ParseFSConfig(FormatFSConfig(l)); err != nil || !slices.Equal(l, again) {
				t.Errorf("FormatFSConfig: %v", err)
			}
		}
		if m, err := ParseMacPermissions(in); err == nil {
			if b, err := m.Bytes(); err != nil || !bytes.Equal(b, in) {
				t.Errorf("ParseMacPermissions and Bytes change a text: %v", err)
			}
		}
		ParseOTACerts(in)
	})
}
