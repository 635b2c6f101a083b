package avbtool_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mios"
	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/sparse"
)

const block = avb.BlockSize

var newKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func testKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pattern is an image with data, a fill and a hole, of n blocks.
func pattern(n int) []byte {
	b := make([]byte, n*block)
	random := mathrand.NewChaCha8([32]byte{1})
	random.Read(b[:n/2*block])
	for i := n / 2 * block; i < (n/2+3)*block; i++ {
		b[i] = 'x'
	}
	random.Read(b[(n-1)*block:])
	return b
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pack writes the sparse image of b.
func pack(t *testing.T, name string, b []byte) string {
	t.Helper()
	m, err := sparse.Scan(t.Context(), bytes.NewReader(b), int64(len(b)), block, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := m.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return write(t, name, out.Bytes())
}

// expand returns the expanded image of a file.
func expand(t *testing.T, name string) []byte {
	t.Helper()
	m, err := avbtool.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b := make([]byte, m.Size)
	if _, err := m.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func treeOptions(t *testing.T) avbtool.FooterOptions {
	return avbtool.FooterOptions{
		Content:       avbtool.Content{Algorithm: avb.SHA256RSA2048, Key: testKey(t), Release: avbtool.Release},
		PartitionName: "system", PartitionSize: 2 << 20, HashAlgorithm: "sha256", Salt: []byte{1, 2, 3}, FECRoots: 2,
	}
}

// TestSparseAndPlain does the same to a plain image and a sparse one, and wants
// the same image from both after each step.
func TestSparseAndPlain(t *testing.T) {
	dir := t.TempDir()
	plain, packed := filepath.Join(dir, "system.img"), filepath.Join(dir, "sparse", "system.img")
	if err := os.Mkdir(filepath.Dir(packed), 0o755); err != nil {
		t.Fatal(err)
	}
	original := pattern(300)
	write(t, plain, original)
	pack(t, packed, original)
	ctx := t.Context()
	o := treeOptions(t)
	for _, step := range []struct {
		name string
		do   func(name string) error
	}{
		{"add-hashtree", func(name string) error { _, err := avbtool.AddHashtree(ctx, name, o, nil); return err }},
		{"add-hashtree again", func(name string) error { _, err := avbtool.AddHashtree(ctx, name, o, nil); return err }},
		{"verify", func(name string) error {
			return avbtool.Verify(ctx, name, avbtool.VerifyOptions{}, nil, func(avbtool.Check) {})
		}},
		{"resize", func(name string) error { return avbtool.Resize(ctx, name, "", 3<<20, nil) }},
		{"resize to what it takes", func(name string) error {
			m, err := avbtool.Read(name)
			if err != nil {
				return err
			}
			return avbtool.Resize(ctx, name, "", int64(m.Footer.VBMetaOffset)+2*block, nil)
		}},
		{"zero-hashtree", func(name string) error { return avbtool.ZeroHashtree(ctx, name, "", nil) }},
		{"verify zeroed", func(name string) error {
			return avbtool.Verify(ctx, name, avbtool.VerifyOptions{AcceptZeroed: true}, nil, func(avbtool.Check) {})
		}},
		{"erase", func(name string) error { return avbtool.Erase(ctx, name, "", false, nil) }},
		{"add-hash", func(name string) error {
			o := o
			o.PartitionSize = 0
			_, err := avbtool.AddHash(ctx, name, o, nil)
			return err
		}},
	} {
		for _, name := range []string{plain, packed} {
			if err := step.do(name); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		a, b := read(t, plain), expand(t, packed)
		if !bytes.Equal(a, b) {
			t.Fatalf("%s: the sparse image is another than the plain one", step.name)
		}
		if m, err := avbtool.Open(packed); err != nil || !m.Sparse() {
			t.Fatalf("%s: the sparse image is none any more: %v", step.name, err)
		}
		if step.name == "erase" && !bytes.Equal(a, original) {
			t.Error("after erase the image is not the original one")
		}
	}
}

// TestFailureLeavesFiles wants an image untouched where something is wrong, and
// no other file beside it.
func TestFailureLeavesFiles(t *testing.T) {
	dir := t.TempDir()
	name := write(t, filepath.Join(dir, "system.img"), pattern(500))
	before := read(t, name)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wrong := treeOptions(t)
	wrong.Algorithm = avb.SHA256RSA4096 // than the key's size
	wrong.PartitionSize = 0
	for _, tt := range []struct {
		name string
		do   func() error
	}{
		{"too large", func() error { _, err := avbtool.AddHashtree(t.Context(), name, treeOptions(t), nil); return err }},
		{"wrong key", func() error { _, err := avbtool.AddHashtree(t.Context(), name, wrong, nil); return err }},
		{"interrupted", func() error {
			o := treeOptions(t)
			o.PartitionSize = 0
			_, err := avbtool.AddHashtree(gone, name, o, nil)
			return err
		}},
		{"no footer", func() error { return avbtool.Erase(t.Context(), name, "", false, nil) }},
		{"no footer to resize", func() error { return avbtool.Resize(t.Context(), name, "", 4<<20, nil) }},
		{"no tree to repair", func() error {
			_, err := avbtool.Repair(t.Context(), name, avbtool.RepairOptions{}, nil)
			return err
		}},
		{"no vbmeta image", func() error { return avbtool.Append(t.Context(), name, name, "", 4<<20, nil) }},
	} {
		if err := tt.do(); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
		if !bytes.Equal(read(t, name), before) {
			t.Fatalf("%s: the image has been changed", tt.name)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("there are %v, %v, want one file", files, err)
	}
}

// flip changes a bit of a file.
func flip(t *testing.T, name string, off int64) {
	t.Helper()
	b := read(t, name)
	b[off] ^= 1
	write(t, name, b)
}

// TestVerify verifies a chain of images, and damages of each kind.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	system := write(t, filepath.Join(dir, "system.img"), pattern(100))
	boot := write(t, filepath.Join(dir, "boot.img"), pattern(30))
	o := treeOptions(t)
	if _, err := avbtool.AddHashtree(ctx, system, o, nil); err != nil {
		t.Fatal(err)
	}
	b := o
	b.PartitionName, b.PartitionSize = "boot", 0
	if _, err := avbtool.AddHash(ctx, boot, b, nil); err != nil {
		t.Fatal(err)
	}
	pub, err := avb.EncodePublicKey(&testKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	c := o.Content
	c.Include = []string{boot}
	c.Chains = []*avb.ChainPartitionDescriptor{{RollbackIndexLocation: 1, PartitionName: "system", PublicKey: pub}}
	vbmeta, err := avbtool.Make(&c)
	if err != nil {
		t.Fatal(err)
	}
	top := write(t, filepath.Join(dir, "vbmeta.img"), vbmeta)
	verify := func() (kinds []string, err error) {
		err = avbtool.Verify(ctx, top, avbtool.VerifyOptions{Follow: true, Key: pub}, nil, func(c avbtool.Check) { kinds = append(kinds, c.Kind) })
		return kinds, err
	}
	if kinds, err := verify(); err != nil || len(kinds) != 6 {
		t.Fatalf("Verify found %v, %v, want vbmeta, chained, follow, vbmeta, hashtree, hash", kinds, err)
	}
	for file, off := range map[string]int64{system: 7 * block, boot: 5, top: 300} {
		flip(t, file, off)
		if _, err := verify(); !errors.Is(err, mios.ErrDenied) {
			t.Errorf("%s damaged: Verify = %v, want a refusal", file, err)
		}
		flip(t, file, off)
	}
	if _, err := verify(); err != nil {
		t.Error(err)
	}
	other := avbtool.VerifyOptions{Key: pub[:len(pub)-1], Follow: true}
	if err := avbtool.Verify(ctx, top, other, nil, func(avbtool.Check) {}); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("Verify with another key = %v, want a refusal", err)
	}
	if err := avbtool.Verify(ctx, top, avbtool.VerifyOptions{}, nil, func(avbtool.Check) {}); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("Verify of an unexpected chain = %v, want a refusal", err)
	}
	digests, err := avbtool.PartitionDigests(top)
	if err != nil || len(digests) != 2 || digests[0].Name != "system" || digests[1].Name != "boot" {
		t.Errorf("PartitionDigests = %v, %v, want those of system and boot", digests, err)
	}
}

// TestRepair repairs an image, and leaves one alone that is too badly damaged.
func TestRepair(t *testing.T) {
	dir := t.TempDir()
	name := write(t, filepath.Join(dir, "system.img"), pattern(260))
	o := treeOptions(t)
	if _, err := avbtool.AddHashtree(t.Context(), name, o, nil); err != nil {
		t.Fatal(err)
	}
	want := read(t, name)
	if r, err := avbtool.Repair(t.Context(), name, avbtool.RepairOptions{}, nil); err != nil || len(r.Blocks) != 0 || r.FEC {
		t.Errorf("Repair of a whole image = %v, %v", r, err)
	}
	damaged := bytes.Clone(want)
	clear(damaged[3*block : 4*block])
	write(t, name, damaged)
	if r, err := avbtool.Repair(t.Context(), name, avbtool.RepairOptions{}, nil); err != nil || len(r.Blocks) != 1 || r.Blocks[0] != 3*block {
		t.Errorf("Repair = %v, %v, want block 3", r, err)
	}
	if !bytes.Equal(read(t, name), want) {
		t.Error("the repaired image is not the original one")
	}
	clear(damaged[:90*block])
	write(t, name, damaged)
	if _, err := avbtool.Repair(t.Context(), name, avbtool.RepairOptions{}, nil); err == nil {
		t.Error("Repair of 90 lost blocks: no error")
	}
	if !bytes.Equal(read(t, name), damaged) {
		t.Error("a failed Repair has changed the image")
	}
}

// TestPersistentDigest leaves digests to the device: the tree is compared with
// the data all the same.
func TestPersistentDigest(t *testing.T) {
	name := write(t, filepath.Join(t.TempDir(), "system.img"), pattern(200))
	o := treeOptions(t)
	o.PersistentDigest, o.FECRoots = true, 0
	d, err := avbtool.AddHashtree(t.Context(), name, o, nil)
	if err != nil || len(d.RootDigest) != 0 {
		t.Fatalf("AddHashtree = %v, %v, want no root digest", d, err)
	}
	verify := func() error {
		return avbtool.Verify(t.Context(), name, avbtool.VerifyOptions{}, nil, func(avbtool.Check) {})
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
	b := read(t, name)
	b[9]++
	write(t, name, b)
	if err := verify(); !errors.Is(err, mios.ErrDenied) {
		t.Errorf("Verify of changed data = %v, want a refusal", err)
	}
}
