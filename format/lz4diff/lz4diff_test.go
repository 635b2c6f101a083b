package lz4diff

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mios"
	"mios/format/bsdiff"
	"mios/format/erofs"
	"mios/format/fsimage"
	"mios/internal/protowire"
	"mios/internal/tool"
)

// text returns a file of which a little changes with version.
func text(size, version int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var words [2000]string
	for i := range words {
		words[i] = fmt.Sprintf("%x%x ", i*i, rnd.IntN(1<<rnd.IntN(30)))
	}
	var b []byte
	for n := 0; len(b) < size; n++ {
		if n%3000 == 7 {
			b = fmt.Appendf(b, "this is version %d", version)
		}
		b = append(b, words[rnd.IntN(1+rnd.IntN(len(words)))]...)
	}
	return b[:size]
}

// pack compresses data in blocks of cluster bytes, as erofs does.
func pack(tb testing.TB, data []byte, a Algorithm, cluster int, padded bool) ([]byte, Layout) {
	tb.Helper()
	l := Layout{Algorithm: a, ZeroPadding: padded}
	c, err := a.compressor()
	if err != nil {
		tb.Fatal(err)
	}
	var out []byte
	for at := 0; at < len(data); {
		b := make([]byte, cluster)
		n, read := c.Fill(b, data[at:])
		if read <= cluster {
			read = min(cluster, len(data)-at)
			b = data[at:][:read]
		} else if padded {
			b = append(make([]byte, cluster-n), b[:n]...)
		}
		out = append(out, b...)
		l.Blocks = append(l.Blocks, Block{uint64(at), uint64(read), uint64(len(b))})
		at += read
	}
	return out, l
}

func apply(old, patch []byte) ([]byte, error) {
	p, err := Parse(patch)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.Apply(context.Background(), &b, bytes.NewReader(old), int64(len(old)))
	return b.Bytes(), err
}

func TestDiff(t *testing.T) {
	for _, tt := range []struct {
		name    string
		a       Algorithm
		cluster int
		padded  bool
	}{
		{"lz4", Algorithm{LZ4, 0}, 4096, true}, {"lz4hc", Algorithm{LZ4HC, 9}, 4096, true},
		{"level 4", Algorithm{LZ4HC, 4}, 16384, true}, {"level 11", Algorithm{LZ4HC, 11}, 4096, true}, {"default level", Algorithm{LZ4HC, 0}, 4096, false},
		{"negative level", Algorithm{LZ4HC, -1}, 65536, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old, oldLayout := pack(t, text(400_000, 1), tt.a, tt.cluster, tt.padded)
			new, newLayout := pack(t, text(400_500, 22), tt.a, tt.cluster, tt.padded)
			patch, err := Diff(context.Background(), old, new, oldLayout, newLayout, Options{Inner: bsdiff.Options{Quality: 9}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := apply(old, patch)
			if err != nil || !bytes.Equal(got, new) {
				t.Errorf("%d bytes, want %d: %v", len(got), len(new), err)
			}
			plain, err := bsdiff.Diff(context.Background(), old, new, bsdiff.Options{Quality: 9})
			if err != nil {
				t.Fatal(err)
			}
			if t.Logf("%d and %d bytes: %d, bsdiff %d", len(old), len(new), len(patch), len(plain)); len(patch) > len(plain)*2/3 {
				t.Errorf("patch of %d bytes, bsdiff's has %d", len(patch), len(plain))
			}
			p, err := Parse(patch)
			if err != nil || len(p.fixes) > 0 || !bytes.HasPrefix(patch, p.appendHeader(nil)) {
				t.Errorf("%d blocks need a patch: %v", len(p.fixes), err)
			}
		})
	}
}

// TestFixes has blocks that our compressor makes otherwise.
func TestFixes(t *testing.T) {
	data := text(100_000, 1)
	old, oldLayout := pack(t, data, Algorithm{LZ4HC, 9}, 4096, true)
	new, newLayout := pack(t, data, Algorithm{LZ4HC, 1}, 4096, true)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var made [2][]byte
	for i := range made {
		var err error
		made[i], err = Diff(context.Background(), old, new, oldLayout, newLayout, Options{Hashes: true})
		if err != nil {
			t.Fatal(err)
		}
		runtime.GOMAXPROCS(4)
	}
	patch := made[0]
	if !bytes.Equal(patch, made[1]) {
		t.Error("one processor makes another patch than four")
	}
	if got, err := apply(old, patch); err != nil || !bytes.Equal(got, new) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(new), err)
	}
	p, err := Parse(patch)
	if err != nil || len(p.fixes) != len(p.New.Blocks) {
		t.Fatalf("%d hashes: %v", len(p.fixes), err)
	}
	patches := 0
	for _, x := range p.fixes {
		if x.patch != nil {
			patches++
		}
	}
	if patches == 0 {
		t.Error("no block has a patch")
	}
	if p.New.Algorithm.Level != 3 {
		t.Errorf("level %d", p.New.Algorithm.Level)
	}
	p.New.Algorithm.Level = 1 // as if our liblz4 were another
	err = p.Apply(context.Background(), io.Discard, bytes.NewReader(old), int64(len(old)))
	if !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "compresses otherwise") || !strings.Contains(err.Error(), "new file: block ") {
		t.Errorf("error is %v", err)
	}
}

