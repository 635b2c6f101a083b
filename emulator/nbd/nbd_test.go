package nbd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mios/emulator/nbd"
	"mios/internal/tool"
)

// memory is a device in memory that counts flushes.
type memory struct {
	mu      sync.Mutex
	data    []byte
	flushes int
	fua     int
	broken  bool
}

var errBroken = errors.New("broken")

func (m *memory) Size() int64 { return int64(len(m.data)) }
func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken {
		return 0, errBroken
	}
	return bytes.NewReader(m.data).ReadAt(p, off)
}
func (m *memory) WriteAt(p []byte, off int64, fua bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if fua {
		m.fua++
	}
	copy(m.data[off:], p)
	return nil
}
func (m *memory) Zero(off, n int64, fua bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.data[off : off+n])
	return nil
}
func (m *memory) Trim(off, n int64) error { return m.Zero(off, n, false) }
func (m *memory) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushes++
	return nil
}

// serve serves d on a socket and returns its URI.
func serve(t *testing.T, d nbd.Device) string {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		nbd.Serve(ctx, l, d, func(err error) { t.Errorf("serve: %v", err) })
		close(done)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return "nbd+unix:///?socket=" + sock
}

// TestQEMU has QEMU's own client use the server.
func TestQEMU(t *testing.T) {
	qemuIO, err := tool.Look("qemu-io")
	if err != nil {
		t.Fatal(err)
	}
	qemuImg, err := tool.Look("qemu-img")
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{data: make([]byte, 8<<20)}
	uri := serve(t, m)
	run := func(want string, args ...string) {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v: %s; want %q", args, err, out, want)
		}
	}
	run("virtual size: 8 MiB (8388608 bytes)", qemuImg, "info", uri)
	run("wrote 4194304/4194304", qemuIO, "-f", "raw", "-c", "write -P 0xab 1M 4M", uri)
	run("read 4194304/4194304", qemuIO, "-f", "raw", "-c", "read -P 0xab 1M 4M", uri)
	run("wrote 512/512", qemuIO, "-f", "raw", "-c", "write -f -P 0xcd 512 512", uri)
	run("wrote 1048576/1048576", qemuIO, "-f", "raw", "-c", "write -z 2M 1M", uri)
	run("discard 65536/65536", qemuIO, "-f", "raw", "-d", "unmap", "-c", "discard 1M 64k", uri)
	m.mu.Lock()
	before := m.flushes
	m.mu.Unlock()
	run("", qemuIO, "-f", "raw", "-c", "flush", uri)
	m.mu.Lock()
	if m.flushes == before || m.fua == 0 {
		t.Errorf("%d flushes after flush, %d before; %d writes with FUA", m.flushes, before, m.fua)
	}
	want := make([]byte, 8<<20)
	copy(want[1<<20:], bytes.Repeat([]byte{0xab}, 4<<20))
	copy(want[512:], bytes.Repeat([]byte{0xcd}, 512))
	clear(want[1<<20 : 1<<20+64<<10])
	clear(want[2<<20 : 3<<20])
	if !bytes.Equal(m.data, want) {
		t.Error("the device does not hold what QEMU wrote")
	}
	m.broken = true
	m.mu.Unlock()
	out, _ := exec.Command(qemuIO, "-f", "raw", "-c", "read 0 512", uri).CombinedOutput()
	if !strings.Contains(string(out), "Input/output error") {
		t.Errorf("read of a broken device: %s", out)
	}
}

// script is what a client sends, and what comes back.
type script struct {
	io.Reader
	out bytes.Buffer
}

func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }

func be(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		if s, ok := p.(string); ok {
			p = []byte(s)
		}
		binary.Write(&b, binary.BigEndian, p)
	}
	return b.Bytes()
}

const (
	optMagic = uint64(0x49484156454f5054)
	reqMagic = uint32(0x25609513)
)

// option is a client's option; request one of its requests.
func option(kind uint32, data []byte) []byte { return be(optMagic, kind, uint32(len(data)), data) }
func request(flags, kind uint16, off uint64, n uint32) []byte {
	return be(reqMagic, flags, kind, "cookie!!", off, n)
}

// opened is a client that has got into transmission.
func opened(rest ...[]byte) []byte {
	goOption := option(7, be(uint32(0), uint16(0)))
	return bytes.Join(append([][]byte{be(uint32(3)), goOption}, rest...), nil)
}

