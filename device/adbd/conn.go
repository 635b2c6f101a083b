package adbd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"mios/format/adb"
)

const (
	// maxPayload is what this side offers, in bytes. Two payloads a stream are
	// all that is ever buffered. AOSP's 1 MiB is no faster here.
	maxPayload = 256 << 10
	maxStreams = 256
	helloTime  = 30 * time.Second // for a host's first message
	maxKeyFile = 1 << 20
)

// features is what a host may use. Without abb, adb installs by "cmd package";
// without remount_shell, it asks the service "remount:".
var features = []string{"shell_v2", "cmd", "stat_v2", "ls_v2", "sendrecv_v2", "fixed_push_mkdir", "fixed_push_symlink_timestamp"}

var errUnauthorized = errors.New("not authorised")

// payloads recycles buffers of maxPayload bytes.
var payloads = sync.Pool{New: func() any { b := make([]byte, 0, maxPayload); return &b }}

// A conn is a connection to a host.
type conn struct {
	s      *Server
	nc     net.Conn
	log    *slog.Logger
	ctx    context.Context // done once the connection is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup // of all that runs for the host

	r    adb.Reader
	host adb.Banner
	max  int // bytes of payload that the host takes

	wmu     sync.Mutex // one message at a time
	header  []byte
	skipSum bool

	mu       sync.Mutex
	streams  map[uint32]*stream
	lastID   uint32
	listens  []*listen
	loggedID bool
}

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	ctx, cancel := context.WithCancel(ctx)
	c := &conn{s: s, nc: nc, log: s.Log.With("host", nc.RemoteAddr().String()), ctx: ctx, cancel: cancel,
		r: adb.Reader{R: nc}, streams: make(map[uint32]*stream)}
	context.AfterFunc(ctx, func() { nc.Close() })
	return c
}

// close ends the connection, every stream and every listener. It does not wait.
func (c *conn) close() {
	c.cancel()
	c.nc.Close()
	c.mu.Lock()
	streams, listens := c.streams, c.listens
	c.streams, c.listens = nil, nil
	c.mu.Unlock()
	for _, st := range streams {
		st.end()
	}
	for _, l := range listens {
		l.Close()
	}
}

// run talks to the host until the connection ends.
func (c *conn) run() error {
	if err := c.hello(); err != nil {
		return err
	}
	c.s.unpend(c)
	c.log.Info("adb: host connected", "features", strings.Join(c.host.Features, ","))
	c.r.Max = maxPayload
	for {
		buf := payloads.Get().(*[]byte)
		m, err := c.r.Next(*buf)
		if err != nil {
			payloads.Put(buf)
			return err
		}
		kept, err := c.handle(m, buf)
		if !kept {
			payloads.Put(buf)
		}
		if err != nil {
			return err
		}
	}
}

// hello takes the host's CNXN, authorises it, and answers with ours.
func (c *conn) hello() error {
	c.nc.SetReadDeadline(time.Now().Add(helloTime))
	m, err := c.r.Next(nil)
	if err != nil {
		return err
	}
	c.nc.SetReadDeadline(time.Time{})
	if m.Command != adb.CNXN {
		return fmt.Errorf("%v, want a CNXN first", m.Command)
	}
	if m.Arg0 < adb.VersionMin || m.Arg1 < 1 {
		return fmt.Errorf("host speaks version %#x with payloads of %d bytes: update its adb", m.Arg0, m.Arg1)
	}
	c.host = adb.ParseBanner(m.Payload)
	c.max = int(min(m.Arg1, maxPayload))
	version := min(m.Arg0, adb.VersionSkipChecksum)
	c.r.SkipChecksum = version >= adb.VersionSkipChecksum
	if !c.s.NoAuth {
		if err := c.authorise(); err != nil {
			return err
		}
	}
	banner := adb.Banner{Type: "device", Features: features, Properties: []adb.Property{
		{Name: "ro.product.name", Value: c.s.Product},
		{Name: "ro.product.model", Value: c.s.Model},
		{Name: "ro.product.device", Value: c.s.Device},
	}}
	err = c.send(adb.Message{Command: adb.CNXN, Arg0: version, Arg1: maxPayload, Payload: []byte(banner.String())})
	c.skipSum = c.r.SkipChecksum // from here on: the peer knows the version now
	return err
}

// authorise sends tokens until the host signs one with a key that is
// authorised. A host that has none left offers its public key; with nobody
// here to ask, that is logged, and the host waits as "unauthorized".
func (c *conn) authorise() error {
	token := make([]byte, adb.TokenSize)
	for {
		rand.Read(token)
		if err := c.send(adb.Message{Command: adb.AUTH, Arg0: adb.AuthToken, Payload: token}); err != nil {
			return err
		}
		m, err := c.answer()
		if err != nil {
			return err
		}
		if c.verify(token, m.Payload) {
			return nil
		}
	}
}

