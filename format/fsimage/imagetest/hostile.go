package imagetest

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"mios/format/fsimage"
)

// readMost is how much [ReadAll] reads at most, in bytes, and extents.
const (
	readMost    = 4 << 20
	extentsMost = 1 << 12
)

var errEnough = errors.New("enough")

// ReadAll reads all that an image holds: folders, links, attributes, extents, and
// data up to a bound. It checks that extents follow each other, and lie in the image.
func ReadAll(f *fsimage.FS, size int64) error {
	root, err := f.Root()
	if err != nil {
		return err
	}
	left := int64(readMost)
	err = f.Walk("", root, func(_ string, n fsimage.Node) error {
		if _, err := n.Xattrs(); err != nil {
			return err
		}
		if !n.Info().Mode.IsRegular() {
			n.Target() // an error, of what is no link
			return nil
		}
		if err := extents(n, size); err != nil {
			return err
		}
		if left -= n.Info().Size; left < 0 {
			return errEnough
		}
		read, err := f.Copy(io.Discard, n)
		if err == nil && read != n.Info().Size {
			return fmt.Errorf("read %d of %d bytes", read, n.Info().Size)
		}
		return err
	})
	if err == errEnough {
		return nil
	}
	return err
}

func extents(n fsimage.Node, size int64) error {
	at, count := int64(0), 0
	for e, err := range n.Extents(0) {
		switch {
		case err != nil:
			return err
		case e.Off != at || e.Len <= 0 || e.At != fsimage.Hole && (e.At < 0 || e.Size < 0 || e.At > size-e.Size):
			return fmt.Errorf("extent %+v behind %d of an image of %d bytes", e, at, size)
		}
		at = e.Off + e.Len
		if count++; count > extentsMost {
			return nil
		}
	}
	if at != n.Info().Size {
		return fmt.Errorf("extents end at %d of %d", at, n.Info().Size)
	}
	return nil
}

// Refused fails a test if an error does not say where an image is wrong, or is
// none of those known.
func Refused(tb testing.TB, err error, known ...error) {
	tb.Helper()
	var format *fsimage.FormatError
	if err == nil || errors.As(err, &format) {
		return
	}
	for _, k := range known {
		if errors.Is(err, k) {
			return
		}
	}
	tb.Errorf("%v: no FormatError", err)
}

// Hostile changes bytes of an image, cuts it off, and has read read it each
// time: it must not fail but with an error that says where the image is wrong.
func Hostile(t *testing.T, image []byte, read func(b []byte) error, known ...error) {
	refused := 0
	try := func(b []byte) {
		err := read(b)
		if err != nil {
			refused++
		}
		Refused(t, err, known...)
	}
	step := max(1, len(image)/24)
	for n := 0; n < len(image); n += step {
		try(image[:n])
	}
	if refused == 0 {
		t.Error("no image that is cut off was refused")
	}
	b := append([]byte(nil), image...)
	for at := range b {
		old := b[at]
		if at%pick(at) != 0 || testing.Short() && at%7 != 0 {
			continue
		}
		values := []byte{0xff, old ^ 1}
		if pick(at) > 1 {
			values = []byte{0, 0xff, old ^ 1, old ^ 0x80}
		}
		for _, v := range values {
			if b[at] = v; v != old {
				try(b)
			}
		}
		b[at] = old
	}
}

// pick says how many bytes are left out from at on: near the superblock none.
func pick(at int) int {
	if at >= 1024 && at < 1024+144 {
		return 1
	}
	return 977
}
