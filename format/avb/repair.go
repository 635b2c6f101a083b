package avb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"mios/internal/readat"
)

// ErrNoFEC means that an image cannot be repaired, for want of parity or of a
// root digest.
var ErrNoFEC = errors.New("avb: no FEC")

// A RepairReport tells what [Repair] has changed.
type RepairReport struct {
	Blocks []int64 // offsets of the blocks of data and hash tree, in bytes
	FEC    bool    // the parity was wrong
}

// ReadWriterAt is what can be repaired in place; [*os.File] is one.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// Repair finds the blocks of a partition that its hash tree does not answer
// for, and corrects them with the FEC of the descriptor: what becomes of a block
// is taken only if it has the digest that the tree, from the root down, wants.
// Then the parity is made right. The error is a [*CorruptError] for the first
// block that stays wrong; others may have been written. It takes little memory.
func Repair(ctx context.Context, f ReadWriterAt, d *HashtreeDescriptor) (*RepairReport, error) {
	t, err := d.tree()
	if len(d.RootDigest) == 0 {
		return nil, fmt.Errorf("%w: partition %s: the device keeps the root digest, so nothing says what is right", ErrNoFEC, d.PartitionName)
	}
	if err != nil {
		return nil, err
	}
	if d.FECRoots == 0 || d.FECSize == 0 {
		return nil, fmt.Errorf("%w: partition %s: it was made without", ErrNoFEC, d.PartitionName)
	}
	covered := int64(d.TreeOffset + d.TreeSize)
	if d.FECRoots > maxRoots || d.TreeOffset < d.ImageSize || int64(d.FECOffset) != covered || int64(d.FECSize) != FECSize(covered, int(d.FECRoots)) {
		return nil, fmt.Errorf("avb: partition %s: FEC of %d bytes at %#x with %d roots: want %d behind the hash tree", d.PartitionName, d.FECSize, d.FECOffset, d.FECRoots, FECSize(covered, int(min(d.FECRoots, maxRoots))))
	}
	r := &repair{ctx: ctx, f: f, d: d, t: t, rounds: fecRounds(covered, int(d.FECRoots)), wrong: map[int64]map[int64][]byte{}}
	if err := r.all(); err != nil {
		return nil, err
	}
	slices.Sort(r.report.Blocks)
	w := &mender{f: f, off: int64(d.FECOffset)}
	if err := WriteFEC(w, f, covered, int(d.FECRoots)); err != nil {
		return nil, err
	}
	r.report.FEC = w.changed
	return &r.report, nil
}

type repair struct {
	ctx    context.Context
	f      ReadWriterAt
	d      *HashtreeDescriptor
	t      *tree
	rounds int64 // blocks whose codewords are next to each other
	// wrong holds the digests of the blocks that are known to be wrong, by
	// round and number; skipped are those that no right tree block judges.
	wrong   map[int64]map[int64][]byte
	skipped bool
	report  RepairReport
}

// all makes everything right, or returns the error of what stays wrong. It looks
// at all again as long as something is repaired: a block can only be judged, and
// so stand aside for others, once the tree block above it is right.
func (r *repair) all() error {
	for {
		before := len(r.report.Blocks)
		if err := r.pass(); err != nil {
			return fmt.Errorf("avb: partition %s: %w", r.d.PartitionName, err)
		}
		if len(r.wrong) == 0 && !r.skipped {
			return nil
		}
		if len(r.report.Blocks) == before {
			break
		}
	}
	first, count := int64(-1), 0
	for _, numbers := range r.wrong {
		for n := range numbers {
			if count++; first < 0 || n*BlockSize < first {
				first = n * BlockSize
			}
		}
	}
	return fmt.Errorf("%d bad blocks cannot be repaired by the FEC, the first: %w", count, &CorruptError{r.d.PartitionName, first, first >= int64(r.d.TreeOffset)})
}

// pass goes through the tree's levels from the root down, and through the data.
func (r *repair) pass() error {
	r.skipped = false
	above, aboveOff := io.ReaderAt(bytes.NewReader(padTo(r.d.RootDigest, r.t.stride))), int64(-1)
	for i := len(r.t.sizes) - 1; i >= 0; i-- {
		off := int64(r.d.TreeOffset) + r.t.offset(i)
		if err := r.level(off, r.t.sizes[i]/BlockSize, above, aboveOff); err != nil {
			return err
		}
		above, aboveOff = r.f, off
	}
	return r.level(0, r.t.blocks, above, aboveOff)
}

func padTo(b []byte, n int64) []byte { return append(bytes.Clone(b), make([]byte, n-int64(len(b)))...) }

