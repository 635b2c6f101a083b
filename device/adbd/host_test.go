package adbd_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/device/adbd"
	"mios/format/adb"
	"mios/internal/testkit"
)

// A host is the other end of the wire, for what stock adb does not do.
type host struct {
	t *testing.T
	c net.Conn
	r adb.Reader
}

// serve starts a device and returns its address.
func serve(t *testing.T, s *adbd.Server) string {
	t.Helper()
	s.Shell, s.Properties, s.Log = []string{"/bin/sh"}, &properties{set: map[string]string{}}, slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}

func dial(t *testing.T, addr string) *host {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(testkit.Patience))
	return &host{t, c, adb.Reader{R: c, Max: adb.MaxPayload}}
}

func (h *host) send(cmd adb.Command, arg0, arg1 uint32, payload string) {
	h.t.Helper()
	m := adb.Message{Command: cmd, Arg0: arg0, Arg1: arg1, Payload: []byte(payload)}
	if _, err := h.c.Write(append(m.AppendHeader(nil, false), m.Payload...)); err != nil {
		h.t.Logf("write: %v", err)
	}
}

// next returns the device's next message, which must be a cmd.
func (h *host) next(cmd adb.Command) adb.Message {
	h.t.Helper()
	m, err := h.r.Next(nil)
	if err != nil || m.Command != cmd {
		h.t.Fatalf("device says %v, %v; want %v", m, err, cmd)
	}
	return m
}

// connect says hello as a peer of the given version.
func (h *host) connect(version uint32) adb.Message {
	h.t.Helper()
	h.send(adb.CNXN, version, adb.MaxPayload, "host::features=")
	m := h.next(adb.CNXN)
	h.r.SkipChecksum = m.Arg0 >= adb.VersionSkipChecksum
	return m
}

// gone checks that the device has hung up.
func (h *host) gone() {
	h.t.Helper()
	for {
		m, err := h.r.Next(nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			h.t.Error("the device has not hung up")
		}
		if err != nil {
			return
		}
		if m.Command == adb.CNXN {
			h.t.Errorf("device says %v", m)
		}
	}
}

func TestOldHostGetsChecksums(t *testing.T) {
	h := dial(t, serve(t, &adbd.Server{NoAuth: true}))
	if m := h.connect(adb.VersionMin); m.Arg0 != adb.VersionMin {
		t.Errorf("version %#x", m.Arg0)
	}
	h.send(adb.OPEN, 5, 0, "root:\x00")
	if m := h.next(adb.OKAY); m.Arg1 != 5 || m.Arg0 == 0 {
		t.Errorf("OKAY is %v", m)
	}
	if m := h.next(adb.WRTE); !strings.Contains(string(m.Payload), "root") {
		t.Errorf("root: %q", m.Payload)
	}
}

func TestRefusedServices(t *testing.T) {
	h := dial(t, serve(t, &adbd.Server{NoAuth: true}))
	h.connect(adb.VersionSkipChecksum)
	for _, destination := range []string{"", "jdwp:1", "nonsense", "tcp:99999", "tcp:x", "localfilesystem:/none", "dev:/none"} {
		h.send(adb.OPEN, 9, 0, destination+"\x00")
		if m := h.next(adb.CLSE); m.Arg0 != 0 || m.Arg1 != 9 {
			t.Errorf("%q: %v, want CLSE(0, 9)", destination, m)
		}
	}
	h.send(adb.WRTE, 77, 88, "to nobody")
	h.send(adb.OKAY, 77, 88, "")
	h.send(adb.CLSE, 77, 88, "")
	h.send(adb.OPEN, 10, 0, "root:\x00") // still alive
	h.next(adb.OKAY)
}

