package apkdelta

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"mios"
	"mios/internal/readat"
)

// A Scratch is where [Apply] keeps what it expanded of old, such as a temporary
// file.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
}

// Limits bound what [Apply] accepts. The zero value stands for the defaults.
type Limits struct {
	// NewSize is how many bytes the new file may have; 0 stands for MaxSize. A
	// device gives the size that the signed index names.
	NewSize int64
	// Scratch takes Header.Scratch bytes. Without one they are kept in memory,
	// and a delta that needs more than 16 MiB of it is refused.
	Scratch Scratch
}

// memoryScratch is how much is kept in memory.
const memoryScratch = 16 << 20

// Apply writes to out the file that delta makes of the oldSize bytes of old. It
// reads all of old first to compare its digest (a [*WrongOldError] if it is
// another), and reads delta once, from front to back, so that it may be still
// coming in. It holds less than 64 MiB, whatever the sizes, and 16 MiB more
// without a Scratch.
//
// The digest of what was written is compared last: unless the error is nil, out
// has a part of the file or another one, and has to be thrown away. What is
// wrong with the delta is a [*FormatError]; other errors are those of old,
// delta, out or the context.
func Apply(ctx context.Context, old io.ReaderAt, oldSize int64, delta io.Reader, out io.Writer, l Limits) (*Header, error) {
	h, err := ReadHeader(delta)
	if err != nil {
		return nil, err
	}
	if l.NewSize > 0 && h.NewSize > l.NewSize {
		return h, &FormatError{0, fmt.Sprintf("makes a file of %d bytes, at most %d are wanted", h.NewSize, l.NewSize)}
	}
	scratch := l.Scratch
	if scratch == nil {
		if h.Scratch > memoryScratch {
			return h, &FormatError{0, fmt.Sprintf("keeps %d bytes expanded, in memory at most %d are: give it a file for that", h.Scratch, memoryScratch)}
		}
		scratch = new(memory)
	}
	if err := h.checkOld(ctx, old, oldSize); err != nil {
		return h, err
	}
	u := &unpacker{r: delta, off: int64(headerSize)}
	a := &applier{ctx: ctx, u: u, sum: &summer{w: out, h: sha256.New()}}
	if err := a.plans(h, old, scratch); err != nil {
		return h, err
	}
	for a.left > 0 {
		if err := a.part(); err != nil {
			return h, err
		}
	}
	return h, a.end(h)
}

// checkOld reads all of old.
func (h *Header) checkOld(ctx context.Context, old io.ReaderAt, size int64) error {
	wrong := &WrongOldError{Want: h.Old, WantSize: h.OldSize, GotSize: size}
	if size != h.OldSize {
		return wrong
	}
	sum, buf := sha256.New(), make([]byte, copySize)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), size-at)]
		if err := readat.Full(old, b, at); err != nil {
			return fmt.Errorf("apkdelta: old file at %#x: %w", at, err)
		}
		sum.Write(b)
		at += int64(len(b))
	}
	if wrong.Got = mios.Digest(sum.Sum(nil)); wrong.Got != h.Old {
		return wrong
	}
	return nil
}

// copySize is how many bytes are read, added and written at once.
const copySize = 256 << 10

// An applier is a delta being applied.
type applier struct {
	ctx     context.Context
	u       *unpacker
	sum     *summer
	old     *view
	new     *builder
	oldSize int64 // expanded
	at      int64 // in old, expanded
	left    int64 // of new, expanded

	control, add, insert []byte
	buf                  []byte
}

// plans reads what is expanded, and expands old.
func (a *applier) plans(h *Header, old io.ReaderAt, scratch Scratch) error {
	var b []byte
	start := a.u.off
	if err := a.u.parts("plan", &b); err != nil {
		return err
	}
	n := &numbers{b: b}
	from, err := parsePlan(n, h.OldSize, puffed)
	if err != nil {
		return &FormatError{start, fmt.Sprintf("plan of the old file: %v", err)}
	}
	to, err := parsePlan(n, h.NewSize, puffed)
	if err != nil {
		return &FormatError{start, fmt.Sprintf("plan of the new file: %v", err)}
	}
	if err := checkPlans(h, from, to, len(n.b)); err != nil {
		return &FormatError{start, fmt.Sprintf("plan: %v", err)}
	}
	if a.old, err = newView(a.ctx, old, h.OldSize, from, scratch); err != nil {
		return err
	}
	a.oldSize, a.left = from.expanded(h.OldSize), to.expanded(h.NewSize)
	a.new = newBuilder(a.sum, to)
	return nil
}

