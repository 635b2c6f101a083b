package adb_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"mios/format/adb"
)

var update = flag.Bool("update", false, "write golden files")

// conversation is what a host and a device say to each other, one message a
// kind.
func conversation() []adb.Message {
	host := adb.Banner{Type: "host", Features: []string{"shell_v2", "cmd"}}
	device := adb.Banner{Type: "device", Properties: []adb.Property{{Name: "ro.product.name", Value: "iot"}, {Name: "ro.product.model", Value: "a;b"}}, Features: []string{"shell_v2"}}
	return []adb.Message{
		{Command: adb.CNXN, Arg0: adb.VersionSkipChecksum, Arg1: adb.MaxPayload, Payload: []byte(host.String())},
		{Command: adb.AUTH, Arg0: adb.AuthToken, Payload: bytes.Repeat([]byte{0xa5}, adb.TokenSize)},
		{Command: adb.CNXN, Arg0: adb.VersionMin, Arg1: adb.MaxPayloadV1, Payload: []byte(device.String())},
		{Command: adb.OPEN, Arg0: 7, Payload: []byte("shell,v2,raw:id\x00")},
		{Command: adb.OKAY, Arg0: 1, Arg1: 7},
		{Command: adb.WRTE, Arg0: 1, Arg1: 7, Payload: adb.AppendShell(adb.AppendShell(nil, adb.ShellStdout, []byte("uid=0\n")), adb.ShellExit, []byte{0})},
		{Command: adb.CLSE, Arg0: 1, Arg1: 7},
	}
}

func encode(ms []adb.Message, skip bool) []byte {
	var b []byte
	for _, m := range ms {
		b = append(m.AppendHeader(b, skip), m.Payload...)
	}
	return b
}

func TestGolden(t *testing.T) {
	for name, got := range map[string]string{
		"messages":          hex.Dump(encode(conversation(), false)),
		"messages_unsummed": hex.Dump(encode(conversation(), true)),
		"sync":              hex.Dump(syncBytes()),
	} {
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v; got:\n%s\nwant:\n%s", name, err, got, want)
		}
	}
}

func TestReader(t *testing.T) {
	want := conversation()
	for _, skip := range []bool{false, true} {
		r := adb.Reader{R: iotest.OneByteReader(bytes.NewReader(encode(want, skip))), SkipChecksum: skip}
		var buf []byte
		for i, w := range want {
			m, err := r.Next(buf)
			if err != nil || m.Command != w.Command || m.Arg0 != w.Arg0 || m.Arg1 != w.Arg1 || !bytes.Equal(m.Payload, w.Payload) {
				t.Errorf("message %d = %v, %v, want %v", i, m, err, w)
			}
			buf = m.Payload
		}
		if _, err := r.Next(nil); err != io.EOF {
			t.Errorf("after the last message: %v, want EOF", err)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	m := adb.Message{Command: adb.WRTE, Arg0: 1, Arg1: 2, Payload: []byte("data")}
	for _, tt := range []struct {
		name   string
		at     int
		change byte
		off    int64
	}{
		{"magic", 20, 0xff, 20},
		{"command", 0, 0xff, 20},
		{"length", 14, 0xff, 12},
		{"checksum", 16, 0xff, 16},
		{"payload", 24, 0xff, 16},
	} {
		b := encode([]adb.Message{m}, false)
		b[tt.at] ^= tt.change
		_, err := (&adb.Reader{R: bytes.NewReader(b)}).Next(nil)
		var fe *adb.FormatError
		if !errors.As(err, &fe) || fe.Off != tt.off {
			t.Errorf("%s: %v, want a FormatError at %d", tt.name, err, tt.off)
		}
	}
	b := encode([]adb.Message{m}, false)
	for n := 1; n < len(b); n++ {
		if _, err := (&adb.Reader{R: bytes.NewReader(b[:n])}).Next(nil); err != io.ErrUnexpectedEOF {
			t.Errorf("first %d bytes: %v, want an unexpected EOF", n, err)
		}
	}
	// A length that is only claimed costs no memory.
	huge := adb.Message{Command: adb.WRTE, Payload: make([]byte, 64<<20)}.AppendHeader(nil, true)
	allocs := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			(&adb.Reader{R: bytes.NewReader(huge), Max: 64 << 20, SkipChecksum: true}).Next(nil)
		}
	})
	if n := allocs.AllocedBytesPerOp(); n > 1<<20 {
		t.Errorf("a claimed payload of 64 MiB allocates %d bytes", n)
	}
}

