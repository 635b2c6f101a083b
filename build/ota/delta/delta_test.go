package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mios"
	"mios/format/avb"
	"mios/format/payload"
)

// image is b as an Image, filled up to whole blocks.
func image(b []byte) Image {
	b = append(bytes.Clone(b), make([]byte, -len(b)&(block-1))...)
	return Image{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
}

// made is a payload that generate made.
type made struct {
	payload []byte
	m       *payload.Manifest
	stats   *Stats
}

// generate makes the payload of a delta, and verifies it.
func generate(t testing.TB, d *Delta) made {
	t.Helper()
	spool, err := os.CreateTemp(t.TempDir(), "spool")
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	var out bytes.Buffer
	props, stats, err := d.Write(context.Background(), &out, spool)
	if err != nil {
		t.Fatal(err)
	}
	if props.FileSize != int64(out.Len()) {
		t.Errorf("payload of %d bytes, its properties say %d", out.Len(), props.FileSize)
	}
	if err := Verify(context.Background(), bytes.NewReader(out.Bytes()), int64(out.Len()), d.Partitions, nil); err != nil {
		t.Fatal(err)
	}
	md, err := payload.ReadMetadata(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range md.Manifest.Partitions {
		for i, op := range p.Operations {
			if !Allowed(md.Manifest.MinorVersion, op.Type) {
				t.Errorf("partition %s: operation %d is %v in minor version %d", p.Name, i, op.Type, md.Manifest.MinorVersion)
			}
		}
	}
	return made{out.Bytes(), md.Manifest, stats}
}

func partition(old, new Image) Partition {
	return Partition{Header: payload.Partition{Name: "system"}, Old: old, New: new}
}

func header(minor uint32) payload.Manifest {
	return payload.Manifest{MinorVersion: minor, MaxTimestamp: 1}
}

// noise are n bytes that nothing makes smaller.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// text is n bytes of some words.
func text(r *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, "word %x of line %d\n", r.IntN(1<<16), len(b)%97)
	}
	return b[:n]
}

// TestRaw makes deltas of images without a file system: moved, changed and
// cleared blocks, in every minor version.
func TestRaw(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	old := append(noise(r, 100*block), text(r, 200*block)...)
	old = append(old, make([]byte, 50*block)...)
	new := bytes.Clone(old)
	copy(new[10*block:], old[40*block:60*block]) // moved
	clear(new[70*block : 75*block])              // cleared
	for i := 110; i < 200; i += 3 {
		copy(new[i*block+17:], "some other words") // changed
	}
	copy(new[310*block:], noise(r, 3*block)) // new
	new = append(new, text(r, 5*block)...)   // longer
	for minor := uint32(MinMinor); minor <= MaxMinor; minor++ {
		if testing.Short() && minor != MinMinor && minor != MinorBrotli && minor != MaxMinor {
			continue
		}
		got := generate(t, &Delta{Partitions: []Partition{partition(image(old), image(new))}, Header: header(minor)})
		if n := len(got.payload); n > 5*block {
			t.Errorf("minor version %d: payload of %d bytes", minor, n)
		}
		for typ, want := range map[payload.OpType]bool{
			payload.SourceCopy: true, payload.Zero: minor >= MinorBrotli, payload.BrotliBSDiff: minor >= MinorBrotli, payload.SourceBSDiff: minor < MinorBrotli,
		} {
			if n := got.stats.Operations[typ].Count; (n > 0) != want {
				t.Errorf("minor version %d: %d operations %v, want some: %v", minor, n, typ, want)
			}
		}
	}
}

// TestNewPartition brings a partition that the device does not have.
func TestNewPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("two blocks of 2 MiB, packed in every way")
	}
	r := rand.New(rand.NewPCG(3, 4))
	got := generate(t, &Delta{Partitions: []Partition{partition(Image{}, image(bytes.Repeat(text(r, 10*block), 70)))}, Header: header(MaxMinor)})
	p := got.m.Partitions[0]
	if p.OldInfo != nil {
		t.Errorf("old_partition_info is %v, want none", p.OldInfo)
	}
	if n := len(p.Operations); n != 2 {
		t.Errorf("%d operations, want 2", n)
	}
}

// TestSame makes a payload of nothing but copies.
func TestSame(t *testing.T) {
	img := image(noise(rand.New(rand.NewPCG(5, 6)), 1000*block))
	got := generate(t, &Delta{Partitions: []Partition{partition(img, img)}, Header: header(MaxMinor)})
	if len(got.payload) > 600 {
		t.Errorf("payload of %d bytes", len(got.payload))
	}
}

