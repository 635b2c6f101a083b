package firststage

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mios/device/dm"
	"mios/device/fstab"
	"mios/device/partition"
	"mios/format/avb"
	"mios/format/super"
)

// mountVerified mounts one entry below the new root.
func (s *stage) mountVerified(m fstab.Entry, name string) error {
	desc, disabled, err := s.hashtree(m, name)
	if err != nil {
		return err
	}
	dev, size, err := s.blockDevice(m, name)
	if err != nil {
		return err
	}
	if !disabled {
		if dev, err = s.verify(dev, size, name, desc); err != nil {
			return err
		}
	}
	return mountOn(dev, newRoot, m)
}

// hashtree returns the descriptor of the entry's partition, out of vbmeta
// images whose digest is the one that the loader verified. disabled says that
// the top-level image, or the loader, switches dm-verity off, which only an
// unlocked device does.
func (s *stage) hashtree(m fstab.Entry, name string) (d *avb.HashtreeDescriptor, disabled bool, err error) {
	open := func(name string) (io.ReaderAt, int64, error) { return openPartition(s.disk, name) }
	images, err := readVBMeta(open, m.AVB, s.boot)
	if err != nil {
		return nil, false, &refusal{m.AVB + s.boot.suffix, err}
	}
	top := images[0]
	if top.Flags&avb.FlagVerificationDisabled != 0 && !s.boot.unlocked {
		return nil, false, &refusal{m.AVB + s.boot.suffix, errors.New("it disables verification on a locked device: refused")}
	}
	if s.boot.disabled || top.Flags != 0 && s.boot.unlocked {
		return nil, true, nil
	}
	for _, image := range images {
		for _, desc := range image.Descriptors {
			d, ok := desc.(*avb.HashtreeDescriptor)
			if !ok {
				continue
			}
			full := d.PartitionName
			if d.Flags&avb.FlagDoNotUseAB == 0 {
				full += s.boot.suffix
			}
			if full == name {
				return d, false, nil
			}
		}
	}
	return nil, false, fmt.Errorf("no vbmeta image has its hash tree: it cannot be verified")
}

// readVBMeta reads the vbmeta image of a partition (without suffix) and those
// that hang on it, and compares their digest with the loader's.
func readVBMeta(open func(string) (io.ReaderAt, int64, error), partition string, boot bootArgs) ([]*avb.VBMeta, error) {
	r, size, err := open(partition + boot.suffix)
	if err != nil {
		return nil, err
	}
	top, err := readTopLevel(r, size)
	if err != nil {
		return nil, err
	}
	m, err := avb.Parse(top)
	if err != nil {
		return nil, err
	}
	images, raw := []*avb.VBMeta{m}, [][]byte{top}
	for _, d := range m.Descriptors {
		chain, ok := d.(*avb.ChainPartitionDescriptor)
		if !ok {
			continue
		}
		name := chain.PartitionName
		if chain.Flags&avb.FlagDoNotUseAB == 0 {
			name += boot.suffix
		}
		b, c, err := readChained(open, name)
		if err != nil {
			return nil, fmt.Errorf("chained partition %s: %w", name, err)
		}
		images, raw = append(images, c), append(raw, b)
	}
	digest, err := avb.VBMetaDigest(boot.hash, raw...)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(digest, boot.digest) == 0 {
		return nil, fmt.Errorf("its digest is %s, the loader verified %s: it was changed since", hex.EncodeToString(digest), hex.EncodeToString(boot.digest))
	}
	return images, nil
}

// readTopLevel reads the image at the start of a vbmeta partition.
func readTopLevel(r io.ReaderAt, size int64) ([]byte, error) {
	b := make([]byte, min(size, avb.MaxVBMetaSize))
	if _, err := r.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	n, err := avb.Size(b)
	if err != nil {
		return nil, err
	}
	if n > int64(len(b)) {
		return nil, fmt.Errorf("vbmeta image of %d bytes in a partition of %d", n, size)
	}
	return b[:n], nil
}

func readChained(open func(string) (io.ReaderAt, int64, error), name string) ([]byte, *avb.VBMeta, error) {
	r, size, err := open(name)
	if err != nil {
		return nil, nil, err
	}
	var b []byte
	if strings.HasPrefix(name, "vbmeta") {
		b, err = readTopLevel(r, size)
	} else {
		b, _, err = avb.Read(r, size)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := avb.Parse(b)
	return b, m, err
}

// openPartition opens a partition of the disk for reading. It stays open until
// the first stage ends.
func openPartition(disk partition.Nodes, name string) (io.ReaderAt, int64, error) {
	path, ok := disk[name]
	if !ok {
		return nil, 0, fmt.Errorf("partition %s: not there", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	return f, size, err
}

// blockDevice returns the device of the entry's partition, and its size in
// bytes. A logical partition is mapped out of super first.
func (s *stage) blockDevice(m fstab.Entry, name string) (string, int64, error) {
	if !m.Logical {
		_, size, err := openPartition(s.disk, name)
		return s.disk[name], size, err
	}
	r, _, err := openPartition(s.disk, superName)
	if err != nil {
		return "", 0, err
	}
	md, err := super.ReadSlot(r, s.boot.slot)
	if err != nil {
		return "", 0, &refusal{superName, err}
	}
	runs, err := md.Map(name)
	if err != nil {
		return "", 0, err
	}
	table, size := linearTable(s.disk[superName], runs)
	if size == 0 {
		return "", 0, fmt.Errorf("it is empty in the metadata of %s", superName)
	}
	d, err := s.control.Create(name, true, table...)
	if err != nil {
		return "", 0, err
	}
	return d.Path, size, nil
}

// linearTable returns the table that gathers the runs on dev, and the size of
// the whole in bytes.
func linearTable(dev string, runs []super.Run) (table []dm.Target, size int64) {
	for _, r := range runs {
		if r.Zero {
			table = append(table, dm.Zero(r.Sector, r.Count))
		} else {
			table = append(table, dm.Linear(r.Sector, r.Count, dev, r.Physical))
		}
		size += int64(r.Count) * dm.SectorSize
	}
	return table, size
}

// verify puts dm-verity over a device, and returns the new device.
func (s *stage) verify(dev string, size int64, name string, d *avb.HashtreeDescriptor) (string, error) {
	if err := d.Check(size); err != nil {
		return "", err
	}
	v := verityTarget(dev, d, s.boot.mode)
	made, err := s.control.Create(name+"-verity", true, v.Target())
	if errors.Is(err, unix.EINVAL) && v.FECRoots > 0 { // a kernel without FEC: verify without correcting
		v.FECRoots = 0
		made, err = s.control.Create(name+"-verity", true, v.Target())
	}
	if err != nil {
		return "", err
	}
	return made.Path, nil
}

// verityTarget returns what the descriptor says, with a tree on dev itself.
func verityTarget(dev string, d *avb.HashtreeDescriptor, mode dm.Mode) dm.Verity {
	v := dm.Verity{
		Device: dev, BlockSize: d.DataBlockSize, DataBlocks: d.ImageSize / uint64(d.DataBlockSize),
		HashStart: d.TreeOffset / uint64(d.HashBlockSize), HashAlgorithm: d.HashAlgorithm,
		RootDigest: d.RootDigest, Salt: d.Salt, Mode: mode, CheckOnce: d.Flags&avb.FlagCheckAtMostOnce != 0,
	}
	if d.FECRoots > 0 && d.FECSize > 0 {
		v.FECRoots = d.FECRoots
		v.FECStart = d.FECOffset / uint64(d.DataBlockSize)
		v.FECBlocks = v.FECStart // all before the parity is covered
	}
	return v
}
