package emulator

import (
	"errors"
	"sync"
)

// An Op is what an access to a disk does.
type Op int

// The operations. A trim, and zeroes, are writes.
const (
	Read Op = iota + 1
	Write
	Flush
)

// An Access is one that a disk is about to make.
type Access struct {
	Op     Op
	Off, N int64  // bytes; 0 of a flush
	Data   []byte // of a write, if it is not only zeroes; not to be kept or changed
	// Unflushed is how many writes a power cut at this moment may drop or tear.
	Unflushed int
	// PowerOff is closed when the machine that makes the access is stopped or loses
	// its power. The access is then not made, so that whoever holds it up until
	// then has stopped the machine at exactly this moment. Nil if no machine runs.
	PowerOff <-chan struct{}
}

// errNoPower is what becomes of an access of a machine that was stopped.
var errNoPower = errors.New("disk: the power is off")

// power is a machine's time on a disk.
type power struct {
	off  chan struct{}
	once sync.Once
}

// powerOn begins a machine's time.
func (d *Disk) powerOn() { d.power.Store(&power{off: make(chan struct{})}) }

// powerOff ends it: what the machine asks from now on, and what it has asked
// and [Disk.Watch] holds up, is not done.
func (d *Disk) powerOff() {
	if p := d.power.Load(); p != nil {
		p.once.Do(func() { close(p.off) })
	}
}

// idle says that the machine is gone, and the disk can be read again.
func (d *Disk) idle() { d.power.Store(nil) }

// Watch has f called before each access to the disk: to a test they are the
// clock of the guest's progress. A call of f that does not return holds the
// guest up, as long as its power is on. A nil f ends it.
func (d *Disk) Watch(f func(Access)) {
	if f == nil {
		d.watch.Store(nil)
		return
	}
	d.watch.Store(&f)
}

// access tells who watches of an access, and refuses it without power.
func (d *Disk) access(op Op, off, n int64, data []byte) error {
	p := d.power.Load()
	if f := d.watch.Load(); f != nil {
		a := Access{Op: op, Off: off, N: n, Data: data, Unflushed: d.unflushed()}
		if p != nil {
			a.PowerOff = p.off
		}
		(*f)(a)
	}
	if p == nil {
		return nil
	}
	select {
	case <-p.off:
		return errNoPower
	default:
		return nil
	}
}

// unflushed counts the writes that a power cut may drop or tear.
func (d *Disk) unflushed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loose
}
