package apksig

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

const chunkSize = 1 << 20

// A part is one of the three regions that digests cover.
type part struct {
	r io.ReaderAt
	n int64
}

type bytesAt []byte

func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, b[min(off, int64(len(b))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// parts are what is before the signing block, the central directory, and the
// end record.
func (s *sections) parts() []part {
	return []part{
		{s.r, s.end},
		{io.NewSectionReader(s.r, s.dir, s.dirN), s.dirN},
		{bytesAt(s.eocd), int64(len(s.eocd))},
	}
}

// digests computes the digests of the package of those kinds, in one pass, on
// all processors, with a chunk of memory each.
func (s *sections) digests(ctx context.Context, kinds map[digestKind]bool) (map[digestKind][]byte, error) {
	out := make(map[digestKind][]byte)
	var hashes []crypto.Hash
	var of []digestKind
	if kinds[chunkedSHA256] {
		hashes, of = append(hashes, crypto.SHA256), append(of, chunkedSHA256)
	}
	if kinds[chunkedSHA512] {
		hashes, of = append(hashes, crypto.SHA512), append(of, chunkedSHA512)
	}
	if len(hashes) > 0 {
		sums, err := chunked(ctx, s.parts(), hashes)
		if err != nil {
			return nil, err
		}
		for i, sum := range sums {
			out[of[i]] = sum
		}
	}
	if kinds[veritySHA256] {
		sum, err := s.verity(ctx)
		if err != nil {
			return nil, err
		}
		out[veritySHA256] = sum
	}
	return out, nil
}

// chunked digests each chunk of each part, and then the digests.
func chunked(ctx context.Context, parts []part, hashes []crypto.Hash) ([][]byte, error) {
	count := 0
	for _, p := range parts {
		count += int((p.n + chunkSize - 1) / chunkSize)
	}
	tops := make([][]byte, len(hashes)) // 0x5a, count, the chunks' digests
	for i, h := range hashes {
		tops[i] = make([]byte, 5+count*h.Size())
		tops[i][0] = 0x5a
		binary.LittleEndian.PutUint32(tops[i][1:], uint32(count))
	}
	var next atomic.Int64
	errs := make([]error, min(runtime.GOMAXPROCS(0), count))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = hashChunks(ctx, parts, hashes, tops, count, &next) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, h := range hashes {
		sum := h.New()
		sum.Write(tops[i])
		tops[i] = sum.Sum(nil)
	}
	return tops, nil
}

// hashChunks takes chunks by their number until there is none left. It reads
// them in pieces that a processor's cache can hold.
func hashChunks(ctx context.Context, parts []part, hashes []crypto.Hash, tops [][]byte, count int, next *atomic.Int64) error {
	var head [5]byte
	head[0] = 0xa5
	buf := make([]byte, 64<<10)
	hs := make([]hash.Hash, len(hashes))
	for i, h := range hashes {
		hs[i] = h.New()
	}
	for {
		i := int(next.Add(1) - 1)
		if i >= count {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p, off := place(parts, i)
		n := min(chunkSize, p.n-off)
		binary.LittleEndian.PutUint32(head[1:], uint32(n))
		for _, h := range hs {
			h.Reset()
			h.Write(head[:])
		}
		for end := off + n; off < end; {
			b := buf[:min(int64(len(buf)), end-off)]
			if err := readFull(p.r, b, off); err != nil {
				return err
			}
			for _, h := range hs {
				h.Write(b)
			}
			off += int64(len(b))
		}
		for j, h := range hs {
			h.Sum(tops[j][5+i*h.Size() : 5+i*h.Size()])
		}
	}
}

// place returns where the chunk with that number lies.
func place(parts []part, i int) (part, int64) {
	for _, p := range parts {
		n := int((p.n + chunkSize - 1) / chunkSize)
		if i < n {
			return p, int64(i) * chunkSize
		}
		i -= n
	}
	panic("apksig: chunk number out of range") // the count is of the same parts
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

var errVerityPage = errors.New("the signing block does not begin at a page, as its verity digest needs")

// verity returns the root of the hash tree over the parts as one run of pages,
// and their size (ApkSigningBlockUtils.computeApkVerityDigest).
func (s *sections) verity(ctx context.Context) ([]byte, error) {
	if s.end%page != 0 {
		return nil, errVerityPage
	}
	t := &verityTree{hash: sha256.New()}
	var size int64
	buf := make([]byte, 256*page)
	for _, p := range s.parts() {
		for off := int64(0); off < p.n; off += int64(len(buf)) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			b := buf[:min(int64(len(buf)), p.n-off)]
			if err := readFull(p.r, b, off); err != nil {
				return nil, err
			}
			t.write(0, b)
		}
		size += p.n
	}
	return binary.LittleEndian.AppendUint64(t.root(), uint64(size)), nil
}

// A verityTree is a hash tree of which only the pages that are not full are
// kept, one a level.
type verityTree struct {
	hash   hash.Hash
	levels [][]byte
	count  []int // of the pages that each level has passed up
}

func (t *verityTree) write(level int, b []byte) {
	if level == len(t.levels) {
		t.levels, t.count = append(t.levels, make([]byte, 0, page)), append(t.count, 0)
	}
	for len(b) > 0 {
		n := min(page-len(t.levels[level]), len(b))
		t.levels[level] = append(t.levels[level], b[:n]...)
		b = b[n:]
		if len(t.levels[level]) == page {
			t.pass(level)
		}
	}
}

// pass hashes the page of a level, padded with zeros, into the level above.
func (t *verityTree) pass(level int) {
	sum := t.sum(t.levels[level])
	t.levels[level] = t.levels[level][:0]
	t.count[level]++
	t.write(level+1, sum)
}

func (t *verityTree) sum(b []byte) []byte {
	var salt [8]byte
	t.hash.Reset()
	t.hash.Write(salt[:])
	t.hash.Write(b)
	t.hash.Write(make([]byte, page-len(b)))
	return t.hash.Sum(nil)
}

// root ends the tree: the highest level is the first that is a single page.
func (t *verityTree) root() []byte {
	for level := 0; ; level++ {
		if level > 0 && t.count[level] == 0 {
			return t.sum(t.levels[level])
		}
		if len(t.levels[level]) > 0 {
			t.pass(level)
		}
		if level > 0 && t.count[level] == 1 { // exactly a page
			return t.levels[level+1]
		}
	}
}
