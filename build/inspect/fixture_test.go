package inspect

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"mios/build/sign/signtest"
	"mios/format/apksig"
	"mios/format/avb"
	"mios/format/bootctl"
	"mios/format/bootimg"
	"mios/format/chunks"
	"mios/format/cpio"
	"mios/format/dtbo"
	"mios/format/fdt"
	"mios/format/gpt"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/format/sparse"
	"mios/format/super"
	"mios/format/targetfiles"
	"mios/format/tuf"
	"mios/internal/testkit"
)

// A fixture is a file that the tests make, and what is to be said of it.
type fixture struct {
	name string
	data []byte
	kind string
	want []string // in the words of the report
}

// memFile is a file in memory.
type memFile struct{ b []byte }

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	if off > int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(b, f.b[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	if n := off + int64(len(b)); n > int64(len(f.b)) {
		f.b = append(f.b, make([]byte, n-int64(len(f.b)))...)
	}
	return copy(f.b[off:], b), nil
}

func (f *memFile) Truncate(n int64) error {
	if n <= int64(len(f.b)) {
		f.b = f.b[:n]
	} else {
		f.b = append(f.b, make([]byte, n-int64(len(f.b)))...)
	}
	return nil
}

// must returns what a call for the tests' own files makes, which does not fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func written(tb testing.TB, w io.WriterTo) []byte {
	tb.Helper()
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func newCert(tb testing.TB, n int, name string) *x509.Certificate {
	tb.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name, Organization: []string{"miOS tests"}},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	key := testkit.RSA(n)
	der := must(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))
	return must(x509.ParseCertificate(der))
}

func ramdisk(tb testing.TB) []byte {
	a := cpio.New(cpio.Dir("first_stage_ramdisk", 0o755), cpio.File("init", 0o755, []byte("#!/bin/sh\n")), cpio.File("first_stage_ramdisk/fstab", 0o644, []byte("x")))
	return written(tb, a)
}

func packWith(tb testing.TB, data []byte, open func(w io.Writer) (io.WriteCloser, error)) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := must(open(&b))
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// bootImage is a boot image with an AVB footer, signed by the test's first key.
func bootImage(tb testing.TB) []byte {
	kernel := append(make([]byte, 0x202), "HdrS and more"...)
	m := bootimg.New(kernel, packWith(tb, ramdisk(tb), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }), "quiet", bootimg.OSVersion{Major: 16, Year: 2026, Month: 1})
	f := &memFile{written(tb, m)}
	o := avb.FooterOptions{
		PartitionName: "boot", PartitionSize: 1 << 20, Key: testkit.RSA(0),
		VBMeta: &avb.VBMeta{Algorithm: avb.SHA256RSA2048, RollbackIndex: 5},
	}
	if _, err := avb.AddHashFooter(f, int64(len(f.b)), o); err != nil {
		tb.Fatal(err)
	}
	return f.b
}

func vbmetaImage(tb testing.TB, flags avb.Flags) []byte {
	m := &avb.VBMeta{Flags: flags, Descriptors: []avb.Descriptor{&avb.PropertyDescriptor{Key: "a.b", Value: []byte("c")}}}
	if err := m.Sign(testkit.RSA(0), avb.SHA256RSA2048); err != nil {
		tb.Fatal(err)
	}
	return must(m.Bytes())
}

func deviceTree(tb testing.TB) []byte {
	root := &fdt.Node{Children: []*fdt.Node{{Name: "chosen"}}}
	root.SetString("model", "A board")
	root.SetString("compatible", "vendor,board")
	return must((&fdt.Tree{Root: root}).Bytes())
}

func superImage(tb testing.TB) []byte {
	m := must(super.Build(super.Spec{
		Size: 4 << 20, Groups: []super.Group{{Name: "main", MaxSize: 2 << 20}},
		Partitions: []super.PartitionSpec{{Name: "system_a", Group: "main", Size: 8192}, {Name: "empty_a", Group: "main"}},
	}))
	disks := must(m.Disks(map[string]super.Content{"system_a": {R: bytes.NewReader(deviceTree(tb)), Size: int64(len(deviceTree(tb)))}}))
	var f memFile
	if err := disks[0].WriteRaw(context.Background(), &f, nil); err != nil {
		tb.Fatal(err)
	}
	_ = f.Truncate(disks[0].Size) // what is behind the last part are zeros
	return f.b
}

