package ctxio_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"mios/internal/ctxio"
)

func TestReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := ctxio.Reader(ctx, strings.NewReader("abc"))
	b := make([]byte, 2)
	if n, err := r.Read(b); n != 2 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	cancel()
	if b, err := io.ReadAll(r); len(b) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAll when cancelled = %q, %v", b, err)
	}
}
