package sparse_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"mios/format/sparse"
	"mios/internal/conformance"
	"mios/internal/tool"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// small is an image with a chunk of each kind, and its expansion.
func small() (img, raw []byte) {
	data := bytes.Repeat([]byte("block of data, 16"), 2)[:16]
	raw = slices.Concat(data, bytes.Repeat([]byte{1, 2, 3, 4}, 8), make([]byte, 8))
	le := binary.LittleEndian
	chunk := func(kind uint16, blocks uint32, data []byte) []byte {
		b := le.AppendUint16(nil, kind)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint32(b, blocks)
		b = le.AppendUint32(b, uint32(12+len(data)))
		return append(b, data...)
	}
	img = le.AppendUint32(nil, 0xed26ff3a)
	for _, n := range []uint16{1, 0, 28, 12} {
		img = le.AppendUint16(img, n)
	}
	for _, n := range []uint32{8, 7, 4, crc32.ChecksumIEEE(raw)} {
		img = le.AppendUint32(img, n)
	}
	img = slices.Concat(img, chunk(0xcac1, 2, data), chunk(0xcac2, 4, []byte{1, 2, 3, 4}),
		chunk(0xcac4, 0, le.AppendUint32(nil, crc32.ChecksumIEEE(raw[:48]))), chunk(0xcac3, 1, nil))
	return img, raw
}

func parse(t *testing.T, b []byte) *sparse.Image {
	t.Helper()
	m, err := sparse.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGolden compares what is read out of the smallest image that has all
// kinds of chunks, and the image itself, with testdata.
func TestGolden(t *testing.T) {
	img, _ := small()
	var dump strings.Builder
	m := parse(t, img)
	fmt.Fprintf(&dump, "%d blocks of %d bytes, checksum %#x\n", m.Blocks, m.BlockSize, m.Checksum)
	for _, c := range m.Chunks {
		fmt.Fprintf(&dump, "%-5v block %d +%d, data at %#x\n", c.Kind, c.Start, c.Blocks, c.Off)
	}
	for name, got := range map[string][]byte{"small.img": img, "small.golden": []byte(dump.String())} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%q\nwant\n%q", name, got, want)
		}
	}
}

