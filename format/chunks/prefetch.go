package chunks

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// A prefetch brings runs of the pack, a few at once, and gives their chunks out
// in order.
type prefetch struct {
	ctx    context.Context
	runs   []Span
	coming chan chan fetched // one a run, in order
	run    Span
	body   []byte
	busy   sync.WaitGroup
}

// fetched is what came of a run.
type fetched struct {
	body []byte
	err  error
}

// newPrefetch begins to fetch, and ends with ctx: busy is waited for then. At
// most n runs are under way or waiting to be used.
func newPrefetch(ctx context.Context, runs []Span, open Opener, n int) *prefetch {
	p := &prefetch{ctx: ctx, runs: runs, coming: make(chan chan fetched, max(n-2, 0))}
	p.busy.Go(func() {
		for _, run := range runs {
			c := make(chan fetched, 1)
			select {
			case p.coming <- c:
			case <-ctx.Done():
				return
			}
			p.busy.Go(func() {
				body, err := fetch(ctx, run, open)
				c <- fetched{body, err}
			})
		}
	})
	return p
}

func fetch(ctx context.Context, run Span, open Opener) ([]byte, error) {
	body, err := open(ctx, run.Offset, run.Size)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b := make([]byte, run.Size)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, fmt.Errorf("pack: offset %d: %w", run.Offset, err)
	}
	return b, nil
}

// read returns what the pack has of a chunk, in the order of the runs.
func (p *prefetch) read(c *Chunk) ([]byte, error) {
	for p.body == nil || c.Pack < p.run.Offset || c.Pack+int64(c.Packed) > p.run.Offset+p.run.Size {
		if len(p.runs) == 0 {
			return nil, fmt.Errorf("pack: offset %d: was not planned", c.Pack)
		}
		p.run, p.runs = p.runs[0], p.runs[1:]
		select {
		case c := <-p.coming:
			got := <-c
			if got.err != nil {
				return nil, got.err
			}
			p.body = got.body
		case <-p.ctx.Done():
			return nil, p.ctx.Err()
		}
	}
	from := c.Pack - p.run.Offset
	return p.body[from : from+int64(c.Packed)], nil
}
