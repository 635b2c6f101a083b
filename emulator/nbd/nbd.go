// Package nbd serves a disk over the network block device protocol, newstyle
// with fixed negotiation, one export. It does what QEMU asks for: OPT_GO, read,
// write, flush, FUA, trim, write zeroes. TLS, structured replies and several
// exports are refused as the protocol says.
//
// The protocol is NetworkBlockDevice/nbd's doc/proto.md.
package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Device is what is served. Calls come one at a time from each connection;
// offsets and lengths are within Size.
type Device interface {
	io.ReaderAt
	Size() int64
	// WriteAt may keep p's bytes where a power cut loses them until Flush, or
	// until it returns if fua is set.
	WriteAt(p []byte, off int64, fua bool) error
	// Zero makes n bytes read as zero.
	Zero(off, n int64, fua bool) error
	// Trim says that n bytes are not needed: reading them may give anything.
	Trim(off, n int64) error
	// Flush makes all writes that have returned durable.
	Flush() error
}

// FormatError says what a client sent that the protocol does not allow.
type FormatError struct{ Msg string }

func (e *FormatError) Error() string { return "nbd: client: " + e.Msg }

// Protocol numbers, proto.md.
const (
	magicServer    = 0x4e42444d41474943 // NBDMAGIC
	magicOption    = 0x49484156454f5054 // IHAVEOPT
	magicOptReply  = 0x0003e889045565a9
	magicRequest   = 0x25609513
	magicReply     = 0x67446698
	flagFixed      = 1 << 0 // handshake flags, both directions
	flagNoZeroes   = 1 << 1
	optExportName  = 1
	optAbort       = 2
	optList        = 3
	optInfo        = 6
	optGo          = 7
	repAck         = 1
	repServer      = 2
	repInfo        = 3
	repErrUnsup    = 1<<31 | 1
	repErrInvalid  = 1<<31 | 3
	repErrUnknown  = 1<<31 | 6
	infoExport     = 0
	infoBlockSize  = 3
	flagHas        = 1 << 0 // transmission flags
	flagFlush      = 1 << 2
	flagFUA        = 1 << 3
	flagTrim       = 1 << 5
	flagZeroes     = 1 << 6
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdFlagFUA     = 1 << 0
	cmdFlagNoHole  = 1 << 1
	cmdFlagFast    = 1 << 4
	errIO          = 5
	errInvalid     = 22
	errNoSpace     = 28
)

const (
	// MaxRequest is the largest read or write, in bytes; QEMU keeps to what it
	// is told.
	MaxRequest = 32 << 20
	maxOption  = 8 << 10
	blockSize  = 512 // what offsets and lengths are multiples of
	// transmission is what the export can do.
	transmission = flagHas | flagFlush | flagFUA | flagTrim | flagZeroes
)

// Serve answers the connections that l accepts until ctx ends or l is closed,
// then closes them and waits for the requests that are being answered. Errors
// of a connection go to report, which may be nil.
func Serve(ctx context.Context, l net.Listener, d Device, report func(error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			unwatch := context.AfterFunc(ctx, func() { c.Close() })
			defer unwatch()
			defer c.Close()
			if err := Conn(c, d); err != nil && ctx.Err() == nil && report != nil {
				report(err)
			}
		})
	}
}

// Conn serves one connection to its end. A client that leaves between requests
// is no error.
func Conn(rw io.ReadWriter, d Device) error {
	c := &conn{r: bufio.NewReaderSize(rw, 64<<10), w: bufio.NewWriterSize(rw, 64<<10), d: d}
	serve, err := c.handshake()
	if err != nil || !serve {
		return err
	}
	for {
		if err := c.request(); errors.Is(err, errLeft) {
			c.w.Flush() // answers that it may not wait for
			return nil
		} else if err != nil {
			return err
		}
	}
}

// errLeft says that the client disconnected as it may.
var errLeft = errors.New("nbd: client disconnected")

type conn struct {
	r   *bufio.Reader
	w   *bufio.Writer
	d   Device
	buf []byte // of the largest request so far
}

// request reads and answers one request.
func (c *conn) request() error {
	var h [28]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return errLeft
		}
		return err
	}
	if m := binary.BigEndian.Uint32(h[:]); m != magicRequest {
		return &FormatError{fmt.Sprintf("request magic %#x, want %#x", m, uint32(magicRequest))}
	}
	q := request{
		flags:  binary.BigEndian.Uint16(h[4:]),
		kind:   binary.BigEndian.Uint16(h[6:]),
		cookie: [8]byte(h[8:16]),
		off:    binary.BigEndian.Uint64(h[16:]),
		n:      binary.BigEndian.Uint32(h[24:]),
	}
	if q.kind == cmdDisconnect {
		return errLeft
	}
	var data []byte
	if q.kind == cmdWrite || q.kind == cmdRead {
		if q.n > MaxRequest {
			return &FormatError{fmt.Sprintf("request of %d bytes, more than %d", q.n, MaxRequest)}
		}
		if int(q.n) > cap(c.buf) {
			c.buf = make([]byte, q.n)
		}
		data = c.buf[:q.n]
	}
	if q.kind == cmdWrite {
		if _, err := io.ReadFull(c.r, data); err != nil {
			return err
		}
	}
	code := c.do(q, data)
	var reply [16]byte
	binary.BigEndian.PutUint32(reply[:], magicReply)
	binary.BigEndian.PutUint32(reply[4:], code)
	copy(reply[8:], q.cookie[:])
	c.w.Write(reply[:]) // bufio keeps the error for Flush
	if q.kind == cmdRead && code == 0 {
		c.w.Write(data)
	}
	if c.r.Buffered() > 0 && c.w.Available() > 0 {
		return nil // another request waits: answer them together
	}
	return c.w.Flush()
}

type request struct {
	flags, kind uint16
	cookie      [8]byte
	off         uint64
	n           uint32
}

// do executes a request and returns its error number, 0 for none.
func (c *conn) do(q request, data []byte) uint32 {
	size := uint64(c.d.Size())
	allowed := map[uint16]uint16{cmdRead: cmdFlagFUA, cmdWrite: cmdFlagFUA, cmdFlush: cmdFlagFUA,
		cmdTrim: cmdFlagFUA, cmdWriteZeroes: cmdFlagFUA | cmdFlagNoHole}
	mask, known := allowed[q.kind]
	if !known || q.flags&^mask != 0 {
		return errInvalid
	}
	if q.kind == cmdFlush {
		if q.off != 0 || q.n != 0 {
			return errInvalid
		}
		return code(c.d.Flush())
	}
	if q.off > size || uint64(q.n) > size-q.off {
		if q.kind == cmdWrite || q.kind == cmdWriteZeroes {
			return errNoSpace
		}
		return errInvalid
	}
	if q.off%blockSize != 0 || q.n%blockSize != 0 {
		return errInvalid
	}
	off, n, fua := int64(q.off), int64(q.n), q.flags&cmdFlagFUA != 0
	switch q.kind {
	case cmdRead:
		_, err := c.d.ReadAt(data, off)
		if errors.Is(err, io.EOF) {
			err = nil // ReadAt may say so at the end of all
		}
		return code(err)
	case cmdWrite:
		return code(c.d.WriteAt(data, off, fua))
	case cmdTrim:
		if err := c.d.Trim(off, n); err != nil || !fua {
			return code(err)
		}
		return code(c.d.Flush())
	default:
		return code(c.d.Zero(off, n, fua))
	}
}

func code(err error) uint32 {
	if err != nil {
		return errIO
	}
	return 0
}