func TestPuff(t *testing.T) {
	archive := func(version int) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for i := range 3 {
			f, err := w.Create(fmt.Sprint("file", i))
			if err != nil {
				t.Fatal(err)
			}
			f.Write(text(150_000, version*i))
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: "stored"})
		if err != nil {
			t.Fatal(err)
		}
		f.Write(text(300_000, 7))
		w.Close()
		return b.Bytes()
	}
	old, oldLayout := pack(t, archive(1), Algorithm{LZ4HC, 9}, 4096, true)
	new, newLayout := pack(t, archive(22), Algorithm{LZ4HC, 9}, 4096, true)
	o := Options{Inner: bsdiff.Options{Quality: 5}}
	plain, err := Diff(context.Background(), old, new, oldLayout, newLayout, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Puff = true
	puffed, err := Diff(context.Background(), old, new, oldLayout, newLayout, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := apply(old, puffed); err != nil || !bytes.Equal(got, new) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(new), err)
	}
	if t.Logf("%d bytes, without puffing %d", len(puffed), len(plain)); len(puffed) >= len(plain) {
		t.Errorf("%d bytes, without puffing %d", len(puffed), len(plain))
	}
}

// TestErofs takes files of images that mkfs.erofs made, and its liblz4 packed.
func TestErofs(t *testing.T) {
	mkfs, err := tool.Look("mkfs.erofs")
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"lz4", "lz4hc", "lz4hc,5", "lz4hc,12"} {
		t.Run(option, func(t *testing.T) {
			a := Algorithm{LZ4, 0}
			if name, level, _ := strings.Cut(option, ","); name == "lz4hc" {
				a.Type = LZ4HC
				fmt.Sscan(level, &a.Level)
			}
			side := func(version int) ([]byte, Layout) {
				dir := t.TempDir()
				image, tree := filepath.Join(dir, "image"), filepath.Join(dir, "tree")
				if err := os.Mkdir(tree, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(tree, "file"), text(600_000, version), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(mkfs, "-z"+option, "--quiet", image, tree).CombinedOutput(); err != nil {
					t.Fatalf("mkfs.erofs: %v: %s", err, out)
				}
				return packed(t, image, "file", a)
			}
			old, oldLayout := side(1)
			new, newLayout := side(22)
			patch, err := Diff(context.Background(), old, new, oldLayout, newLayout, Options{Inner: bsdiff.Options{Quality: 9}})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := apply(old, patch); err != nil || !bytes.Equal(got, new) {
				t.Errorf("%d bytes, want %d: %v", len(got), len(new), err)
			}
			p, err := Parse(patch)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes in %d blocks: a patch of %d bytes; %d blocks need their own", len(new), len(p.New.Blocks), len(patch), len(p.fixes))
			if len(p.fixes) > 1 {
				t.Errorf("%d of %d blocks become otherwise", len(p.fixes), len(p.New.Blocks))
			}
		})
	}
}

// packed returns a file's blocks as an erofs image has them.
func packed(t *testing.T, image, name string, a Algorithm) ([]byte, Layout) {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	f, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Lookup(name, true)
	if err != nil {
		t.Fatal(err)
	}
	l := Layout{Algorithm: a, ZeroPadding: true}
	var out []byte
	for e, err := range n.Extents(0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Codec == fsimage.Plain {
			e.Size = e.Len
		}
		l.Blocks = append(l.Blocks, Block{uint64(e.Off), uint64(e.Len), uint64(e.Size)})
		out = append(out, b[e.At:][:e.Size]...)
	}
	return out, l
}