// answer returns the host's next signature.
func (c *conn) answer() (adb.Message, error) {
	for {
		m, err := c.r.Next(nil)
		switch {
		case err != nil:
			return m, errors.Join(errUnauthorized, err)
		case m.Command == adb.AUTH && m.Arg0 == adb.AuthSignature:
			return m, nil
		case m.Command == adb.AUTH && m.Arg0 == adb.AuthRSAPublicKey:
			c.offered(m.Payload)
		default: // OPEN and the like, from one that is not authorised; STLS
			return m, fmt.Errorf("%w: %v instead of AUTH", errUnauthorized, m.Command)
		}
	}
}

// offered logs the key of a host that is not authorised.
func (c *conn) offered(payload []byte) {
	k, err := adb.ParseKey(string(payload))
	if err != nil {
		c.log.Warn("adb: host offers a key that is none", "err", err)
		return
	}
	if !c.loggedID {
		c.log.Warn("adb: host is not authorised: add its adbkey.pub to an adb_keys file", "key", k.Comment, "sha256", k.Fingerprint())
		c.loggedID = true
	}
}

// verify says whether one of the authorised keys signed the token.
func (c *conn) verify(token, signature []byte) bool {
	for _, name := range c.s.KeyFiles {
		b, err := readFile(c.s.path(name), maxKeyFile)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		keys, bad := adb.ParseKeys(b)
		if err := errors.Join(err, bad); err != nil {
			c.log.Warn("adb: key file", "file", name, "err", err)
		}
		for _, k := range keys {
			if k.Verify(token, signature) == nil {
				c.log = c.log.With("key", k.Comment)
				return true
			}
		}
	}
	return false
}

func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b, err
}

// send writes a message.
func (c *conn) send(m adb.Message) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.header = m.AppendHeader(c.header[:0], c.skipSum)
	bufs := net.Buffers{c.header, m.Payload}
	_, err := bufs.WriteTo(c.nc)
	return err
}

// handle acts on a message of an authorised host. It says whether it kept the
// buffer that the payload lies in.
func (c *conn) handle(m adb.Message, buf *[]byte) (kept bool, err error) {
	switch m.Command {
	case adb.OPEN:
		return false, c.open(m.Arg0, string(bytes.TrimRight(m.Payload, "\x00")))
	case adb.OKAY:
		c.find(m.Arg1, m.Arg0, true).okay()
	case adb.WRTE:
		return c.find(m.Arg1, m.Arg0, false).put(m.Payload, buf), nil
	case adb.CLSE:
		if st := c.find(m.Arg1, m.Arg0, true); st != nil {
			st.Close()
		}
	case adb.AUTH: // late answers to tokens of before
	default: // a second CNXN would start over: over TCP, a new connection does
		return false, fmt.Errorf("%v from a host that is connected", m.Command)
	}
	return false, nil
}

// open starts a service for a stream of the host's. Nothing slow happens here:
// other streams wait for it.
func (c *conn) open(remote uint32, destination string) error {
	serve := c.service(destination)
	st := c.add(remote)
	if remote == 0 || serve == nil || st == nil {
		if st != nil {
			c.remove(st)
		}
		c.log.Warn("adb: refused", "service", destination)
		return c.send(adb.Message{Command: adb.CLSE, Arg1: remote})
	}
	c.wg.Go(func() {
		defer st.Close()
		if err := serve(c.ctx, st); err != nil {
			c.log.Warn("adb: service", "service", destination, "err", err)
		}
	})
	return nil
}

// add registers a stream under an id of its own; nil when there are too many,
// or the connection is closed. remote is 0 for a stream that this side opens.
func (c *conn) add(remote uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams == nil || len(c.streams) >= maxStreams {
		return nil
	}
	for {
		c.lastID++
		if _, taken := c.streams[c.lastID]; c.lastID != 0 && !taken {
			break
		}
	}
	st := newStream(c, c.lastID, remote)
	c.streams[st.local] = st
	return st
}

// remove forgets a stream, and says whether it was there.
func (c *conn) remove(st *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.streams[st.local]
	delete(c.streams, st.local)
	return ok
}

// find returns the stream with these ids, or nil: messages of a stream that
// this side has closed already may still be on their way. With learn, a stream
// that this side opened takes the remote id; CLSE may refuse it with 0.
func (c *conn) find(local, remote uint32, learn bool) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[local]
	if st == nil {
		return nil
	}
	if learn {
		st.remote.CompareAndSwap(0, remote)
	}
	if st.remote.Load() != remote {
		return nil
	}
	return st
}
