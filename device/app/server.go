package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	shellUID = 2000 // AID_SHELL
	idle     = time.Minute
)

// Listen makes the socket at path, for root and the shell.
func Listen(path string) (*net.UnixListener, error) {
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
	if err := errors.Join(os.Chown(path, 0, shellUID), os.Chmod(path, 0o660)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Serve answers requests until ctx ends, and closes l.
func (m *Manager) Serve(ctx context.Context, l *net.UnixListener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		m.wg.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
			m.serve(ctx, conn)
		})
	}
}

func (m *Manager) serve(ctx context.Context, conn *net.UnixConn) {
	in := bufio.NewReaderSize(&patientReader{conn}, maxLine)
	list, left, err := m.answer(ctx, conn, in)
	resp := response{Packages: list}
	if err != nil {
		resp = response{Error: asError(err)}
		m.cfg.Log.Warn("refused", "code", resp.Error.Code, "why", resp.Error.Message)
	}
	conn.SetWriteDeadline(time.Now().Add(idle))
	if b, err := json.Marshal(resp); err == nil {
		conn.Write(append(b, '\n'))
	}
	io.CopyN(io.Discard, in, left) // what the client still sends, so that it comes to reading
}

// answer reads the request and does it. It returns how many bytes of a package
// are not read yet.
func (m *Manager) answer(ctx context.Context, conn *net.UnixConn, in *bufio.Reader) ([]Status, int64, error) {
	if err := checkPeer(conn); err != nil {
		return nil, 0, err
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, 0, fmt.Errorf("read the request: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var q request
	if err := dec.Decode(&q); err != nil {
		return nil, 0, fmt.Errorf("request: %w", err)
	}
	if q.Op == opInstall {
		body := &io.LimitedReader{R: in, N: q.Size}
		st, err := m.Install(ctx, body, q.Size, q.Options)
		return one(st), max(body.N, 0), err
	}
	list, err := m.do(ctx, q)
	return list, 0, err
}

// do does what needs no bytes beside the request.
func (m *Manager) do(ctx context.Context, q request) ([]Status, error) {
	var st *Status
	var err error
	switch q.Op {
	case opInstallRepo:
		st, err = m.InstallRepo(ctx, q.Package, q.Options)
	case opUninstall:
		err = m.Uninstall(ctx, q.Package, q.Keep)
	case opList:
		return m.List(), nil
	case opGet:
		st, err = m.Get(q.Package)
	case opStart:
		st, err = m.Start(ctx, q.Package)
	case opStop:
		st, err = m.Stop(ctx, q.Package)
	default:
		err = fmt.Errorf("unknown request %q", q.Op)
	}
	return one(st), err
}

func one(st *Status) []Status {
	if st == nil {
		return nil
	}
	return []Status{*st}
}

// checkPeer lets root and the shell in, and whoever the server itself runs as.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != 0 && cred.Uid != shellUID && int(cred.Uid) != os.Getuid() {
		return fmt.Errorf("uid %d may not change packages", cred.Uid)
	}
	return nil
}

// patientReader gives up on a client that is silent for too long.
type patientReader struct{ conn *net.UnixConn }

func (p *patientReader) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return 0, err
	}
	return p.conn.Read(b)
}
