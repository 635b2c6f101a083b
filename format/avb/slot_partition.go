package avb

import (
	"bytes"
	"fmt"
	"hash"
	"slices"
)

// loadHashed loads the partition of a hash descriptor, if it was requested,
// and verifies it.
func (v *slotVerifier) loadHashed(d *HashDescriptor) *SlotError {
	if !slices.Contains(v.req.Partitions, d.PartitionName) {
		return nil
	}
	useAB := d.Flags&FlagDoNotUseAB == 0
	if useAB && len(d.Digest) == 0 && v.req.Suffix != "" {
		return refuse(SlotErrorInvalidMetadata, d.PartitionName, "a persistent digest cannot be used with slots")
	}
	name, serr := v.fullName(d.PartitionName, useAB)
	if serr != nil {
		return serr
	}
	onDevice, err := v.ops.PartitionSize(name)
	if err != nil {
		return refuse(SlotErrorIO, name, "size: %v", err)
	}
	size := onDevice // all of it if errors are allowed: somebody may have flashed a larger image
	if !v.allow {
		if d.ImageSize > uint64(onDevice) {
			return refuse(SlotErrorIO, name, "image of %d bytes in a partition of %d", d.ImageSize, onDevice)
		}
		size = int64(d.ImageSize)
	}
	p := PartitionData{Partition: d.PartitionName, Size: size}
	var sum hash.Hash
	if h, err := hashByName(d.HashAlgorithm); err == nil && d.HashAlgorithm != "sha1" {
		sum = h.New()
		sum.Write(d.Salt)
		p.hash = d.HashAlgorithm
	}
	hashed := int64(min(d.ImageSize, uint64(size)))
	if p.Data, err = v.read(name, size, sum, hashed); err != nil {
		return refuse(SlotErrorIO, name, "%v", err)
	}
	if sum == nil {
		return refuse(SlotErrorInvalidMetadata, name, "hash algorithm %q is not supported", d.HashAlgorithm)
	}
	p.digest = sum.Sum(nil)
	ret := v.checkDigest(name, d, p.digest)
	if ret == nil || ret.Result.goesOn() {
		if ret != nil {
			p.Result = ret.Result
		}
		if len(v.data.Loaded) == maxLoaded {
			return refuse(SlotErrorOOM, name, "more than %d partitions", maxLoaded)
		}
		v.data.Loaded = append(v.data.Loaded, p)
	}
	return ret
}

// read reads the first size bytes of a partition. The first hashed of them are
// hashed while what follows them is read.
func (v *slotVerifier) read(name string, size int64, sum hash.Hash, hashed int64) ([]byte, error) {
	room, step := size, int64(1<<20)
	if v.req.Discard {
		room = min(size, 2*step) // one is read while the other one is hashed
	}
	buf := make([]byte, room)
	pieces, done := make(chan []byte), make(chan struct{})
	go func() {
		defer close(done)
		for b := range pieces {
			sum.Write(b)
		}
	}()
	err := v.readPieces(name, size, step, buf, func(b []byte, off int64) {
		if sum != nil && off < hashed {
			pieces <- b[:min(int64(len(b)), hashed-off)]
		}
	})
	close(pieces)
	<-done
	if err != nil || v.req.Discard {
		return nil, err
	}
	return buf, nil
}

// readPieces reads the first size bytes of a partition by pieces of step bytes
// into buf, again from its start when that is full, and calls got for each.
func (v *slotVerifier) readPieces(name string, size, step int64, buf []byte, got func(b []byte, off int64)) error {
	for off := int64(0); off < size; {
		b := buf[off%int64(len(buf)):][:min(step, size-off)]
		n, err := v.ops.ReadPartition(name, off, b)
		if err == nil {
			err = shortRead(n, len(b))
		}
		if err != nil {
			return fmt.Errorf("read at %#x: %w", off, err)
		}
		got(b, off)
		off += int64(len(b))
	}
	return nil
}

// checkDigest compares with the descriptor's digest, or with the persistent
// one.
func (v *slotVerifier) checkDigest(name string, d *HashDescriptor, got []byte) *SlotError {
	want := d.Digest
	if len(want) == 0 {
		var err *SlotError
		if want, err = v.persistentDigest(name, len(got), got); err != nil {
			return err
		}
	}
	switch {
	case len(want) != len(got):
		return refuse(SlotErrorInvalidMetadata, name, "digest of %d bytes in the descriptor, want %d", len(want), len(got))
	case !bytes.Equal(want, got):
		return refuse(SlotErrorVerification, name, "its hash is not the one in the descriptor")
	}
	return nil
}

// loadRequested loads all requested partitions without verifying them.
func (v *slotVerifier) loadRequested() *SlotError {
	for _, requested := range v.req.Partitions {
		name, serr := v.fullName(requested, true)
		if serr != nil {
			return serr
		}
		size, err := v.ops.PartitionSize(name)
		if err != nil {
			return refuse(SlotErrorIO, name, "size: %v", err)
		}
		if len(v.data.Loaded) == maxLoaded {
			return refuse(SlotErrorOOM, name, "more than %d partitions", maxLoaded)
		}
		data, err := v.read(name, size, nil, 0)
		if err != nil {
			return refuse(SlotErrorIO, name, "%v", err)
		}
		v.data.Loaded = append(v.data.Loaded, PartitionData{Partition: requested, Size: size, Data: data})
	}
	return nil
}
