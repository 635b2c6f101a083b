package avb

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// TestDecode corrects as many errors and erasures as the code allows, for each
// number of roots, and refuses one more or leaves a codeword.
func TestDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for roots := 1; roots <= maxRoots; roots++ {
		d := newDecoder(roots)
		tables := generatorTables(roots)
		for erasures := 0; erasures <= roots; erasures++ {
			n := codeword - roots
			word := make([]byte, codeword)
			for i := range n {
				word[i] = byte(rng.Uint32())
				encodeBlock(word[n:], word[i:i+1], tables)
			}
			if !d.right(word) {
				t.Fatalf("%d roots: the encoder's word has syndromes %x", roots, d.syndrome)
			}
			broken, places := bytes.Clone(word), rng.Perm(codeword)
			erased := places[:erasures]
			for _, p := range places[:erasures+(roots-erasures)/2] {
				broken[p] ^= byte(1 + rng.IntN(255))
			}
			if !d.decode(broken, erased) || !bytes.Equal(broken, word) {
				t.Errorf("%d roots: %d erasures and %d errors are not corrected", roots, erasures, (roots-erasures)/2)
			}
		}
		if word := make([]byte, codeword); roots%2 == 0 {
			for p := range roots/2 + 1 {
				word[p*7] = byte(p + 1)
			}
			before := bytes.Clone(word)
			if d.decode(word, nil) {
				if !d.right(word) {
					t.Errorf("%d roots: what decode took is no codeword", roots)
				}
			} else if !bytes.Equal(word, before) {
				t.Errorf("%d roots: decode failed and changed the word", roots)
			}
		}
	}
}

// image is an image in memory with a hash tree and FEC.
type image struct{ b []byte }

func (m *image) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(b, off) }
func (m *image) WriteAt(b []byte, off int64) (int, error) {
	if end := off + int64(len(b)); end > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, end-int64(len(m.b)))...)
	}
	return copy(m.b[off:], b), nil
}
func (m *image) Truncate(size int64) error {
	m.b = append(m.b, make([]byte, max(0, size-int64(len(m.b))))...)[:size]
	return nil
}

// TestRepair damages data, tree and parity, and wants all back.
func TestRepair(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := rand.NewChaCha8([32]byte{5})
	for _, tt := range []struct {
		name   string
		roots  int
		damage func(b []byte, d *HashtreeDescriptor)
		fec    bool
		fails  bool
	}{
		{"nothing", 2, func([]byte, *HashtreeDescriptor) {}, false, false},
		{"a block of data", 2, func(b []byte, _ *HashtreeDescriptor) { clear(b[5*BlockSize:][:BlockSize]) }, false, false},
		{"the root's block", 2, func(b []byte, d *HashtreeDescriptor) { random.Read(b[d.TreeOffset:][:BlockSize]) }, false, false},
		{"two blocks of data, one of the tree", 2, func(b []byte, d *HashtreeDescriptor) {
			clear(b[0:BlockSize])
			random.Read(b[299*BlockSize:][:BlockSize])
			b[d.TreeOffset+BlockSize+77] ^= 1
		}, false, false},
		{"a byte in each of many blocks", 2, func(b []byte, d *HashtreeDescriptor) {
			for i := range 300 {
				b[i*BlockSize+(i*13)%BlockSize] ^= 0x40
			}
		}, false, false},
		{"the parity", 4, func(b []byte, d *HashtreeDescriptor) { clear(b[d.FECOffset+9:][:100]) }, true, false},
		{"all", 2, func(b []byte, d *HashtreeDescriptor) { random.Read(b[:d.ImageSize]) }, false, true},
		{"24 roots, 9 blocks in a row", 24, func(b []byte, d *HashtreeDescriptor) { random.Read(b[:9*BlockSize]) }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &image{make([]byte, 300*BlockSize)}
			random.Read(m.b)
			d, err := AddHashtreeFooter(m, int64(len(m.b)), FooterOptions{
				PartitionName: "system", Salt: []byte{byte(rng.Uint32())}, FECRoots: tt.roots, VBMeta: &VBMeta{},
			})
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Clone(m.b)
			tt.damage(m.b, d)
			changed := 0
			for i := 0; i < int(d.FECOffset); i += BlockSize {
				if !bytes.Equal(want[i:i+BlockSize], m.b[i:i+BlockSize]) {
					changed++
				}
			}
			report, err := Repair(t.Context(), m, d)
			if corrupt := new(CorruptError); tt.fails {
				if !errors.As(err, &corrupt) {
					t.Fatalf("Repair = %v, want a CorruptError", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.b, want) || len(report.Blocks) != changed || report.FEC != tt.fec {
				t.Errorf("Repair = %v, all right: %v; want %d blocks and parity %v", report, bytes.Equal(m.b, want), changed, tt.fec)
			}
		})
	}
}
