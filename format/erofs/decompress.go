package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	zstandard "github.com/klauspost/compress/zstd"

	"mios/format/fsimage"
)

// The algorithms, by their numbers in the image.
const (
	lz4 = iota
	lzma
	deflate
	zstd
)

const (
	maxDict       = 8 << 20 // Z_EROFS_LZMA_MAX_DICT_SIZE
	maxZstdWindow = 10      // above 1<<10 bytes: Z_EROFS_ZSTD_MAX_DICT_SIZE
)

// errData is what the codecs here say of data that they did not make.
var errData = errors.New("data is damaged")

// Decode implements [fsimage.Source]. Zeros before the data are padding, save
// in old images of LZ4, where it begins at once.
func (s source) Decode(e fsimage.Extent, raw, dst []byte) error {
	if e.Codec != fsimage.LZ4 || s.f.Incompat&incompatZeroPadding != 0 {
		raw = trimZeros(raw)
	}
	// Data of which only a part is wanted may end behind it, and so may that of
	// old images, which is padded.
	whole := !e.Partial && int64(len(dst)) == e.Full &&
		(e.Codec != fsimage.LZ4 || s.f.Incompat&incompatZeroPadding != 0)
	var err error
	switch e.Codec {
	case fsimage.LZ4:
		err = unpackLZ4(dst, raw, whole)
	case fsimage.LZMA:
		err = unpackLZMA(dst, raw)
	case fsimage.Deflate:
		err = unpackDeflate(dst, raw, whole)
	case fsimage.Zstd:
		err = unpackZstd(dst, raw, whole)
	default:
		return fmt.Errorf("erofs: %v: %w", e.Codec, ErrUnsupported)
	}
	if err != nil {
		return bad(e.At, "%d bytes of %v that unpack to %d: %v", e.Size, e.Codec, e.Full, err)
	}
	return nil
}

// trimZeros returns what is behind the zeros at the beginning.
func trimZeros(p []byte) []byte { return bytes.TrimLeft(p, "\x00") }

var inflaters = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

func unpackDeflate(dst, raw []byte, whole bool) error {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(raw), nil); err != nil {
		return err
	}
	return fill(dst, r, whole)
}

// fill reads dst from r; with whole, r must end there.
func fill(dst []byte, r io.Reader, whole bool) error {
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	if !whole {
		return nil
	}
	var more [1]byte
	switch n, err := io.ReadFull(r, more[:]); {
	case n > 0:
		return errors.New("it unpacks to more")
	case err != io.EOF:
		return err
	}
	return nil
}

var unzstds = sync.Pool{New: func() any {
	d, err := zstandard.NewReader(nil, zstandard.WithDecoderConcurrency(1), zstandard.WithDecoderLowmem(true),
		zstandard.WithDecoderMaxWindow(1<<(10+maxZstdWindow)), zstandard.WithDecoderMaxMemory(fsimage.MaxUnpacked))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}}

func unpackZstd(dst, raw []byte, whole bool) error {
	d := unzstds.Get().(*zstandard.Decoder)
	defer unzstds.Put(d)
	if err := d.Reset(bytes.NewReader(raw)); err != nil {
		return err
	}
	return fill(dst, d, whole)
}
