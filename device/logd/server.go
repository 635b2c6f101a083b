package logd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/device/socket"
)

// maxReaders bounds the connections that are served at a time.
const maxReaders = 32

// A request is what a reader asks for, in AOSP's words: "stream" or
// "dumpAndClose", and lids=0,3 tail=N pid=N; and, of our own, "clear".
type request struct {
	verb string
	ids  uint64 // a bit for each buffer; none means all
	tail int    // -1 means all
	pid  int    // 0 means any
}

func parseRequest(s string) (request, error) {
	q := request{tail: -1}
	words := strings.Fields(strings.TrimRight(s, "\x00"))
	if len(words) == 0 {
		return q, fmt.Errorf("log request: %w: it is empty", mios.ErrInvalid)
	}
	q.verb = words[0]
	if q.verb != "stream" && q.verb != "dumpAndClose" && q.verb != "clear" {
		return q, fmt.Errorf("log request: %w: %.40q", mios.ErrInvalid, q.verb)
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "lids":
			for id := range strings.SplitSeq(value, ",") {
				var n uint64
				if n, err = strconv.ParseUint(id, 10, 6); err != nil {
					break
				}
				q.ids |= 1 << n
			}
		case "tail":
			q.tail, err = strconv.Atoi(value)
		case "pid":
			q.pid, err = strconv.Atoi(value)
		}
		if err != nil {
			return q, fmt.Errorf("log request: %w: %.40q", mios.ErrInvalid, w)
		}
	}
	return q, nil
}

func (q request) match(e *Entry) bool {
	return (q.ids == 0 || q.ids>>e.ID&1 == 1) && (q.pid == 0 || q.pid == e.PID)
}

// seesAll tells whether a user may read all entries and clear them: root,
// system, log and shell; others see their own.
func seesAll(uid uint32) bool { return uid == 0 || uid == 1000 || uid == 1007 || uid == 2000 }

// ServeReaders answers readers on a seqpacket listener until ctx ends.
func (r *Ring) ServeReaders(ctx context.Context, l *net.UnixListener) error {
	slots := make(chan struct{}, maxReaders)
	return socket.Serve(ctx, l, func(conn *net.UnixConn) {
		select {
		case slots <- struct{}{}:
			r.serveReader(ctx, conn)
			<-slots
		default: // too many: this one has to come again
		}
	}, func(err error) {
		r.Append(Entry{Time: time.Now(), PID: os.Getpid(), TID: os.Getpid(), ID: System, Priority: Warn, Tag: "logd", Message: "accept: " + err.Error()})
	})
}

// serveReader answers one reader. Its errors are the reader's going away.
func (r *Ring) serveReader(ctx context.Context, conn *net.UnixConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	cred, err := socket.Peer(conn)
	if err != nil {
		return err
	}
	buf := make([]byte, 256)
	n, err := conn.Read(buf)
	if err != nil {
		return err
	}
	q, err := parseRequest(string(buf[:n]))
	if err != nil {
		return err
	}
	match := q.match
	if !seesAll(cred.Uid) {
		match = func(e *Entry) bool { return e.UID == cred.Uid && e.ID != Kernel && e.ID != System && q.match(e) }
	}
	if q.verb != "stream" {
		r.settle(ctx) // what was sent before is in the answer
	}
	if q.verb == "clear" {
		r.Clear(match)
		return nil
	}
	go func() { // a reader sends nothing more; this sees it go away
		conn.Read(make([]byte, 1))
		cancel()
	}()
	var seq uint64
	if q.tail >= 0 {
		seq = r.Tail(q.tail, match)
	}
	return r.send(ctx, conn, seq, match, q.verb == "stream")
}

// send writes the entries from seq on, and, if follow is set, those to come.
func (r *Ring) send(ctx context.Context, conn *net.UnixConn, seq uint64, match func(*Entry) bool, follow bool) error {
	var packet []byte
	for {
		list, next := r.From(seq, 128)
		for i := range list {
			if !match(&list[i]) {
				continue
			}
			packet = list[i].append(packet[:0])
			if _, err := conn.Write(packet); err != nil {
				return err
			}
		}
		seq = next
		if len(list) > 0 {
			continue
		}
		if !follow {
			return nil
		}
		if err := r.Wait(ctx, seq); err != nil {
			return err
		}
	}
}

// ListenReaders makes the socket that readers connect to.
func ListenReaders(path string) (*net.UnixListener, error) {
	return net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
}

// ListenWriters makes the socket that writers send to. From its first moment
// on the kernel notes who sends.
func ListenWriters(path string) (*net.UnixConn, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if ctlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		}); ctlErr != nil {
			return ctlErr
		}
		return err
	}}
	conn, err := c.ListenPacket(context.Background(), "unixgram", path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// ServeWriters takes entries from the socket that [ListenWriters] made, until
// ctx ends. Process and user of an entry are those that the kernel knows, or,
// from a process that may say so, those that it says.
func (r *Ring) ServeWriters(ctx context.Context, conn *net.UnixConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	r.settling.serve(conn.LocalAddr().String())
	buf := make([]byte, 8192)
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, on, _, _, err := conn.ReadMsgUnix(buf, oob)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("log writers: %w", err)
		}
		cred, err := sender(oob[:on])
		if err != nil || r.settling.came(buf[:n], cred) {
			continue
		}
		e, err := parseWrite(buf[:n])
		if err != nil {
			continue
		}
		e.PID, e.UID = int(cred.Pid), cred.Uid
		if now := time.Now(); e.Time.After(now) {
			e.Time = now
		}
		r.Append(e)
	}
}

// sender returns who sent a datagram.
func sender(oob []byte) (*unix.Ucred, error) {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if cred, err := unix.ParseUnixCredentials(&list[i]); err == nil {
			return cred, nil
		}
	}
	return nil, errors.New("datagram without a sender")
}
