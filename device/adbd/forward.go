package adbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mios/format/adb"
)

const (
	dialTime = 10 * time.Second
	openTime = 30 * time.Second // for a host to accept a stream
)

// A spec is a socket, as adb writes it: tcp:PORT, tcp:HOST:PORT,
// localabstract:NAME, localfilesystem:PATH, localreserved:NAME, local:PATH.
func (s *Server) spec(text string) (network, address string, err error) {
	kind, rest, _ := strings.Cut(text, ":")
	if rest == "" {
		return "", "", fmt.Errorf("%q is no socket: it takes tcp:PORT, localabstract:NAME or localfilesystem:PATH", text)
	}
	switch kind {
	case "tcp":
		host, port := "127.0.0.1", rest
		if at := strings.LastIndexByte(rest, ':'); at >= 0 {
			host, port = rest[:at], rest[at+1:]
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return "", "", fmt.Errorf("%q: port %q is not a number up to 65535", text, port)
		}
		return "tcp", net.JoinHostPort(strings.Trim(host, "[]"), port), nil
	case "localabstract":
		return "unix", "@" + rest, nil
	case "localfilesystem", "local":
		return "unix", s.path(rest), nil
	case "localreserved":
		return "unix", s.path("/dev/socket/" + rest), nil
	}
	return "", "", fmt.Errorf("%q: sockets of kind %q are not served: use tcp, localabstract or localfilesystem", text, kind)
}

// forward connects the stream to a socket on the device.
func (c *conn) forward(ctx context.Context, st *stream, text string) error {
	network, address, err := c.s.spec(text)
	if err != nil {
		return err
	}
	nc, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	if err := st.accept(); err != nil {
		nc.Close()
		return err
	}
	join(st, nc)
	return nil
}

// device connects the stream to a device node, as "adb forward tcp:1 dev:/dev/x" wants.
func (c *conn) device(st *stream, name string) error {
	f, err := os.OpenFile(c.s.path(name), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if err := st.accept(); err != nil {
		f.Close()
		return err
	}
	join(st, f)
	return nil
}

// join carries bytes both ways until both ends have no more, and closes both.
// adb has no half-closed streams: when the host closes its end, what it sent
// is still delivered; when the device's end stops sending, the stream is closed.
func join(st *stream, rw io.ReadWriteCloser) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(rw, st)
		if half, ok := rw.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		rw.Close()
	}()
	buf := make([]byte, 64<<10)
	io.CopyBuffer(onlyWriter{st}, onlyReader{rw}, buf)
	st.Close()
	rw.Close()
	<-done
}

// These hide other methods, so that CopyBuffer uses the buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// A listen is a listener of "adb reverse".
type listen struct {
	net.Listener
	local, remote string // as the host named them
}

// reverse is the service for "adb reverse": the device listens, and opens a
// stream to the host for each connection. Its answers are those of the host's
// own forward commands: OKAY or FAIL, then strings after four hexadecimal digits.
func (c *conn) reverse(st *stream, request string) error {
	if err := st.accept(); err != nil {
		return err
	}
	answer, err := c.reverseCommand(request)
	if err != nil {
		answer = "FAIL" + hexString(err.Error())
	}
	_, err = io.WriteString(st, answer)
	return err
}

func hexString(s string) string { return fmt.Sprintf("%04x%s", min(len(s), 0xffff), s) }

func (c *conn) reverseCommand(request string) (string, error) {
	verb, arg, _ := strings.Cut(request, ":")
	switch verb {
	case "list-forward":
		return hexString(c.listReverse()), nil
	case "killforward-all":
		c.stopReverse(func(*listen) bool { return true })
		return "OKAY", nil
	case "killforward":
		if c.stopReverse(func(l *listen) bool { return l.local == arg }) == 0 {
			return "", fmt.Errorf("listener '%s' not found", arg)
		}
		return "OKAY", nil
	case "forward":
		arg, norebind := strings.CutPrefix(arg, "norebind:")
		local, remote, ok := strings.Cut(arg, ";")
		if !ok || remote == "" {
			return "", fmt.Errorf("bad forward: %s", request)
		}
		return c.startReverse(local, remote, norebind)
	}
	return "", fmt.Errorf("unknown request %s", verb)
}

func (c *conn) listReverse() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s strings.Builder
	for _, l := range c.listens {
		fmt.Fprintf(&s, "host %s %s\n", l.local, l.remote)
	}
	return s.String()
}

// stopReverse closes the listeners that match, and returns how many those are.
func (c *conn) stopReverse(match func(*listen) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, keep := 0, []*listen(nil)
	for _, l := range c.listens {
		if match(l) {
			l.Close()
			n++
		} else {
			keep = append(keep, l)
		}
	}
	c.listens = keep
	return n
}

// startReverse listens on local. Where this host listens there already, the
// listener gets the new remote, unless norebind.
func (c *conn) startReverse(local, remote string, norebind bool) (string, error) {
	network, address, err := c.s.spec(local)
	if err != nil {
		return "", err
	}
	if c.rebind(local, "", norebind) {
		if norebind {
			return "", errors.New("cannot rebind existing socket")
		}
		c.rebind(local, remote, false)
		return "OKAY", nil
	}
	nl, err := net.Listen(network, address)
	if err != nil {
		return "", fmt.Errorf("cannot bind listener: %w", err)
	}
	answer := "OKAY"
	if local == "tcp:0" {
		port := strconv.Itoa(nl.Addr().(*net.TCPAddr).Port)
		local, answer = "tcp:"+port, "OKAY"+hexString(port)
	}
	l := &listen{nl, local, remote}
	c.mu.Lock()
	closed := c.streams == nil || len(c.listens) >= maxStreams
	if !closed {
		c.listens = append(c.listens, l)
	}
	c.mu.Unlock()
	if closed {
		nl.Close()
		return "", errors.New("too many listeners: remove some with adb reverse --remove-all")
	}
	c.wg.Go(func() { c.acceptReverse(l) })
	return answer, nil
}

// rebind says whether this host listens on local, and where remote is given
// makes that its new one.
func (c *conn) rebind(local, remote string, norebind bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.listens {
		if l.local == local {
			if remote != "" && !norebind {
				l.remote = remote
			}
			return true
		}
	}
	return false
}

func (c *conn) acceptReverse(l *listen) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || c.ctx.Err() != nil {
			return
		}
		if err != nil {
			c.log.Warn("adb: reverse", "local", l.local, "err", err)
			if sleep(c.ctx, dialTime/100) != nil {
				return
			}
			continue
		}
		c.mu.Lock()
		remote := l.remote
		c.mu.Unlock()
		c.wg.Go(func() {
			if err := c.dialHost(nc, remote); err != nil {
				c.log.Warn("adb: reverse", "local", l.local, "remote", remote, "err", err)
			}
		})
	}
}

// dialHost opens a stream to the host and joins it with nc, which it closes.
func (c *conn) dialHost(nc net.Conn, remote string) error {
	st := c.add(0)
	if st == nil {
		nc.Close()
		return errors.New("too many streams")
	}
	defer st.Close()
	err := c.send(adb.Message{Command: adb.OPEN, Arg0: st.local, Payload: []byte(remote + "\x00")})
	if err != nil {
		nc.Close()
		return err
	}
	timeout := time.NewTimer(openTime)
	defer timeout.Stop()
	select {
	case <-st.turn: // the host's OKAY; the right to send goes back
		st.okay()
	case <-st.done:
		nc.Close()
		return errors.New("the host refused it")
	case <-timeout.C:
		nc.Close()
		return errors.New("no answer from the host")
	}
	join(st, nc)
	return nil
}