func diskImage(tb testing.TB) []byte {
	t := must(gpt.New("seed", 8<<20, []gpt.Spec{{Name: "vbmeta_a", Size: 1 << 20}, {Name: "misc", Size: 1 << 20}}))
	f := &memFile{make([]byte, 8<<20)}
	if err := t.WriteDisk(f); err != nil {
		tb.Fatal(err)
	}
	if _, err := f.WriteAt(vbmetaImage(tb, 0), t.Partitions[0].Offset()); err != nil {
		tb.Fatal(err)
	}
	return f.b
}

func payloadFile(tb testing.TB, signers ...crypto.Signer) ([]byte, payload.Properties) {
	var b bytes.Buffer
	image := bytes.Repeat([]byte("systems!"), 4096)
	f := payload.Full{Images: []payload.Image{{Name: "system", Content: bytes.NewReader(image), Size: int64(len(image))}}, MaxTimestamp: 1700000000, Signers: signers}
	p := must(f.Write(context.Background(), &b, &spool{}))
	return b.Bytes(), p
}

// spool is a memFile with a place where it is read and written.
type spool struct {
	memFile
	at int64
}

func (s *spool) Read(b []byte) (int, error) {
	n, err := s.ReadAt(b, s.at)
	s.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (s *spool) Write(b []byte) (int, error) {
	n, err := s.WriteAt(b, s.at)
	s.at += int64(n)
	return n, err
}

func (s *spool) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += s.at
	case io.SeekEnd:
		off += int64(len(s.b))
	}
	s.at = off
	return off, nil
}

// chunksOf returns the index and the pack of a partition.
func chunksOf(tb testing.TB) (index, pack []byte) {
	image := bytes.Repeat([]byte("a partition, cut into chunks; "), 20000)
	var b bytes.Buffer
	_, index, err := chunks.Writer{}.Write(tb.Context(), &b, []chunks.Image{{Name: "system", Content: bytes.NewReader(image), Size: int64(len(image))}})
	if err != nil {
		tb.Fatal(err)
	}
	return index, b.Bytes()
}

