package avb_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/avb"
	"mios/internal/conformance"
)

// lines decodes each line of a JSON file, and calls f with it.
func lines[T any](t *testing.T, file string, f func(T)) {
	t.Helper()
	r, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for dec := json.NewDecoder(bufio.NewReader(r)); ; {
		var v T
		switch err := dec.Decode(&v); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatal(err)
		}
		f(v)
	}
}

// blob returns the contents of that SHA-256.
func blob(t *testing.T, dir, sum string) []byte {
	t.Helper()
	return blobStart(t, dir, sum, 1<<30)
}

// blobStart returns the first max bytes of a blob.
func blobStart(t *testing.T, dir, sum string, max int64) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "blobs", sum+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.LimitReader(z, max))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVerifyVBMetaConformance compares with what avb_vbmeta_image_verify said
// of each image of AOSP's tests.
func TestVerifyVBMetaConformance(t *testing.T) {
	dir := conformance.Dir(t, "avb")
	tally := conformance.New(t, "avb/vbmeta_verify")
	type row struct {
		Test, Blob, Result string
		PublicKeyLen       int `json:"public_key_len"`
	}
	lines(t, filepath.Join(dir, "vbmeta_verify.jsonl"), func(r row) {
		got, key := avb.VerifyVBMeta(blob(t, dir, r.Blob))
		ok := got.String() == r.Result && len(key) == r.PublicKeyLen
		tally.Case(ok)
		if !ok {
			t.Errorf("%s: VerifyVBMeta(%s) = %v, key of %d bytes, want %s, %d", r.Test, r.Blob, got, len(key), r.Result, r.PublicKeyLen)
		}
	})
}

// TestParseConformance gives every image that is well-formed to Parse and
// wants it back.
func TestParseConformance(t *testing.T) {
	dir := conformance.Dir(t, "avb")
	tally := conformance.New(t, "avb/blobs round trip")
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "*.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		sum := strings.TrimSuffix(filepath.Base(f), ".gz")
		b := blobStart(t, dir, sum, avb.MaxVBMetaSize)
		if len(b) < avb.HeaderSize || string(b[:4]) != "AVB0" {
			continue
		}
		if r, _ := avb.VerifyVBMeta(b); r != avb.VerifyOK && r != avb.VerifyOKNotSigned {
			continue
		}
		n, err := avb.Size(b)
		if err != nil {
			t.Errorf("Size(%s): %v", sum, err)
			continue
		}
		zeroAuthPadding(b) // AOSP's tests flip bits there, which libavb does not look at
		m, err := avb.Parse(b[:n])
		var out bytes.Buffer
		if err == nil {
			_, err = m.WriteTo(&out)
		}
		ok := err == nil && bytes.Equal(out.Bytes(), b[:n])
		tally.Case(ok)
		if !ok {
			t.Errorf("Parse(%s) and WriteTo: %v, want the same bytes", sum, err)
		}
	}
}

// zeroAuthPadding clears what follows the signature in the vbmeta image that b
// begins with.
func zeroAuthPadding(b []byte) {
	be := binary.BigEndian
	clear(b[avb.HeaderSize+be.Uint64(b[48:])+be.Uint64(b[56:]):][:be.Uint64(b[12:])-be.Uint64(b[48:])-be.Uint64(b[56:])])
}

type slotCase struct {
	Test       string
	Partitions []string
	Suffix     string
	Flags      avb.SlotFlags
	ErrorMode  avb.ErrorMode     `json:"hashtree_error_mode"`
	Key        string            `json:"expected_public_key"`
	KeyFor     map[string][2]any `json:"public_key_for_partition"`
	Rollback   map[uint32]uint64 `json:"rollback"`
	Unlocked   bool              `json:"unlocked"`
	Hidden     []string          `json:"hidden"`
	Files      map[string]string `json:"files"`
	Before     map[string]string `json:"persistent_before"`
	After      map[string]string `json:"persistent_after"`
	Result     string            `json:"result"`
	Cmdline    *string           `json:"cmdline"`
	Resolved   avb.ErrorMode     `json:"resolved_hashtree_error_mode"`
	Indexes    map[uint32]uint64 `json:"rollback_indexes"`
	VBMeta     [][3]any          `json:"vbmeta"`
	Loaded     [][3]any          `json:"loaded"`
}