func TestHangsUpOnNonsense(t *testing.T) {
	addr := serve(t, &adbd.Server{NoAuth: true})
	for name, f := range map[string]func(h *host){
		"not CNXN first": func(h *host) { h.send(adb.OPEN, 1, 0, "shell:id\x00") },
		"noise":          func(h *host) { h.c.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 4)) },
		"old version":    func(h *host) { h.send(adb.CNXN, 1, 4096, "host::") },
		"big hello":      func(h *host) { h.send(adb.CNXN, adb.VersionMin, 4096, strings.Repeat("x", 4097)) },
		"TLS":            func(h *host) { h.connect(adb.VersionMin); h.send(adb.STLS, adb.VersionMin, 0, "") },
		"bad checksum": func(h *host) {
			h.connect(adb.VersionMin)
			h.c.Write(append(adb.Message{Command: adb.OPEN, Arg0: 1, Payload: []byte("a")}.AppendHeader(nil, false), 'b'))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := dial(t, addr)
			f(h)
			h.gone()
		})
	}
}

// TestHostThatDoesNotWait loses its stream, and no more than that.
func TestHostThatDoesNotWait(t *testing.T) {
	h := dial(t, serve(t, &adbd.Server{NoAuth: true}))
	h.connect(adb.VersionSkipChecksum)
	h.send(adb.OPEN, 1, 0, "exec:exec sleep 1000\x00")
	id := h.next(adb.OKAY).Arg0
	for range 20 { // what the pipe takes, what is read, what waits, and more
		h.send(adb.WRTE, 1, id, strings.Repeat("x", 64<<10))
	}
	for {
		m, err := h.r.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Command == adb.CLSE {
			break
		}
	}
	h.send(adb.OPEN, 2, 0, "root:\x00")
	for h.next(adb.OKAY).Arg1 != 2 {
	}
}

func newKey(t *testing.T) (*rsa.PrivateKey, adb.Key) {
	t.Helper()
	priv, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k, err := adb.NewKey(&priv.PublicKey, "me@host")
	if err != nil {
		t.Fatal(err)
	}
	return priv, k
}

