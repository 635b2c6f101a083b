package chunks

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"mios"
	"mios/internal/xz"
)

// An Image is a partition's content.
type Image struct {
	Name    string // without a slot suffix
	Content io.ReaderAt
	Size    int64 // bytes
	// Areas are not brought, but computed: what stands in them must be what
	// [WriteArea] makes.
	Areas []Area
}

// A Writer makes a release's index and pack. The same images and sizes give the
// same bytes.
type Writer struct {
	Cutter  Cutter // Default if it is zero
	Workers int    // cores to use; 0 means all
	// Progress, if set, is told how many of the images' bytes are done.
	Progress func(done, total int64)
}

// Write writes the pack to w and returns the root and the index, which begins
// with the root's bytes.
func (w Writer) Write(ctx context.Context, pack io.Writer, images []Image) (*Root, []byte, error) {
	if w.Cutter == (Cutter{}) {
		w.Cutter = Default
	}
	if w.Workers <= 0 {
		w.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &packing{Writer: w, ctx: ctx, root: &Root{Cutter: w.Cutter}, known: map[ID]*job{}, queue: make(chan *job, 4*w.Workers), order: make(chan *job, 64*w.Workers)}
	for _, im := range images {
		p.total += im.Size
	}
	var workers sync.WaitGroup
	for range w.Workers {
		workers.Go(p.compress)
	}
	written := make(chan error, 1)
	go func() {
		err := p.write(pack)
		if err != nil {
			cancel()
		}
		written <- err
	}()
	err := p.cut(images)
	if err != nil {
		cancel()
	}
	close(p.queue)
	close(p.order)
	workers.Wait()
	if werr := <-written; werr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = werr
	}
	cancel()
	if err != nil {
		return nil, nil, err
	}
	return p.finish()
}

// A job is a chunk on its way into the pack.
type job struct {
	size   int
	plain  []byte
	done   chan struct{} // closed once packed is set
	packed []byte
	pack   int64
	length int
}

// packing is one call of Write.
type packing struct {
	Writer
	ctx         context.Context
	root        *Root
	known       map[ID]*job
	lists       [][]entry // of the partitions
	queue       chan *job // to be compressed
	order       chan *job // to be written
	done, total int64
}

// An entry is a chunk whose place in the pack is not known yet.
type entry struct {
	size int
	id   ID
	job  *job // nil for zeros
}

// cut reads the images and hands out each chunk that is new.
func (p *packing) cut(images []Image) error {
	for i := range images {
		im := &images[i]
		part := Partition{Name: im.Name, Size: im.Size, Areas: im.Areas}
		var list []entry
		for _, s := range part.Spans() {
			err := p.Cutter.Cut(io.NewSectionReader(im.Content, s.Offset, s.Size), func(b []byte) error {
				e, err := p.take(b)
				list = append(list, e)
				return err
			})
			if err != nil {
				return fmt.Errorf("partition %s: %w", im.Name, err)
			}
		}
		h := sha256.New()
		n, err := io.Copy(h, io.NewSectionReader(im.Content, 0, im.Size))
		if err == nil && n != im.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("partition %s: %w", im.Name, err)
		}
		part.SHA256 = mios.Digest(h.Sum(nil))
		p.root.Partitions = append(p.root.Partitions, part)
		p.lists = append(p.lists, list)
	}
	return nil
}

// take notes the next chunk.
func (p *packing) take(b []byte) (entry, error) {
	if err := p.ctx.Err(); err != nil {
		return entry{}, err
	}
	p.done += int64(len(b))
	if p.Progress != nil {
		p.Progress(p.done, p.total)
	}
	e := entry{size: len(b), id: Sum(b)}
	if (e.id == ID{}) {
		return e, nil
	}
	if e.job = p.known[e.id]; e.job != nil {
		if e.job.size != len(b) {
			return e, fmt.Errorf("two chunks are named %v: %w", e.id, mios.ErrInvalid)
		}
		return e, nil
	}
	j := &job{size: len(b), plain: append([]byte(nil), b...), done: make(chan struct{})}
	p.known[e.id], e.job = j, j
	for _, c := range []chan *job{p.queue, p.order} {
		select {
		case c <- j:
		case <-p.ctx.Done():
			return e, p.ctx.Err()
		}
	}
	return e, nil
}

// compress is a worker.
func (p *packing) compress() {
	var z xz.Encoder
	for j := range p.queue {
		if p.ctx.Err() == nil {
			if j.packed = z.Encode(nil, j.plain); len(j.packed) >= len(j.plain) {
				j.packed = j.plain
			}
			j.plain = nil
		}
		close(j.done)
	}
}

// write writes the pack.
func (p *packing) write(w io.Writer) error {
	for j := range p.order {
		<-j.done
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if _, err := w.Write(j.packed); err != nil {
			return fmt.Errorf("pack: %w", err)
		}
		j.pack, j.length, j.packed = p.root.PackSize, len(j.packed), nil
		p.root.PackSize += int64(j.length)
	}
	return nil
}

// finish makes the index.
func (p *packing) finish() (*Root, []byte, error) {
	var parts []byte
	next := int64(0)
	for i, list := range p.lists {
		part := &p.root.Partitions[i]
		for len(list) > 0 {
			n := min(len(list), regionChunks)
			g := Region{Chunks: n}
			region := make([]Chunk, n)
			for j, e := range list[:n] {
				region[j] = Chunk{Size: e.size, ID: e.id}
				if e.job != nil {
					region[j].Pack, region[j].Packed = e.job.pack, e.job.length
				}
				g.Size += int64(e.size)
			}
			from := len(parts)
			parts, next = appendPart(parts, region, next)
			g.PartSize, g.Part, g.Sequence = int64(len(parts)-from), mios.Sum(parts[from:]), Sequence(region)
			part.Regions = append(part.Regions, g)
			list = list[n:]
		}
	}
	b, err := p.root.Bytes()
	return p.root, append(b, parts...), err
}