func TestConn(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []byte
		err  string // "": none
		end  []byte // what the server says last
	}{
		{"nothing", nil, "", be(uint16(3))},
		{"old style", be(uint32(0)), "want fixed newstyle", nil},
		{"unknown flags", be(uint32(7)), "handshake flags 0x7", nil},
		{"bad option", append(be(uint32(3)), bytes.Repeat([]byte{1}, 16)...), "option magic", nil},
		{"huge option", append(be(uint32(3)), be(optMagic, uint32(7), uint32(1<<30))...), "option of 1073741824 bytes", nil},
		{"cut option", append(be(uint32(3)), be(optMagic, uint32(7), uint32(9))...), "EOF", nil},
		{"abort", append(be(uint32(3)), option(2, nil)...), "", be(uint32(1), uint32(0))},
		{"TLS is refused", append(be(uint32(3)), append(option(5, nil), option(2, nil)...)...), "",
			be(uint64(0x3e889045565a9), uint32(5), uint32(1<<31|1), uint32(0), uint64(0x3e889045565a9), uint32(2), uint32(1), uint32(0))},
		{"other name", append(be(uint32(3)), append(option(7, be(uint32(1), "x", uint16(0))), option(2, nil)...)...), "",
			be("the export's name is empty", uint64(0x3e889045565a9), uint32(2), uint32(1), uint32(0))},
		{"go with a bad length", append(be(uint32(3)), append(option(7, be(uint32(9), uint16(0))), option(2, nil)...)...), "",
			be(uint32(1<<31|3), uint32(0), uint64(0x3e889045565a9), uint32(2), uint32(1), uint32(0))},
		{"options for ever", append(be(uint32(3)), bytes.Repeat(option(99, nil), 40)...), "more than 32 options", nil},
		{"export name", append(be(uint32(1)), option(1, []byte("any"))...), "", append(be(uint64(4096), uint16(0x6d)), make([]byte, 124)...)},
		{"read", opened(request(0, 0, 512, 512)), "", append(be(uint32(0x67446698), uint32(0), "cookie!!"), bytes.Repeat([]byte{7}, 512)...)},
		{"read past the end", opened(request(0, 0, 4096, 512)), "", be(uint32(0x67446698), uint32(22), "cookie!!")},
		{"read at 2^64-1", opened(request(0, 0, 1<<64-1, 512)), "", be(uint32(22), "cookie!!")},
		{"read half a sector", opened(request(0, 0, 0, 256)), "", be(uint32(22), "cookie!!")},
		{"huge read", opened(request(0, 0, 0, 1<<31)), "request of 2147483648 bytes", nil},
		{"write past the end", opened(request(0, 1, 4096, 512), make([]byte, 512)), "", be(uint32(28), "cookie!!")},
		{"cut write", opened(request(0, 1, 0, 512), make([]byte, 100)), "unexpected EOF", nil},
		{"unknown flag", opened(request(1<<9, 0, 0, 512)), "", be(uint32(22), "cookie!!")},
		{"unknown command", opened(request(0, 77, 0, 0)), "", be(uint32(22), "cookie!!")},
		{"bad magic", opened(make([]byte, 28)), "request magic 0x0", nil},
		{"flush and leave", opened(request(0, 3, 0, 0), request(0, 2, 0, 0)), "", be(uint32(0), "cookie!!")},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{Reader: bytes.NewReader(test.in)}
			err := nbd.Conn(s, &memory{data: bytes.Repeat([]byte{7}, 4096)})
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("Conn = %v, want %q", err, test.err)
			}
			if !bytes.HasSuffix(s.out.Bytes(), test.end) {
				t.Errorf("server ends with % x, want % x", s.out.Bytes(), test.end)
			}
		})
	}
}

func FuzzConn(f *testing.F) {
	f.Add(opened(request(0, 0, 512, 512), request(1, 1, 0, 512), make([]byte, 512), request(0, 3, 0, 0)))
	f.Add(opened(request(0, 6, 0, 4096), request(0, 4, 512, 512), request(0, 2, 0, 0)))
	f.Add(append(be(uint32(1)), option(1, nil)...))
	f.Add(append(be(uint32(3)), option(3, nil)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := &memory{data: make([]byte, 4096)}
		nbd.Conn(&script{Reader: bytes.NewReader(in)}, m)
		if len(m.data) != 4096 {
			t.Error("the device's size changed")
		}
	})
}
