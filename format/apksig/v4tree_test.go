package apksig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"time"
)

// plainTree is a hash tree as its definition has it: each level digests the
// pages of the one below. It returns the levels, the lowest first, and the root.
func plainTree(data, salt []byte) (levels [][]byte, root []byte) {
	for {
		var sums []byte
		for b := data; len(b) > 0; b = b[min(page, len(b)):] {
			full := make([]byte, page)
			copy(full, b)
			sum := sha256.Sum256(append(bytes.Clone(salt), full...))
			sums = append(sums, sum[:]...)
		}
		if len(data) <= page && len(levels) > 0 {
			return levels, sums
		}
		level := make([]byte, (len(sums)+page-1)/page*page)
		copy(level, sums)
		levels, data = append(levels, level), level
	}
}

// TestHashTree compares trees of sizes around the edges of their levels with
// the definition, and what is written of them, kept or built twice.
func TestHashTree(t *testing.T) {
	const level = 128 * page // of data below one page of hashes
	for _, n := range []int{1, page - 1, page, page + 1, treeChunk, treeChunk + 1, level - 1, level, level + 1, 2*level + 5, 128*level + 1} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i*i>>7 + i)
		}
		for _, salt := range [][]byte{nil, make([]byte, 8)} {
			if salt != nil && n > 3*level {
				continue // once is enough for a tree of three levels
			}
			levels, want := plainTree(data, salt)
			sizes := treeLevels(int64(n))
			if len(sizes) != len(levels) {
				t.Errorf("%d bytes: %d levels, want %d", n, len(sizes), len(levels))
			}
			var file []byte
			for i := len(levels) - 1; i >= 0; i-- {
				file = append(file, levels[i]...)
			}
			for _, most := range []int64{0, maxKeptTree} {
				tree := newKeptTree(int64(n), most)
				tree.salt = salt
				got, err := tree.build(t.Context(), bytes.NewReader(data), int64(n))
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, salt %x: root %x, %v; want %x", n, salt, got, err, want)
				}
				if salt != nil {
					continue
				}
				var out bytes.Buffer
				if err := tree.write(t.Context(), bytes.NewReader(data), int64(n), got, &out); err != nil || !bytes.Equal(out.Bytes()[4:], file) {
					t.Errorf("%d bytes, at most %d kept: %v, or another tree is written", n, most, err)
				}
			}
		}
	}
}

// TestHashTreeChanges: a package that changes between two passes is noticed.
func TestHashTreeChanges(t *testing.T) {
	data := make([]byte, 3*page)
	tree := newKeptTree(int64(len(data)), 0)
	root, err := tree.build(t.Context(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	data[0]++
	if err := tree.write(t.Context(), bytes.NewReader(data), int64(len(data)), root, io.Discard); err == nil {
		t.Error("a package that has changed is written")
	}
}

type failingReader struct {
	after int64
	err   error
}

func (r failingReader) ReadAt(b []byte, off int64) (int, error) {
	if off >= r.after {
		return 0, r.err
	}
	return len(b), nil
}

// TestHashTreeFails: no worker outlives a tree that fails, and the reason is
// told.
func TestHashTreeFails(t *testing.T) {
	bad := errors.New("the disk is gone")
	if _, err := new(hashTree).build(t.Context(), failingReader{5 * treeChunk, bad}, 50*treeChunk); !errors.Is(err, bad) {
		t.Errorf("build = %v, want %v", err, bad)
	}
	page := func(int, []byte) error { return bad }
	if _, err := (&hashTree{page: page}).build(t.Context(), failingReader{1 << 40, nil}, 50*treeChunk); !errors.Is(err, bad) {
		t.Errorf("build = %v, want the error of page, %v", err, bad)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := new(hashTree).build(ctx, failingReader{1 << 40, nil}, 50*treeChunk); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("build = %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := new(hashTree).build(t.Context(), failingReader{}, 0); err == nil {
		t.Error("there is a tree of no bytes")
	}
}
