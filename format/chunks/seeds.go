package chunks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A Seed is content that a device has: a partition of the slot that runs.
type Seed struct {
	Name    string // without a slot suffix: a partition of this name is most like it
	Content io.ReaderAt
	Size    int64 // bytes
}

// Seeds are what a device has, cut into chunks: 56 bytes a chunk.
type Seeds struct {
	list   []Seed
	chunks [][]place // of each seed, in order
	byID   map[ID]ref
}

// A place is a chunk of a seed.
type place struct {
	off  int64
	size int32
	id   ID
}

// A ref names a chunk of a seed.
type ref struct{ seed, chunk int32 }

// Scan cuts the seeds as the release's partitions of the same names were. What
// cannot be read is not had: a seed that fails is left out from there on, and the
// errors say so, joined.
func (r *Root) Scan(ctx context.Context, seeds []Seed) (*Seeds, error) {
	s := &Seeds{list: seeds, chunks: make([][]place, len(seeds)), byID: map[ID]ref{}}
	errs := make([]error, len(seeds))
	var wg sync.WaitGroup
	turn := make(chan struct{}, 2)
	for i := range seeds {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			var err error
			if s.chunks[i], err = r.scan(ctx, &seeds[i]); err != nil {
				errs[i] = fmt.Errorf("%s: %w", seeds[i].Name, err)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range s.chunks {
		for j := range s.chunks[i] {
			id := s.chunks[i][j].id
			if _, ok := s.byID[id]; !ok {
				s.byID[id] = ref{int32(i), int32(j)}
			}
		}
	}
	return s, errors.Join(errs...)
}

// scan cuts one seed, up to where it cannot be read. Areas of the partition of its
// name are cut apart from the rest, so that the rest is cut as the release's was.
func (r *Root) scan(ctx context.Context, d *Seed) (list []place, err error) {
	spans := []Span{{0, d.Size}}
	if p := r.partition(d.Name); p != nil {
		spans = p.Spans()
	}
	for i, s := range spans {
		if i == len(spans)-1 {
			s.Size = d.Size - s.Offset
		}
		if s.Offset >= d.Size {
			break
		}
		s.Size = min(s.Size, d.Size-s.Offset)
		at := s.Offset
		err := r.Cutter.Cut(io.NewSectionReader(d.Content, s.Offset, s.Size), func(b []byte) error {
			list = append(list, place{at, int32(len(b)), Sum(b)})
			at += int64(len(b))
			return ctx.Err()
		})
		if err != nil {
			return list, fmt.Errorf("at %d: %w", at, err)
		}
	}
	return list, nil
}

func (r *Root) partition(name string) *Partition {
	for i := range r.Partitions {
		if r.Partitions[i].Name == name {
			return &r.Partitions[i]
		}
	}
	return nil
}

// find returns where the bytes of a chunk are.
func (s *Seeds) find(id ID, size int) (io.ReaderAt, int64, bool) {
	ref, ok := s.byID[id]
	if !ok {
		return nil, 0, false
	}
	p := s.chunks[ref.seed][ref.chunk]
	if int(p.size) != size {
		return nil, 0, false
	}
	return s.list[ref.seed].Content, p.off, true
}
