package payload

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/dsnet/compress/bzip2"
	"github.com/ulikunitz/xz"

	"mios"
)

// ChunkSize is how many bytes of a partition one operation of a full payload
// writes. It is also the window of the xz streams that are written.
const ChunkSize = 2 << 20

// An Image is what a partition is to hold.
type Image struct {
	Name    string // without a slot suffix
	Content io.ReaderAt
	Size    int64  // bytes, a multiple of DefaultBlockSize
	Version string // of the partition, or ""
}

// Full describes a full payload: one that needs nothing of what is installed.
type Full struct {
	Images        []Image // in this order
	Groups        []Group // dynamic_partition_metadata; none if there are no logical partitions
	MaxTimestamp  int64   // the build's, in seconds since 1970
	SecurityPatch string
	Signers       []crypto.Signer // RSA; none leaves the payload unsigned

	// Progress, if set, is told how many of the images' bytes are compressed.
	Progress func(done, total int64)
	// Workers is how many cores to use: 0 means all. The result does not depend
	// on it.
	Workers int
}

// Properties is what payload_properties.txt says of a payload.
type Properties struct {
	FileHash     [sha256.Size]byte
	FileSize     int64
	MetadataHash [sha256.Size]byte
	MetadataSize int64
}

// String returns the text of payload_properties.txt.
func (p Properties) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("FILE_HASH=%s\nFILE_SIZE=%d\nMETADATA_HASH=%s\nMETADATA_SIZE=%d\n",
		b64(p.FileHash[:]), p.FileSize, b64(p.MetadataHash[:]), p.MetadataSize)
}

// Write writes the payload to w. The manifest stands before the data in a
// payload and can only be written after it, so the data waits in spool, which is
// empty at first. The same images, timestamp and keys give the same bytes.
func (f *Full) Write(ctx context.Context, w io.Writer, spool io.ReadWriteSeeker) (Properties, error) {
	m := &Manifest{BlockSize: DefaultBlockSize, MaxTimestamp: f.MaxTimestamp, SecurityPatch: f.SecurityPatch}
	m.explicit = 1<<12 | 1<<14
	if len(f.Groups) > 0 {
		m.Dynamic = &DynamicPartitions{Groups: f.Groups}
	}
	for _, img := range f.Images {
		if img.Size <= 0 || img.Size%DefaultBlockSize != 0 || img.Size >= far {
			return Properties{}, fmt.Errorf("partition %s: image of %d bytes, want a multiple of %d: %w",
				img.Name, img.Size, DefaultBlockSize, mios.ErrInvalid)
		}
		m.Partitions = append(m.Partitions, Partition{Name: img.Name, Version: img.Version})
	}
	if err := m.check(0); err != nil {
		return Properties{}, err
	}
	dataHash := sha256.New()
	if err := f.compress(ctx, m, io.MultiWriter(spool, dataHash)); err != nil {
		return Properties{}, err
	}
	sigSize, err := signaturesSize(f.Signers)
	if err != nil {
		return Properties{}, err
	}
	if sigSize > 0 {
		m.SignaturesOffset, m.SignaturesSize = m.DataSize(), uint64(sigSize)
		m.explicit |= 1 << 4
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return Properties{}, err
	}
	return f.assemble(w, m, spool, sigSize)
}

// assemble writes header, manifest, signatures and data.
func (f *Full) assemble(w io.Writer, m *Manifest, data io.Reader, sigSize int) (Properties, error) {
	body := m.Encode()
	if len(body) > MaxManifest {
		return Properties{}, fmt.Errorf("manifest of %d bytes, want at most %d: %w", len(body), MaxManifest, mios.ErrInvalid)
	}
	raw := append([]byte(magic), make([]byte, HeaderSize-len(magic))...)
	binary.BigEndian.PutUint64(raw[4:], majorVersion)
	binary.BigEndian.PutUint64(raw[12:], uint64(len(body)))
	binary.BigEndian.PutUint32(raw[20:], uint32(sigSize))
	raw = append(raw, body...)
	p := Properties{MetadataHash: sha256.Sum256(raw), MetadataSize: int64(len(raw))}

	sign := func(digest []byte) ([]byte, error) {
		s, err := Sign([sha256.Size]byte(digest), f.Signers)
		if err != nil {
			return nil, err
		}
		b := s.Encode()
		if len(b) != sigSize {
			return nil, fmt.Errorf("signatures of %d bytes, want %d", len(b), sigSize)
		}
		return b, nil
	}
	metaSig, err := sign(p.MetadataHash[:])
	if err != nil {
		return p, err
	}
	file, signed := sha256.New(), sha256.New()
	out := &countWriter{w: io.MultiWriter(w, file)}
	if _, err := out.Write(append(raw, metaSig...)); err != nil {
		return p, err
	}
	signed.Write(raw)
	if _, err := io.Copy(io.MultiWriter(out, signed), data); err != nil {
		return p, err
	}
	if sig, err := sign(signed.Sum(nil)); err != nil {
		return p, err
	} else if _, err := out.Write(sig); err != nil {
		return p, err
	}
	p.FileHash, p.FileSize = [sha256.Size]byte(file.Sum(nil)), out.n
	return p, nil
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// A chunk is one operation to be.
type chunk struct {
	image int
	off   int64
	plain []byte
	typ   OpType
	data  []byte
	err   error
	done  chan struct{}
}

// compress fills in the partitions' operations and hashes and writes the
// operations' data, in order, whatever order the workers finish in.
func (f *Full) compress(ctx context.Context, m *Manifest, data io.Writer) error {
	workers := f.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	work, order := make(chan *chunk), make(chan *chunk, 2*workers)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		defer close(order)
		if err := f.chunks(ctx, work, order); err != nil {
			cancel(err)
		}
	})
	for range workers {
		wg.Go(func() {
			var e encoders
			for c := range work {
				c.typ, c.data, c.err = e.best(c.plain)
				close(c.done)
			}
		})
	}
	if err := f.collect(ctx, m, order, data); err != nil {
		cancel(err)
	}
	wg.Wait()
	return context.Cause(ctx)
}