// checkPlans refuses what no plan says that Make wrote.
func checkPlans(h *Header, from, to plan, behind int) error {
	for i, e := range from {
		if e.how > inflated && e.how != puffed {
			return fmt.Errorf("entry %d of the old file is of kind %d", i, e.how)
		}
	}
	for i, e := range to {
		if e.how == unused {
			return fmt.Errorf("entry %d of the new file is not made", i)
		}
	}
	if n := from.scratch(); n != h.Scratch {
		return fmt.Errorf("%d bytes are kept expanded, the header says %d", n, h.Scratch)
	}
	if behind > 0 {
		return fmt.Errorf("%d bytes behind the entries", behind)
	}
	return nil
}

// part does the steps of the next parts.
func (a *applier) part() error {
	start := a.u.off
	err := a.steps(start)
	var b badError
	if errors.As(err, &b) {
		return &FormatError{start, "steps: " + string(b)}
	}
	return err
}

// steps does the steps of the parts at start.
func (a *applier) steps(start int64) error {
	if err := a.u.parts("steps", &a.control, &a.add, &a.insert); err != nil {
		return err
	}
	bad := func(format string, args ...any) error { return badError(fmt.Sprintf(format, args...)) }
	if len(a.control) == 0 {
		return bad("none, where %d bytes are left to make", a.left)
	}
	n, add, insert := &numbers{b: a.control}, a.add, a.insert
	for len(n.b) > 0 {
		seek := n.signed()
		adds, inserts := n.next(uint64(len(add))), n.next(uint64(len(insert)))
		if n.bad != nil {
			return bad("%v", n.bad)
		}
		at, size := a.at+seek, int64(adds)
		switch {
		case adds+inserts == 0:
			return bad("one that makes nothing")
		case int64(adds+inserts) > a.left:
			return bad("%d bytes, where %d are left to make", adds+inserts, a.left)
		case at < 0 || at > a.oldSize || size > a.oldSize-at:
			return bad("%d bytes from %d of the old file, which has %d", size, at, a.oldSize)
		}
		if err := a.addOld(add[:adds], at); err != nil {
			return err
		}
		if _, err := a.new.Write(insert[:inserts]); err != nil {
			return err
		}
		a.at = at + size
		a.left -= int64(adds + inserts)
		add, insert = add[adds:], insert[inserts:]
	}
	if len(add)+len(insert) > 0 {
		return bad("%d bytes that no step takes", len(add)+len(insert))
	}
	return nil
}

// addOld writes bytes of old with b added to them.
func (a *applier) addOld(b []byte, at int64) error {
	if a.buf == nil {
		a.buf = make([]byte, copySize)
	}
	for len(b) > 0 {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		p := a.buf[:min(len(b), len(a.buf))]
		if err := a.old.read(p, at); err != nil {
			return err
		}
		for i, c := range b[:len(p)] {
			p[i] += c
		}
		if _, err := a.new.Write(p); err != nil {
			return err
		}
		b, at = b[len(p):], at+int64(len(p))
	}
	return nil
}

// end compares what was made, and refuses what follows.
func (a *applier) end(h *Header) error {
	if err := a.new.close(); err != nil {
		var b badError
		if errors.As(err, &b) {
			return &FormatError{a.u.off, string(b)}
		}
		return err
	}
	if a.sum.n != h.NewSize {
		return &FormatError{a.u.off, fmt.Sprintf("made a file of %d bytes, want %d", a.sum.n, h.NewSize)}
	}
	if got := mios.Digest(a.sum.h.Sum(nil)); got != h.New {
		return &FormatError{a.u.off, fmt.Sprintf("made the file %v, want %v", got, h.New)}
	}
	var b [1]byte
	switch _, err := io.ReadFull(a.u.r, b[:]); err {
	case io.EOF:
		return a.ctx.Err()
	case nil:
		return &FormatError{a.u.off, "goes on after its end"}
	default:
		return fmt.Errorf("apkdelta: delta at %#x: %w", a.u.off, err)
	}
}
