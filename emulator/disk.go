package emulator

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
)

// Sector is the smallest unit that a disk writes whole, in bytes.
const Sector = 512

// maxPending bounds the disk's volatile cache in bytes. As a drive does, it
// writes its oldest half out by itself when it is full.
const maxPending = 64 << 20

// A Disk is a raw image that is never changed, an overlay file of what was
// written over it, and a volatile cache of what was not flushed yet. One machine
// may use it at a time; it is safe for concurrent use.
type Disk struct {
	mu      sync.Mutex
	base    *os.File
	baseID  string
	size    int64
	over    *overlay
	pending []write       // in the order in which they came
	first   int           // number of pending[0] since the disk was opened
	newest  map[int64]int // sector to the number of the newest pending write of it
	bytes   int           // of pending
	loose   int           // how many of pending are not durable
	watch   atomic.Pointer[func(Access)]
	power   atomic.Pointer[power]
}

// write is a write that was not flushed.
type write struct {
	off     int64
	data    []byte
	durable bool // written with FUA: a power cut keeps it
}

// OpenDisk opens the disk that consists of the raw image base and the overlay
// file, which is made when it is not there; an empty name makes one that is gone
// after Close. An overlay of another image is an error.
func OpenDisk(base, overlayPath string) (*Disk, error) {
	f, err := os.Open(base)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if fi.Size() == 0 || fi.Size()%Sector != 0 {
		f.Close()
		return nil, fmt.Errorf("disk %s: %d bytes are not a number of sectors of %d bytes", base, fi.Size(), Sector)
	}
	d := &Disk{base: f, size: fi.Size(), newest: make(map[int64]int),
		baseID: fmt.Sprintf("%d bytes of %s", fi.Size(), fi.ModTime().UTC().Format("2006-01-02T15:04:05.000000000Z"))}
	if d.over, err = openOverlay(overlayPath, d.size, d.baseID); err != nil {
		f.Close()
		return nil, fmt.Errorf("disk %s: %w", base, err)
	}
	return d, nil
}

// Size returns the disk's size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Close flushes and closes the files.
func (d *Disk) Close() error {
	return errors.Join(d.settle(), d.over.close(), d.base.Close())
}

// ReadAt reads what the guest would read.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("disk: offset %d is negative", off)
	}
	if off >= d.size {
		return 0, io.EOF
	}
	if err := d.access(Read, off, int64(len(p)), nil); err != nil {
		return 0, err
	}
	n := int(min(int64(len(p)), d.size-off))
	d.mu.Lock()
	defer d.mu.Unlock()
	for at := 0; at < n; {
		run, err := d.readRun(p[at:n], off+int64(at))
		if err != nil {
			return at, err
		}
		at += run
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readRun reads the bytes at off that come from one place.
func (d *Disk) readRun(p []byte, off int64) (int, error) {
	s := off / Sector
	if i, ok := d.newest[s]; ok {
		w := d.pending[i-d.first]
		n := min(len(p), int(Sector-off%Sector))
		return copy(p[:n], w.data[off-w.off:]), nil
	}
	in := d.over.has(s)
	n := min(len(p), int(Sector-off%Sector))
	for n < len(p) {
		s++
		if _, ok := d.newest[s]; ok || d.over.has(s) != in {
			break
		}
		n = min(len(p), n+Sector)
	}
	var r io.ReaderAt = d.base
	if in {
		r = d.over
	}
	_, err := r.ReadAt(p[:n], off)
	if errors.Is(err, io.EOF) {
		err = nil // at the very end
	}
	return n, err
}

// WriteAt writes whole sectors into the volatile cache. With fua set they
// outlive a power cut when it returns.
func (d *Disk) WriteAt(p []byte, off int64, fua bool) error {
	if err := d.check(off, int64(len(p))); err != nil || len(p) == 0 {
		return err
	}
	if err := d.access(Write, off, int64(len(p)), p); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.append(write{off, append([]byte(nil), p...), fua})
	if d.bytes > maxPending {
		return d.writeOut(len(d.pending)/2 + 1)
	}
	return nil
}

func (d *Disk) append(w write) {
	i := d.first + len(d.pending)
	d.pending = append(d.pending, w)
	d.bytes += len(w.data)
	if !w.durable {
		d.loose++
	}
	for s := w.off / Sector; s < (w.off+int64(len(w.data)))/Sector; s++ {
		d.newest[s] = i
	}
}

// Zero makes n bytes read as zero. More than the cache would hold is written
// out at once.
func (d *Disk) Zero(off, n int64, fua bool) error {
	if n <= maxPending/8 {
		return d.WriteAt(make([]byte, n), off, fua)
	}
	if err := d.check(off, n); err != nil {
		return err
	}
	if err := d.access(Write, off, n, nil); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.writeOut(len(d.pending)); err != nil {
		return err
	}
	return d.over.zero(off, n)
}

// Trim makes n bytes read as zero, as a write that was not flushed.
func (d *Disk) Trim(off, n int64) error { return d.Zero(off, n, false) }

// Flush makes all that was written outlive a power cut.
func (d *Disk) Flush() error {
	if err := d.access(Flush, 0, 0, nil); err != nil {
		return err
	}
	return d.settle()
}

// settle is a flush that nobody watches.
func (d *Disk) settle() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writeOut(len(d.pending))
}

