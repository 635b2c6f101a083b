package delta

import (
	"bytes"
	"context"

	"mios/format/fsimage"
	"mios/format/lz4diff"
	"mios/format/payload"
	"mios/internal/lz4"
)

// A cluster is some blocks of a file that are compressed by themselves, or not
// compressed at all.
type cluster struct {
	from, to uint64 // blocks, as the file counts them
	at       int64  // of the expanded file, in bytes
	len      int64  // expanded
}

// clusters lists those of a file that is packed.
func (f *file) clusters() (out []cluster) {
	next, at := uint64(0), int64(0)
	for _, x := range f.packed {
		n := uint64(x.Size+block-1) / block
		c := cluster{from: next, to: next + n, at: at, len: x.Full}
		if x.Codec == fsimage.Plain {
			c.len = int64(n) * block
		}
		next, at = c.to, c.at+c.len
		out = append(out, c)
	}
	return out
}

const (
	// packGap: so many clusters between two changed ones are compared and not
	// copied.
	packGap = 2
	// maxExpanded is how much of a file is expanded at once, of each side, in bytes.
	maxExpanded = 24 << 20
	// maxCluster is the largest cluster that is expanded, in bytes: zeros take a
	// 255th in LZ4. Larger ones are compared as they are stored.
	maxCluster = 4 << 20
)

// packedFile makes units of a file that is compressed, as its old version is:
// of whole clusters, which are compared by what they hold. It reports whether
// the file is of that kind.
func (p *planner) packedFile(f, old *file, owner uint32) bool {
	if p.algorithm == nil || len(f.packed) == 0 || old == nil || len(old.packed) == 0 {
		return false
	}
	list, all := numbers(f.extents), f.clusters()
	want, mine := make([]bool, len(all)), make([]bool, len(all))
	for i, c := range all {
		mine[i] = c.len <= maxCluster
		for _, b := range list[c.from:c.to] {
			mine[i] = mine[i] && p.new.owner[b] == owner && p.free(b)
			want[i] = want[i] || p.changed(b, owner)
		}
		want[i] = want[i] && mine[i]
	}
	fill(want, packGap, func(i int) bool { return mine[i] })
	from := old.clusters()
	var u *unit
	var first, last cluster
	end := func() {
		if u != nil {
			p.packedSource(u, old, from, first, last)
			p.units = append(p.units, u)
			u = nil
		}
	}
	for i, c := range all {
		if !want[i] {
			continue
		}
		if u != nil && last.at+last.len-first.at > maxExpanded/2 {
			end()
		}
		if u == nil {
			u, first = &unit{name: f.name, packed: true}, c
		}
		last = c
		u.dst.addCluster(f, c)
		for _, b := range list[c.from:c.to] {
			p.taken[b] = true
		}
	}
	end()
	return true
}

// packedSource adds the old clusters around the same place of the file, all of
// them if they are not too many.
func (p *planner) packedSource(u *unit, old *file, all []cluster, first, last cluster) {
	total := all[len(all)-1].at + all[len(all)-1].len
	pad := max(0, (maxExpanded-(last.at+last.len-first.at))/2)
	from := min(max(0, first.at-pad), max(0, total-maxExpanded))
	to := from + maxExpanded
	for _, c := range all {
		if c.at+c.len > from && c.at < to && c.len <= maxCluster {
			u.src.addCluster(old, c)
		}
	}
}

// addCluster appends a cluster of a file.
func (s *side) addCluster(f *file, c cluster) {
	s.add(f, c.from, c.to)
	s.clusters = append(s.clusters, lz4diff.Block{Offset: s.expanded, Length: uint64(c.len), Compressed: (c.to - c.from) * block})
	s.expanded += uint64(c.len)
}

// diffPacked returns the operation that makes a unit of clusters.
func (e *encoder) diffPacked(ctx context.Context, u *unit, op payload.Operation, old, plain []byte) (*encoded, error) {
	data, err := lz4diff.Diff(ctx, old, plain,
		lz4diff.Layout{Algorithm: *e.algorithm, Blocks: u.src.clusters, ZeroPadding: true},
		lz4diff.Layout{Algorithm: *e.algorithm, Blocks: u.dst.clusters, ZeroPadding: true},
		lz4diff.Options{Puff: true})
	if err != nil {
		return nil, err
	}
	patch, err := lz4diff.Parse(data)
	if err != nil {
		return nil, err
	}
	op.Type = payload.LZ4DiffBSDiff
	if patch.Inner == lz4diff.PuffDiff {
		op.Type = payload.LZ4DiffPuff
	}
	return &encoded{op, data}, nil
}

// probes are how many clusters tell which compressor an image was made with.
const probes = 12

// algorithm returns the compressor that makes most of the clusters of an image
// as they are, or nil if there is none: an image does not say.
func (t *tree) algorithm(img Image) (*lz4diff.Algorithm, error) {
	if !t.padded {
		return nil, nil
	}
	var found []fsimage.Extent
	for _, f := range t.files {
		for _, x := range f.packed {
			if x.Codec == fsimage.LZ4 && len(found) < 8*probes {
				found = append(found, x)
				break
			}
		}
	}
	var best *lz4diff.Algorithm
	most := 0
	for level := int32(0); level <= 12; level++ {
		c, a := lz4.NewFast(), lz4diff.Algorithm{Type: lz4diff.LZ4}
		if level > 0 {
			c = lz4.NewHC(int(level))
			a = lz4diff.Algorithm{Type: lz4diff.LZ4HC, Level: level}
		}
		n := 0
		for i := 0; i < len(found); i += max(1, len(found)/probes) {
			same, err := t.remakes(img, c, found[i])
			if err != nil {
				return nil, err
			}
			if same {
				n++
			}
		}
		if n > 0 && n >= most { // of levels that do the same, the highest: more is right of more clusters
			best, most = &a, n
		}
	}
	return best, nil
}

// remakes reports whether a compressor makes a cluster as it is.
func (t *tree) remakes(img Image, c *lz4.Compressor, x fsimage.Extent) (bool, error) {
	raw, plain := make([]byte, x.Size), make([]byte, x.Full)
	if err := readFull(img, raw, x.At); err != nil {
		return false, err
	}
	x.Skip, x.Len = 0, x.Full
	if err := t.fs.ReadExtent(x, plain, 0); err != nil {
		return false, known(err)
	}
	out := make([]byte, x.Size)
	written, read := c.Fill(out, plain)
	return read == len(plain) && written <= len(raw) && bytes.Equal(out[:written], raw[len(raw)-written:]), nil
}