func otaPackage(tb testing.TB) []byte {
	key := testkit.RSA(0)
	b, p := payloadFile(tb, key)
	w := otazip.Writer{
		Metadata: otazip.Metadata{
			Type: otazip.AB, Precondition: otazip.DeviceState{Device: []string{"tester"}},
			Postcondition: otazip.DeviceState{Build: []string{"a/b/c:16/X/1:user/release-keys"}, Timestamp: 1700000000, SDKLevel: "36", SecurityPatch: "2026-01-05"},
		},
		Payload: bytes.NewReader(b), Size: int64(len(b)), Properties: p.String(), Certificate: newCert(tb, 0, "updates"), Key: key,
	}
	var out bytes.Buffer
	if err := w.Write(context.Background(), &out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func rootMetadata(tb testing.TB, expires time.Time) []byte {
	k := must(tuf.NewKey(testkit.RSA(0).Public()))
	id := must(k.ID())
	m := tuf.New[tuf.Root]()
	m.Signed.Version, m.Signed.Expires, m.Signed.ConsistentSnapshot = 3, expires, true
	m.Signed.Keys = map[string]*tuf.Key{id: k}
	m.Signed.Roles = make(map[string]*tuf.RoleKeys)
	for _, role := range tuf.TopLevel {
		m.Signed.Roles[role] = &tuf.RoleKeys{KeyIDs: []string{id}, Threshold: 1}
	}
	if err := tuf.Sign(m, testkit.RSA(0)); err != nil {
		tb.Fatal(err)
	}
	return must(m.Bytes())
}

func sparseImage(tb testing.TB) []byte {
	plain := superImage(tb)
	m := must(sparse.Scan(context.Background(), bytes.NewReader(plain), int64(len(plain)), 4096, nil))
	return written(tb, m)
}

func zipOf(tb testing.TB, files ...string) []byte {
	var b bytes.Buffer
	w := targetfiles.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := w.Add(targetfiles.Header{Name: files[i], Mode: 0o644}, bytes.NewReader([]byte(files[i+1]))); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// fixtures are one file of each kind that can be made without other people's
// tools.
func fixtures(tb testing.TB) []fixture {
	return slices.Concat(imageFixtures(tb), packageFixtures(tb), keyFixtures(tb), textFixtures(tb))
}

func imageFixtures(tb testing.TB) []fixture {
	table := &dtbo.Table{PageSize: 2048, Entries: []dtbo.Entry{{ID: 1, Rev: 2, Data: deviceTree(tb)}}}
	vendor := &bootimg.Vendor{Version: 4, PageSize: 4096, Cmdline: "console=ttyS0", Bootconfig: []byte("androidboot.x=y\n")}
	if err := vendor.AddFragment(bootimg.Fragment{Name: "dlkm"}, ramdisk(tb)); err != nil {
		tb.Fatal(err)
	}
	control := &memFile{make([]byte, 64<<10)}
	if _, err := control.WriteAt(must(bootctl.New(2, 3).Bytes()), bootctl.ControlOffset); err != nil {
		tb.Fatal(err)
	}
	return []fixture{
		{"boot.img", bootImage(tb), "boot", []string{`"version":"4"`, "kernel, ramdisk", "hash over", "SHA256_RSA2048", "x86 bzImage", "gzip, 2 files"}},
		{"vendor_boot.img", written(tb, vendor), "vendor_boot", []string{"console=ttyS0", "androidboot.x=y"}},
		{"vbmeta.img", vbmetaImage(tb, 0), "vbmeta", []string{"SHA256_RSA2048", "verified", "a.b = c"}},
		{"dtbo.img", written(tb, table), "dtbo", []string{"1 entry", "A board"}},
		{"board.dtb", deviceTree(tb), "dtb", []string{"vendor,board"}},
		{"super.img", superImage(tb), "super", []string{"2 partitions", "system_a", "device tree"}},
		{"super.simg", sparseImage(tb), "sparse", []string{"4.2 MB", "super partition"}},
		{"disk.img", diskImage(tb), "gpt", []string{"2 partitions", "vbmeta image"}},
		{"ramdisk", ramdisk(tb), "ramdisk", []string{"2 files"}},
		{"ramdisk.gz", packWith(tb, ramdisk(tb), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }), "ramdisk", []string{"gzip"}},
		{"ramdisk.lz4", packWith(tb, ramdisk(tb), func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil }), "ramdisk", []string{"lz4"}},
		{"ramdisk.xz", packWith(tb, ramdisk(tb), func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }), "ramdisk", []string{"xz"}},
		{"ramdisk.zst", packWith(tb, ramdisk(tb), func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }), "ramdisk", []string{"zstd"}},
		{"misc.img", control.b, "misc", []string{"_a", "3 tries left"}},
	}
}

func packageFixtures(tb testing.TB) []fixture {
	plainAPK := signtest.Package(tb, "com.example.app", "")
	signedAPK := signtest.Sign(tb, plainAPK, testkit.RSA(0))
	unsigned, _ := payloadFile(tb)
	ota := otaPackage(tb)
	index, pack := chunksOf(tb)
	return []fixture{
		{"chunks.index", index, "chunks_index", []string{"1 partition", "system", "hashes of all parts"}},
		{"chunks.pack", pack, "chunks_pack", []string{"only the index says what they are"}},
		{"b.tar", append(append([]byte("data/"+strings.Repeat("a", 252)), "ustar\x00"...), make([]byte, 2048)...), "backup", []string{"mios restore --check"}},
		{"payload.bin", unsigned, "payload", []string{"full", "1 partition", "nobody signed it"}},
		{"ota.zip", ota, "ota", []string{"tester", "signature over the whole file", "by the key of the package", "2026-01-05"}},
		{"a.apk", signedAPK, "apk", []string{"com.example.app", "verified"}},
		{"b.apk", plainAPK, "apk", []string{"nobody signed it"}},
		{"target_files.zip", zipOf(tb, "META/misc_info.txt", "avb_vbmeta_key_path=external/avb/test/data/testkey_rsa4096.pem\navb_vbmeta_algorithm=SHA256_RSA4096\n",
			"IMAGES/vbmeta.img", string(vbmetaImage(tb, 0)), "SYSTEM/build.prop", "ro.build.fingerprint=f\n"), "target_files", []string{"testkey_rsa4096", "vbmeta image", "fingerprint"}},
		{"x.apks", zipOf(tb, "toc.pb", "x", "splits/base-master.apk", string(signedAPK)), "apks", []string{"1 package", "com.example.app"}},
		{"x.xapk", zipOf(tb, "manifest.json", "{}", "com.example.app.apk", string(signedAPK)), "xapk", []string{"1 package"}},
		{"img.zip", zipOf(tb, "android-info.txt", "board=x\n", "vbmeta.img", string(vbmetaImage(tb, 0))), "images", []string{"vbmeta image"}},
		{"plain.zip", zipOf(tb, "a", "1", "b/c", "2"), "zip", []string{"2 entries", "checksums of 2 entries"}},
	}
}

