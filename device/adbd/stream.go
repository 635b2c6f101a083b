package adbd

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"mios/format/adb"
)

var errStreamClosed = errors.New("adb: the host closed the stream")

// A stream is one two-way flow of bytes to the host. A side may have one
// message unanswered: what is buffered here is at most one payload that waits
// and one that is being read.
type stream struct {
	c      *conn
	local  uint32
	remote atomic.Uint32 // 0 until a stream that this side opens is accepted
	open   atomic.Bool   // accepted, by whichever side

	in   chan payload  // room for one
	turn chan struct{} // holds a token while this side may send
	done chan struct{} // closed when either side closes
	once sync.Once

	cur payload // what the one reader has taken
	wmu sync.Mutex
}

// A payload is data in a recycled buffer.
type payload struct {
	data []byte
	buf  *[]byte
}

func newStream(c *conn, local, remote uint32) *stream {
	st := &stream{c: c, local: local, in: make(chan payload, 1), turn: make(chan struct{}, 1), done: make(chan struct{})}
	st.remote.Store(remote)
	return st
}

// accept tells the host that the stream it opened is.
func (st *stream) accept() error {
	st.open.Store(true)
	st.turn <- struct{}{}
	return st.c.send(adb.Message{Command: adb.OKAY, Arg0: st.local, Arg1: st.remote.Load()})
}

// okay takes the host's word that it is ready for more.
func (st *stream) okay() {
	if st == nil {
		return
	}
	st.open.Store(true)
	select {
	case st.turn <- struct{}{}:
	default:
	}
}

// put takes data of the host's, and says whether it keeps the buffer. A host
// that does not wait for OKAY loses the stream.
func (st *stream) put(data []byte, buf *[]byte) bool {
	if st == nil {
		return false
	}
	*buf = data[:0] // the same memory, unless the payload was larger
	select {
	case <-st.done:
		return false
	case st.in <- payload{data, buf}:
		return true
	default:
		st.c.log.Warn("adb: host sends without waiting", "stream", st.local)
		st.Close()
		return false
	}
}

// next returns up to limit bytes of what the host sent, without copying: they
// hold until the next call of next or Read. It returns io.EOF once the host
// has closed the stream and everything before that was read. A stream has one
// reader at a time.
func (st *stream) next(limit int) ([]byte, error) {
	for len(st.cur.data) == 0 {
		if st.cur.buf != nil {
			payloads.Put(st.cur.buf)
			st.cur = payload{}
		}
		select {
		case st.cur = <-st.in:
		case <-st.done:
			select { // what came before the end
			case st.cur = <-st.in:
			default:
				return nil, io.EOF
			}
		}
		select {
		case <-st.done:
		default:
			if err := st.c.send(adb.Message{Command: adb.OKAY, Arg0: st.local, Arg1: st.remote.Load()}); err != nil {
				return nil, err
			}
		}
	}
	n := min(limit, len(st.cur.data))
	b := st.cur.data[:n]
	st.cur.data = st.cur.data[n:]
	return b, nil
}

// Read implements io.Reader.
func (st *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := st.next(len(p))
	return copy(p, b), err
}

// WriteTo implements io.WriterTo, without a buffer of its own.
func (st *stream) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for {
		b, err := st.next(maxPayload)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(b)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// Write implements io.Writer: concurrent calls do not mix. It returns once the
// host's end took all but the last message.
func (st *stream) Write(p []byte) (int, error) {
	st.wmu.Lock()
	defer st.wmu.Unlock()
	n := 0
	for len(p) > 0 {
		part := p[:min(len(p), st.c.max)]
		select {
		case <-st.done:
			return n, errStreamClosed
		case <-st.turn:
		}
		if err := st.c.send(adb.Message{Command: adb.WRTE, Arg0: st.local, Arg1: st.remote.Load(), Payload: part}); err != nil {
			return n, err
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// Close ends the stream in both directions and tells the host, once. A stream
// that was never accepted is refused: that CLSE names no local id.
func (st *stream) Close() error {
	st.end()
	if !st.c.remove(st) {
		return nil
	}
	local := st.local
	if !st.open.Load() {
		local = 0
	}
	return st.c.send(adb.Message{Command: adb.CLSE, Arg0: local, Arg1: st.remote.Load()})
}

// end lets every wait on the stream return.
func (st *stream) end() { st.once.Do(func() { close(st.done) }) }
