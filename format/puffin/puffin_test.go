package puffin

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"mios"
	"mios/format/bsdiff"
	"mios/internal/protowire"
	"mios/internal/tool"
)

func apply(old, patch []byte) ([]byte, error) {
	p, err := Parse(bytes.NewReader(patch), int64(len(patch)))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.Apply(context.Background(), &b, bytes.NewReader(old), int64(len(old)))
	return b.Bytes(), err
}

// text returns words, some of which change with version.
func text(seed uint64, size, version int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for n := 0; len(b) < size; n++ {
		if n%97 == 0 {
			b = fmt.Appendf(b, "version %d ", version)
		}
		b = fmt.Appendf(b, "%x ", rnd.IntN(1<<(1+n%20)))
	}
	return b[:size]
}

func deflated(tb testing.TB, level int, data []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		tb.Fatal(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// archive returns a ZIP of some files, as two versions of an app have them.
func archive(tb testing.TB, files, version int) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range files {
		h := &zip.FileHeader{Name: fmt.Sprintf("dir/file%d", i), Method: zip.Deflate}
		if i%5 == 4 {
			h.Method = zip.Store
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		v := 0
		if i%3 == 0 {
			v = version
		}
		f.Write(text(uint64(i), 3000+i*7000, v))
	}
	w.Close()
	return b.Bytes()
}

func TestPuff(t *testing.T) {
	random := make([]byte, 200_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	for i, data := range [][]byte{nil, {1}, make([]byte, 1<<20), text(1, 300_000, 0), random, bytes.Repeat([]byte("abc"), 99),
		append(bytes.Clone(random[:66_000]), make([]byte, 50)...)} {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 6, 9} {
			in := deflated(t, level, data)
			puffed, err := Puff([]byte("x"), in)
			if err != nil {
				t.Errorf("data %d, level %d: %v", i, level, err)
				continue
			}
			back, err := Huff([]byte("y"), puffed[1:])
			if err != nil || !bytes.Equal(back[1:], in) {
				t.Errorf("data %d, level %d: %d bytes, want %d: %v", i, level, len(back)-1, len(in), err)
			}
			if n := uint64(len(puffed) - 1); n > maxPuffed(8*uint64(len(in))) {
				t.Errorf("data %d, level %d: %d bytes become %d", i, level, len(in), n)
			}
		}
	}
}

// TestPuffGzip takes streams of zlib's.
func TestPuffGzip(t *testing.T) {
	path, err := tool.Look("gzip")
	if err != nil {
		t.Fatal(err)
	}
	data := text(7, 500_000, 0)
	for _, level := range []string{"-1", "-6", "-9"} {
		cmd := exec.Command(path, "-nc", level)
		cmd.Stdin = bytes.NewReader(data)
		in, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := LocateGzip(in)
		if err != nil || len(blocks) == 0 {
			t.Fatalf("%d blocks: %v", len(blocks), err)
		}
		_, s, err := puffFile(context.Background(), in, blocks)
		if err != nil || len(s.Deflates) < len(blocks)-1 {
			t.Errorf("%d blocks of %d: %v", len(s.Deflates), len(blocks), err)
		}
	}
}

func TestLocate(t *testing.T) {
	data := text(1, 100_000, 0)
	stream := deflated(t, 6, data)
	want, size, err := LocateDeflate(append(bytes.Clone(stream), "more"...))
	if err != nil || size != int64(len(stream)) || len(want) == 0 {
		t.Fatalf("LocateDeflate = %v, %d, %v", want, size, err)
	}
	shift := func(by int) []BitExtent {
		out := slices.Clone(want)
		for i := range out {
			out[i].Offset += 8 * uint64(by)
		}
		return out
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(data)
	w.Close()
	if got, err := LocateZlib(z.Bytes()); err != nil || !slices.Equal(got, shift(2)) {
		t.Errorf("LocateZlib = %v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, z.Bytes()[:20], z.Bytes()[:z.Len()-1], append([]byte{0x79}, z.Bytes()[1:]...)} {
		if got, err := LocateZlib(bad); err == nil {
			t.Errorf("LocateZlib of %d bytes = %v", len(bad), got)
		}
	}
	var g bytes.Buffer
	gw := gzip.NewWriter(&g)
	gw.Name, gw.Comment, gw.Extra = "name", "comment", []byte("extra")
	gw.Write(data)
	gw.Close()
	head := 10 + 2 + 5 + 5 + 8
	two := append(append(bytes.Clone(g.Bytes()), g.Bytes()...), "padding"...)
	if got, err := LocateGzip(two); err != nil || !slices.Equal(got, append(shift(head), shift(g.Len()+head)...)) {
		t.Errorf("LocateGzip = %v, %v, want %v", got, err, shift(head))
	}
	for n := range head + 3 {
		if got, err := LocateGzip(g.Bytes()[:n]); err == nil {
			t.Errorf("LocateGzip of %d bytes = %v", n, got)
		}
	}
	a := archive(t, 10, 1)
	blocks := LocateZip(a)
	if len(blocks) < 8 {
		t.Errorf("LocateZip finds %d blocks", len(blocks))
	}
	if got := LocateZip(append([]byte("PK\x03\x04PK\x03\x04"), a...)); len(got) != len(blocks) {
		t.Errorf("LocateZip finds %d blocks, want %d", len(got), len(blocks))
	}
}

func TestRemoveEqual(t *testing.T) {
	old, new := archive(t, 10, 1), append([]byte("x"), archive(t, 10, 2)...)
	a, b := RemoveEqual(old, new, LocateZip(old), LocateZip(new))
	if len(a) == 0 || len(a) != len(b) || len(a) >= len(LocateZip(old)) {
		t.Errorf("RemoveEqual leaves %d and %d blocks of %d", len(a), len(b), len(LocateZip(old)))
	}
}

func TestDiff(t *testing.T) {
	old, new := archive(t, 15, 1), archive(t, 15, 22)
	for _, tt := range []struct {
		name     string
		old, new []byte
	}{
		{"archives", old, new}, {"from nothing", nil, new}, {"to nothing", old, nil}, {"same", old, old},
		{"from bytes", text(1, 9999, 1), new}, {"to bytes", old, text(1, 9999, 1)},
	} {
		patch, err := Diff(context.Background(), tt.old, tt.new, LocateZip(tt.old), LocateZip(tt.new), bsdiff.Options{Quality: 5})
		if err != nil {
			t.Fatal(err)
		}
		got, err := apply(tt.old, patch)
		if err != nil || !bytes.Equal(got, tt.new) {
			t.Errorf("%s: %d bytes, want %d: %v", tt.name, len(got), len(tt.new), err)
		}
		plain, err := bsdiff.Diff(context.Background(), tt.old, tt.new, bsdiff.Options{Quality: 5})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d and %d bytes: %d, bsdiff %d", tt.name, len(tt.old), len(tt.new), len(patch), len(plain))
		if tt.name == "archives" && len(patch) > len(plain)/2 {
			t.Errorf("patch of %d bytes, bsdiff's has %d", len(patch), len(plain))
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, _ := Diff(context.Background(), old, new, LocateZip(old), LocateZip(new), bsdiff.Options{Quality: 5})
	runtime.GOMAXPROCS(4)
	four, _ := Diff(context.Background(), old, new, LocateZip(old), LocateZip(new), bsdiff.Options{Quality: 5})
	if !bytes.Equal(one, four) {
		t.Error("one processor makes another patch than four")
	}
}

// TestDiffOverlong has a block that Huff would make otherwise: its matches of
// 258 bytes are coded as 227 and 31.
func TestDiffOverlong(t *testing.T) {
	w := bitWriter{}
	reverse := func(v, n uint) (r uint64) {
		for ; n > 0; n-- {
			r, v = r<<1|uint64(v&1), v>>1
		}
		return r
	}
	w.write(0b011, 3)
	w.write(reverse(0x30+'a', 8), 8)
	w.write(reverse(0xc0+284-280, 8), 8)
	w.write(31, 5)
	w.write(0, 5)
	w.write(0, 7)
	w.write(0, -w.n&7)
	raw, err := io.ReadAll(flate.NewReader(bytes.NewReader(w.out)))
	if err != nil || len(raw) != 259 {
		t.Fatalf("the stream has %d bytes: %v", len(raw), err)
	}
	blocks, _, err := LocateDeflate(w.out)
	if err != nil || len(blocks) != 1 {
		t.Fatalf("LocateDeflate = %v, %v", blocks, err)
	}
	patch, err := Diff(context.Background(), nil, w.out, nil, blocks, bsdiff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := apply(nil, patch); err != nil || !bytes.Equal(got, w.out) {
		t.Errorf("got %x, want %x: %v", got, w.out, err)
	}
}

// TestStream reads and writes a puffed file in pieces of each size.
func TestStream(t *testing.T) {
	data := archive(t, 6, 1)
	puffed, s, err := puffFile(context.Background(), data, LocateZip(data))
	if err != nil {
		t.Fatal(err)
	}
	if n := s.fileSize(); n != int64(len(data)) {
		t.Errorf("fileSize = %d, want %d", n, len(data))
	}
	for _, n := range []int{1, 7, 1000, 1 << 20} {
		r := io.NewSectionReader(newReader(bytes.NewReader(data), &s), 0, int64(s.Size))
		got, err := io.ReadAll(struct{ io.Reader }{io.MultiReader(io.LimitReader(r, 100), r)})
		if err != nil || !bytes.Equal(got, puffed) {
			t.Fatalf("%d bytes, want %d: %v", len(got), len(puffed), err)
		}
		var out bytes.Buffer
		w := newWriter(&out, &s)
		for b := puffed; len(b) > 0; b = b[min(n, len(b)):] {
			if _, err := w.Write(b[:min(n, len(b))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.close(); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("pieces of %d: %d bytes, want %d: %v", n, out.Len(), len(data), err)
		}
	}
	w := newWriter(io.Discard, &s)
	if _, err := w.Write(puffed[:len(puffed)-1]); err != nil {
		t.Fatal(err)
	}
	if err := w.close(); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("a file that lacks a byte: %v", err)
	}
	if _, err := w.Write([]byte{0, 0}); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("a file of a byte too much: %v", err)
	}
}

// patchOf returns a patch that nobody makes.
func patchOf(old, new Stream) []byte {
	inner, err := bsdiff.Diff(context.Background(), make([]byte, old.Size), make([]byte, min(new.Size, 100)), bsdiff.Options{})
	if err != nil {
		panic(err)
	}
	return append(appendHeader(nil, &old, &new), inner...)
}

func TestApplyRefuses(t *testing.T) {
	fixed := []byte{0x63, 0x04, 0x00} // 18 bits, 7 bytes when puffed
	header := func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte(magic), uint32(len(b))), b...)
	}
	for _, tt := range []struct {
		name  string
		patch []byte
		want  string
	}{
		{"empty", nil, "header"},
		{"magic", []byte("PUF2\x00\x00\x00\x00"), "begins with"},
		{"header size", []byte("PUF1\xff\xff\xff\xff"), "header of 4294967295 bytes"},
		{"header", header([]byte{0xff}), "header: unexpected EOF"},
		{"version", header(protowire.AppendUint(nil, 1, 2)), "version 2"},
		{"zucchini", header(protowire.AppendUint(nil, 4, 1)), "ZUCCHINI"},
		{"type", header(protowire.AppendUint(nil, 4, 2)), "type 2"},
		{"no patch", header(nil), "bsdiff: offset 0x0"},
		{"counts", patchOf(Stream{Deflates: []BitExtent{{0, 9}}}, Stream{}), "1 deflates, 0 puffs"},
		{"order", patchOf(Stream{[]BitExtent{{20, 18}, {0, 18}}, []BitExtent{{24, 56}, {80, 56}}, 20}, Stream{}), "after 38"},
		{"huge offset", patchOf(Stream{[]BitExtent{{1 << 63, 18}}, []BitExtent{{0, 56}}, 20}, Stream{}), "deflate 0"},
		{"huge length", patchOf(Stream{[]BitExtent{{0, 1 << 63}}, []BitExtent{{0, 56}}, 20}, Stream{}), "deflate 0"},
		{"place", patchOf(Stream{[]BitExtent{{0, 18}}, []BitExtent{{8, 56}}, 20}, Stream{}), "want them at 0"},
		{"huge puff", patchOf(Stream{[]BitExtent{{0, 18}}, []BitExtent{{0, 1 << 50}}, 20}, Stream{}), "of 18 bits"},
		{"size", patchOf(Stream{[]BitExtent{{0, 18}}, []BitExtent{{0, 56}}, 6}, Stream{}), "puffs up to 7"},
		{"new size", patchOf(Stream{}, Stream{Size: 1 << 40}), "makes 100 bytes"},
		{"old is longer", patchOf(Stream{Size: 100}, Stream{Size: 1}), "old file of 100 bytes"},
		{"old is not puffed so", patchOf(Stream{[]BitExtent{{0, 18}}, []BitExtent{{0, 64}}, 9}, Stream{Size: 9}), "7 bytes when puffed"},
		{"old is no deflate", patchOf(Stream{[]BitExtent{{1, 17}}, []BitExtent{{8, 56}}, 9}, Stream{Size: 9}), "old file: deflate 0: "},
		{"new is no puff", patchOf(Stream{Size: 3}, Stream{[]BitExtent{{0, 18}}, []BitExtent{{0, 56}}, 8}), "block header of 25349 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := apply(fixed, tt.patch)
			if !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := Parse(readerAt{iotest.ErrReader(broken)}, 99); !errors.Is(err, broken) {
		t.Errorf("patch cannot be read: %v", err)
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(b []byte, _ int64) (int, error) { return r.Read(b) }

func TestPuffRefuses(t *testing.T) {
	for _, tt := range []struct{ bits, want string }{
		{"111 00000", "type 3"},
		{"100 00000 1000000000000000 1111111111111111", "length is 0x1 and"},
		{"100 00000 1000000000000000 0111111111111111", "stored block of 1 bytes, 0 left"},
		{"100 00000 1000", "stored block is cut off"},
		{"100 11111", "stored block is cut off"},
		{"110 11000110", "no such code of a length"},
		{"110 0000001 11110", "no such code of a distance"},
		{"101 01111 00000 0000", "codes of literals|cut off"},
		{"101 00000 00000 0000 100 100 100 100", "too many short codes"},
		{"101 00000 00000 0000 100 000 000 000 0", "no code length to repeat"},
	} {
		w := bitWriter{}
		for _, c := range tt.bits {
			if c != ' ' {
				w.write(uint64(c-'0'), 1)
			}
		}
		w.write(0, -w.n&7)
		_, err := Puff(nil, w.out)
		ok := false
		for want := range strings.SplitSeq(tt.want, "|") {
			ok = ok || err != nil && strings.Contains(err.Error(), want)
		}
		if !errors.Is(err, mios.ErrInvalid) || !ok {
			t.Errorf("%s (%x): error is %v, want %q", tt.bits, w.out, err, tt.want)
		}
	}
}

func FuzzPuff(f *testing.F) {
	f.Add(deflated(f, 6, text(1, 500, 0)))
	f.Add([]byte{0x63, 0x04, 0x88, 0x11, 0x00})
	f.Fuzz(func(t *testing.T, in []byte) {
		puffed, err := Puff(nil, in)
		if err != nil {
			return
		}
		if n := uint64(len(puffed)); n > maxPuffed(8*uint64(len(in))) {
			t.Errorf("%d bytes become %d", len(in), n)
		}
		back, err := Huff(nil, puffed)
		if err != nil {
			return // a code that nobody has to write
		}
		again, err := Puff(nil, back)
		if err != nil || !bytes.Equal(again, puffed) {
			t.Errorf("%x -> %x -> %x -> %x: %v", in, puffed, back, again, err)
		}
	})
}

func FuzzHuff(f *testing.F) {
	puffed, err := Puff(nil, deflated(f, 6, text(1, 500, 0)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(puffed)
	f.Add([]byte{0, 0, 0xa0, 0, 1, 0xff, 0x81})
	f.Fuzz(func(t *testing.T, in []byte) {
		if out, err := Huff(nil, in); err == nil {
			if _, err := Puff(nil, out); err != nil {
				t.Errorf("%x -> %x: %v", in, out, err)
			}
		}
	})
}

func FuzzPatch(f *testing.F) {
	old, new := archive(f, 3, 1), archive(f, 3, 2)
	patch, err := Diff(context.Background(), old, new, LocateZip(old), LocateZip(new), bsdiff.Options{Quality: 5})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old, patch)
	f.Fuzz(func(t *testing.T, old, patch []byte) {
		p, err := Parse(bytes.NewReader(patch), int64(len(patch)))
		if err != nil || p.New.Size > 1<<20 {
			return
		}
		var out bytes.Buffer
		if err := p.Apply(context.Background(), &out, bytes.NewReader(old), int64(len(old))); err == nil && int64(out.Len()) != p.New.fileSize() {
			t.Errorf("%d bytes, want %d", out.Len(), p.New.fileSize())
		}
	})
}

// FuzzDiff takes the first file for the old one too, with a byte changed.
func FuzzDiff(f *testing.F) {
	f.Add(archive(f, 3, 1), uint16(77))
	f.Fuzz(func(t *testing.T, new []byte, at uint16) {
		old := bytes.Clone(new)
		if len(old) > 0 {
			old[int(at)%len(old)]++
		}
		patch, err := Diff(context.Background(), old, new, LocateZip(old), LocateZip(new), bsdiff.Options{Quality: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := apply(old, patch); err != nil || !bytes.Equal(got, new) {
			t.Errorf("%d bytes, want %d: %v", len(got), len(new), err)
		}
	})
}

func BenchmarkPuff(b *testing.B) {
	in := deflated(b, 6, text(1, 4<<20, 0))
	p := newPuffer()
	var out []byte
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		out, _ = p.puff(out[:0], in, 0, 8*int64(len(in)))
	}
}

func BenchmarkHuff(b *testing.B) {
	in := deflated(b, 6, text(1, 4<<20, 0))
	puffed, _ := Puff(nil, in)
	h := newHuffer()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		h.out = bitWriter{out: h.out.out[:0]}
		if err := h.huff(puffed); err != nil {
			b.Fatal(err)
		}
	}
}
