package fetch

import (
	"compress/gzip"
	"fmt"
	"io"

	"mios"
	"mios/api/repo"
)

// packedSlack is how many bytes more than the file a packed one may have: gzip's
// head, and five bytes for every block that does not get smaller.
const packedSlack = 1 << 10

// whole reads the file that an answer brings, of at most max bytes, packed or
// not. However small a packed file is, no more than max bytes come out of it.
func (b *body) whole(max int64) ([]byte, error) {
	switch {
	case b.encoding == "" && b.size > max:
		return nil, fmt.Errorf("%d bytes, want at most %d: %w", b.size, max, repo.ErrLength)
	case b.encoding == "gzip" && b.size > max+max/1000+packedSlack:
		return nil, fmt.Errorf("%d bytes packed, want at most %d unpacked: %w", b.size, max, repo.ErrLength)
	case b.encoding != "" && b.encoding != "gzip":
		return nil, fmt.Errorf("the server answers in the encoding %q, which nobody asked for: %w", b.encoding, mios.ErrDenied)
	}
	var r io.Reader = b
	if b.encoding == "gzip" {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, unpacked(err)
		}
		r = z
	}
	out, err := io.ReadAll(io.LimitReader(r, max+1))
	switch {
	case int64(len(out)) > max:
		return nil, fmt.Errorf("over %d bytes: %w", max, repo.ErrLength)
	case err != nil && b.encoding != "":
		return nil, unpacked(err)
	case err != nil:
		return nil, err
	case b.encoding == "" && b.size >= 0 && int64(len(out)) != b.size:
		return nil, fmt.Errorf("%d of %d bytes: %w", len(out), b.size, io.ErrUnexpectedEOF)
	}
	return out, nil
}

// unpacked says that a packed file is broken, which another mirror's may not be.
func unpacked(err error) error { return fmt.Errorf("unpack: %w", err) }