// level makes right what it can of the blocks from off on, whose digests are
// read from above at aboveOff; -1 is the root digest's.
func (r *repair) level(off, blocks int64, above io.ReaderAt, aboveOff int64) error {
	list, err := r.bad(off, blocks, above, max(0, aboveOff))
	if err != nil {
		return err
	}
	touched := map[int64]bool{}
	for _, b := range list {
		at := max(0, aboveOff) + b*r.t.stride
		if parent := at / BlockSize; aboveOff >= 0 && r.wrong[parent%r.rounds][parent] != nil {
			r.skipped = true
			continue
		}
		digest := make([]byte, r.t.hash.Size())
		if err := readat.Full(above, digest, at); err != nil {
			return err
		}
		n := off/BlockSize + b
		round := n % r.rounds
		if r.wrong[round] == nil {
			r.wrong[round] = map[int64][]byte{}
		}
		r.wrong[round][n], touched[round] = digest, true
	}
	for _, round := range slices.Sorted(maps.Keys(touched)) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.round(round, r.wrong[round]); err != nil {
			return err
		}
		if len(r.wrong[round]) == 0 {
			delete(r.wrong, round)
		}
	}
	return nil
}

// bad returns which of the blocks from off on do not hash to their digests.
func (r *repair) bad(off, blocks int64, above io.ReaderAt, aboveOff int64) (list []int64, err error) {
	const step = 128
	var mu sync.Mutex
	err = parallel(int((blocks+step-1)/step), func() func(int) error {
		h, sum := r.t.hasher(), make([]byte, r.t.hash.Size())
		data, digests := make([]byte, step*BlockSize), make([]byte, step*r.t.stride)
		return func(i int) error {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			first := int64(i) * step
			n := min(step, blocks-first)
			if err := readat.Full(r.f, data[:n*BlockSize], off+first*BlockSize); err != nil {
				return err
			}
			if err := readat.Full(above, digests[:n*r.t.stride], aboveOff+first*r.t.stride); err != nil {
				return err
			}
			for j := range n {
				if h.sum(sum, data[j*BlockSize:][:BlockSize]); !bytes.Equal(sum, digests[j*r.t.stride:][:len(sum)]) {
					mu.Lock()
					list = append(list, first+j)
					mu.Unlock()
				}
			}
			return nil
		}
	})
	return list, err
}

// round corrects blocks of one round of codewords; those that it has corrected
// are taken out of digests.
func (r *repair) round(round int64, digests map[int64][]byte) error {
	n := codeword - int(r.d.FECRoots)
	rows := make([]byte, n*BlockSize) // row k holds byte k of each codeword
	for k := range n {
		if err := readPadded(r.f, rows[k*BlockSize:][:BlockSize], (int64(k)*r.rounds+round)*BlockSize, int64(r.d.FECOffset)); err != nil {
			return err
		}
	}
	parity := make([]byte, BlockSize*int(r.d.FECRoots))
	if err := readat.Full(r.f, parity, int64(r.d.FECOffset)+round*int64(len(parity))); err != nil {
		return err
	}
	for again := true; again && len(digests) > 0; {
		again = false
		var erased []int
		for number := range digests {
			erased = append(erased, int(number/r.rounds))
		}
		slices.Sort(erased)
		// Whole blocks may be lost, or single bytes in many.
		for _, trusted := range [][]int{erased, nil} {
			fixed, err := r.accept(round, digests, rows, r.decode(rows, parity, trusted))
			if err != nil {
				return err
			}
			again = again || fixed
		}
	}
	return nil
}

// decode returns the rows with each codeword corrected that can be.
func (r *repair) decode(rows, parity []byte, erased []int) []byte {
	out := bytes.Clone(rows)
	if len(erased) > int(r.d.FECRoots) {
		return out
	}
	n, roots := len(rows)/BlockSize, int(r.d.FECRoots)
	d := newDecoder(roots)
	word := make([]byte, codeword)
	for j := range BlockSize {
		for k := range n {
			word[k] = rows[k*BlockSize+j]
		}
		copy(word[n:], parity[j*roots:][:roots])
		if d.decode(word, erased) {
			for k := range n {
				out[k*BlockSize+j] = word[k]
			}
		}
	}
	return out
}

// accept writes those of the wanted blocks that are right in out.
func (r *repair) accept(round int64, digests map[int64][]byte, rows, out []byte) (fixed bool, err error) {
	h, sum := r.t.hasher(), make([]byte, r.t.hash.Size())
	for number, want := range digests {
		k := number / r.rounds
		block := out[k*BlockSize:][:BlockSize]
		if h.sum(sum, block); !bytes.Equal(sum, want) {
			continue
		}
		if _, err := r.f.WriteAt(block, number*BlockSize); err != nil {
			return fixed, err
		}
		copy(rows[k*BlockSize:], block)
		delete(digests, number)
		r.report.Blocks = append(r.report.Blocks, number*BlockSize)
		fixed = true
	}
	return fixed, nil
}

// mender writes where what is there differs.
type mender struct {
	f       ReadWriterAt
	off     int64
	mu      sync.Mutex
	changed bool
}

func (m *mender) WriteAt(b []byte, off int64) (int, error) {
	have := make([]byte, len(b))
	if err := readat.Full(m.f, have, m.off+off); err != nil {
		return 0, err
	}
	if bytes.Equal(have, b) {
		return len(b), nil
	}
	m.mu.Lock()
	m.changed = true
	m.mu.Unlock()
	return m.f.WriteAt(b, m.off+off)
}
