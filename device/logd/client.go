package logd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Query says what to read. Its zero value is all that there is.
type Query struct {
	IDs    []ID // none means all
	Tail   int  // only the newest; 0 means all
	PID    int  // only of this process; 0 means any
	Follow bool // go on with what comes
}

// Read calls f for each entry that the query means, oldest first, until there
// are no more, f returns an error, or ctx ends; the error is f's or ctx's.
// path "" means [ReadSocket].
func Read(ctx context.Context, path string, q Query, f func(Entry) error) error {
	verb := "dumpAndClose"
	if q.Follow {
		verb = "stream"
	}
	conn, err := ask(ctx, path, verb, q)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	packets := packetReader{r: conn}
	buf := make([]byte, 8192)
	for {
		n, err := packets.next(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read log: %w", err)
		}
		e, err := parseEntry(buf[:n])
		if err != nil {
			return err
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// A packetReader reads a seqpacket socket until its other end has closed it.
//
// The kernel's first word of that is not to be believed: it looks into the
// queue, which is empty, and then whether the other end has closed. One that
// sends all it has and closes in between leaves a full queue behind an end of
// file (Linux, net/unix/af_unix.c: __unix_dgram_recvmsg, of sockets that do not
// block). What was sent before the end is in the queue by then, so a second
// answer is right.
type packetReader struct {
	r     io.Reader
	ended bool // the other end has closed: nothing comes into the queue any more
}

// next reads a packet into b, or returns io.EOF once there are no more.
func (p *packetReader) next(b []byte) (int, error) {
	for {
		n, err := p.r.Read(b)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if p.ended {
			return 0, io.EOF
		}
		p.ended = true
	}
}

// Clear removes what the query means. It returns once that is done.
func Clear(ctx context.Context, path string, q Query) error {
	conn, err := ask(ctx, path, "clear", q)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.Read(make([]byte, 1)) // until it closes
	return ctx.Err()
}

// ask connects and sends a request.
func ask(ctx context.Context, path, verb string, q Query) (net.Conn, error) {
	if path == "" {
		path = ReadSocket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	words := []string{verb}
	if len(q.IDs) > 0 {
		ids := make([]string, len(q.IDs))
		for i, id := range q.IDs {
			ids[i] = fmt.Sprint(uint8(id))
		}
		words = append(words, "lids="+strings.Join(ids, ","))
	}
	if q.Tail > 0 {
		words = append(words, fmt.Sprintf("tail=%d", q.Tail))
	}
	if q.PID > 0 {
		words = append(words, fmt.Sprintf("pid=%d", q.PID))
	}
	if _, err := conn.Write([]byte(strings.Join(words, " "))); err != nil {
		conn.Close()
		return nil, fmt.Errorf("log: %w", err)
	}
	return conn, nil
}

// A Writer sends entries to the log. It may be used by several goroutines.
type Writer struct {
	mu   sync.Mutex
	conn *net.UnixConn
}

// Dial returns a writer. path "" means [WriteSocket].
func Dial(path string) (*Writer, error) {
	if path == "" {
		path = WriteSocket
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return &Writer{conn: conn}, nil
}

// Write sends an entry. Root may name another process and user in it; a
// process that has ended is replaced by the caller's own. A zero Time means
// now.
func (w *Writer) Write(e Entry) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	var oob []byte
	if e.PID != 0 && (e.PID != os.Getpid() || int(e.UID) != os.Getuid()) {
		oob = unix.UnixCredentials(&unix.Ucred{Pid: int32(e.PID), Uid: e.UID, Gid: e.UID})
	}
	b := e.appendWrite(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.send(b, oob)
	if errors.Is(err, syscall.ESRCH) {
		err = w.send(b, nil)
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// send sends a datagram, which package net does with credentials only on
// sockets that are not connected.
func (w *Writer) send(b, oob []byte) error {
	raw, err := w.conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendmsg(int(fd), b, oob, nil, 0)
		return !errors.Is(sendErr, syscall.EAGAIN)
	}); err != nil {
		return err
	}
	return sendErr
}

// Lines returns a writer for what the process pid of the user uid prints: each
// line becomes an entry under the tag, as [ParseLine] reads it.
func (w *Writer) Lines(tag string, pid int, uid uint32) *Lines {
	return &Lines{Emit: func(line string) {
		p, msg := ParseLine(line)
		w.Write(Entry{PID: pid, TID: pid, UID: uid, ID: Main, Priority: p, Tag: tag, Message: msg})
	}}
}

// Close ends the connection.
func (w *Writer) Close() error { return w.conn.Close() }
