package sparse

import (
	"fmt"
	"io"
)

// Compose returns the sparse image of chunks, in their order and without gaps,
// whose data is in r where their Off says; of CRC chunks there are none.
func Compose(r io.ReaderAt, blockSize uint32, chunks []Chunk) (*Image, error) {
	if blockSize == 0 || blockSize%4 != 0 || blockSize > maxBlock {
		return nil, fmt.Errorf("sparse: block size %d: want a multiple of 4, at most %d", blockSize, maxBlock)
	}
	m := &Image{BlockSize: blockSize, Chunks: chunks, r: r}
	for i, c := range chunks {
		_, ok := dataSize(c.Kind, c.Blocks, blockSize)
		if !ok || c.Kind == CRC || c.Start != m.Blocks || c.Start+c.Blocks < c.Start || c.Off < 0 {
			return nil, fmt.Errorf("sparse: chunk %d: %v with %d blocks from %d, after %d", i, c.Kind, c.Blocks, c.Start, m.Blocks)
		}
		m.Blocks += c.Blocks
	}
	return m, nil
}