// caseOps is the device of AOSP's tests: files, and maps.
type caseOps struct {
	slotCase
	files      map[string][]byte
	persistent map[string][]byte
}

func (o *caseOps) partition(name string) ([]byte, error) {
	b, ok := o.files[name+".img"]
	if !ok || slices.Contains(o.Hidden, name) {
		return nil, avb.ErrNoSuchPartition
	}
	return b, nil
}

func (o *caseOps) ReadPartition(name string, off int64, b []byte) (int, error) {
	data, err := o.partition(name)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		off += int64(len(data))
	}
	if off < 0 || off > int64(len(data)) {
		return 0, avb.ErrRange
	}
	return copy(b, data[off:]), nil
}

func (o *caseOps) PartitionSize(name string) (int64, error) {
	b, err := o.partition(name)
	return int64(len(b)), err
}

func (o *caseOps) PartitionGUID(name string) (string, error) {
	if slices.Contains(o.Hidden, name) {
		return "", avb.ErrNoSuchPartition
	}
	return "1234-fake-guid-for:" + name, nil
}

func (o *caseOps) ValidateVBMetaPublicKey(key, _ []byte) (bool, error) {
	return sha256Hex(key) == o.Key, nil
}

func (o *caseOps) ValidatePublicKeyForPartition(name string, key, _ []byte) (bool, uint32, error) {
	want, ok := o.KeyFor[name]
	if !ok {
		return false, 0, avb.ErrNoSuchPartition
	}
	return sha256Hex(key) == want[0], uint32(want[1].(float64)), nil
}

func (o *caseOps) RollbackIndex(location uint32) (uint64, error) {
	v, ok := o.Rollback[location]
	if !ok {
		return 0, errors.New("no such location")
	}
	return v, nil
}

func (o *caseOps) IsUnlocked() (bool, error) { return o.Unlocked, nil }

func (o *caseOps) ReadPersistentValue(name string) ([]byte, error) {
	v, ok := o.persistent[name]
	if !ok {
		return nil, avb.ErrNoSuchValue
	}
	return v, nil
}

func (o *caseOps) WritePersistentValue(name string, value []byte) error {
	if len(value) == 0 {
		delete(o.persistent, name)
	} else {
		o.persistent[name] = bytes.Clone(value)
	}
	return nil
}

// TestVerifySlotConformance compares with what avb_slot_verify did in AOSP's
// tests.
func TestVerifySlotConformance(t *testing.T) {
	dir := conformance.Dir(t, "avb")
	tally := conformance.New(t, "avb/slot_verify")
	cache := map[string][]byte{}
	lines(t, filepath.Join(dir, "slot_verify_replayable.jsonl"), func(c slotCase) {
		ops := &caseOps{slotCase: c, files: map[string][]byte{}, persistent: map[string][]byte{}}
		for name, sum := range c.Files {
			if cache[sum] == nil {
				cache[sum] = blob(t, dir, sum)
			}
			ops.files[name] = cache[sum]
		}
		for name, v := range c.Before {
			ops.persistent[name] = unhex(t, v)
		}
		data, err := avb.VerifySlot(ops, avb.SlotRequest{Partitions: c.Partitions, Suffix: c.Suffix, Flags: c.Flags, ErrorMode: c.ErrorMode})
		diff := differences(ops, c, data, err)
		tally.Case(len(diff) == 0)
		for _, d := range diff {
			t.Errorf("%s, flags %d, mode %d: %s", c.Test, c.Flags, c.ErrorMode, d)
		}
	})
}

