package apksig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"runtime"

	"mios/internal/readat"
)

const (
	treeChunk = 64 * page // of data that one processor hashes at once
	treeSums  = treeChunk / page * sha256.Size
)

// A hashTree is a hash tree over pages of 4096 bytes, as fs-verity has it (AOSP
// tools/apksig, VerityTreeBuilder). Only the pages that are not full are kept,
// one a level.
type hashTree struct {
	salt []byte                             // hashed before each page
	page func(level int, page []byte) error // is given each page of the tree, level 0 the lowest; may be nil

	sum    hash.Hash
	levels [][]byte
	passed []int // pages that each level has passed up
}

// build hashes the first n bytes of r on all processors, and returns the hash
// of the page at the top. Of memory it takes a chunk of 256 KiB a processor.
func (t *hashTree) build(ctx context.Context, r io.ReaderAt, n int64) ([]byte, error) {
	t.sum = sha256.New()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := int((n + treeChunk - 1) / treeChunk)
	workers := make([]chan []byte, min(runtime.GOMAXPROCS(0), chunks))
	errs := make(chan error, len(workers))
	for i := range workers {
		workers[i] = make(chan []byte)
		go func() { errs <- t.hashChunks(ctx, r, n, i, len(workers), workers[i]) }()
	}
	err := t.collect(ctx, workers, chunks)
	cancel()
	for range workers { // none is left behind that still reads r
		if e := <-errs; e != nil && !errors.Is(e, context.Canceled) {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	return t.root()
}

// collect takes the hashes of the chunks in their order.
func (t *hashTree) collect(ctx context.Context, workers []chan []byte, chunks int) error {
	for i := range chunks {
		sums, ok := <-workers[i%len(workers)]
		if !ok {
			return ctx.Err() // the worker says more
		}
		if err := t.add(0, sums); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// hashChunks hashes the pages of every step-th chunk from the first on.
func (t *hashTree) hashChunks(ctx context.Context, r io.ReaderAt, n int64, first, step int, out chan<- []byte) error {
	defer close(out)
	buf, h := make([]byte, min(treeChunk, (n+page-1)/page*page)), sha256.New()
	for off := int64(first) * treeChunk; off < n; off += int64(step) * treeChunk {
		b := buf[:min(treeChunk, n-off)]
		if err := readat.Full(r, b, off); err != nil {
			return err
		}
		if pad := len(b) % page; pad > 0 {
			b = buf[:len(b)-pad+page]
			clear(b[len(b)-page+pad:])
		}
		sums := make([]byte, 0, treeSums)
		for ; len(b) > 0; b = b[page:] {
			sums = t.hash(h, sums, b[:page])
		}
		select {
		case out <- sums:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// hash appends the hash of a page.
func (t *hashTree) hash(h hash.Hash, to, page []byte) []byte {
	h.Reset()
	h.Write(t.salt)
	h.Write(page)
	return h.Sum(to)
}

// add adds hashes to a level.
func (t *hashTree) add(level int, sums []byte) error {
	if level == len(t.levels) {
		t.levels, t.passed = append(t.levels, make([]byte, 0, page)), append(t.passed, 0)
	}
	for len(sums) > 0 {
		if len(t.levels[level]) == page { // full, and not the last of its level
			if err := t.pass(level); err != nil {
				return err
			}
		}
		n := min(page-len(t.levels[level]), len(sums))
		t.levels[level] = append(t.levels[level], sums[:n]...)
		sums = sums[n:]
	}
	return nil
}

// pass ends a level's page, and adds its hash to the level above.
func (t *hashTree) pass(level int) error {
	sum, err := t.end(level)
	if err != nil {
		return err
	}
	return t.add(level+1, sum)
}

// end ends a level's page, with zeros behind what it holds, and returns its
// hash.
func (t *hashTree) end(level int) ([]byte, error) {
	b := t.levels[level]
	b = append(b, make([]byte, page-len(b))...)
	t.levels[level] = b[:0]
	t.passed[level]++
	if t.page != nil {
		if err := t.page(level, b); err != nil {
			return nil, err
		}
	}
	return t.hash(t.sum, nil, b), nil
}

// root ends the tree. Its highest level is the first of a single page.
func (t *hashTree) root() ([]byte, error) {
	if len(t.levels) == 0 {
		return nil, errors.New("hash tree of no bytes")
	}
	for level := 0; ; level++ {
		if t.passed[level] == 0 {
			return t.end(level)
		}
		if err := t.pass(level); err != nil {
			return nil, err
		}
	}
}

// treeLevels returns the sizes in bytes of the levels of a tree over n bytes,
// the lowest first.
func treeLevels(n int64) []int64 {
	var sizes []int64
	for n > page || len(sizes) == 0 {
		n = (n + page - 1) / page * sha256.Size
		sizes = append(sizes, (n+page-1)/page*page)
	}
	return sizes
}

var errTreeCutShort = errors.New("the hash tree is cut short")

// A treeComparer compares a tree that is built with one in a file, whose
// highest level stands first. All but the lowest level is kept, which is a
// 127th of the tree.
type treeComparer struct {
	r      io.Reader // at the lowest level
	upper  [][]byte  // what the file has of the levels above, the lowest of them first
	buf    []byte
	differ error // what is other, or that of reading
}

// newTreeComparer reads the length and the upper levels of a tree over n bytes
// off r. Nil is that there is no tree.
func newTreeComparer(r io.Reader, n int64) (*treeComparer, error) {
	c := &treeComparer{r: r, buf: make([]byte, page)}
	var head [4]byte
	if got, err := io.ReadFull(r, head[:]); err == io.EOF && got == 0 {
		return nil, nil
	} else if err != nil {
		return c, c.cutShort(err)
	}
	levels, total := treeLevels(n), int64(0)
	for _, size := range levels {
		total += size
	}
	if size := binary.LittleEndian.Uint32(head[:]); int64(size) != total {
		c.differ = errors.New("the hash tree has another size than that of a package of this size")
		return c, nil
	}
	c.upper = make([][]byte, len(levels)-1)
	for i := len(c.upper) - 1; i >= 0; i-- {
		c.upper[i] = make([]byte, levels[i+1])
		if _, err := io.ReadFull(r, c.upper[i]); err != nil {
			return c, c.cutShort(err)
		}
	}
	return c, nil
}

// cutShort notes a tree that ends too soon; any other error it returns.
func (c *treeComparer) cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		c.differ = errTreeCutShort
		return nil
	}
	return err
}

// page compares one page of the tree that is built.
func (c *treeComparer) page(level int, b []byte) error {
	if c.differ != nil {
		return nil
	}
	want := c.buf
	if level == 0 {
		if _, err := io.ReadFull(c.r, want); err != nil {
			return c.cutShort(err)
		}
	} else {
		want, c.upper[level-1] = c.upper[level-1][:page], c.upper[level-1][page:]
	}
	if !bytes.Equal(want, b) {
		c.differ = errors.New("the hash tree is another than the package's")
	}
	return nil
}

// end reports what is other. Nothing may follow the tree.
func (c *treeComparer) end() (differ, err error) {
	if c.differ != nil {
		return c.differ, nil
	}
	switch n, err := io.ReadFull(c.r, c.buf[:1]); {
	case n > 0:
		return errors.New("bytes follow the hash tree"), nil
	case err != io.EOF:
		return nil, err
	}
	return nil, nil
}
