package avbtool_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/format/sparse"
)

// FuzzImage gives image files to everything that reads them: what one of them
// takes, Inspect takes too.
func FuzzImage(f *testing.F) {
	for _, b := range fuzzImages(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		name := filepath.Join(t.TempDir(), "system.img")
		if err := os.WriteFile(name, in, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := avbtool.Open(name); err == nil {
			size := m.Size
			m.Close()
			if size > 64<<20 { // a sparse image of holes takes its time
				return
			}
		}
		_, inspected := avbtool.Inspect(name)
		verified := avbtool.Verify(t.Context(), name, avbtool.VerifyOptions{Follow: true, AcceptZeroed: true}, nil, func(avbtool.Check) {})
		_, cmdline := avbtool.KernelCmdline(name, false)
		_, digests := avbtool.PartitionDigests(name)
		_, extracted := avbtool.Extract(name, 64)
		for what, err := range map[string]error{"Verify": verified, "KernelCmdline": cmdline, "PartitionDigests": digests, "Extract": extracted} {
			if err == nil && inspected != nil {
				t.Errorf("%s takes what Inspect refuses: %v", what, inspected)
			}
		}
	})
}

// fuzzImages are small images with footers, plain and sparse, and a vbmeta
// image with one of each descriptor.
func fuzzImages(f *testing.F) (list [][]byte) {
	name := filepath.Join(f.TempDir(), "system.img")
	if err := os.WriteFile(name, pattern(20), 0o600); err != nil {
		f.Fatal(err)
	}
	o := avbtool.FooterOptions{PartitionName: "system", HashAlgorithm: "sha256", Salt: []byte{1}, FECRoots: 2}
	if _, err := avbtool.AddHashtree(f.Context(), name, o, nil); err != nil {
		f.Fatal(err)
	}
	plain, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	m, err := sparse.Scan(f.Context(), bytes.NewReader(plain), int64(len(plain)), block, nil)
	if err != nil {
		f.Fatal(err)
	}
	var packed bytes.Buffer
	if _, err := m.WriteTo(&packed); err != nil {
		f.Fatal(err)
	}
	vbmeta, err := avbtool.Make(&avbtool.Content{
		Include: []string{name}, Cmdlines: []string{"a=b"}, Properties: []*avb.PropertyDescriptor{{Key: "k", Value: []byte("v")}},
		Chains: []*avb.ChainPartitionDescriptor{{RollbackIndexLocation: 1, PartitionName: "system", PublicKey: []byte("key")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	return [][]byte{plain, packed.Bytes(), vbmeta, nil}
}
