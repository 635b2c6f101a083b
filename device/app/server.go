package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"mios/device/socket"
)

// idle is how long a client may be silent.
const idle = time.Minute

// Serve answers requests until ctx ends, and closes l. What is not the manager's
// own goes to more; nil: nobody answers that.
func (m *Manager) Serve(ctx context.Context, l *net.UnixListener, more Handler) error {
	err := socket.Serve(ctx, l, func(conn *net.UnixConn) { m.serve(ctx, conn, more) },
		func(err error) { m.cfg.Log.Warn("accept", "err", err) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (m *Manager) serve(ctx context.Context, conn *net.UnixConn, more Handler) {
	in := bufio.NewReaderSize(&patientReader{conn}, maxLine)
	resp, left, err := m.answer(ctx, conn, in, more)
	if err != nil {
		resp = response{Error: asError(err)}
		m.cfg.Log.Warn("refused", "code", resp.Error.Code, "why", resp.Error.Message)
	}
	tell(conn, resp, idle)
	io.CopyN(io.Discard, in, left) // what the client still sends, so that it comes to reading
}

// tell sends a line, and hangs up on a client that does not take it in time: what
// it asked for goes on without it.
func tell(conn *net.UnixConn, resp response, patience time.Duration) {
	conn.SetWriteDeadline(time.Now().Add(patience))
	if b, err := json.Marshal(resp); err == nil {
		if _, err := conn.Write(append(b, '\n')); err != nil {
			conn.Close()
		}
	}
}

// answer reads the request and does it. It returns how many bytes of a package
// are not read yet.
func (m *Manager) answer(ctx context.Context, conn *net.UnixConn, in *bufio.Reader, more Handler) (response, int64, error) {
	if err := checkPeer(conn); err != nil {
		return response{}, 0, err
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return response{}, 0, fmt.Errorf("read the request: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var q request
	if err := dec.Decode(&q); err != nil {
		return response{}, 0, fmt.Errorf("request: %w", err)
	}
	if q.Op == opInstall {
		body := &io.LimitedReader{R: in, N: q.Size}
		st, err := m.Install(ctx, body, q.Size, q.Options)
		return response{Packages: one(st)}, max(body.N, 0), err
	}
	list, err := m.do(ctx, q)
	if !errors.Is(err, errUnknown) || more == nil {
		return response{Packages: list}, 0, err
	}
	result, err := more(ctx, q.Op, q.Args, func(progress any) {
		if b, err := json.Marshal(progress); err == nil {
			tell(conn, response{Progress: b}, time.Second)
		}
	})
	if err != nil {
		return response{}, 0, err
	}
	b, err := json.Marshal(result)
	return response{Result: b}, 0, err
}

var errUnknown = errors.New("unknown request")

// do does what needs no bytes beside the request.
func (m *Manager) do(ctx context.Context, q request) ([]Status, error) {
	var st *Status
	var err error
	switch q.Op {
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
		err = fmt.Errorf("%w %q", errUnknown, q.Op)
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
	cred, err := socket.Peer(conn)
	if err != nil {
		return err
	}
	if cred.Uid != 0 && cred.Uid != socket.Shell && int(cred.Uid) != os.Getuid() {
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
