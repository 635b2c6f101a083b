package ota

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"mios"
	"mios/api/repo"
	"mios/device/fetch"
	"mios/format/bootctl"
	"mios/format/chunks"
	"mios/format/payload"
)

// maxAgain is how often an update is begun again whose slot did not read back
// as it was written.
const maxAgain = 2

// A job is one attempt at an update.
type job struct {
	*Engine
	rel       *repo.OSRelease
	md        *payload.Metadata // of the full payload: what the partitions become
	payload   *payload.Metadata // of the one that is applied; nil if that is not known yet
	body      io.ReadCloser     // that one from Checkpoint.Offset on, if it is open
	plan      *chunks.Plan      // of the adaptive way, if there is one
	open      map[string]Partition
	budget    fetch.Budget // bytes fetched, through all attempts at the update
	unmetered bool         // whatever the product's budget is
}

// steps is an update, in order. A step that was done before a reboot is not
// done again, save the first: the release must be offered still.
var steps = []struct {
	state State
	run   func(*job, context.Context) error
	next  State
}{
	{Downloading, (*job).download, Verifying},
	{Verifying, (*job).verify, Finalizing},
	{Finalizing, (*job).activate, NeedReboot},
}

// errAgain means that the download begins again.
var errAgain = errors.New("begin again")

func (j *job) run(ctx context.Context, install bool) error {
	j.show(func(s *Status) { s.State, s.Error = Checking, "" })
	if err := j.find(ctx); err != nil {
		return err
	}
	if !install {
		j.offer(Available)
		return nil
	}
	if err := j.prepare(ctx); err != nil {
		return fmt.Errorf("release %s: %w", j.rel.Version, err)
	}
	for i := 0; i < len(steps); i++ {
		if steps[i].state != j.rec.State {
			continue
		}
		j.show(func(s *Status) { s.State = j.rec.State })
		j.log.Info("update", "state", j.rec.State, "version", j.rel.Version, "slot", j.rec.Install.Slot)
		err := steps[i].run(j, ctx)
		if err != nil && steps[i].state == Downloading && !errors.Is(err, errAgain) {
			err = j.next(ctx, err)
		}
		if errors.Is(err, errAgain) {
			i = -1
			continue
		}
		if err != nil {
			return errors.Join(fmt.Errorf("release %s: %w", j.rel.Version, err), j.charge())
		}
		j.rec.State = steps[i].next
		if err := j.save(); err != nil {
			return err
		}
	}
	j.show(func(s *Status) { s.State, s.looked = j.rec.State, true })
	return nil
}

// close closes what the job has open.
func (j *job) close() {
	if j.body != nil {
		j.body.Close()
		j.body = nil
	}
	for _, p := range j.open {
		p.Close()
	}
	j.open = nil
}

// offer shows the release that was found.
func (j *job) offer(state State) {
	j.show(func(s *Status) {
		s.State, s.looked = state, true
		s.Update = &Progress{Version: j.rel.Version, BuildTime: j.rel.BuildTime, Digest: j.rel.Target.SHA256, Total: j.rel.Target.Length, Notes: shortNotes(j.rel.Notes)}
	})
}

// shortNotes returns as much of a release's notes as the state keeps.
func shortNotes(s string) string { return strings.ToValidUTF8(s[:min(len(s), 4<<10)], "") }

// find asks the repository for a release that is for this device, newer than
// what runs, and not known to be bad.
func (j *job) find(ctx context.Context) error {
	if err := j.cfg.Repository.Refresh(ctx); err != nil {
		return err
	}
	d := j.cfg.Device
	rel, err := j.cfg.Repository.OSOffer(d, j.cfg.ID, j.cfg.Region)
	if err != nil && !errors.Is(err, mios.ErrNotFound) {
		return err
	}
	j.rec.LastCheck = j.cfg.Now().UTC()
	switch {
	case err != nil:
		return &nothingError{err}
	case rel.Product != d.Product || rel.Arch != d.Arch:
		return fmt.Errorf("release %s is for %s on %s, and this device is %s on %s: %w", rel.Version, rel.Product, rel.Arch, d.Product, d.Arch, mios.ErrDenied)
	case rel.BuildTime <= d.BuildTime:
		return errNothing
	}
	if b := j.rec.bad(rel.Target.SHA256); b != nil {
		return fmt.Errorf("%w: release %s was tried: %s", errNothing, b.Version, b.Reason)
	}
	j.rel = rel
	return nil
}

