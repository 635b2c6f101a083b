package payload

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"

	"mios/internal/bzip2"
	"mios/internal/count"
	"mios/internal/xz"
)

// An Encoder turns a piece of a partition into the data of an operation that
// needs no source. It is for one goroutine; the zero value is ready.
type Encoder struct {
	bz   bytes.Buffer
	xz   xz.Encoder
	data []byte
}

// Encode returns the form of a chunk that a device is best served with: the
// smallest, but one that takes longer to read only if it saves a tenth. What is
// compressed already, as most of a kernel is, takes the decoder of xz longest to
// make it a little smaller, and that of bzip2 takes three times as long as xz's.
// Noise, which costs the encoders most, is left as it is: what deflate gains
// nothing from, they would gain nothing worth having from. And bzip2, which gains
// that much over xz with text alone, is tried with text alone. The data stands
// until the next call, and may be plain itself.
func (e *Encoder) Encode(plain []byte) (OpType, []byte, error) {
	if noise, err := incompressible(plain); noise || err != nil {
		return Replace, plain, err
	}
	typ, best := Replace, plain
	e.data = e.xz.Encode(e.data[:0], plain)
	if worth(len(e.data), len(best)) {
		typ, best = ReplaceXZ, e.data
	}
	if !isText(plain) {
		return typ, best, nil
	}
	e.bz.Reset()
	if err := finish(bzip2.NewWriter(&e.bz), nil, plain); err != nil {
		return 0, nil, fmt.Errorf("bzip2: %w", err)
	}
	if worth(e.bz.Len(), len(best)) {
		typ, best = ReplaceBZ, e.bz.Bytes()
	}
	return typ, best, nil
}

// isText reports whether most bytes are of printable ASCII.
func isText(b []byte) bool {
	n := 0
	for _, c := range b {
		if c-' ' < 0x5f || c-'\t' < 2 {
			n++
		}
	}
	return n > len(b)/8*7
}

// worth reports whether n bytes are a tenth smaller than those of a form that is
// read faster.
func worth(n, faster int) bool { return n <= faster-faster/10 }

// incompressible reports whether deflate makes nothing smaller of b.
func incompressible(b []byte) (bool, error) {
	n := &count.Writer{W: io.Discard}
	w, err := flate.NewWriter(n, flate.BestSpeed)
	err = finish(w, err, b)
	return n.N >= int64(len(b)), err
}

// finish writes plain to an encoder that was made with err, and ends it.
func finish(w io.WriteCloser, err error, plain []byte) error {
	if err != nil {
		return err
	}
	if _, err := w.Write(plain); err != nil {
		return err
	}
	return w.Close()
}