func TestAuthorisation(t *testing.T) {
	root := t.TempDir()
	addr := serve(t, &adbd.Server{Root: root, KeyFiles: []string{"/keys"}})
	priv, key := newKey(t)
	other, _ := newKey(t)
	if err := os.WriteFile(filepath.Join(root, "keys"), []byte(key.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sign := func(k *rsa.PrivateKey, token []byte) string {
		sig, err := adb.Sign(k, token)
		if err != nil {
			t.Fatal(err)
		}
		return string(sig)
	}
	start := func() (*host, []byte) {
		h := dial(t, addr)
		h.send(adb.CNXN, adb.VersionMin, adb.MaxPayload, "host::")
		return h, h.next(adb.AUTH).Payload
	}

	h, token := start()
	h.send(adb.AUTH, adb.AuthSignature, 0, sign(other, token))
	again := h.next(adb.AUTH).Payload
	if bytes.Equal(token, again) {
		t.Error("a token comes twice")
	}
	h.send(adb.AUTH, adb.AuthSignature, 0, sign(priv, again))
	h.next(adb.CNXN)

	h, token = start() // a signature of another connection's token
	h.send(adb.AUTH, adb.AuthSignature, 0, sign(priv, again))
	h.next(adb.AUTH)
	h.send(adb.AUTH, adb.AuthSignature, 0, sign(priv, token)) // of the one before
	h.next(adb.AUTH)
	h.send(adb.AUTH, adb.AuthRSAPublicKey, 0, key.String()+"\x00") // nobody is there to say yes
	h.send(adb.OPEN, 1, 0, "shell:id\x00")
	h.gone()

	h, _ = start()
	h.send(adb.CNXN, adb.VersionMin, adb.MaxPayload, "host::") // once more
	h.gone()
}

// TestWaitingHostsMakeRoom: those that are not authorised cannot keep others out.
func TestWaitingHostsMakeRoom(t *testing.T) {
	root := t.TempDir()
	addr := serve(t, &adbd.Server{Root: root, KeyFiles: []string{"/keys"}})
	priv, key := newKey(t)
	if err := os.WriteFile(filepath.Join(root, "keys"), []byte(key.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	first := dial(t, addr)
	first.send(adb.CNXN, adb.VersionMin, 4096, "host::")
	first.next(adb.AUTH)
	for range 20 {
		dial(t, addr)
	}
	first.gone()
	h := dial(t, addr)
	h.send(adb.CNXN, adb.VersionMin, 4096, "host::")
	sig, err := adb.Sign(priv, h.next(adb.AUTH).Payload)
	if err != nil {
		t.Fatal(err)
	}
	h.send(adb.AUTH, adb.AuthSignature, 0, string(sig))
	h.next(adb.CNXN)
}

// TestSyncVersion2 sends and receives with SND2 and RCV2, which Debian's adb
// is too old for.
func TestSyncVersion2(t *testing.T) {
	root := t.TempDir()
	h := dial(t, serve(t, &adbd.Server{Root: root, NoAuth: true}))
	h.connect(adb.VersionSkipChecksum)
	h.send(adb.OPEN, 1, 0, "sync:\x00")
	id := h.next(adb.OKAY).Arg0
	ask := func(b []byte) []byte { // what the device answers with one message
		h.send(adb.WRTE, 1, id, string(b))
		h.next(adb.OKAY)
		m := h.next(adb.WRTE)
		h.send(adb.OKAY, 1, id, "")
		return m.Payload
	}
	setup := func(b []byte, words ...uint32) []byte {
		for i := 0; i < len(words); i += 2 {
			b = adb.AppendSync(b, adb.SyncID(words[i]), words[i+1])
		}
		return b
	}
	b := adb.AppendSyncString(nil, adb.SyncSend2, "/dir/f")
	b = setup(b, uint32(adb.SyncSend2), 0o100640)
	b = append(b, 0, 0, 0, 0) // flags
	b = append(adb.AppendSync(b, adb.SyncData, 3), "abc"...)
	b = adb.AppendSync(b, adb.SyncDone, 1000)
	if got := ask(b); string(got) != "OKAY\x00\x00\x00\x00" {
		t.Fatalf("SND2: %q", got)
	}
	fi, err := os.Stat(filepath.Join(root, "dir/f"))
	if err != nil || fi.Mode() != 0o640 || fi.ModTime().Unix() != 1000 {
		t.Errorf("%v, %v", fi, err)
	}
	b = setup(adb.AppendSyncString(nil, adb.SyncRecv2, "/dir/f"), uint32(adb.SyncRecv2), 0)
	if got := ask(b); string(got) != "DATA\x03\x00\x00\x00abcDONE\x00\x00\x00\x00" {
		t.Errorf("RCV2: %q", got)
	}
	b = setup(adb.AppendSyncString(nil, adb.SyncRecv2, "/none"), uint32(adb.SyncRecv2), 0)
	if got := ask(b); !strings.HasPrefix(string(got), "FAIL") {
		t.Errorf("RCV2 of nothing: %q", got)
	}
	b = setup(adb.AppendSyncString(nil, adb.SyncRecv2, "/dir/f"), uint32(adb.SyncRecv2), 1)
	if got := ask(b); !strings.Contains(string(got), "compression") {
		t.Errorf("RCV2 with brotli: %q", got)
	}
	h.next(adb.CLSE)
}

// TestBrokenPush: a host that goes away in the middle of a file leaves the old
// one, and nothing else.
func TestBrokenPush(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := dial(t, serve(t, &adbd.Server{Root: root, NoAuth: true}))
	h.connect(adb.VersionSkipChecksum)
	h.send(adb.OPEN, 1, 0, "sync:\x00")
	id := h.next(adb.OKAY).Arg0
	b := adb.AppendSyncString(nil, adb.SyncSend, "/f,33188")
	b = append(adb.AppendSync(b, adb.SyncData, 3), "abc"...)
	h.send(adb.WRTE, 1, id, string(b))
	h.next(adb.OKAY)
	h.c.Close()
	waitFor(t, func() bool { names, _ := os.ReadDir(root); return len(names) == 1 })
	if got, err := os.ReadFile(filepath.Join(root, "f")); string(got) != "old" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	io.Copy(io.Discard, h.c)
}
