package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	rollbackMagic = "miOSrpmb"
	// rollbackLocations is how many rollback index locations are kept, as many
	// as AVB knows.
	rollbackLocations = 32
	// rollbackSpacing is how far apart the two copies are, in bytes, so that
	// one write never touches both.
	rollbackSpacing = 32 << 10
)

// rollbackCopy is a copy as it stands on rpmb, little-endian.
type rollbackCopy struct {
	Magic    [8]byte
	Sequence uint64
	Indexes  [rollbackLocations]uint64
	Sum      [sha256.Size]byte // of all before it
}

// rollback keeps the stored rollback indexes on the rpmb partition: two
// copies, of which the one with the higher sequence number counts and the
// other is written next. A write that is torn anywhere leaves the copy that
// counted before. Two copies of zeros are the state before the first write.
type rollback struct {
	p     Partition
	state rollbackCopy
	next  int // copy that is written next
}

// openRollback reads the indexes. If both copies are broken it is an error:
// taking zeros instead would let an old release in.
func openRollback(p Partition) (*rollback, error) {
	r := &rollback{p: p}
	var err error
	r.state, r.next, err = readRollback(p)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// StoredRollbackIndex returns the rollback index of a location that the loader
// keeps on the rpmb partition.
func StoredRollbackIndex(rpmb io.ReaderAt, location uint32) (uint64, error) {
	state, _, err := readRollback(rpmb)
	if err != nil {
		return 0, err
	}
	return (&rollback{state: state}).get(location), nil
}

// readRollback returns the copy that counts, and which one is written next.
func readRollback(p io.ReaderAt) (state rollbackCopy, next int, err error) {
	var errs []error
	for i := range 2 {
		c, err := readCopy(p, i)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(errs) == i || c.Sequence > state.Sequence { // the first that is whole, or a newer one
			state, next = c, 1-i
		}
	}
	if len(errs) == 2 {
		return state, 0, fmt.Errorf("rpmb: no whole copy of the rollback indexes (%w): write zeros to the rpmb partition, from a place that you trust, to start over", errors.Join(errs...))
	}
	return state, next, nil
}

func readCopy(p io.ReaderAt, i int) (rollbackCopy, error) {
	var c rollbackCopy
	b := make([]byte, binary.Size(c))
	if _, err := p.ReadAt(b, int64(i)*rollbackSpacing); err != nil {
		return c, fmt.Errorf("copy %d: %w", i, err)
	}
	if bytes.Count(b, []byte{0}) == len(b) {
		return c, nil
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &c); err != nil {
		return c, fmt.Errorf("copy %d: %w", i, err)
	}
	if string(c.Magic[:]) != rollbackMagic || c.sum() != c.Sum {
		return c, fmt.Errorf("copy %d: wrong checksum", i)
	}
	return c, nil
}

// sum returns the checksum that the copy must have.
func (c *rollbackCopy) sum() [sha256.Size]byte {
	b := c.bytes()
	return sha256.Sum256(b[:len(b)-sha256.Size])
}

func (c *rollbackCopy) bytes() []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, c) // a struct of fixed size cannot fail
	return b
}

// get returns the index of a location, 0 for one that is not kept.
func (r *rollback) get(location uint32) uint64 {
	if location >= rollbackLocations {
		return 0
	}
	return r.state.Indexes[location]
}

// raise raises the indexes to those given, never lowers one, and returns once
// that is durable.
func (r *rollback) raise(indexes map[uint32]uint64) error {
	next := r.state
	for loc, v := range indexes {
		if loc >= rollbackLocations {
			return fmt.Errorf("rpmb: rollback index location %d, want at most %d", loc, rollbackLocations-1)
		}
		next.Indexes[loc] = max(next.Indexes[loc], v)
	}
	if next.Indexes == r.state.Indexes {
		return nil
	}
	next.Magic = [8]byte([]byte(rollbackMagic))
	next.Sequence++
	next.Sum = next.sum()
	if _, err := r.p.WriteAt(next.bytes(), int64(r.next)*rollbackSpacing); err != nil {
		return fmt.Errorf("rpmb: %w", err)
	}
	if err := r.p.Sync(); err != nil {
		return fmt.Errorf("rpmb: %w", err)
	}
	r.state, r.next = next, 1-r.next
	return nil
}
