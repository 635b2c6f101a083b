package sign_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/build/image/avbtool"
	"mios/build/sign"
	"mios/build/sign/signtest"
	"mios/format/apksig"
	"mios/format/avb"
)

// TestBeside signs what lies beside packages and in trees: v4 signatures,
// fs-verity metadata, packed packages, images in trees, keys in files.
func TestBeside(t *testing.T) {
	if testing.Short() {
		t.Skip("another signing of a build")
	}
	target := signtest.New(t, signtest.Options{})
	in, keys := target.Dir, vendorKeys(t)
	read := func(dir, name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const clock, packed = "SYSTEM/app/Clock/Clock.apk", "PRODUCT/app/Packed/Packed.apk.gz"
	meta := make([]byte, 4096)
	copy(meta, []byte{1, 0, 0, 0, 1, 1, 12, 0})
	put(t, in, clock+".fsv_meta", meta)
	put(t, in, clock+".idsig", []byte("old"))
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	if _, err := w.Write(read(in, clock)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	put(t, in, packed, gz.Bytes())
	old, err := avb.EncodePublicKey(&target.Keys.AVB["testkey_rsa4096"].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	const pub, gone, virtual = "PRODUCT/etc/security/avb/other.avbpubkey", "BOOT/RAMDISK/avb/gone.avbpubkey", "VENDOR/etc/avf/virtual.img"
	put(t, in, pub, old)
	put(t, in, gone, old)
	put(t, in, "SYSTEM/etc/verity_key", bytes.Repeat([]byte{7}, 524))
	put(t, in, virtual, make([]byte, 40960))
	_, err = avbtool.AddHashtree(context.Background(), filepath.Join(in, virtual), avbtool.FooterOptions{
		Content:       avbtool.Content{Algorithm: avb.SHA256RSA4096, Key: target.Keys.AVB["testkey_rsa4096"], RollbackIndex: 5, Release: avbtool.Release},
		PartitionName: "microdroid-vendor", HashAlgorithm: "sha256", Salt: []byte("salt"),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	addKeys(t, keys.Path, "avb-boot")
	if err := os.Rename(filepath.Join(keys.Path, "shared.pem"), filepath.Join(keys.Path, "verity.pem")); err != nil {
		t.Fatal(err)
	}
	addKeys(t, keys.Path, "shared")
	out := filepath.Join(t.TempDir(), "signed")
	_, err = sign.TargetFiles(context.Background(), in, out, sign.Options{
		Keys: keys, Packages: map[string]string{"Packed.apk": "media"}, RemoveAVBKeys: []string{"gone.avbpubkey"},
	})
	if err != nil {
		t.Fatal(err)
	}
	testVerity(t, read(out, clock), read(out, clock+".idsig"), read(out, clock+".fsv_meta"))
	z, err := gzip.NewReader(bytes.NewReader(read(out, packed)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := apksig.Inspect(context.Background(), bytes.NewReader(plain), int64(len(plain)), 35); err != nil || p.Signers[0] == signerOf(t, out, clock) {
		t.Errorf("the packed package is signed by %v, %v; want media", p, err)
	}
	_, want := avbKey(t, keys, "avb")
	if b := read(out, pub); !bytes.Equal(b, want) {
		t.Error("a public key in a tree is not the vendor's")
	}
	if _, err := os.Stat(filepath.Join(out, gone)); !os.IsNotExist(err) {
		t.Errorf("a public key that was to go is there: %v", err)
	}
	if b := read(out, "SYSTEM/etc/verity_key"); len(b) != 524 || binary.LittleEndian.Uint32(b) != 64 {
		t.Errorf("verity_key has %d bytes, %x…", len(b), b[:min(4, len(b))])
	}
	m, err := avbtool.Read(filepath.Join(out, virtual))
	if err != nil || !bytes.Equal(m.PublicKey, want) || m.RollbackIndex != 5 || string(m.Hashtree().Salt) != "salt" {
		t.Errorf("the image in a tree: %+v, %v; want it as it was, signed by avb", m, err)
	}
	if strings.Contains(string(read(out, "META/misc_info.txt")), "testkey") {
		t.Error("misc_info.txt names a test key")
	}
}

// testVerity verifies the v4 signature of a package, and compares its hash tree
// with that for fs-verity, which is the same.
func testVerity(t *testing.T, apk, idsig, now []byte) {
	t.Helper()
	v4, err := apksig.ReadIDSig(bytes.NewReader(idsig))
	if err != nil {
		t.Fatal(err)
	}
	res, err := apksig.Verify(context.Background(), bytes.NewReader(apk), int64(len(apk)), apksig.Options{IDSig: bytes.NewReader(idsig)})
	if err != nil || !res.VerifiedBy(apksig.V4) {
		t.Errorf("the v4 signature does not verify: %v, %v", res.Errors, err)
	}
	if size := binary.LittleEndian.Uint64(now[12:]); size != uint64(len(apk)) || !bytes.Equal(now[20:52], v4.Root) || len(now)%4096 != 0 {
		t.Errorf("fs-verity metadata of %d bytes with the root %x, want %d and %x", size, now[20:52], len(apk), v4.Root)
	}
	if !bytes.HasSuffix(idsig, now[4096:]) {
		t.Error("the hash tree for fs-verity is not that of the v4 signature")
	}
}