// expansions are the ways to expand an image.
func expansions(t *testing.T, img []byte) map[string][]byte {
	t.Helper()
	m := parse(t, img)
	out := make(map[string][]byte)
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err != nil {
		t.Fatal(err)
	}
	out["ReadAt"] = b
	if b, err = io.ReadAll(sparse.NewReader(iotest.HalfReader(bytes.NewReader(img)))); err != nil {
		t.Fatal(err)
	}
	out["NewReader"] = b
	f := tempFile(t)
	if err := m.Expand(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(m.Size()); err != nil {
		t.Fatal(err)
	}
	out["Expand"] = readFile(t, f.Name())
	return out
}

func tempFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExpand(t *testing.T) {
	img, raw := small()
	for how, got := range expansions(t, img) {
		if !bytes.Equal(got, raw) {
			t.Errorf("%s = %q, want %q", how, got, raw)
		}
	}
	m := parse(t, img)
	if err := m.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if n, err := m.WriteTo(&out); err != nil || n != int64(len(img)) || !bytes.Equal(out.Bytes(), img) {
		t.Errorf("WriteTo: %d, %v, %q", n, err, out.Bytes())
	}
	if m.EncodedSize() != int64(len(img)) {
		t.Errorf("EncodedSize = %d, want %d", m.EncodedSize(), len(img))
	}
	p := make([]byte, 9)
	if n, err := m.ReadAt(p, 50); n != 6 || err != io.EOF || !bytes.Equal(p[:n], raw[50:]) {
		t.Errorf("ReadAt at the end: %d, %v", n, err)
	}
}

func TestErrors(t *testing.T) {
	good, _ := small()
	for _, tt := range []struct {
		name string
		off  int // where to put b; -1: cut one byte off; -2: add one
		b    string
		want string
	}{
		{"magic", 0, "x", "offset 0x0: magic is"},
		{"version", 4, "\x02", "offset 0x4: version 2.0"},
		{"header size", 8, "\x20", "offset 0x8: header sizes 32 and 12"},
		{"no block size", 12, "\x00\x00\x00\x00", "offset 0xc: block size 0"},
		{"odd block size", 12, "\x06", "offset 0xc: block size 6"},
		{"large block size", 12, "\x00\x00\x00\x7f", "offset 0xc: block size"},
		{"too many blocks", 16, "\x08", "offset 0x10: 8 blocks, but the chunks have 7"},
		{"too few blocks", 16, "\x03", "offset 0x3c: chunk 1: 4 blocks after the first 2 of 3"},
		{"chunks beyond the end", 20, "\xff\xff\xff\xff", "chunk 4 of 4294967295: 0 bytes left, want 12"},
		{"kind", 28, "\xff", "offset 0x1c: chunk 0: kind 0xcaff"},
		{"reserved", 30, "\x01", "offset 0x1e: chunk 0: reserved"},
		{"more data than can be", 32, "\xff\xff\xff\xff", "offset 0x1c: chunk 0: raw with 4294967295 blocks"},
		{"chunk size", 36, "\x1d", "offset 0x24: chunk 0: size 29, want 28"},
		{"data past the end", 12, "\x20", "offset 0x24: chunk 0: size 28, want 76"},
		{"cut", -1, "", "0 bytes left|bytes left, want 12"},
		{"longer", -2, "", "1 bytes after the last chunk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := bytes.Clone(good)
			switch tt.off {
			case -1:
				b = b[:len(b)-1]
			case -2:
				b = append(b, 0)
			default:
				copy(b[tt.off:], tt.b)
			}
			_, err := sparse.Parse(bytes.NewReader(b), int64(len(b)))
			_, ok := errors.AsType[*sparse.FormatError](err)
			want := strings.Split(tt.want, "|")
			if !ok || !strings.Contains(err.Error(), want[len(want)-1]) {
				t.Errorf("Parse = %v, want a FormatError with %q", err, tt.want)
			}
			if tt.off == -2 {
				return // a stream may go on
			}
			if _, err := io.Copy(io.Discard, sparse.NewReader(bytes.NewReader(b))); err == nil {
				t.Errorf("NewReader takes what Parse refuses")
			}
		})
	}
}

func TestChecksums(t *testing.T) {
	good, _ := small()
	for _, off := range []int{24, 0x2d, 0x54} { // the header's sum, data, the chunk's sum
		b := bytes.Clone(good)
		b[off] ^= 1
		var fe *sparse.FormatError
		if err := parse(t, b).Verify(t.Context()); !errors.As(err, &fe) {
			t.Errorf("byte %#x changed: Verify = %v", off, err)
		}
		if _, err := io.ReadAll(sparse.NewReader(bytes.NewReader(b))); !errors.As(err, &fe) {
			t.Errorf("byte %#x changed: NewReader: %v", off, err)
		}
	}
}

// plain makes an image with data, fills and zeros in runs of odd lengths.
func plain(seed uint64, size int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, size)
	for off := 0; off < size; {
		n := min(size-off, (1+rnd.IntN(300))*512)
		switch rnd.IntN(3) {
		case 0:
			for i := range n {
				b[off+i] = byte(rnd.Uint32())
			}
		case 1:
			four := binary.LittleEndian.AppendUint32(nil, rnd.Uint32())
			copy(b[off:off+n], bytes.Repeat(four, n/4+1))
		}
		off += n
	}
	return b
}