// chunks reads the images and hands each chunk to a worker and to the one who
// collects them.
func (f *Full) chunks(ctx context.Context, work, order chan<- *chunk) error {
	for i, img := range f.Images {
		for off := int64(0); off < img.Size; off += ChunkSize {
			c := &chunk{image: i, off: off, plain: make([]byte, min(ChunkSize, img.Size-off)), done: make(chan struct{})}
			if n, err := img.Content.ReadAt(c.plain, off); n < len(c.plain) {
				return fmt.Errorf("partition %s: image ends at %d, want %d bytes: %w", img.Name, off+int64(n), img.Size, err)
			}
			for _, to := range []chan<- *chunk{order, work} {
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	return nil
}

func (f *Full) collect(ctx context.Context, m *Manifest, order <-chan *chunk, data io.Writer) error {
	var done, total int64
	for _, img := range f.Images {
		total += img.Size
	}
	hash, next := sha256.New(), uint64(0)
	for c := range order {
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.err != nil {
			return c.err
		}
		p := &m.Partitions[c.image]
		if c.off == 0 {
			hash.Reset()
		}
		hash.Write(c.plain)
		sum := sha256.Sum256(c.data)
		p.Operations = append(p.Operations, Operation{
			Type: c.typ, DataOffset: next, DataLength: uint64(len(c.data)), DataHash: sum[:],
			DstExtents: []Extent{{uint64(c.off) / DefaultBlockSize, uint64(len(c.plain)) / DefaultBlockSize}},
		})
		if _, err := data.Write(c.data); err != nil {
			return err
		}
		next += uint64(len(c.data))
		done += int64(len(c.plain))
		if done == total || c.off+int64(len(c.plain)) == f.Images[c.image].Size {
			p.NewInfo = &PartitionInfo{Size: uint64(f.Images[c.image].Size), Hash: hash.Sum(nil)}
		}
		if f.Progress != nil {
			f.Progress(done, total)
		}
	}
	return ctx.Err()
}

// encoders is a worker's.
type encoders struct{ bz, xz bytes.Buffer }

// best returns the form of a chunk that a device is best served with: the
// smallest, but one that takes longer to read only if it saves a tenth. What is
// compressed already, as most of a kernel is, takes the decoder of xz longest to
// make it a little smaller, and that of bzip2 takes three times as long as xz's.
// Noise, which costs the encoders most, is left as it is: what deflate gains
// nothing from, they would gain nothing worth having from.
func (e *encoders) best(plain []byte) (OpType, []byte, error) {
	if noise, err := incompressible(plain); noise || err != nil {
		return Replace, plain, err
	}
	e.bz.Reset()
	e.xz.Reset()
	bz, err := bzip2.NewWriter(&e.bz, &bzip2.WriterConfig{Level: bzip2.BestCompression})
	if err := finish(bz, err, plain); err != nil {
		return 0, nil, fmt.Errorf("bzip2: %w", err)
	}
	// update_engine's xz-embedded knows no check but CRC-32.
	x, err := xz.WriterConfig{DictCap: ChunkSize, CheckSum: xz.CRC32}.NewWriter(&e.xz)
	if err := finish(x, err, plain); err != nil {
		return 0, nil, fmt.Errorf("xz: %w", err)
	}
	typ, best := Replace, plain
	if worth(e.xz.Len(), len(best)) {
		typ, best = ReplaceXZ, e.xz.Bytes()
	}
	if worth(e.bz.Len(), len(best)) {
		typ, best = ReplaceBZ, e.bz.Bytes()
	}
	return typ, bytes.Clone(best), nil
}

// worth reports whether n bytes are a tenth smaller than those of a form that is
// read faster.
func worth(n, faster int) bool { return n <= faster-faster/10 }

// incompressible reports whether deflate makes nothing smaller of b.
func incompressible(b []byte) (bool, error) {
	n := &countWriter{w: io.Discard}
	w, err := flate.NewWriter(n, flate.BestSpeed)
	err = finish(w, err, b)
	return n.n >= int64(len(b)), err
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
