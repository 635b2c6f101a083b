package ota

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/format/payload"
)

// download applies the payload from the checkpoint on.
func (j *job) download(ctx context.Context) error {
	in := j.rec.Install
	if j.body == nil && !in.Checkpoint.Finished {
		var err error
		if j.body, err = j.cfg.Fetcher.Open(ctx, j.rel.Target.File(), in.Checkpoint.Offset, in.Size-in.Checkpoint.Offset); err != nil {
			return err
		}
	}
	reached := in.Checkpoint
	a := &payload.Applier{Metadata: j.md, Keys: j.cfg.PayloadKeys,
		Target: func(name string) (io.WriterAt, error) { return j.partition(name + in.Slot) },
		Done: func(c payload.Checkpoint) error {
			reached = c
			j.show(func(s *Status) { s.Update.Done = c.Offset })
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
	if mios.Digest(sum) != in.Digest {
		j.rec.State, j.rec.Install = Idle, nil
		return errors.Join(fmt.Errorf("payload has SHA-256 %x, want %v: %w", sum, in.Digest, mios.ErrInvalid), j.rec.save(j.cfg.Store))
	}
	return nil
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
	return j.rec.save(j.cfg.Store)
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
		return errors.Join(fmt.Errorf("the slot does not read back as it was written, for the %d. time: %w: the device's storage may be failing",
			in.Again+1, cause), j.rec.save(j.cfg.Store))
	}
	in.Again++
	in.Checkpoint = j.md.Start()
	j.rec.State = Downloading
	if err := j.rec.save(j.cfg.Store); err != nil {
		return err
	}
	return errAgain
}
