package payload

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mios/format/avb"
	"mios/format/bsdiff"
	"mios/format/puffin"
)

// a partition of an update whose operations are being put together.
type builder struct {
	t        *testing.T
	old, new []byte
	ops      []Operation
	data     []byte
}

func (b *builder) op(o Operation, data []byte) {
	h := sha256.New()
	for _, x := range o.SrcExtents {
		h.Write(b.old[x.StartBlock*DefaultBlockSize:][:x.NumBlocks*DefaultBlockSize])
	}
	if len(o.SrcExtents) > 0 {
		o.SrcHash = h.Sum(nil)
	}
	if len(data) > 0 {
		sum := sha256.Sum256(data)
		o.DataOffset, o.DataLength, o.DataHash = uint64(len(b.data)), uint64(len(data)), sum[:]
	}
	b.ops, b.data = append(b.ops, o), append(b.data, data...)
}

func (b *builder) payload(edit func(p *Partition)) []byte {
	oldSum, newSum := sha256.Sum256(b.old), sha256.Sum256(b.new)
	m := &Manifest{BlockSize: DefaultBlockSize, MinorVersion: 9, Partitions: []Partition{{Name: "p", Operations: b.ops,
		OldInfo: &PartitionInfo{Size: uint64(len(b.old)), Hash: oldSum[:]}, NewInfo: &PartitionInfo{Size: uint64(len(b.new)), Hash: newSum[:]}}}}
	if edit != nil {
		edit(&m.Partitions[0])
	}
	var out bytes.Buffer
	if _, err := Write(&out, m, bytes.NewReader(b.data), nil); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

// applyDelta applies a payload in a stream and side by side.
func applyDelta(t *testing.T, in, old, want []byte) {
	t.Helper()
	r := bytes.NewReader(in)
	md, err := ReadMetadata(r)
	if err != nil {
		t.Fatal(err)
	}
	source := func(string) (io.ReaderAt, error) { return bytes.NewReader(old), nil }
	streamed, together := newDisk(md), newDisk(md)
	a := &Applier{Metadata: md, Source: source, Target: target(streamed)}
	if _, err := a.Apply(t.Context(), r, md.Start()); err != nil {
		t.Error(err)
	}
	var last, finished int64
	done := 0
	x := &Extraction{Metadata: md, Source: source, Target: target(together), Workers: 2,
		Progress: func(n, total int64) { last = n; finished = total },
		Done:     func(n int) error { done = n; return nil }}
	if err := x.Run(t.Context(), bytes.NewReader(in)); err != nil {
		t.Error(err)
	}
	if done != md.Manifest.Operations() || last > finished {
		t.Errorf("told of %d operations and %d of %d bytes", done, last, finished)
	}
	for name, got := range map[string][]byte{"streamed": streamed["p"].b, "side by side": together["p"].b} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s: another partition than the new one", name)
		}
	}
}

// deflated returns text, deflated and filled up with zeros.
func deflated(t *testing.T, text string, size int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	if err := finish(w, err, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, size-b.Len())...)
}

