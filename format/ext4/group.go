package ext4

import "encoding/binary"

// inodeTable returns the block at which the inodes of a group begin.
func (f *FS) inodeTable(group int64) (int64, error) {
	at := f.descriptorAt(group)
	b := make([]byte, f.descSize)
	if err := f.read(b, at, "group descriptor"); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if sum, want, ok := f.groupSum(uint32(group), b), le.Uint16(b[30:]), f.ROCompat&(roMetadataSum|roGroupSum) != 0; ok && sum != want {
		return 0, bad(at+30, "group %d: checksum of its descriptor is %#x, want %#x", group, sum, want)
	}
	table := int64(le.Uint32(b[8:]))
	if f.descSize >= 64 {
		table |= int64(le.Uint32(b[40:])) << 32
	}
	blocks := (int64(f.InodesInGroup)*f.InodeSize + f.BlockSize - 1) / f.BlockSize
	if table <= f.firstBlock || table > f.Blocks-blocks {
		return 0, bad(at+8, "group %d: its %d blocks of inodes begin at block %d of %d", group, blocks, table, f.Blocks)
	}
	return table, nil
}

// descriptorAt is where a group's descriptor lies.
func (f *FS) descriptorAt(group int64) int64 {
	perBlock := f.BlockSize / f.descSize
	block, within := group/perBlock, group%perBlock*f.descSize
	if f.Incompat&incompatMetaBG == 0 || block < f.firstMeta {
		return (max(f.firstBlock, superOffset/f.BlockSize)+1+block)*f.BlockSize + within
	}
	first := block * perBlock // of the groups that it is for, and in that
	at := f.firstBlock + first*f.BlocksInGroup
	if f.hasSuper(first) {
		at++
	}
	if first == 0 && f.firstBlock == 0 && f.BlockSize == superOffset {
		at++ // with bigalloc, block 0 of 1024 bytes is in a group
	}
	return at*f.BlockSize + within
}

// hasSuper reports whether a group begins with a copy of the superblock.
func (f *FS) hasSuper(group int64) bool {
	switch {
	case group == 0:
		return true
	case f.Compat&compatSparseSuper2 != 0:
		return group == int64(f.backups[0]) || group == int64(f.backups[1])
	case group == 1 || f.ROCompat&roSparseSuper == 0:
		return true
	case group%2 == 0:
		return false
	}
	for _, base := range []int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// groupSum is the checksum of a group's descriptor.
func (f *FS) groupSum(group uint32, b []byte) uint16 {
	if f.hasSums() {
		sum := crc(crcOf(f.seed, group), b[:30])
		return uint16(crc(crc(sum, []byte{0, 0}), b[32:]))
	}
	sum := crc16(^uint16(0), f.UUID[:])
	sum = crc16(crc16(sum, binary.LittleEndian.AppendUint32(nil, group)), b[:30])
	if f.Incompat&incompat64Bit != 0 {
		sum = crc16(sum, b[32:])
	}
	return sum
}

// crc16 is the kernel's: the polynomial 0x8005, its bits turned round.
func crc16(sum uint16, p []byte) uint16 {
	const poly = 0xa001
	for _, b := range p {
		sum ^= uint16(b)
		for range 8 {
			sum = sum>>1 ^ poly&-(sum&1)
		}
	}
	return sum
}
