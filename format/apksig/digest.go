package apksig

import (
	"context"
	"crypto"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"mios/internal/readat"
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
			if err := readat.Full(p.r, b, off); err != nil {
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

var errVerityPage = errors.New("the signing block does not begin at a page, as its verity digest needs")

// verity returns the root of the hash tree over the parts as one run of pages,
// and their size (ApkSigningBlockUtils.computeApkVerityDigest).
func (s *sections) verity(ctx context.Context) ([]byte, error) {
	if s.end%page != 0 {
		return nil, errVerityPage
	}
	a := &assembly{r: s.r}
	a.copy(0, s.end)
	a.copy(s.dir, s.dirN)
	a.append(s.eocd)
	root, err := (&hashTree{salt: make([]byte, 8)}).build(ctx, a, a.size)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint64(root, uint64(a.size)), nil
}