func TestRefuses(t *testing.T) {
	old, l := pack(t, text(50_000, 1), Algorithm{LZ4HC, 9}, 4096, true)
	patch, err := Diff(context.Background(), old, old, l, l, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// with returns a patch with another header, before an inner patch of nothing.
	with := func(change func(p *Patch)) []byte {
		p, err := Parse(patch)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		inner, err := bsdiff.Diff(context.Background(), nil, nil, bsdiff.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return append(p.appendHeader(nil), inner...)
	}
	header := func(m []byte) []byte {
		return append([]byte(magic+"\x00\x00\x00\x01\x00\x00\x00"+string(rune(len(m)))+"\x00"), m...)
	}
	for _, tt := range []struct {
		name  string
		patch []byte
		want  string
	}{
		{"empty", nil, "0 bytes left"},
		{"magic", []byte("LZ4DIFG\x00\x00\x00\x01\x00\x00\x00\x00\x00"), "begins with"},
		{"version", []byte("LZ4DIFF\x00\x00\x00\x02\x00\x00\x00\x00\x00"), "version 2"},
		{"header size", []byte("LZ4DIFF\x00\x00\x00\x01\xff\xff\xff\xff\x00"), "header of 4294967295"},
		{"no message", header([]byte{0xff}), "header: unexpected EOF"},
		{"inner type", header(protowire.AppendUint(nil, 3, 2)), "type 2"},
		{"no inner patch", header(nil), "patch at 0x10: bsdiff"},
		{"algorithm", with(func(p *Patch) { p.New.Algorithm.Type = 3 }), "compression algorithm 3"},
		{"no algorithm", with(func(p *Patch) { p.New.Algorithm.Type = 0 }), "compressed by algorithm 0"},
		{"hash", with(func(p *Patch) { p.fixes[1] = fix{sha256: []byte("short")} }), "SHA-256 of 5 bytes"},
		{"gap", with(func(p *Patch) { p.Old.Blocks[1].Offset++ }), "old file: block 1: is at"},
		{"huge", with(func(p *Patch) { p.New.Blocks[0].Length = 1 << 63 }), "new file: block 0"},
		{"bomb", with(func(p *Patch) { p.New.Blocks[0].Length = 1 << 29 }), "which LZ4 cannot"},
		{"grows", with(func(p *Patch) { p.New.Blocks[0].Compressed = 1 << 40 }), "are stored as"},
		{"too little", with(func(*Patch) {}), "makes 0 bytes"},
		{"another old file", with(func(p *Patch) { p.Old.Blocks = p.Old.Blocks[:1] }), "old file of 4096 bytes"},
		{"level", with(func(p *Patch) { *p = Patch{Old: p.Old} }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := apply(old, tt.patch)
			if tt.want == "" {
				if err != nil {
					t.Errorf("an empty file: %v", err)
				}
				return
			}
			if !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
	broken := bytes.Clone(old)
	for i := range broken[:4096] {
		broken[i] = 0xff
	}
	if _, err := apply(broken, patch); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "old file: block 0") {
		t.Errorf("a block that does not expand: %v", err)
	}
	if _, err := Diff(context.Background(), old, nil, l, Layout{}, Options{}); err == nil {
		t.Error("a file without blocks is compared")
	}
}

func FuzzApply(f *testing.F) {
	old, l := pack(f, text(9000, 1), Algorithm{LZ4HC, 9}, 1024, true)
	new, m := pack(f, text(9000, 2), Algorithm{LZ4, 0}, 1024, true)
	m.Algorithm.Type = LZ4HC
	patch, err := Diff(context.Background(), old, new, l, m, Options{Inner: bsdiff.Options{Quality: 2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old, patch)
	f.Fuzz(func(t *testing.T, old, patch []byte) {
		p, err := Parse(patch)
		if err != nil {
			return
		}
		stored, expanded, err := p.New.sizes()
		if err != nil || expanded > 1<<20 {
			return
		}
		if _, e, err := p.Old.sizes(); err != nil || e > 1<<20 {
			return
		}
		var b bytes.Buffer
		if err := p.Apply(context.Background(), &b, bytes.NewReader(old), int64(len(old))); err == nil && uint64(b.Len()) != stored {
			t.Errorf("%d bytes, want %d", b.Len(), stored)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	data := text(1<<20, 1)
	_, l := pack(b, data, Algorithm{LZ4HC, 9}, 4096, true)
	p, err := newPacker(&l, data)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for i := range l.Blocks {
			p.pack(i)
		}
	}
}