func TestBanner(t *testing.T) {
	for text, want := range map[string]string{
		"host::\x00": "host::features=",
		"device::ro.product.name=a;ro.product.model=b c;features=x,,y": "device::ro.product.name=a;ro.product.model=b c;features=x,y",
		"host::features=cmd;": "host::features=cmd",
		"":                    "::features=",
	} {
		if got := adb.ParseBanner([]byte(text)).String(); got != want {
			t.Errorf("ParseBanner(%q) = %q, want %q", text, got, want)
		}
	}
	if b := adb.ParseBanner([]byte("host::features=cmd,abb")); !b.Has("abb") || b.Has("ab") {
		t.Errorf("features of %v", b)
	}
}

func TestShellReader(t *testing.T) {
	in := adb.AppendShell(adb.AppendShell(nil, adb.ShellStdin, []byte("abcdefg")), adb.ShellCloseStdin, nil)
	r := adb.ShellReader{R: bytes.NewReader(in)}
	var got strings.Builder
	buf := make([]byte, 3)
	for {
		id, n, err := r.Next(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%d:%s ", id, buf[:n])
	}
	if want := "0:abc 0:def 0:g 4: "; got.String() != want {
		t.Errorf("packets %q, want %q", got.String(), want)
	}
	if _, _, err := (&adb.ShellReader{R: bytes.NewReader([]byte{9, 0, 0, 0, 0})}).Next(buf); err == nil {
		t.Error("packet 9 is accepted")
	}
	if _, _, err := (&adb.ShellReader{R: bytes.NewReader([]byte{0, 9, 0, 0, 0, 1})}).Next(buf); err != io.ErrUnexpectedEOF {
		t.Errorf("short packet: %v", err)
	}
}

func TestWindowSize(t *testing.T) {
	w := adb.WindowSize{Rows: 24, Cols: 80, X: 1, Y: 2}
	if got, err := adb.ParseWindowSize([]byte(w.String() + "\x00")); got != w || err != nil {
		t.Errorf("ParseWindowSize(%v) = %v, %v", w, got, err)
	}
	for _, bad := range []string{"", "24x80", "24x80,0x0x", " 24x80,0x0", "24x80,0x-1", "70000x1,1x1"} {
		if got, err := adb.ParseWindowSize([]byte(bad)); err == nil {
			t.Errorf("ParseWindowSize(%q) = %v", bad, got)
		}
	}
}

var someStat = adb.Stat{Dev: 1, Ino: 2, Mode: 0o100644, Nlink: 3, UID: 4, GID: 5, Size: 1<<32 + 6, Atime: -7, Mtime: 1 << 33, Ctime: 9}

func syncBytes() []byte {
	b := adb.AppendSyncString(nil, adb.SyncStat, "/data")
	b = someStat.AppendV1(b, adb.SyncStat)
	b = someStat.AppendV2(b, adb.SyncLst2)
	b = someStat.AppendDent(b, adb.SyncDent, "a")
	b = adb.AppendListDone(b, adb.SyncDent)
	b = someStat.AppendDent(b, adb.SyncDent2, "b")
	b = adb.AppendListDone(b, adb.SyncDent2)
	b = adb.AppendSync(b, adb.SyncData, 3)
	return adb.AppendSyncString(b, adb.SyncFail, "no")
}

func TestSync(t *testing.T) {
	r := bytes.NewReader(syncBytes())
	if id, path, err := adb.ReadSyncRequest(r); id != adb.SyncStat || path != "/data" || err != nil {
		t.Errorf("request = %v %q, %v", id, path, err)
	}
	v1, v2 := make([]byte, adb.StatSize), make([]byte, adb.Stat2Size)
	io.ReadFull(r, v1)
	io.ReadFull(r, v2)
	if id, s, err := adb.ParseStatV1(v1); id != adb.SyncStat || s.Mode != someStat.Mode || s.Size != 6 || err != nil {
		t.Errorf("ParseStatV1 = %v %+v, %v", id, s, err)
	}
	if id, s, err := adb.ParseStatV2(v2); id != adb.SyncLst2 || s != someStat || err != nil {
		t.Errorf("ParseStatV2 = %v %+v, %v", id, s, err)
	}
	for _, id := range []adb.SyncID{adb.SyncDent, adb.SyncDent2} {
		name, s, err := adb.ReadDent(r, id)
		if len(name) != 1 || s.Mode != someStat.Mode || err != nil {
			t.Errorf("ReadDent(%v) = %q %+v, %v", id, name, s, err)
		}
		if _, _, err := adb.ReadDent(r, id); err != io.EOF {
			t.Errorf("end of a list: %v", err)
		}
	}
	for name, bad := range map[string][]byte{
		"path too long": adb.AppendSyncString(nil, adb.SyncStat, strings.Repeat("x", adb.SyncMaxPath+1)),
		"NUL":           adb.AppendSyncString(nil, adb.SyncStat, "a\x00b"),
		"short":         adb.AppendSync(nil, adb.SyncStat, 9),
	} {
		if _, _, err := adb.ReadSyncRequest(bytes.NewReader(bad)); err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	words := make([]uint32, 2)
	setup := adb.AppendSync(adb.AppendSync(nil, adb.SyncSend2, 0o100600), 0, 0)[:12]
	if err := adb.ReadSyncSetup(bytes.NewReader(setup), adb.SyncSend2, words); err != nil || words[0] != 0o100600 {
		t.Errorf("ReadSyncSetup: %v, %v", words, err)
	}
	if err := adb.ReadSyncSetup(bytes.NewReader(setup), adb.SyncRecv2, words); err == nil {
		t.Error("a setup of another request is accepted")
	}
}

func FuzzReader(f *testing.F) {
	f.Add(encode(conversation(), false), false)
	f.Add(encode(conversation(), true), true)
	f.Fuzz(func(t *testing.T, in []byte, skip bool) {
		r := adb.Reader{R: bytes.NewReader(in), SkipChecksum: skip, Max: 1 << 16}
		var out []byte
		for {
			m, err := r.Next(nil)
			if err != nil {
				break
			}
			skip = skip || m.Command == adb.CNXN && m.Arg0 >= adb.VersionSkipChecksum
			out = append(m.AppendHeader(out, false), m.Payload...)
			adb.ParseBanner(m.Payload)
		}
		if !skip && !bytes.HasPrefix(in, out) {
			t.Errorf("read %x, wrote %x", in, out)
		}
	})
}

func FuzzSync(f *testing.F) {
	f.Add(syncBytes())
	f.Add(adb.AppendListDone(nil, adb.SyncDent2))
	f.Fuzz(func(t *testing.T, in []byte) {
		if id, path, err := adb.ReadSyncRequest(bytes.NewReader(in)); err == nil {
			if out := adb.AppendSyncString(nil, id, path); !bytes.HasPrefix(in, out) {
				t.Errorf("read %x, wrote %x", in, out)
			}
		}
		for _, id := range []adb.SyncID{adb.SyncDent, adb.SyncDent2} {
			if name, s, err := adb.ReadDent(bytes.NewReader(in), id); err == nil {
				if out := s.AppendDent(nil, id, name); !bytes.HasPrefix(in, out) {
					t.Errorf("read %x, wrote %x", in, out)
				}
			}
		}
		r := adb.ShellReader{R: bytes.NewReader(in)}
		for buf := make([]byte, 100); ; {
			_, n, err := r.Next(buf)
			if err != nil {
				break
			}
			if w, err := adb.ParseWindowSize(buf[:n]); err == nil && !strings.HasPrefix(string(buf[:n]), w.String()) {
				t.Errorf("size %q = %v", buf[:n], w)
			}
		}
	})
}
