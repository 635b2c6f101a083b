package ota

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"mios"
	"mios/format/avb"
)

// Booted is what the vbmeta image says that this boot was verified with.
type Booted struct {
	Key           []byte // that signed it, as AVB encodes it: the one that the loader trusts
	RollbackIndex uint64
	Location      uint32 // of the rollback index
}

// ReadBooted reads the vbmeta image of the slot that runs. digest and hash are
// androidboot.vbmeta.digest and .hash_alg, which the loader gave the kernel; the
// image must be the one that they are of.
func ReadBooted(disk Disk, slot, digest, hash string) (*Booted, error) {
	p, err := disk.Open("vbmeta" + slot)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	b := make([]byte, min(p.Size(), avb.MaxVBMetaSize))
	if _, err := p.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("partition vbmeta%s: %w", slot, err)
	}
	size, err := avb.Size(b)
	if err != nil {
		return nil, fmt.Errorf("partition vbmeta%s: %w", slot, err)
	}
	if hash == "" {
		hash = "sha256"
	}
	sum, err := avb.VBMetaDigest(hash, b[:min(size, int64(len(b)))])
	if err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum); got != strings.ToLower(digest) {
		return nil, fmt.Errorf("partition vbmeta%s is not what this boot was verified with (%s %s, want %s): %w: reboot", slot, hash, got, digest, mios.ErrConflict)
	}
	result, key := avb.VerifyVBMeta(b)
	if result != avb.VerifyOK {
		return nil, fmt.Errorf("partition vbmeta%s: %v: %w", slot, result, mios.ErrDenied)
	}
	m, err := avb.Parse(b[:size])
	if err != nil {
		return nil, fmt.Errorf("partition vbmeta%s: %w", slot, err)
	}
	return &Booted{key, m.RollbackIndex, m.RollbackIndexLocation}, nil
}

// NoOlder returns a [Config.RollbackIndex] that is at least what runs: the
// loader raises the stored one only at the boot after the first healthy one,
// and until then a device that is new would take a release from before its own.
func (b *Booted) NoOlder(stored func(location uint32) (uint64, error)) func(location uint32) (uint64, error) {
	return func(location uint32) (uint64, error) {
		n, err := stored(location)
		if location == b.Location {
			n = max(n, b.RollbackIndex)
		}
		return n, err
	}
}

// DeviceID returns the name by which the device finds its place in a rollout's
// shares: serial if it has one, else a random one that the store keeps. It is
// told to nobody.
func DeviceID(s Store, serial string) (string, error) {
	const file = "device_id"
	if serial != "" {
		return serial, nil
	}
	b, err := s.Read(file)
	if err == nil && len(b) > 0 {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := rand.Text()
	return id, s.Write(file, []byte(id))
}