// prepare goes on with the update under way if it is of the release that was
// found, and else begins.
func (j *job) prepare(ctx context.Context) error {
	if in := j.rec.Install; in.is(j.rel) && in.Slot != j.cfg.Slot {
		j.budget.Set(in.Spent)
		var err error
		if j.md, err = j.kept(metadataFile, in.Metadata); err == nil {
			if err := j.resume(ctx); err != nil {
				return err
			}
			return j.claim()
		}
		j.log.Error("the payload's metadata is gone: begin again", "err", err)
	}
	return j.begin(ctx)
}

// resume goes on by the way that costs least from here.
func (j *job) resume(ctx context.Context) error {
	if j.weigh() {
		return errors.Join(j.choose(ctx), j.save())
	}
	return j.affordable()
}

// begin begins the update, on one budget for all attempts of a boot.
func (j *job) begin(ctx context.Context) error {
	if b := j.begun; b.digest == j.rel.Target.SHA256 {
		if b.tooMuch != nil && !j.unmetered {
			return b.tooMuch // to find that out again would cost again
		}
		j.budget.Set(max(j.budget.Spent(), b.spent))
	}
	err := j.first(ctx)
	if err != nil {
		j.begun.digest, j.begun.spent, j.begun.tooMuch = j.rel.Target.SHA256, j.budget.Spent(), nil
	}
	if errors.Is(err, ErrBudget) && j.rec.Install == nil {
		j.begun.tooMuch = err
	}
	return err
}

// first reads the payload's metadata, checks all that can be known before its
// data, and takes the other slot out of the choice.
func (j *job) first(ctx context.Context) error {
	if err := j.metadata(ctx); err != nil {
		return err
	}
	if err := j.check(); err != nil {
		return err
	}
	in := &Install{Digest: j.rel.Target.SHA256, Version: j.rel.Version, BuildTime: j.rel.BuildTime, Notes: shortNotes(j.rel.Notes)}
	var err error
	if in.Refusals, err = j.bootRecord(); err != nil {
		return err
	}
	err = j.control(func(_ *bootctl.Control, _, other int) error {
		in.Slot = bootctl.Suffix(other)
		return nil
	})
	if err != nil {
		return err
	}
	if err := j.room(in.Slot); err != nil {
		return err
	}
	if in.Metadata, err = j.keep(metadataFile, j.md); err != nil {
		return fmt.Errorf("save the payload's metadata: %w", err)
	}
	j.rec.Install = in
	if err := j.choose(ctx); err != nil {
		if len(in.Away) == 0 {
			j.rec.Install = nil
			return err
		}
		j.rec.State = Downloading // what was asked in vain is remembered
		return errors.Join(err, j.save())
	}
	j.rec.State = Downloading
	if err := j.save(); err != nil {
		return err
	}
	return j.claim()
}

// metadataMore is how many bytes of signature are expected behind a payload's
// metadata.
const metadataMore = 16 << 10

// metadata reads the metadata of the full payload. If there is no other way, the
// payload stays open for what follows.
func (j *job) metadata(ctx context.Context) error {
	t := j.rel.Target
	length, other := t.Length, len(j.rel.Deltas) > 0 || j.rel.Adaptive != nil
	if n, err := strconv.ParseInt(j.rel.Properties["METADATA_SIZE"], 10, 64); other && err == nil && n > 0 {
		length = min(length, n+metadataMore)
	}
	body, err := j.fetch(ctx, t, 0, length)
	if err != nil {
		return err
	}
	j.md, err = payload.ReadMetadata(body)
	if err == nil && !other {
		j.payload, j.body = j.md, body
		return nil
	}
	body.Close()
	if format := (*payload.FormatError)(nil); errors.As(err, &format) {
		return fmt.Errorf("%w: %w", err, repo.ErrHash) // the repository vouches for a payload, and this is none
	}
	return err
}

