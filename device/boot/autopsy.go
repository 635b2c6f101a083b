package boot

import (
	"errors"
	"fmt"
	"io"

	"mios/format/avb"
	"mios/format/bootctl"
	"mios/format/super"
)

// autopsy looks for damage in slot i, which was started and did not come up:
// in the partitions that are verified only as they are read, by dm-verity in
// the running system. What dies of such a block, init itself perhaps, cannot
// say so. Both results are empty if there is none.
func (b *attempt) autopsy(i int) (partition, reason string) {
	data, err := avb.VerifySlot(&ops{b.Disk, b.Key, b.store}, avb.SlotRequest{Suffix: bootctl.Suffix(i), ErrorMode: avb.EIO})
	if err != nil {
		return "", "" // it is refused before it could do harm
	}
	err = data.VerifyHashtrees(func(name string) (io.ReaderAt, error) { return b.open(name, i) })
	c, corrupt := errors.AsType[*avb.CorruptError](err)
	if !corrupt {
		return "", ""
	}
	what := "block"
	if c.Tree {
		what = "hash tree block"
	}
	return c.Partition + data.Suffix, fmt.Sprintf("%s %d is not what was signed", what, c.Off/avb.BlockSize)
}

// open opens a partition of slot i, one of the disk or a logical one.
func (b *attempt) open(name string, i int) (io.ReaderAt, error) {
	p, err := b.Disk.Partition(name)
	if !errors.Is(err, avb.ErrNoSuchPartition) {
		return p, err
	}
	dev, err := b.Disk.Partition("super")
	if err != nil {
		return nil, err
	}
	md, err := super.ReadSlot(dev, i)
	if err != nil {
		return nil, err
	}
	return md.Open(name, dev)
}
