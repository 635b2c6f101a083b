package erofs

import (
	"errors"

	lz4block "github.com/pierrec/lz4/v4"

	lz4raw "mios/internal/lz4"
)

var errShort = errors.New("it unpacks to less")

// unpackLZ4 unpacks a block (lz4_Block_format.md) into dst, which it must fill.
// If whole, the block must end there; otherwise what follows is not looked at.
func unpackLZ4(dst, src []byte, whole bool) error {
	if !whole {
		return lz4raw.Unpack(dst, src)
	}
	switch n, err := lz4block.UncompressBlock(src, dst); {
	case err != nil:
		return errData
	case n < len(dst):
		return errShort
	}
	return nil
}