func TestSourceOperations(t *testing.T) {
	const block = DefaultBlockSize
	rng := rand.New(rand.NewPCG(5, 6))
	old := make([]byte, 24*block)
	for i := range old {
		old[i] = byte(rng.Uint32())
	}
	text := strings.Repeat("the quick brown fox ", 300)
	copy(old[16*block:], deflated(t, text, 2*block))
	new := bytes.Clone(old)
	b := &builder{t: t, old: old, new: new}
	xs := func(v ...uint64) (out []Extent) {
		for i := 0; i < len(v); i += 2 {
			out = append(out, Extent{v[i], v[i+1]})
		}
		return out
	}
	at := func(b []byte, list []Extent) (out []byte) {
		for _, x := range list {
			out = append(out, b[x.StartBlock*block:][:x.NumBlocks*block]...)
		}
		return out
	}
	// Blocks copied from here and there to there and here.
	copy(new[0:], old[7*block:8*block])
	copy(new[2*block:], old[2*block:4*block])
	b.op(Operation{Type: SourceCopy, SrcExtents: xs(7, 1, 2, 2), DstExtents: xs(0, 1, 2, 2)}, nil)
	clear(new[block : 2*block])
	b.op(Operation{Type: Discard, DstExtents: xs(1, 1)}, nil)
	for i, o := range []bsdiff.Options{{Legacy: true}, {}} {
		from, to := xs(9, 1, 4, 2), xs(uint64(5+4*i), 1, uint64(6+4*i), 2, uint64(4+4*i), 1)
		want := append(at(old, from), bytes.Repeat([]byte{byte(i)}, block)...)
		want[5000]++
		patch, err := bsdiff.Diff(t.Context(), at(old, from), want, o)
		if err != nil {
			t.Fatal(err)
		}
		for j, x := range to {
			copy(new[x.StartBlock*block:], want[:x.NumBlocks*block])
			want = want[to[j].NumBlocks*block:]
		}
		b.op(Operation{Type: []OpType{SourceBSDiff, BrotliBSDiff}[i], SrcExtents: from, DstExtents: to}, patch)
	}
	b.op(Operation{Type: Replace, DstExtents: xs(12, 4)}, new[12*block:16*block])
	src, dst := old[16*block:18*block], deflated(t, text+"and a dog", 2*block)
	copy(new[16*block:], dst)
	locate := func(b []byte) []puffin.BitExtent {
		list, _, err := puffin.LocateDeflate(b)
		if err != nil || len(list) == 0 {
			t.Fatalf("deflate blocks %v, %v", list, err)
		}
		return list
	}
	patch, err := puffin.Diff(t.Context(), src, dst, locate(src), locate(dst), bsdiff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.op(Operation{Type: Puffdiff, SrcExtents: xs(16, 2), DstExtents: xs(16, 2)}, patch)
	b.op(Operation{Type: SourceCopy, SrcExtents: xs(18, 6), DstExtents: xs(18, 6)}, nil)
	applyDelta(t, b.payload(nil), old, new)
}

// TestVerity has the target's hash tree and parity computed from what the
// operations wrote.
func TestVerity(t *testing.T) {
	const data, block = 40, DefaultBlockSize
	salt := []byte("salt")
	tree, err := avb.HashtreeSize(data*block, "sha256")
	if err != nil {
		t.Fatal(err)
	}
	size := data*block + tree
	fec := avb.FECSize(size, 2)
	new := make([]byte, size+fec+block)
	for i := range data * block {
		new[i] = byte(i * i >> 7)
	}
	new[len(new)-1] = 1
	f := &memory{b: new}
	if _, err := avb.WriteHashtree(io.NewOffsetWriter(f, data*block), f, data*block, "sha256", salt); err != nil {
		t.Fatal(err)
	}
	if err := avb.WriteFEC(io.NewOffsetWriter(f, size), f, size, 2); err != nil {
		t.Fatal(err)
	}
	b := &builder{t: t, old: make([]byte, block), new: new}
	end := uint64(len(new)/block - 1)
	b.op(Operation{Type: Replace, DstExtents: []Extent{{end, 1}}}, new[end*block:])
	b.op(Operation{Type: Replace, DstExtents: []Extent{{0, data}}}, new[:data*block])
	t1, t2 := uint64(tree)/block, uint64(fec)/block
	verity := func(p *Partition) {
		p.HashTreeDataExtent, p.HashTreeExtent, p.HashTreeAlgorithm, p.HashTreeSalt = &Extent{0, data}, &Extent{data, t1}, "sha256", salt
		p.FECDataExtent, p.FECExtent, p.FECRoots = &Extent{0, data + t1}, &Extent{data + t1, t2}, 2
	}
	applyDelta(t, b.payload(verity), b.old, new)
	for name, tc := range map[string]struct {
		edit func(p *Partition)
		want string
	}{
		"tree over data":   {func(p *Partition) { p.HashTreeExtent.StartBlock-- }, "hash tree of"},
		"tree too long":    {func(p *Partition) { p.HashTreeExtent.NumBlocks++ }, "hash tree"},
		"another hash":     {func(p *Partition) { p.HashTreeAlgorithm = "md4" }, "hash tree"},
		"FEC over the end": {func(p *Partition) { p.FECExtent.StartBlock += 2 }, "FEC: blocks"},
		"FEC where data":   {func(p *Partition) { p.FECExtent.StartBlock++ }, "operation 0 (REPLACE): destination: block"},
		"300 roots":        {func(p *Partition) { p.FECRoots = 300 }, "255 roots"},
		"no data":          {func(p *Partition) { p.FECDataExtent = nil }, "fec_data_extent"},
	} {
		in := b.payload(func(p *Partition) { verity(p); tc.edit(p) })
		if _, _, err := applyAll(t, in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	// A kill after the last operation, before the tree: it is made again.
	in := b.payload(verity)
	md, err := ReadMetadata(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	disk, crash := newDisk(md), errors.New("crash")
	at := 0
	x := &Extraction{Metadata: md, Target: target(disk), Workers: 1, Done: func(n int) error {
		at = n
		return map[bool]error{true: crash}[n == 2]
	}}
	if err := x.Run(t.Context(), bytes.NewReader(in)); !errors.Is(err, crash) || at != 2 {
		t.Fatalf("Run = %v at %d", err, at)
	}
	clear(disk["p"].b[data*block : size+fec])
	x.From, x.Done = at, nil
	if err := x.Run(t.Context(), bytes.NewReader(in)); err != nil || !bytes.Equal(disk["p"].b, new) {
		t.Errorf("the second Run = %v, or makes another partition", err)
	}
}