// keep makes a payload's metadata durable, for attempts to come, and returns its
// SHA-256.
func (j *job) keep(file string, md *payload.Metadata) (mios.Digest, error) {
	var b bytes.Buffer
	if _, err := md.WriteTo(&b); err != nil {
		return mios.Digest{}, err
	}
	if err := j.cfg.Store.Write(file, b.Bytes()); err != nil {
		return mios.Digest{}, err
	}
	return mios.Sum(b.Bytes()), nil
}

// kept returns the metadata with that SHA-256, if keep stored it.
func (j *job) kept(file string, sum mios.Digest) (*payload.Metadata, error) {
	b, err := j.cfg.Store.Read(file)
	if err != nil {
		return nil, err
	}
	if got := mios.Sum(b); got != sum {
		return nil, fmt.Errorf("%s has SHA-256 %v, want %v: %w", file, got, sum, mios.ErrInvalid)
	}
	return payload.ReadMetadata(bytes.NewReader(b))
}

// claim makes the other slot unbootable, which it stays until all of it is
// verified. It refuses to take away the only slot that boots.
func (j *job) claim() error {
	return j.control(func(c *bootctl.Control, mine, other int) error {
		if bootctl.Suffix(other) != j.rec.Install.Slot {
			return fmt.Errorf("slot %s is not the one that the update goes to: %w", bootctl.Suffix(other), mios.ErrConflict)
		}
		if !c.Slots[mine].Successful && c.Slots[other].Bootable() {
			return fmt.Errorf("slot %s has not proved itself healthy, so slot %s is kept: %w: see getprop %s",
				j.cfg.Slot, bootctl.Suffix(other), mios.ErrConflict, healthProperty)
		}
		if j.rec.State != Finalizing {
			c.MarkUnbootable(other)
		}
		return nil
	})
}

// check holds the payload's metadata against the release and against this
// device.
func (j *job) check() error {
	m, rel := j.md.Manifest, j.rel
	if err := (&payload.Applier{Metadata: j.md, Keys: j.cfg.PayloadKeys}).Check(); err != nil {
		return err
	}
	sum := j.md.Hash()
	want, given := rel.Properties["METADATA_HASH"]
	switch {
	case len(j.cfg.PayloadKeys) == 0:
		return fmt.Errorf("this build has no key to verify payloads with: %w", mios.ErrInvalid)
	case given && want != base64.StdEncoding.EncodeToString(sum[:]):
		return fmt.Errorf("payload metadata is not the one that was published: %w: publish the payload again", mios.ErrInvalid)
	case m.PartialUpdate:
		return fmt.Errorf("payload is a partial update, which leaves partitions as they are, and the other slot's are any: %w: publish a payload with all of them", mios.ErrInvalid)
	case j.md.PayloadSize() != rel.Target.Length:
		return fmt.Errorf("payload has %d bytes by its manifest, and %d in the repository: %w", j.md.PayloadSize(), rel.Target.Length, mios.ErrInvalid)
	case m.MaxTimestamp != rel.BuildTime:
		return fmt.Errorf("payload is of the build of %d, and the repository says %d: %w: publish the payload again", m.MaxTimestamp, rel.BuildTime, mios.ErrInvalid)
	case m.MaxTimestamp <= j.cfg.Device.BuildTime:
		return fmt.Errorf("payload is of the build of %d, and this device runs the one of %d: %w", m.MaxTimestamp, j.cfg.Device.BuildTime, mios.ErrDenied)
	}
	return nil
}

// room refuses a payload whose partitions do not fit.
func (j *job) room(slot string) error {
	for i := range j.md.Manifest.Partitions {
		p := &j.md.Manifest.Partitions[i]
		part, err := j.partition(p.Name + slot)
		if err != nil {
			return err
		}
		if int64(p.NewInfo.Size) > part.Size() {
			return fmt.Errorf("partition %s%s has %d bytes, and the release needs %d: %w: this device's partitions are too small for it",
				p.Name, slot, part.Size(), p.NewInfo.Size, mios.ErrInvalid)
		}
	}
	return nil
}

// partition opens a partition once for the job.
func (j *job) partition(name string) (Partition, error) {
	if p := j.open[name]; p != nil {
		return p, nil
	}
	p, err := j.cfg.Disk.Open(name)
	if err != nil {
		return nil, fmt.Errorf("partition %s: %w", name, err)
	}
	if j.open == nil {
		j.open = map[string]Partition{}
	}
	j.open[name] = p
	return p, nil
}
