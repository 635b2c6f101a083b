package fstree

import (
	"bytes"
	"fmt"
	"path"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mios/format/fsimage"
)

const (
	// partSize is how much of a file one goroutine writes at once.
	partSize = 8 << 20
	// bufferSize is how much is read at once of what is not compressed.
	bufferSize = 1 << 20
)

// An output is a file that is being written, by one or several goroutines. The
// last of them gives it its attributes.
type output struct {
	x    *extractor
	d    *folder
	name string
	n    fsimage.Node
	fd   int
	end  int64 // of what is written, of a file that one goroutine writes
	refs atomic.Int64
}

// file has a file written. One that has other names, or parts, must be there
// before the walk goes on.
func (x *extractor) file(d *folder, name string, n fsimage.Node) error {
	d.refs.Add(1)
	out := &output{x: x, d: d, name: name, n: n, fd: -1}
	parts := (n.Info().Size + partSize - 1) / partSize
	if parts <= 1 && n.Info().Links <= 1 {
		out.refs.Store(1)
		x.jobs <- func() error {
			if x.ctx.Err() != nil {
				return out.done(nil)
			}
			err := out.create()
			if err == nil {
				err = out.write(0, partSize)
			}
			return out.done(err)
		}
		return nil
	}
	out.refs.Store(parts + 1)
	if err := out.create(); err != nil {
		out.refs.Store(1)
		return out.done(err)
	}
	for i := range parts {
		x.jobs <- func() error {
			if x.ctx.Err() != nil {
				return out.done(nil)
			}
			return out.done(out.write(i*partSize, (i+1)*partSize))
		}
	}
	return out.done(nil)
}

// create makes the file, all hole.
func (o *output) create() (err error) {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if o.fd, err = unix.Openat(o.d.fd, o.name, flags, 0o600); err != nil {
		return err
	}
	if size := o.n.Info().Size; size > partSize { // smaller ones at their end, if that is a hole
		return unix.Ftruncate(o.fd, size)
	}
	return nil
}

// done takes back a reference; the last one finishes the file.
func (o *output) done(err error) error {
	if o.refs.Add(-1) == 0 {
		if o.fd >= 0 {
			if err == nil && o.x.ctx.Err() == nil {
				err = o.x.attributes(o.d, o.name, o.fd, o.n)
			}
			unix.Close(o.fd)
		}
		o.d.release(o.x)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(o.d.path, o.name), err)
	}
	return nil
}

// write writes the extents that begin in [from, to). Those that are not
// compressed may be cut anywhere.
func (o *output) write(from, to int64) error {
	size := o.n.Info().Size
	if size == 0 {
		return nil
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for e, err := range o.n.Extents(from) {
		if err != nil {
			return err
		}
		if e.Off >= to {
			break
		}
		off, end := e.Off, e.Off+e.Len
		if e.Codec == fsimage.Plain {
			off, end = max(off, from), min(end, to)
		} else if e.Off < from {
			continue
		}
		if e.At == fsimage.Hole {
			continue
		}
		if err := o.copy(e, off, end, buf); err != nil {
			return err
		}
	}
	if size <= partSize && o.end < size {
		return unix.Ftruncate(o.fd, size)
	}
	return nil
}

// copy writes the bytes [off, end) of the file, which are in e.
func (o *output) copy(e fsimage.Extent, off, end int64, buf *[]byte) error {
	for off < end {
		n := end - off
		if e.Codec == fsimage.Plain {
			n = min(n, bufferSize)
		}
		if int64(cap(*buf)) < n {
			*buf = make([]byte, n)
		}
		p := (*buf)[:n]
		if err := o.x.f.ReadExtent(e, p, off-e.Off); err != nil {
			return err
		}
		if err := o.put(p, off); err != nil {
			return err
		}
		off += n
		if o.x.o.Progress != nil {
			o.x.o.Progress(o.x.written.Add(n))
		}
		if err := o.x.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// holeSize is how many zeros make a hole, in bytes.
const holeSize = 64 << 10

// put writes p at off, and leaves out long runs of zeros.
func (o *output) put(p []byte, off int64) error {
	for from := 0; from < len(p); {
		to := from
		for to < len(p) && !zero(p[to:min(to+holeSize, len(p))]) {
			to = min(to+holeSize, len(p))
		}
		for from < to {
			n, err := unix.Pwrite(o.fd, p[from:to], off+int64(from))
			if err != nil {
				return err
			}
			from += n
			if o.n.Info().Size <= partSize {
				o.end = off + int64(from)
			}
		}
		from = min(to+holeSize, len(p))
	}
	return nil
}

func zero(p []byte) bool {
	return len(p) == 0 || p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:])
}