func differences(ops *caseOps, c slotCase, data *avb.SlotData, err error) (diff []string) {
	check := func(what string, got, want any) {
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			diff = append(diff, fmt.Sprintf("%s = %s, want %s (%v)", what, g, w, err))
		}
	}
	result := avb.SlotOK
	if err != nil {
		serr, ok := errors.AsType[*avb.SlotError](err)
		if !ok {
			return []string{fmt.Sprintf("error %v is no SlotError", err)}
		}
		result = serr.Result
	}
	check("result", result, c.Result)
	persistent := map[string]string{}
	for k, v := range ops.persistent {
		persistent[k] = hex.EncodeToString(v)
	}
	for k, v := range c.After {
		if v == "" { // AOSP's test keeps a cleared value as an empty one
			delete(c.After, k)
			delete(persistent, k)
		}
	}
	check("persistent values", persistent, c.After)
	if (data != nil) != (c.Cmdline != nil) {
		return append(diff, fmt.Sprintf("data is there: %v, want %v", data != nil, c.Cmdline != nil))
	}
	if data == nil {
		return diff
	}
	check("command line", data.Cmdline, *c.Cmdline)
	check("error mode", data.ResolvedErrorMode, c.Resolved)
	indexes := maps.Clone(data.RollbackIndexes)
	maps.DeleteFunc(indexes, func(_ uint32, v uint64) bool { return v == 0 })
	check("rollback indexes", indexes, c.Indexes)
	var vbmeta, loaded [][3]any
	for _, v := range data.VBMeta {
		vbmeta = append(vbmeta, [3]any{v.Partition, float64(len(v.Data)), float64(v.Result)})
	}
	for _, p := range data.Loaded {
		loaded = append(loaded, [3]any{p.Partition, float64(len(p.Data)), float64(p.Result)})
	}
	check("vbmeta images", vbmeta, c.VBMeta)
	check("loaded", loaded, c.Loaded)
	return diff
}

// TestBootloaderConformance compares the digests of Android's bootloader
// tests.
func TestBootloaderConformance(t *testing.T) {
	dir := conformance.Dir(t, "bootloader")
	tally := conformance.New(t, "bootloader vbmeta digests")
	images, err := filepath.Glob(filepath.Join(dir, "libgbl/testdata/android/vbmeta_*_a.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range images {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := avb.Read(f, fi.Size())
		if err != nil {
			t.Errorf("Read(%s): %v", file, err)
			continue
		}
		m, err := avb.Parse(b)
		if err != nil {
			t.Errorf("Parse(%s): %v", file, err)
			continue
		}
		base := strings.TrimSuffix(file, ".img")
		digest, err := avb.VBMetaDigest("sha512", b)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]byte{"": digest}
		for _, d := range m.Descriptors {
			if d, ok := d.(*avb.HashDescriptor); ok {
				want["."+d.PartitionName] = d.Digest
			}
		}
		for part, got := range want {
			text, err := os.ReadFile(base + part + ".digest.txt")
			if err != nil {
				t.Errorf("%s%s: %v", base, part, err)
				continue
			}
			ok := strings.TrimSpace(string(text)) == hex.EncodeToString(got)
			tally.Case(ok)
			if !ok {
				t.Errorf("%s%s: digest %x, want %s", filepath.Base(base), part, got, text)
			}
		}
	}
}

// TestUpdateEngineConformance computes hash tree and FEC of an image that
// AOSP's tools made.
func TestUpdateEngineConformance(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	b, err := os.ReadFile(filepath.Join(dir, "verity_partition_sha1_fec.img"))
	if err != nil {
		t.Fatal(err)
	}
	raw, footer, err := avb.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if footer == nil {
		t.Fatal("Read found no footer")
	}
	m, err := avb.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	d := m.Descriptors[0].(*avb.HashtreeDescriptor)
	if err := avb.VerifyHashtree(bytes.NewReader(b), d); err != nil {
		t.Error(err)
	}
	tree := make(memory, d.TreeSize)
	root, err := avb.WriteHashtree(tree, bytes.NewReader(b), int64(d.ImageSize), d.HashAlgorithm, d.Salt)
	if err != nil || !bytes.Equal(root, d.RootDigest) || !bytes.Equal(tree, b[d.TreeOffset:][:d.TreeSize]) {
		t.Errorf("WriteHashtree = %x, %v, want AOSP's tree and root %x", root, err, d.RootDigest)
	}
	fec := make(memory, avb.FECSize(int64(d.FECOffset), int(d.FECRoots)))
	err = avb.WriteFEC(fec, bytes.NewReader(b), int64(d.FECOffset), int(d.FECRoots))
	if err != nil || !bytes.Equal(fec, b[d.FECOffset:][:d.FECSize]) {
		t.Errorf("WriteFEC: %v, %d bytes, want AOSP's %d bytes", err, len(fec), d.FECSize)
	}
}
