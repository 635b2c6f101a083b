// Package delta makes incremental update payloads, in update_engine's format:
// what a device that runs one build needs to get another.
//
// It knows the file systems in the images (ext4 and erofs, compressed too).
// Blocks that the old image has anywhere are copied from there. Changed files
// are compared with the old file of the same path, or with that which holds
// some of their blocks, or whose name is most like theirs, and with what else
// in the old image looks like them; what they have in deflate streams or in
// LZ4 is compared unpacked. For each piece the smallest operation is taken of
// those that the device's update_engine knows.
//
// Formats and limits: AOSP system/update_engine, update_metadata.proto,
// payload_consumer/payload_constants.h, payload_generator.
package delta

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"runtime"

	"mios"
	"mios/format/payload"
)

// block is the unit of extents, in bytes. update_engine's generator and
// snapshots know no other.
const block = payload.DefaultBlockSize

// An Image is a partition's content.
type Image struct {
	io.ReaderAt
	Size   int64       // bytes, a multiple of 4096
	SHA256 mios.Digest // what it must hold, if it is not zero
}

// A Partition is one that the payload brings.
type Partition struct {
	// Header is what the manifest says of the partition beside what is made
	// here: its name without a slot suffix, its version, what to run after it.
	Header payload.Partition
	// Old is what the device has. With no ReaderAt it has none, and all of New
	// is sent.
	Old, New Image
}

// Delta says what an incremental payload is made of. The same content, header
// and keys give the same bytes on every machine, whatever Workers and Memory.
type Delta struct {
	Partitions []Partition // in the order in which they are written
	// Header is what the manifest says beside its partitions: MinorVersion,
	// which decides what operations there are, MaxTimestamp, SecurityPatch,
	// Dynamic, PartialUpdate, Apexes.
	Header  payload.Manifest
	Signers []crypto.Signer // RSA; none leaves the payload unsigned
	// NoVerity sends hash trees and error correction, which a device of minor
	// version 6 and more could compute.
	NoVerity bool

	Workers int   // cores to use; 0 means all
	Memory  int64 // bytes that comparing may take at once; 0 means 512 MiB
	// Progress, if set, is told how far the work is, in bytes of the new images.
	Progress func(done, total int64)
}

// Stats say what became of the blocks of the new images.
type Stats struct {
	Operations map[payload.OpType]Share
	Computed   int64 // bytes that the device computes: hash trees and FEC
	Manifest   int64 // bytes of header and manifest
}

// A Share is what operations of one type do.
type Share struct {
	Count int
	Bytes int64 // that they write
	Data  int64 // that the payload has for it, in bytes
}

// Write writes the payload to w. Its data waits in spool, which is empty at
// first.
func (d *Delta) Write(ctx context.Context, w io.Writer, spool io.ReadWriteSeeker) (payload.Properties, *Stats, error) {
	if err := d.check(); err != nil {
		return payload.Properties{}, nil, err
	}
	m := d.Header
	m.BlockSize = block
	m.Partitions = nil
	out := &spooler{w: spool}
	stats := &Stats{Operations: map[payload.OpType]Share{}}
	r := &run{Delta: d, out: out, stats: stats}
	for i := range d.Partitions {
		r.total += d.Partitions[i].New.Size
	}
	for i := range d.Partitions {
		p, err := r.partition(ctx, &d.Partitions[i])
		if err != nil {
			return payload.Properties{}, nil, fmt.Errorf("partition %s: %w", d.Partitions[i].Header.Name, err)
		}
		m.Partitions = append(m.Partitions, *p)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return payload.Properties{}, nil, err
	}
	props, err := payload.Write(w, &m, spool, d.Signers)
	stats.Manifest = props.MetadataSize
	return props, stats, err
}

// check refuses what cannot become a payload.
func (d *Delta) check() error {
	if err := CheckMinor(d.Header.MinorVersion); err != nil {
		return err
	}
	switch {
	case d.Header.PartialUpdate && d.Header.MinorVersion < MinorPartial:
		return fmt.Errorf("partial update with minor version %d, want %d or more: %w", d.Header.MinorVersion, MinorPartial, mios.ErrInvalid)
	case len(d.Partitions) == 0:
		return fmt.Errorf("payload has no partition: %w", mios.ErrInvalid)
	}
	for _, p := range d.Partitions {
		for _, img := range []Image{p.Old, p.New} {
			if img.Size%block != 0 || img.Size < 0 || img.Size > maxImage {
				return fmt.Errorf("partition %s: image of %d bytes, want a multiple of %d up to %d: %w",
					p.Header.Name, img.Size, block, int64(maxImage), mios.ErrInvalid)
			}
		}
		if p.New.Size == 0 || p.New.ReaderAt == nil {
			return fmt.Errorf("partition %s: no new image: %w", p.Header.Name, mios.ErrInvalid)
		}
	}
	return nil
}

// maxImage keeps block numbers within 32 bits, with room for marks.
const maxImage = 1 << 43

// A run is the making of one payload.
type run struct {
	*Delta
	out         *spooler
	stats       *Stats
	done, total int64
}

func (r *run) workers() int {
	if r.Workers > 0 {
		return r.Workers
	}
	return runtime.GOMAXPROCS(0)
}

func (r *run) memory() int64 {
	if r.Memory > 0 {
		return r.Memory
	}
	return 512 << 20
}

func (r *run) progress(n int64) {
	r.done += n
	if r.Progress != nil {
		r.Progress(r.done, r.total)
	}
}

func (r *run) allowed(t payload.OpType) bool { return Allowed(r.Header.MinorVersion, t) }

// A spooler collects the data of operations.
type spooler struct {
	w io.Writer
	n uint64
}

func (s *spooler) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.n += uint64(n)
	return n, err
}

// read returns the bytes of extents, one after the other.
func (img Image) read(extents []payload.Extent) ([]byte, error) {
	b := make([]byte, blocks(extents)*block)
	at := b
	for _, x := range extents {
		n := x.NumBlocks * block
		if err := readFull(img, at[:n], int64(x.StartBlock*block)); err != nil {
			return nil, err
		}
		at = at[n:]
	}
	return b, nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read at %d: %w", off+int64(n), err)
	}
	return nil
}

// blocks counts the blocks in extents.
func blocks(extents []payload.Extent) (n uint64) {
	for _, x := range extents {
		n += x.NumBlocks
	}
	return n
}

// add appends a run of blocks to extents.
func add(extents []payload.Extent, start, n uint64) []payload.Extent {
	if n == 0 {
		return extents
	}
	if k := len(extents) - 1; k >= 0 && extents[k].StartBlock+extents[k].NumBlocks == start {
		extents[k].NumBlocks += n
		return extents
	}
	return append(extents, payload.Extent{StartBlock: start, NumBlocks: n})
}

var zeroBlock = make([]byte, block)

func isZero(b []byte) bool { return bytes.Equal(b, zeroBlock) }