// TestScan makes sparse images as Debian's img2simg, and reads them back in all
// ways, as its simg2img does.
func TestScan(t *testing.T) {
	img2simg, err := tool.Look("img2simg")
	if err != nil {
		t.Fatal(err)
	}
	simg2img, err := tool.Look("simg2img")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ size, block int }{{0, 4096}, {4096, 4096}, {1 << 20, 4096}, {1<<20 + 1024, 1024}, {1<<20 + 1, 4096}, {40, 4096}, {2 << 20, 65536}} {
		t.Run(fmt.Sprintf("%d bytes in blocks of %d", tt.size, tt.block), func(t *testing.T) {
			raw := plain(uint64(tt.size), tt.size)
			m, err := sparse.Scan(t.Context(), bytes.NewReader(raw), int64(len(raw)), uint32(tt.block), nil)
			if err != nil {
				t.Fatal(err)
			}
			var stream bytes.Buffer
			if _, err := m.WriteTo(&stream); err != nil {
				t.Fatal(err)
			}
			f := tempFile(t)
			if err := m.Encode(t.Context(), f, nil); err != nil {
				t.Fatal(err)
			}
			ours := readFile(t, f.Name())
			if !bytes.Equal(ours, stream.Bytes()) {
				t.Error("Encode and WriteTo differ")
			}
			padded := append(raw, make([]byte, (tt.block-tt.size%tt.block)%tt.block)...)
			for how, got := range expansions(t, ours) {
				if !bytes.Equal(got, padded) {
					t.Errorf("%s gives something else", how)
				}
			}
			dir := t.TempDir()
			in, theirs, back := filepath.Join(dir, "raw"), filepath.Join(dir, "theirs"), filepath.Join(dir, "back")
			if err := os.WriteFile(in, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			if tt.size > 0 { // theirs refuses an empty file
				if out, err := exec.CommandContext(t.Context(), img2simg, in, theirs, fmt.Sprint(tt.block)).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if !bytes.Equal(readFile(t, theirs), ours) {
					t.Error("img2simg makes another image")
				}
			}
			if out, err := exec.CommandContext(t.Context(), simg2img, f.Name(), back).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if !bytes.Equal(readFile(t, back), padded) {
				t.Error("simg2img expands ours to something else")
			}
		})
	}
}

// TestConformance reads what AOSP's tools made.
func TestConformance(t *testing.T) {
	dir := filepath.Dir(conformance.Dir(t, "sparse"))
	tally := conformance.New(t, "sparse images")
	for _, tt := range []struct{ img, raw string }{
		{"sparse/test_file.bin.sparse", "sparse/test_file.bin"},
		{"bootloader/libgbl/testdata/sparse_test.bin", "bootloader/libgbl/testdata/sparse_test_raw.bin"},
		{"bootloader/libgbl/testdata/sparse_test_blk1024.bin", "bootloader/libgbl/testdata/sparse_test_raw.bin"},
	} {
		img, want, ok := readFile(t, filepath.Join(dir, tt.img)), readFile(t, filepath.Join(dir, tt.raw)), true
		for how, got := range expansions(t, img) {
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %s gives something else than %s", tt.img, how, tt.raw)
				ok = false
			}
		}
		var out bytes.Buffer
		if _, err := parse(t, img).WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), img) {
			t.Errorf("%s: WriteTo gives something else: %v", tt.img, err)
			ok = false
		}
		tally.Case(ok)
	}
}

func FuzzParse(f *testing.F) {
	img, _ := small()
	f.Add(img)
	var out bytes.Buffer
	raw := plain(1, 1<<16)
	m, err := sparse.Scan(f.Context(), bytes.NewReader(raw), int64(len(raw)), 512, nil)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := m.WriteTo(&out); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := sparse.Parse(bytes.NewReader(in), int64(len(in)))
		stream, streamErr := io.Copy(io.Discard, io.LimitReader(sparse.NewReader(bytes.NewReader(in)), 1<<20))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if _, err := m.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), in) {
			t.Fatalf("WriteTo gives other bytes than Parse took: %v", err)
		}
		if m.Size() > 1<<20 {
			return
		}
		if err := m.Verify(t.Context()); (err == nil) != (streamErr == nil) {
			t.Errorf("Verify: %v; as a stream: %v", err, streamErr)
		}
		if streamErr == nil && stream != m.Size() {
			t.Errorf("a stream of %d bytes, want %d", stream, m.Size())
		}
	})
}
