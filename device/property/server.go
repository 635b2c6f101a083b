package property

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/device/socket"
)

const (
	requestTimeout = 2 * time.Second // AOSP's for a whole request
	maxConns       = 64              // at a time from one user that is not root
)

// A Server answers clients. Store and Log must be set.
type Server struct {
	Store *Store
	Log   *slog.Logger
	// Control does what ctl.VERB=NAME asks for: start, stop, restart and so on.
	// Without it all of these are refused.
	Control func(verb, name string) error

	mu    sync.Mutex
	conns map[uint32]int // by user
}

// Serve answers on the listener until ctx ends. Each connection carries one
// request.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	return socket.Serve(ctx, l, func(conn *net.UnixConn) {
		if err := s.serve(ctx, conn); err != nil {
			s.Log.Debug("property request", "err", err)
		}
	}, func(err error) { s.Log.Warn("property service: accept", "err", err) })
}

func (s *Server) serve(ctx context.Context, conn *net.UnixConn) error {
	cred, err := socket.Peer(conn)
	if err != nil {
		return err
	}
	if !s.enter(cred.Uid) {
		return fmt.Errorf("user %d has %d connections already", cred.Uid, maxConns)
	}
	defer s.exit(cred.Uid)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	conn.SetDeadline(time.Now().Add(requestTimeout))
	in := bufio.NewReader(conn)
	cmd, err := readUint32(in)
	if err != nil {
		return err
	}
	n, known := arguments(cmd)
	if !known {
		return reply(conn, statusInvalidCmd)
	}
	var args [2]string
	for i := range n {
		if args[i], err = readString(in); err != nil {
			reply(conn, statusReadData)
			return err
		}
	}
	switch cmd {
	case cmdSet:
		code := s.set(cred, args[0], args[1])
		conn.SetDeadline(time.Now().Add(requestTimeout))
		return reply(conn, code)
	case cmdGet:
		return reply(conn, statusSuccess, s.Store.Get(args[0]))
	case cmdList:
		all := []string{}
		for _, p := range s.Store.List() {
			all = append(all, p.Name, p.Value)
		}
		return reply(conn, statusSuccess, all...)
	}
	conn.SetDeadline(time.Time{})
	go func() { // a client that goes away is not waited for any longer
		in.ReadByte()
		cancel()
	}()
	value, err := s.Store.Wait(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	conn.SetWriteDeadline(time.Now().Add(requestTimeout))
	return reply(conn, statusSuccess, value)
}

// arguments returns how many strings follow a command.
func arguments(cmd uint32) (n int, known bool) {
	switch cmd {
	case cmdSet, cmdWait:
		return 2, true
	case cmdGet:
		return 1, true
	case cmdList:
		return 0, true
	}
	return 0, false
}

// set sets a property for a client and returns the answer.
func (s *Server) set(cred *unix.Ucred, name, value string) uint32 {
	log := s.Log.With("property", name, "value", value, "pid", cred.Pid, "uid", cred.Uid)
	if CheckName(name) != nil {
		return statusInvalidName
	}
	if !MaySet(cred.Uid, name) {
		log.Warn("set refused: only root may")
		return statusPermission
	}
	if verb, ok := strings.CutPrefix(name, "ctl."); ok {
		if s.Control == nil {
			return statusControl
		}
		if err := s.Control(verb, value); err != nil {
			log.Warn("control", "err", err)
			return statusControl
		}
		return statusSuccess
	}
	err := s.Store.Set(name, value)
	switch {
	case err == nil:
		if name == PowerControl {
			log.Info("power control")
		}
		return statusSuccess
	case errors.Is(err, mios.ErrInvalid):
		return statusInvalidValue
	case errors.Is(err, mios.ErrDenied):
		return statusReadOnly
	}
	log.Error("set", "err", err)
	return statusSetFailed
}

// reply writes the status and, where there is an answer, its strings.
func reply(conn net.Conn, code uint32, answer ...string) error {
	b := binary.LittleEndian.AppendUint32(nil, code)
	if answer != nil {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(answer)))
		for _, a := range answer {
			b = appendString(b, a)
		}
	}
	_, err := conn.Write(b)
	return err
}

func (s *Server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if uid != 0 && s.conns[uid] >= maxConns {
		return false
	}
	if s.conns == nil {
		s.conns = make(map[uint32]int)
	}
	s.conns[uid]++
	return true
}

func (s *Server) exit(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[uid]--; s.conns[uid] == 0 {
		delete(s.conns, uid)
	}
}
