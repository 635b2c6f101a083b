// Package socket is what the device's services share about Unix sockets: who
// may connect, who has, and a loop that outlives a shortage.
package socket

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Shell is AOSP's AID_SHELL, which is user and group of what runs for a person
// on a desk. Only userdebug devices have such processes.
const Shell = 2000

// pause is how long Serve waits after an accept that failed.
const pause = 100 * time.Millisecond

// Listen makes a stream socket at path, in place of one that was left there,
// for this process's user and a group.
func Listen(path string, group int) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(path, -1, group), os.Chmod(path, 0o660)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve calls handle in a goroutine of its own for each connection, and closes
// the connection when handle returns. An accept that fails, for want of
// descriptors say, is told to failed and tried again: a service that nobody can
// ask any more is worse than one that is late. When ctx ends, Serve closes the
// listener, lets every read and write on a connection fail, and returns ctx's
// error once all calls of handle have returned.
func Serve(ctx context.Context, l *net.UnixListener, handle func(*net.UnixConn), failed func(error)) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var group sync.WaitGroup
	defer group.Wait()
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			failed(err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		group.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
			handle(conn)
		})
	}
}

// Peer returns the process and the user that connected, as the kernel knows
// them.
func Peer(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, credErr
}
