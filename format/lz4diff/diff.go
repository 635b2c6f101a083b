package lz4diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"mios/format/bsdiff"
	"mios/format/puffin"
	"mios/internal/pieces"
)

// Options say how [Diff] works.
type Options struct {
	Inner bsdiff.Options
	// Puff tries a puffdiff of the expanded files too, if both have deflate
	// streams as a ZIP archive or gzip has them, and takes the smaller.
	Puff bool
	// Hashes has who applies the patch check each block by itself, which takes
	// some 36 bytes each; else only those that need a patch of their own.
	Hashes bool
}

// Diff returns a patch that makes new of old, which are the files' blocks as
// stored, one after the other, without gaps, of at most 256 MiB when expanded. A
// block that liblz4 compresses otherwise gets a patch of its own. For levels 1
// and 2 of LZ4HC, which versions of liblz4 differ in, level 3 is taken, so that
// most blocks do.
func Diff(ctx context.Context, old, new []byte, oldLayout, newLayout Layout, o Options) ([]byte, error) {
	if len(oldLayout.Blocks) == 0 || len(newLayout.Blocks) == 0 {
		return nil, fmt.Errorf("lz4diff: %d blocks and %d: compare files that have some", len(oldLayout.Blocks), len(newLayout.Blocks))
	}
	p := &Patch{Old: oldLayout, New: newLayout, fixes: map[int]fix{}}
	if a := &p.New.Algorithm; a.Type == LZ4HC && (a.Level == 1 || a.Level == 2) {
		a.Level = 3
	}
	from, err := p.Old.expand(ctx, old, "old file")
	if err != nil {
		return nil, err
	}
	to, err := p.New.expand(ctx, new, "new file")
	if err != nil {
		return nil, err
	}
	if err := p.findFixes(ctx, to, new, o); err != nil {
		return nil, err
	}
	inner, err := bsdiff.Diff(ctx, from, to, o.Inner)
	if err != nil {
		return nil, err
	}
	if o.Puff {
		puffed, err := puff(ctx, from, to, o.Inner)
		if err != nil {
			return nil, err
		}
		if puffed != nil && len(puffed) < len(inner) {
			inner, p.Inner = puffed, PuffDiff
		}
	}
	return append(p.appendHeader(nil), inner...), nil
}

// puff returns a puffdiff, or nil if one of the files has no deflate blocks that
// the other has not.
func puff(ctx context.Context, old, new []byte, o bsdiff.Options) ([]byte, error) {
	from, to := puffin.RemoveEqual(old, new, locate(old), locate(new))
	if len(from) == 0 || len(to) == 0 {
		return nil, nil
	}
	return puffin.Diff(ctx, old, new, from, to, o)
}

// locate returns the deflate blocks of an archive or gzip.
func locate(data []byte) []puffin.BitExtent {
	if blocks := puffin.LocateZip(data); len(blocks) > 0 {
		return blocks
	}
	blocks, err := puffin.LocateGzip(data)
	if err != nil {
		return nil // it is none
	}
	return blocks
}

// findFixes compresses the new blocks, and finds which become otherwise.
func (p *Patch) findFixes(ctx context.Context, expanded, stored []byte, o Options) error {
	at := p.New.storedAt()
	var mu sync.Mutex
	return pieces.Items(ctx, len(p.New.Blocks), func() func(int) error {
		k, err := newPacker(&p.New, expanded)
		return func(i int) error {
			if err != nil {
				return err
			}
			made, want := k.pack(i), stored[at[i]:at[i+1]]
			same := bytes.Equal(made, want)
			if same && !o.Hashes {
				return nil
			}
			sum := sha256.Sum256(made)
			x := fix{sha256: sum[:]}
			if !same {
				patch, err := bsdiff.Diff(ctx, made, want, bsdiff.Options{Quality: o.Inner.Quality})
				if err != nil {
					return err
				}
				x.patch = patch
			}
			mu.Lock()
			defer mu.Unlock()
			p.fixes[i] = x
			return nil
		}
	})
}
