package logd

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// settleTime is how long a reader waits for what was sent before it asked. Its
// end is that of a log that is written to faster than it is read.
const settleTime = time.Second

// markSize is the size of a mark, which is too short to be an entry.
const markSize = 8

// A settling knows how far the writers' socket has been read: a reader sends a
// mark to it, which comes after all that was sent before.
type settling struct {
	mu    sync.Mutex
	path  string // of the socket; "" while it is not served
	last  uint64
	marks map[uint64]chan struct{} // closed when the mark comes
}

func (s *settling) serve(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path, s.marks = path, make(map[uint64]chan struct{})
}

// came takes a datagram, if it is a mark of this process.
func (s *settling) came(b []byte, from *unix.Ucred) bool {
	if len(b) != markSize || int(from.Pid) != os.Getpid() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := binary.LittleEndian.Uint64(b)
	if mark := s.marks[n]; mark != nil {
		close(mark)
		delete(s.marks, n)
	}
	return true
}

// settle waits until the ring has all that was sent to the writers' socket
// before, or for [settleTime].
func (r *Ring) settle(ctx context.Context) {
	s := &r.settling
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	s.mu.Lock()
	if s.path == "" {
		s.mu.Unlock()
		return
	}
	s.last++
	n, mark := s.last, make(chan struct{})
	s.marks[n] = mark
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	s.mu.Unlock()
	if err == nil {
		defer conn.Close()
		conn.SetWriteDeadline(time.Now().Add(settleTime))
		_, err = conn.Write(binary.LittleEndian.AppendUint64(nil, n))
	}
	if err == nil {
		select {
		case <-mark:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	delete(s.marks, n)
	s.mu.Unlock()
}