func keyFixtures(tb testing.TB) []fixture {
	cert := newCert(tb, 0, "tester")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(testkit.RSA(0)))
	pkix := must(x509.MarshalPKIXPublicKey(testkit.RSA(0).Public()))
	signer := apksig.Signer{Key: testkit.RSA(0), Certificate: cert.Raw}
	lineage := must(apksig.NewLineage(signer, 0, apksig.Signer{Key: testkit.RSA(1), Certificate: newCert(tb, 1, "newer").Raw}, 0))
	return []fixture{
		{"lineage", lineage.Bytes(), "lineage", []string{"2 certificates", "CN=newer"}},
		{"cert.pem", certPEM, "certificate", []string{"CN=tester", "rsa2048"}},
		{"cert.der", cert.Raw, "certificate", []string{"CN=tester"}},
		{"key.pk8", pkcs8, "private_key", []string{"rsa2048, not encrypted", "whoever reads this file"}},
		{"key.pem", append([]byte("# mine\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), "private_key", []string{"rsa2048"}},
		{"pub.der", pkix, "public_key", []string{"rsa2048"}},
		{"avb_pkmd.bin", must(avb.EncodePublicKey(&testkit.RSA(0).PublicKey)), "avb_public_key", []string{"rsa2048"}},
		{"otacerts.zip", must(targetfiles.FormatOTACerts([]targetfiles.OTACert{{Name: "a.x509.pem", Certificate: cert}})), "otacerts", []string{"1 certificate", "CN=tester"}},
	}
}

func textFixtures(tb testing.TB) []fixture {
	return []fixture{
		{"build.prop", []byte("ro.build.fingerprint=a/b/c:16/X/1:user/test-keys\nro.build.tags=test-keys\nro.debuggable=1\n"), "build_prop", []string{"3 properties", "signed with test keys", "root shell"}},
		{"init.rc", []byte("on boot\n    start a\nservice a /bin/a\n    nonsense\n"), "init_rc", []string{"1 action", "nonsense"}},
		{"root.json", rootMetadata(tb, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)), "tuf", []string{"root 3, expires 2100-01-01", "by its own keys"}},
		{"old.json", rootMetadata(tb, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)), "tuf", []string{"it has expired"}},
		{"product.yaml", []byte("name: x\nbase: nothing\n"), "product", []string{"unknown field"}},
		{"payload_properties.txt", []byte("FILE_HASH=x\nFILE_SIZE=3\n"), "payload_properties", []string{"FILE_SIZE"}},
		{"META/apkcerts.txt", []byte("name=\"A.apk\" certificate=\"build/make/target/product/security/platform.x509.pem\" private_key=\"build/make/target/product/security/platform.pk8\"\n"), "apkcerts", []string{"1 app", "public test key"}},
		{"META/apexkeys.txt", []byte("name=\"A.apex\" public_key=\"PRESIGNED\" private_key=\"PRESIGNED\" container_certificate=\"PRESIGNED\" container_private_key=\"PRESIGNED\"\n"), "apexkeys", []string{"1 APEX, 1 signed already"}},
		{"notes.txt", []byte("only words\n"), unknown, []string{"not of a format"}},
		{"nothing", nil, unknown, []string{"empty"}},
		{"disk.zero", make([]byte, 9000), unknown, []string{"zeros"}},
		{"data.json", []byte("{\"a\": 1}\n"), unknown, []string{"JSON"}},
	}
}

var testTime = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func payloadOf(tb testing.TB) []byte {
	b, _ := payloadFile(tb)
	return b
}

// vbmetaOf vouches for the image of a partition.
func vbmetaOf(tb testing.TB, partition string, image []byte) []byte {
	sum := sha256.Sum256(image)
	m := &avb.VBMeta{Descriptors: []avb.Descriptor{&avb.HashDescriptor{ImageSize: uint64(len(image)), HashAlgorithm: "sha256", PartitionName: partition, Digest: sum[:]}}}
	if err := m.Sign(testkit.RSA(0), avb.SHA256RSA2048); err != nil {
		tb.Fatal(err)
	}
	return must(m.Bytes())
}