// Patch writes p at any offset and flushes: it is for changing a disk on which
// no machine runs.
func (d *Disk) Patch(p []byte, off int64) error {
	start, end := off/Sector*Sector, (off+int64(len(p))+Sector-1)/Sector*Sector
	if off < 0 || end > d.size {
		return fmt.Errorf("disk: %d bytes at %d are outside of %d", len(p), off, d.size)
	}
	b := make([]byte, end-start)
	if _, err := d.ReadAt(b, start); err != nil {
		return err
	}
	copy(b[off-start:], p)
	if err := d.WriteAt(b, start, false); err != nil {
		return err
	}
	return d.Flush()
}

func (d *Disk) check(off, n int64) error {
	if off < 0 || n < 0 || off%Sector != 0 || n%Sector != 0 || n > d.size-off {
		return fmt.Errorf("disk: %d bytes at %d are not sectors within %d bytes", n, off, d.size)
	}
	return nil
}

// writeOut moves the n oldest pending writes to the overlay.
func (d *Disk) writeOut(n int) error {
	for i := range n {
		w := &d.pending[i]
		if err := d.over.writeAt(w.data, w.off); err != nil {
			return err
		}
		d.forget(*w, d.first+i)
	}
	d.pending = append(d.pending[:0:0], d.pending[n:]...)
	d.first += n
	return nil
}

// forget takes a write out of the books.
func (d *Disk) forget(w write, number int) {
	d.bytes -= len(w.data)
	if !w.durable {
		d.loose--
	}
	for s := w.off / Sector; s < (w.off+int64(len(w.data)))/Sector; s++ {
		if d.newest[s] == number {
			delete(d.newest, s)
		}
	}
}

// Damage says what became of the writes that were not flushed when the power
// was cut: kept whole, dropped whole, or torn: some of their sectors are there.
type Damage struct{ Kept, Dropped, Torn int }

func (d Damage) String() string {
	return fmt.Sprintf("of %d writes without a flush %d kept, %d dropped, %d torn",
		d.Kept+d.Dropped+d.Torn, d.Kept, d.Dropped, d.Torn)
}

// PowerCut does to what was not flushed what a drive may do. The seed decides:
// first how much luck there is, then for each write whether it is kept, dropped
// or torn between sectors. A sector is written whole or not at all, and later
// writes of one sector do not come before earlier ones.
func (d *Disk) PowerCut(seed uint64) (Damage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 0x6d694f53)) // any second word, the same for ever
	luck := rng.Float64()
	var dmg Damage
	for i := range d.pending {
		w := &d.pending[i]
		sectors := len(w.data) / Sector
		draw := rng.Float64()
		switch {
		case w.durable:
			if err := d.over.writeAt(w.data, w.off); err != nil {
				return dmg, err
			}
		case draw < luck*3/4:
			dmg.Kept++
			if err := d.over.writeAt(w.data, w.off); err != nil {
				return dmg, err
			}
		case draw < 3./4 || sectors == 1:
			dmg.Dropped++
		default:
			dmg.Torn++
			if err := d.tear(w, rng); err != nil {
				return dmg, err
			}
		}
		d.forget(*w, d.first+i)
	}
	d.first += len(d.pending)
	d.pending = nil
	return dmg, nil
}

// tear writes at least one sector of w, and not all.
func (d *Disk) tear(w *write, rng *rand.Rand) error {
	n := len(w.data) / Sector
	lost, kept := rng.IntN(n), rng.IntN(n-1)
	if kept >= lost {
		kept++
	}
	for s := range n {
		if s == lost || s != kept && rng.IntN(2) == 0 {
			continue
		}
		at := s * Sector
		if err := d.over.writeAt(w.data[at:at+Sector], w.off+int64(at)); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot copies the overlay, its holes kept, to the file path, after a flush.
func (d *Disk) Snapshot(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.writeOut(len(d.pending)); err != nil {
		return err
	}
	return d.over.copyTo(path)
}

// Restore makes the disk what it was when the snapshot was made. No machine may
// be running on it.
func (d *Disk) Restore(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending, d.first, d.bytes, d.loose = nil, d.first+len(d.pending), 0, 0
	clear(d.newest)
	over, err := d.over.replaceBy(path, d.size, d.baseID)
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	d.over = over
	return nil
}
