package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios/format/avb"
)

// ops is the device as AVB sees it: locked, one key for everything, and no
// persistent values.
type ops struct {
	disk  Disk
	key   []byte
	store *rollback
}

var _ avb.Ops = (*ops)(nil)

func (o *ops) ReadPartition(name string, off int64, b []byte) (int, error) {
	p, err := o.disk.Partition(name)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		off += p.Size()
	}
	if off < 0 || off > p.Size() {
		return 0, fmt.Errorf("%w: offset %d of %d", avb.ErrRange, off, p.Size())
	}
	n, err := p.ReadAt(b[:min(int64(len(b)), p.Size()-off)], off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (o *ops) PartitionSize(name string) (int64, error) {
	p, err := o.disk.Partition(name)
	if err != nil {
		return 0, err
	}
	return p.Size(), nil
}

func (o *ops) PartitionGUID(name string) (string, error) {
	p, err := o.disk.Partition(name)
	if err != nil {
		return "", err
	}
	return strings.ToLower(p.ID().String()), nil
}

func (o *ops) ValidateVBMetaPublicKey(key, _ []byte) (bool, error) {
	return bytes.Equal(key, o.key), nil
}

func (o *ops) ValidatePublicKeyForPartition(string, []byte, []byte) (bool, uint32, error) {
	return false, 0, errors.New("a slot without a vbmeta partition")
}

func (o *ops) RollbackIndex(location uint32) (uint64, error) {
	if location >= rollbackLocations {
		return 0, fmt.Errorf("rollback index location %d, want at most %d", location, rollbackLocations-1)
	}
	return o.store.get(location), nil
}

func (o *ops) IsUnlocked() (bool, error) { return false, nil }

func (o *ops) ReadPersistentValue(string) ([]byte, error) { return nil, avb.ErrNoSuchValue }

func (o *ops) WritePersistentValue(string, []byte) error { return avb.ErrInsufficientSpace }
