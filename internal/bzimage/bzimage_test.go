package bzimage

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// elf is something to compress that begins as a kernel does.
func elf(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 1))
	b := []byte("\x7fELF")
	for len(b) < n {
		b = append(b, bytes.Repeat([]byte{byte(rng.IntN(256)), byte(rng.IntN(256))}, 1+rng.IntN(40))...)
	}
	return b[:n]
}

// wrap makes a bzImage of a payload.
func wrap(payload []byte) []byte {
	b := make([]byte, 2*512)
	b[offSetupSects] = 1
	copy(b[offMagic:], "HdrS")
	binary.LittleEndian.PutUint16(b[offVersion:], 0x20f)
	binary.LittleEndian.PutUint32(b[offPayloadOffset:], 16)
	binary.LittleEndian.PutUint32(b[offPayloadLength:], uint32(len(payload)))
	return append(append(append(b, make([]byte, 16)...), payload...), "rest"...)
}

func sized(b []byte, n int) []byte { return binary.LittleEndian.AppendUint32(b, uint32(n)) }

// lz4Literals stores data in legacy blocks of literals.
func lz4Literals(data []byte) []byte {
	out := append([]byte(nil), lz4Magic...)
	for len(data) > 0 {
		n := min(len(data), lz4Block)
		block := []byte{0xf0}
		rest := n - 15
		for ; rest >= 255; rest -= 255 {
			block = append(block, 255)
		}
		block = append(append(block, byte(rest)), data[:n]...)
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(block))), block...)
		data = data[n:]
	}
	return out
}

func TestVMLinux(t *testing.T) {
	want := elf(100 << 10)
	large := append(want, make([]byte, 9<<20)...) // two LZ4 blocks
	var gz, x bytes.Buffer
	gw := gzip.NewWriter(&gz)
	gw.Write(want)
	gw.Close()
	xw, err := xz.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	xw.Write(want)
	xw.Close()
	got, err := VMLinux(wrap(sized(lz4Literals(large), len(large))))
	if err != nil || !bytes.Equal(got, large) {
		t.Errorf("two blocks: %d bytes, %v; want %d", len(got), err, len(large))
	}
	for name, payload := range map[string][]byte{
		"gzip": gz.Bytes(),
		"xz":   sized(x.Bytes(), len(want)),
		"lz4":  sized(lz4Literals(want), len(want)),
	} {
		got, err := VMLinux(wrap(payload))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func TestLZ4Matches(t *testing.T) {
	for _, test := range []struct {
		block, want, err string
	}{
		{"\x30abc", "abc", ""},
		{"\x35abc\x03\x00\x10x", "abcabcabcabcx", ""},
		{"\x34abc\x01\x00\x10x", "abcccccccccx", ""},
		{"\x34abc\x04\x00\x10x", "", "match runs over"},
		{"\x34abc\x00\x00\x10x", "", "match runs over"},
		{"\x34abc\x01", "", "match offset is cut off"},
		{"\x50abc", "", "literals run over"},
		{"\xf0\xff\xff", "", "literals run over"},
	} {
		in := append(append([]byte(nil), lz4Magic...), sized(nil, len(test.block))...)
		got, err := lz4Legacy(append(in, test.block...), max(len(test.want), 3))
		if test.err == "" && (err != nil || string(got) != test.want) {
			t.Errorf("%q = %q, %v; want %q", test.block, got, err, test.want)
		}
		if test.err != "" && err == nil {
			t.Errorf("%q = %q, want an error with %q", test.block, got, test.err)
		}
	}
}

func TestVMLinuxRefuses(t *testing.T) {
	good := wrap(sized(lz4Literals(elf(100)), 100))
	for _, test := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "offset 0x202: no setup header"},
		{"old protocol", edit(good, offVersion, 7, 2), "boot protocol 0x207 is older"},
		{"payload outside", edit(good, offPayloadLength, 0xff, 0xff, 0xff, 0xff), "payload is not within"},
		{"unknown compression", wrap(make([]byte, 20)), "compression with magic 00000000"},
		{"too large", wrap(sized(lz4Magic, 1<<30)), "unpacks to 1073741824 bytes"},
		{"wrong size", wrap(sized(lz4Literals(elf(100)), 99)), "literals run over"},
		{"cut block", wrap(sized(append(append([]byte(nil), lz4Magic...), 9, 0, 0, 0), 100)), "lz4: block of 9 bytes, 0 left"},
		{"no ELF", wrap(sized(lz4Literals(make([]byte, 100)), 100)), "payload is not an ELF file"},
	} {
		if _, err := VMLinux(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// edit returns b with bytes replaced.
func edit(b []byte, off int, with ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[off:], with)
	return b
}

func FuzzVMLinux(f *testing.F) {
	f.Add(wrap(sized(lz4Literals(elf(300)), 300)))
	in := append(append([]byte(nil), lz4Magic...), sized(nil, 8)...)
	f.Add(wrap(sized(append(in, "\x34\x7fEL\x01\x00\x10x"...), 12)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, err := VMLinux(in); err == nil && !bytes.HasPrefix(out, []byte("\x7fELF")) {
			t.Error("accepted what is no ELF file")
		}
	})
}
