package ota

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/format/chunks"
)

// adaptive makes the plan of the adaptive way: it reads the index's root, looks
// through both slots for chunks, and fetches the parts of the index that it
// needs for what is left.
func (j *job) adaptive(ctx context.Context) error {
	root, err := j.root(ctx)
	if err != nil {
		return err
	}
	seeds, err := j.scan(ctx, root, j.cfg.Slot)
	if err != nil {
		return err
	}
	there, err := j.scan(ctx, root, j.rec.Install.Slot)
	if err != nil {
		return err
	}
	j.plan, err = root.Plan(ctx, seeds, there, func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		return j.fetch(ctx, j.rel.Adaptive.Index, off, n)
	})
	return err
}

// scan looks through a slot for chunks. What cannot be read is not there to be
// used: that is no reason not to update.
func (j *job) scan(ctx context.Context, root *chunks.Root, slot string) (*chunks.Seeds, error) {
	var list []chunks.Seed
	for i := range root.Partitions {
		name := root.Partitions[i].Name
		p, err := j.partition(name + slot)
		if errors.Is(err, mios.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, chunks.Seed{Name: name, Content: p, Size: p.Size()})
	}
	seeds, err := root.Scan(ctx, list)
	if seeds != nil && err != nil {
		j.log.Warn("a partition is not used for the update", "err", err)
		err = nil
	}
	return seeds, err
}

// root fetches the index's root, and holds it against the release and against
// what the payload's signed metadata says that the partitions become.
func (j *job) root(ctx context.Context) (*chunks.Root, error) {
	a := j.rel.Adaptive
	body, err := j.fetch(ctx, a.Index, 0, a.RootSize)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(body, a.RootSize)); err != nil {
		return nil, err
	}
	if int64(b.Len()) != a.RootSize || mios.Sum(b.Bytes()) != a.Root {
		return nil, fmt.Errorf("the index of the chunks is not the one that was published: %w", mios.ErrInvalid)
	}
	root, err := chunks.ParseRoot(b.Bytes())
	if err != nil {
		return nil, err
	}
	if n, want := len(root.Partitions), len(j.md.Manifest.Partitions); n != want {
		return nil, fmt.Errorf("the chunks are of %d partitions, and the payload of %d: %w", n, want, mios.ErrInvalid)
	}
	for i := range root.Partitions {
		p := &root.Partitions[i]
		if err := j.becomes(p.Name, uint64(p.Size), p.SHA256[:]); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// becomes refuses what would make another partition than the payload.
func (j *job) becomes(name string, size uint64, hash []byte) error {
	switch p := j.md.Manifest.Partition(name); {
	case p == nil:
		return fmt.Errorf("it would make a partition %s, which the payload has not: %w", name, mios.ErrInvalid)
	case p.NewInfo.Size != size || !bytes.Equal(p.NewInfo.Hash, hash):
		return fmt.Errorf("it would make another partition %s than the payload: %w", name, mios.ErrInvalid)
	}
	return nil
}

// assemble writes the other slot by the plan. It needs no checkpoint: what is
// written is found there by the next plan.
func (j *job) assemble(ctx context.Context) error {
	in := j.rec.Install
	if j.plan == nil {
		if err := j.adaptive(ctx); err != nil {
			return err
		}
	}
	a := &chunks.Assembler{
		Plan:   j.plan,
		Target: func(name string) (chunks.Target, error) { return j.partition(name + in.Slot) },
		Pack: func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
			return j.fetch(ctx, j.rel.Adaptive.Pack, off, n)
		},
		Progress: func(done, total int64) {
			if reached := portion(in.Size, done, total); reached-in.reached >= max(in.Size/100, 1) || done == total {
				in.reached = reached
				j.show(func(*Status) {})
			}
		},
	}
	err := a.Run(ctx)
	j.plan = nil
	for name, p := range j.open {
		if serr := p.Sync(); serr != nil {
			err = errors.Join(err, fmt.Errorf("partition %s: %w", name, serr))
		}
	}
	return errors.Join(err, j.save())
}

// portion returns as much of size as done is of total; their product may be
// larger than any int64.
func portion(size, done, total int64) int64 {
	return int64(float64(size) * float64(done) / float64(max(total, 1)))
}
