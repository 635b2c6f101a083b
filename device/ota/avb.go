package ota

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios"
	"mios/format/avb"
	"mios/format/bootctl"
)

// A refusedError is a slot that the loader or dm-verity would refuse.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// verifySlot does what the loader will do with the slot, and recomputes the
// hash trees that the kernel would only look at block by block.
func (j *job) verifySlot(ctx context.Context) error {
	slot := j.rec.Install.Slot
	var hashed []string // those that vbmeta must vouch for
	for i := range j.md.Manifest.Partitions {
		if name := j.md.Manifest.Partitions[i].Name; name != "vbmeta" {
			hashed = append(hashed, name)
		}
	}
	data, err := avb.VerifySlot(&avbOps{job: j, ctx: ctx}, avb.SlotRequest{
		Partitions: []string{"boot"}, Suffix: slot, ErrorMode: avb.Restart, Discard: true,
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if refused := (*avb.SlotError)(nil); errors.As(err, &refused) && refused.Result != avb.SlotErrorIO && refused.Result != avb.SlotErrorOOM {
		return &refusedError{err}
	}
	if err != nil {
		return err
	}
	if err := covered(data, hashed); err != nil {
		return &refusedError{err}
	}
	if err := sameProduct(data, j.cfg.Device.Product); err != nil {
		return &refusedError{err}
	}
	err = data.VerifyHashtrees(func(name string) (io.ReaderAt, error) {
		p, err := j.partition(name)
		if err != nil {
			return nil, err
		}
		return &ctxReaderAt{ctx, p}, nil
	})
	if corrupt := (*avb.CorruptError)(nil); errors.As(err, &corrupt) {
		return &refusedError{err}
	}
	return err
}

// covered refuses a slot whose vbmeta leaves verification off, or says nothing
// of one of the partitions.
func covered(data *avb.SlotData, names []string) error {
	all, err := data.Descriptors()
	if err != nil {
		return err
	}
	for _, v := range data.VBMeta {
		m, err := avb.Parse(v.Data)
		if err != nil {
			return err
		}
		if m.Flags != 0 {
			return fmt.Errorf("partition %s%s: verification is switched off (flags %#x): %w", v.Partition, data.Suffix, uint32(m.Flags), mios.ErrDenied)
		}
	}
	known := map[string]bool{}
	for _, d := range all {
		switch d := d.(type) {
		case *avb.HashDescriptor:
			known[d.PartitionName] = d.PartitionName == "boot" // the only one whose hash the loader checks
		case *avb.HashtreeDescriptor:
			known[d.PartitionName] = true
		}
	}
	for _, n := range names {
		if !known[n] {
			return fmt.Errorf("partition %s%s: vbmeta does not vouch for it: %w", n, data.Suffix, mios.ErrDenied)
		}
	}
	return nil
}

// fingerprint is the property in which vbmeta says what it was built as:
// PRODUCT/VERSION/VARIANT.
const fingerprint = "com.android.build.system.fingerprint"

// sameProduct refuses a slot whose vbmeta says that it is of another product,
// which a vendor signs with the same keys. What it does not say is not held
// against it.
func sameProduct(data *avb.SlotData, product string) error {
	all, err := data.Descriptors()
	if err != nil {
		return err
	}
	for _, d := range all {
		p, ok := d.(*avb.PropertyDescriptor)
		if !ok || p.Key != fingerprint {
			continue
		}
		if name, _, _ := strings.Cut(string(p.Value), "/"); name != product {
			return fmt.Errorf("partition vbmeta%s: it is of %s, and this device is %s: %w", data.Suffix, p.Value, product, mios.ErrDenied)
		}
	}
	return nil
}

// ctxReaderAt ends reading when its context does.
type ctxReaderAt struct {
	ctx context.Context
	r   io.ReaderAt
}

func (c *ctxReaderAt) ReadAt(b []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.ReadAt(b, off)
}

// avbOps is the device as the loader sees it: locked, with one trusted key.
type avbOps struct {
	*job
	ctx context.Context
}

// part opens a partition under AVB's errors.
func (o *avbOps) part(name string) (Partition, error) {
	p, err := o.partition(name)
	if errors.Is(err, mios.ErrNotFound) {
		return nil, fmt.Errorf("%v: %w", err, avb.ErrNoSuchPartition)
	}
	return p, err
}

func (o *avbOps) ReadPartition(name string, off int64, b []byte) (int, error) {
	p, err := o.part(name)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		off += p.Size()
	}
	if off < 0 || off > p.Size() {
		return 0, avb.ErrRange
	}
	n, err := (&ctxReaderAt{o.ctx, p}).ReadAt(b[:min(int64(len(b)), p.Size()-off)], off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (o *avbOps) PartitionSize(name string) (int64, error) {
	p, err := o.part(name)
	if err != nil {
		return 0, err
	}
	return p.Size(), nil
}

// PartitionGUID is for the kernel's command line only, which is not used here.
func (o *avbOps) PartitionGUID(string) (string, error) {
	return "00000000-0000-0000-0000-000000000000", nil
}

func (o *avbOps) ValidateVBMetaPublicKey(key, _ []byte) (bool, error) {
	return bytes.Equal(key, o.cfg.AVBKey), nil
}

func (o *avbOps) ValidatePublicKeyForPartition(string, []byte, []byte) (bool, uint32, error) {
	return false, 0, nil
}

func (o *avbOps) RollbackIndex(location uint32) (uint64, error) { return o.cfg.RollbackIndex(location) }
func (o *avbOps) IsUnlocked() (bool, error)                     { return false, nil }

func (o *avbOps) ReadPersistentValue(string) ([]byte, error) { return nil, avb.ErrNoSuchValue }

func (o *avbOps) WritePersistentValue(name string, _ []byte) error {
	return fmt.Errorf("persistent value %s: %w", name, mios.ErrDenied)
}

// activate makes the slot the one to be booted next. The release must still be
// one that may be installed: days may have passed since it was found.
func (j *job) activate(ctx context.Context) error {
	if err := j.cfg.Repository.CheckFresh(); err != nil {
		return err
	}
	in := j.rec.Install
	in.BootID = j.cfg.BootID
	if err := j.rec.save(j.cfg.Store); err != nil {
		return err
	}
	return j.control(func(c *bootctl.Control, _, other int) error {
		if bootctl.Suffix(other) != in.Slot {
			return fmt.Errorf("slot %s cannot be made active while %s runs: %w", in.Slot, j.cfg.Slot, mios.ErrConflict)
		}
		c.SetActive(other, j.cfg.Tries)
		return nil
	})
}
