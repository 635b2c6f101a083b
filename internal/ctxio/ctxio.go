// Package ctxio ends long copies with their context.
package ctxio

import (
	"context"
	"io"
)

// Reader returns r, which fails with the context's error once it is over.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (c reader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
