package ota

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/api/repo"
	"mios/format/payload"
)

// download writes the other slot, by the way that was chosen.
func (j *job) download(ctx context.Context) error {
	j.planned.digest = mios.Digest{}
	switch j.rec.Install.way() {
	case Adaptive:
		return j.assemble(ctx)
	case Delta:
		d, err := j.delta()
		if err != nil {
			return err
		}
		if d == nil {
			return fmt.Errorf("the release has no delta any more from what runs: %w", mios.ErrNotFound)
		}
		if err := j.openDelta(ctx, d); err != nil {
			return err
		}
		return j.apply(ctx, d.Target, func(name string) (io.ReaderAt, error) { return j.partition(name + j.cfg.Slot) })
	}
	j.payload = j.md
	return j.apply(ctx, j.rel.Target, nil)
}

// openDelta reads a delta's metadata, unless that was done, and holds it
// against the full payload's.
func (j *job) openDelta(ctx context.Context, d *repo.Delta) error {
	in := j.rec.Install
	var err error
	if j.payload, err = j.kept(deltaFile, in.Delta); err == nil {
		return nil
	}
	if j.body, err = j.fetch(ctx, d.Target, 0, d.Target.Length); err != nil {
		return err
	}
	if j.payload, err = payload.ReadMetadata(j.body); err != nil {
		return err
	}
	if err := j.checkDelta(d); err != nil {
		return err
	}
	if in.Delta, err = j.keep(deltaFile, j.payload); err != nil {
		return fmt.Errorf("save the delta's metadata: %w", err)
	}
	in.Checkpoint = j.payload.Start()
	return j.save()
}

// checkDelta holds a delta against the release: it must make what the full
// payload makes.
func (j *job) checkDelta(d *repo.Delta) error {
	m := j.payload.Manifest
	source := func(string) (io.ReaderAt, error) { return nil, mios.ErrNotFound }
	if err := (&payload.Applier{Metadata: j.payload, Keys: j.cfg.PayloadKeys, Source: source}).Check(); err != nil {
		return err
	}
	switch {
	case j.payload.PayloadSize() != d.Target.Length:
		return fmt.Errorf("it has %d bytes by its manifest, and %d in the repository: %w", j.payload.PayloadSize(), d.Target.Length, mios.ErrInvalid)
	case m.MaxTimestamp != j.rel.BuildTime:
		return fmt.Errorf("it is to the build of %d, and the release is %d: %w", m.MaxTimestamp, j.rel.BuildTime, mios.ErrInvalid)
	case len(m.Partitions) != len(j.md.Manifest.Partitions):
		return fmt.Errorf("it is of %d partitions, and the payload of %d: %w", len(m.Partitions), len(j.md.Manifest.Partitions), mios.ErrInvalid)
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if err := j.becomes(p.Name, p.NewInfo.Size, p.NewInfo.Hash); err != nil {
			return err
		}
	}
	return nil
}

// apply applies a payload from the checkpoint on.
func (j *job) apply(ctx context.Context, t repo.Target, source func(string) (io.ReaderAt, error)) error {
	in := j.rec.Install
	if j.body == nil && !in.Checkpoint.Finished {
		var err error
		if j.body, err = j.fetch(ctx, t, in.Checkpoint.Offset, in.Size-in.Checkpoint.Offset); err != nil {
			return err
		}
	}
	reached := in.Checkpoint
	a := &payload.Applier{Metadata: j.payload, Keys: j.cfg.PayloadKeys, Source: source,
		Target: func(name string) (io.WriterAt, error) { return j.partition(name + in.Slot) },
		Done: func(c payload.Checkpoint) error {
			reached = c
			in.reached = c.Offset
			j.show(func(*Status) {})
			if !c.Finished && c.Offset-in.Checkpoint.Offset < j.every {
				return nil
			}
			return j.checkpoint(c)
		}}
	_, err := a.Apply(ctx, j.body, in.Checkpoint)
	if j.body != nil {
		j.body.Close()
		j.body = nil
	}
	if err != nil {
		// What was reached is kept, so that it need not be fetched again.
		return errors.Join(err, j.checkpoint(reached))
	}
	sum, err := in.Checkpoint.Digest()
	if err != nil {
		return err
	}
	if mios.Digest(sum) == t.SHA256 {
		return nil
	}
	err = fmt.Errorf("payload has SHA-256 %x, want %v: %w", sum, t.SHA256, mios.ErrInvalid)
	if in.way() != Full {
		return err
	}
	j.rec.State, j.rec.Install = Idle, nil
	return errors.Join(err, j.rec.save(j.cfg.Store))
}

// checkpoint makes what was written durable, and then says so in the record.
func (j *job) checkpoint(c payload.Checkpoint) error {
	if c.Offset == j.rec.Install.Checkpoint.Offset {
		return nil
	}
	for name, p := range j.open {
		if err := p.Sync(); err != nil {
			return fmt.Errorf("partition %s: %w", name, err)
		}
	}
	j.rec.Install.Checkpoint = c
	return j.save()
}

// verify reads the slot back: first that it is what the payload brought, then
// that the loader and the kernel will accept it.
func (j *job) verify(ctx context.Context) error {
	in := j.rec.Install
	for i := range j.md.Manifest.Partitions {
		name := j.md.Manifest.Partitions[i].Name
		p, err := j.partition(name + in.Slot)
		if err != nil {
			return err
		}
		if err := errors.Join(p.Sync(), p.Forget()); err != nil {
			return fmt.Errorf("partition %s: %w", name+in.Slot, err)
		}
		err = j.md.Manifest.VerifyPartition(ctx, name, p)
		if errors.Is(err, mios.ErrInvalid) {
			return j.again(err)
		}
		if err != nil {
			return err
		}
	}
	err := j.verifySlot(ctx)
	if why := (*refusedError)(nil); errors.As(err, &why) {
		j.rec.reject(fmt.Sprintf("slot %s was refused before it was made active: %v", in.Slot, why), j.cfg.Now())
		return errors.Join(fmt.Errorf("refused, and not to be tried again: %w: its vendor has to publish another one", err), j.rec.save(j.cfg.Store))
	}
	return err
}

// again throws away what was written and begins again, a few times.
func (j *job) again(cause error) error {
	in := j.rec.Install
	j.log.Error("the slot does not read back as it was written", "err", cause, "again", in.Again)
	if in.Again >= maxAgain {
		j.rec.State, j.rec.Install = Idle, nil
		return errors.Join(fmt.Errorf("the slot does not read back as it was written, for the %d. time: %w: the device's storage may be failing, or the release is not what its payload says",
			in.Again+1, cause), j.rec.save(j.cfg.Store))
	}
	in.Again++
	in.Checkpoint, in.Delta, j.payload = j.md.Start(), mios.Digest{}, nil
	j.rec.State = Downloading
	if err := j.save(); err != nil {
		return err
	}
	return errAgain
}