// TestOtherSource applies a delta to what it was not made for: nothing may be written.
func TestOtherSource(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	old := text(r, 100*block)
	new := edit(r, old)
	d := &Delta{Partitions: []Partition{partition(image(old), image(new))}, Header: header(MaxMinor)}
	got := generate(t, d)
	old[99*block] ^= 1
	other := []Partition{partition(image(old), image(make([]byte, 100*block)))}
	err := Verify(context.Background(), bytes.NewReader(got.payload), int64(len(got.payload)), other, nil)
	if !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("another source: %v, want mios.ErrInvalid", err)
	}
}

// TestWorkers compares payloads that were made on one core and on several, in
// little memory and in much.
func TestWorkers(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	old := noise(r, 1300*block)
	new := bytes.Clone(old)
	for _, at := range []int{10, 600, 1200} {
		for range 20 {
			copy(new[at*block+r.IntN(50*block):], "other")
		}
	}
	var first []byte
	for _, d := range []Delta{{Workers: 1}, {Workers: 2}, {Workers: 7, Memory: 1 << 20}} {
		d.Partitions, d.Header = []Partition{partition(image(old), image(new))}, header(MaxMinor)
		got := generate(t, &d)
		if first == nil {
			first = got.payload
		}
		if !bytes.Equal(got.payload, first) {
			t.Errorf("%d workers, %d bytes of memory: another payload", d.Workers, d.Memory)
		}
	}
}

func TestRefused(t *testing.T) {
	img := image(make([]byte, block))
	for name, d := range map[string]*Delta{
		"minor version 1":  {Partitions: []Partition{partition(img, img)}, Header: header(1)},
		"minor version 10": {Partitions: []Partition{partition(img, img)}, Header: header(10)},
		"no partition":     {Header: header(9)},
		"half a block":     {Partitions: []Partition{partition(img, Image{ReaderAt: img, Size: 100})}, Header: header(9)},
		"no new image":     {Partitions: []Partition{partition(img, Image{})}, Header: header(9)},
		"partial too early": {Partitions: []Partition{partition(img, img)},
			Header: payload.Manifest{MinorVersion: 6, PartialUpdate: true}},
	} {
		if _, _, err := d.Write(context.Background(), new(bytes.Buffer), nil); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%s: %v, want mios.ErrInvalid", name, err)
		}
	}
}

// TestVerity leaves hash tree and error correction to the device, if it can
// compute them, and sends them if they are not what it would.
func TestVerity(t *testing.T) {
	if testing.Short() {
		t.Skip("many deltas, one after the other")
	}
	r := rand.New(rand.NewPCG(11, 12))
	old := text(r, 300*block)
	new := bytes.Clone(old)
	copy(new[55*block:], "changed")
	signed := func(name string, b []byte) []byte {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
		o := avb.FooterOptions{PartitionName: "system", PartitionSize: 2 << 20, Salt: []byte("salt"), FECRoots: 2, VBMeta: &avb.VBMeta{}}
		if _, err := avb.AddHashtreeFooter(f, int64(len(b)), o); err != nil {
			t.Fatal(err)
		}
		b, err = os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	from, to := signed("old", old), signed("new", new)
	for _, tt := range []struct {
		name     string
		d        Delta
		to       []byte
		computed bool
	}{
		{"minor version 6", Delta{Header: header(6)}, to, true},
		{"minor version 5", Delta{Header: header(5)}, to, false},
		{"not wanted", Delta{Header: header(9), NoVerity: true}, to, false},
	} {
		tt.d.Partitions = []Partition{partition(image(from), image(tt.to))}
		got := generate(t, &tt.d)
		p := got.m.Partitions[0]
		if computed := p.HashTreeExtent != nil && p.FECExtent != nil; computed != tt.computed || got.stats.Computed > 0 != tt.computed {
			t.Errorf("%s: hash tree %v, FEC %v, %d bytes computed, want some: %v", tt.name, p.HashTreeExtent, p.FECExtent, got.stats.Computed, tt.computed)
		}
	}
	d, err := (&run{Delta: &Delta{}}).hashtree(image(to), "system")
	if d == nil || err != nil {
		t.Fatalf("hashtree: %v, %v", d, err)
	}
	for _, tt := range []struct {
		name      string
		at        uint64
		tree, fec bool
	}{{"hash tree", d.TreeOffset + 5, false, false}, {"FEC", d.FECOffset + 5, true, false}} {
		bad := bytes.Clone(to)
		bad[tt.at] ^= 1
		got := generate(t, &Delta{Header: header(9), Partitions: []Partition{partition(image(from), image(bad))}})
		p := got.m.Partitions[0]
		if p.HashTreeExtent != nil != tt.tree || p.FECExtent != nil != tt.fec {
			t.Errorf("another byte in the %s: hash tree %v, FEC %v", tt.name, p.HashTreeExtent, p.FECExtent)
		}
	}
}
