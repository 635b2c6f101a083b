package ota

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"mios"
	"mios/build/ota/input"
	"mios/format/payload"
	"mios/internal/atomicfile"
)

// An Extraction makes images of an update's partitions: of a full one from
// nothing, of another from what is installed.
type Extraction struct {
	Update     *Update
	Old        *input.Build // what is installed; nil if the update needs none
	Dir        string       // for NAME.img; it is made if it is missing
	Partitions []string     // those wanted; nil wants all
	Keys       []*rsa.PublicKey
	Workers    int // cores to use; 0 means all
	// Progress, if set, is told how many of the images' bytes are written.
	Progress func(done, total int64)

	wanted []*payload.Partition
	files  map[string]*os.File
}

// stateFile is where an extraction that was interrupted is remembered.
const stateFile = ".mios-ota.json"

// state is what stands there. It is of one update and one choice of partitions.
type state struct {
	Metadata   mios.Digest `json:"metadata"`
	Partitions []string    `json:"partitions"`
	Operations int         `json:"operations"` // that are written, counted over the partitions
	// Whole: all are written and verified, and images begin to get their names.
	Whole bool `json:"whole,omitempty"`
}

// saveEvery is how many bytes are written between two notes of how far it is.
const saveEvery = 256 << 20

// Run extracts. An image has its name once it is whole and has the hash that
// the update gives; until then it is under a temporary one, and another Run of
// the same update goes on where this one ended. It returns how many operations
// were there already.
func (x *Extraction) Run(ctx context.Context) (resumed int, err error) {
	if err := os.MkdirAll(x.Dir, 0o755); err != nil {
		return 0, err
	}
	if x.wanted, err = x.choose(); err != nil {
		return 0, err
	}
	was, err := x.open()
	defer func() {
		for _, f := range x.files {
			err = errors.Join(err, f.Close())
		}
	}()
	if err != nil {
		return 0, err
	}
	first := was.Operations
	if err := x.run(ctx, &was); err != nil {
		return first, errors.Join(err, x.leave(err, was))
	}
	err = os.Remove(filepath.Join(x.Dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return first, errors.Join(err, atomicfile.Sync(x.Dir))
}

// leave keeps what was written before an error for the next Run, if it is any
// good.
func (x *Extraction) leave(why error, at state) error {
	if at.Operations > 0 && !errors.Is(why, mios.ErrInvalid) && !errors.Is(why, mios.ErrNotFound) {
		return x.save(at)
	}
	for _, p := range x.wanted {
		os.Remove(x.part(p.Name))
	}
	os.Remove(filepath.Join(x.Dir, stateFile))
	return nil
}

// choose returns the partitions that are wanted, in the manifest's order.
func (x *Extraction) choose() (out []*payload.Partition, err error) {
	m := x.Update.Metadata.Manifest
	for _, name := range x.Partitions {
		if m.Partition(name) == nil {
			return nil, fmt.Errorf("partition %s: %w: the update does not bring it", name, mios.ErrNotFound)
		}
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if x.Partitions == nil || slices.Contains(x.Partitions, p.Name) {
			if p.NewInfo == nil {
				return nil, fmt.Errorf("partition %s: no new_partition_info: %w", p.Name, mios.ErrInvalid)
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func (x *Extraction) part(name string) string { return filepath.Join(x.Dir, "."+name+".img.part") }

// open opens the images under their temporary names, as an earlier Run of the
// same update left them, or new.
func (x *Extraction) open() (state, error) {
	now := state{Metadata: mios.Digest(x.Update.Metadata.Hash())}
	for _, p := range x.wanted {
		now.Partitions = append(now.Partitions, p.Name)
	}
	x.files = map[string]*os.File{}
	if was, ok := x.earlier(now); ok {
		return was, nil
	}
	for _, f := range x.files {
		f.Close()
	}
	clear(x.files)
	if err := os.Remove(filepath.Join(x.Dir, stateFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return now, err
	}
	for _, p := range x.wanted {
		f, err := os.OpenFile(x.part(p.Name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return now, err
		}
		x.files[p.Name] = f
		if err := f.Truncate(int64(p.NewInfo.Size)); err != nil {
			return now, fmt.Errorf("partition %s: %w", p.Name, err)
		}
	}
	return now, nil
}

// earlier opens what an earlier Run left, if all of it is there. An image that has
// its name is its own only if it came as far as to give names: else somebody put
// it there.
func (x *Extraction) earlier(now state) (state, bool) {
	b, err := os.ReadFile(filepath.Join(x.Dir, stateFile))
	var was state
	if err != nil || json.Unmarshal(b, &was) != nil || was.Metadata != now.Metadata || !slices.Equal(was.Partitions, now.Partitions) || was.Operations < 0 {
		return was, false
	}
	for _, p := range x.wanted {
		name := x.part(p.Name)
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) && was.Whole {
			name = filepath.Join(x.Dir, p.Name+".img")
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return was, false
		}
		x.files[p.Name] = f
		if size, err := f.Seek(0, io.SeekEnd); err != nil || size != int64(p.NewInfo.Size) {
			return was, false
		}
	}
	return was, true
}

func (x *Extraction) run(ctx context.Context, at *state) error {
	m := x.Update.Metadata.Manifest
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var written, next int64
	e := &payload.Extraction{
		Metadata: x.Update.Metadata, Keys: x.Keys, Partitions: at.Partitions, From: at.Operations, Workers: x.Workers,
		Target: func(name string) (io.WriterAt, error) { return target{x.files[name]}, nil },
		Finish: func(name string) error { // beside the next partition's operations
			wg.Go(func() {
				if err := m.VerifyPartition(ctx, name, x.files[name]); err != nil {
					cancel(err)
				}
			})
			return nil
		},
		Progress: func(done, total int64) {
			if written = done; x.Progress != nil {
				x.Progress(done, total)
			}
		},
		Done: func(operations int) error {
			if at.Operations = operations; written < next {
				return nil
			}
			next = written + saveEvery
			return x.save(*at)
		},
	}
	next = saveEvery
	if x.Old != nil {
		e.Source = func(name string) (io.ReaderAt, error) {
			p := x.Old.Find(name)
			if p == nil {
				return nil, fmt.Errorf("%w: it is not among the images that are installed", mios.ErrNotFound)
			}
			return p, nil
		}
	}
	err := e.Run(ctx, io.NewSectionReader(x.Update.Payload, 0, x.Update.Size))
	wg.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	at.Whole = true
	if err := x.save(*at); err != nil {
		return err
	}
	for _, p := range x.wanted {
		err := os.Rename(x.part(p.Name), filepath.Join(x.Dir, p.Name+".img"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// save makes what is written durable, and then says so.
func (x *Extraction) save(at state) error {
	for name, f := range x.files {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("partition %s: %w", name, err)
		}
	}
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(filepath.Join(x.Dir, stateFile), b, 0o644)
}

// target is a new file: what nobody wrote is zeros.
type target struct{ *os.File }

// ZeroAt leaves what is zeros already.
func (target) ZeroAt(int64, int64) error { return nil }
