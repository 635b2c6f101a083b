package sign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"mios/format/avb"
)

// extVerity is what the name of a file's fs-verity metadata ends in, behind its
// own.
const extVerity = ".fsv_meta"

// The layout of that file (releasetools, fsverity_metadata_generator.py): a
// version, the kernel's struct fsverity_descriptor, a signature's type and size,
// and at the next page the hash tree.
const (
	verityVersion    = 1
	verityDescriptor = 256
	veritySHA256     = 1
	verityLogBlock   = 12
	verityHead       = 4 + verityDescriptor + 4 + 4
)

// verityMetadata is the fs-verity metadata of new content, as old was: not
// signed, with SHA-256.
func verityMetadata(c *content, old []byte) (*content, error) {
	le := binary.LittleEndian
	if len(old) < verityHead || le.Uint32(old) != verityVersion || old[4] != 1 {
		return nil, fmt.Errorf("fs-verity metadata of an unknown form: %w", errors.ErrUnsupported)
	}
	if old[5] != veritySHA256 || old[6] != verityLogBlock || old[7] != 0 || le.Uint32(old[4+verityDescriptor:]) != 0 {
		return nil, fmt.Errorf("fs-verity metadata that is signed, salted or not of SHA-256: %w", errors.ErrUnsupported)
	}
	r, err := c.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if c.size == 0 {
		return nil, fmt.Errorf("fs-verity metadata of a file of no byte: %w", errors.ErrUnsupported)
	}
	padded := (c.size + avb.BlockSize - 1) / avb.BlockSize * avb.BlockSize
	size, err := avb.HashtreeSize(padded, "sha256")
	if err != nil {
		return nil, err
	}
	tree := make(memory, size)
	root, err := avb.WriteHashtree(tree, padReader{r, c.size}, padded, "sha256", nil)
	if err != nil {
		return nil, err
	}
	b := le.AppendUint32(nil, verityVersion)
	b = append(b, 1, veritySHA256, verityLogBlock, 0)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(c.size))
	b = append(b, root...)
	b = append(b, make([]byte, verityHead-len(b))...) // the rest of the descriptor; no signature
	b = append(b, make([]byte, avb.BlockSize-len(b))...)
	return bytesContent(append(b, tree...)), nil
}

// A padReader reads zeros behind size bytes of r.
type padReader struct {
	r    io.ReaderAt
	size int64
}

func (p padReader) ReadAt(b []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(b)), p.size-off)))
	clear(b[n:])
	if n > 0 {
		if got, err := p.r.ReadAt(b[:n], off); got < n {
			return got, err
		}
	}
	return len(b), nil
}

// memory is an [io.WriterAt] of as many bytes as it has; those that several write
// at once must not be the same.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if n := copy(m[min(off, int64(len(m))):], p); n < len(p) {
		return n, io.ErrShortWrite
	}
	return len(p), nil
}
