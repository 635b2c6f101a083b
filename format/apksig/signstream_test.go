package apksig_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"

	"mios/format/apk"
	"mios/format/apksig"
)

// A sparse file keeps what was written to it, but for runs of zeros.
type sparse struct {
	parts []sparsePart
	size  int64
}

type sparsePart struct {
	off int64
	b   []byte
}

func (s *sparse) Write(b []byte) (int, error) {
	if len(bytes.Trim(b, "\x00")) > 0 {
		s.parts = append(s.parts, sparsePart{s.size, bytes.Clone(b)})
	}
	s.size += int64(len(b))
	return len(b), nil
}

func (s *sparse) ReadAt(b []byte, off int64) (int, error) {
	n := int(min(int64(len(b)), max(0, s.size-off)))
	clear(b[:n])
	for _, p := range s.parts {
		if p.off < off+int64(n) && p.off+int64(len(p.b)) > off {
			copy(b[max(0, p.off-off):n], p.b[max(0, off-p.off):])
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// zeros are n of them.
type zeros struct{ n, at int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.at == z.n {
		return 0, io.EOF
	}
	n := min(int64(len(b)), z.n-z.at)
	clear(b[:n])
	z.at += n
	return int(n), nil
}

func (z *zeros) Seek(off int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		off += z.at
	} else if whence == io.SeekEnd {
		off += z.n
	}
	z.at = off
	return off, nil
}

// large returns a package of that many bytes and a little more.
func large(tb testing.TB, size int64) *sparse {
	tb.Helper()
	root, err := apk.ParseText([]byte(manifestText))
	if err != nil {
		tb.Fatal(err)
	}
	var f sparse
	w := apk.NewWriter(&f)
	err = errors.Join(w.Add(apk.ManifestName, apk.Deflate, bytes.NewReader(apk.AppendXML(nil, root))),
		w.Add("assets/large", apk.Store, &zeros{n: size / 2}), w.Add("lib/x86_64/libx.so", apk.Store, &zeros{n: size / 2}), w.Close())
	if err != nil {
		tb.Fatal(err)
	}
	return &f
}

// TestSignLarge signs 200 MiB, and watches how much memory that takes.
func TestSignLarge(t *testing.T) {
	const most = 24 << 20
	in := large(t, 200<<20)
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	runtime.GC()
	before := heap()
	var mu sync.Mutex
	var peak uint64
	watch := func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		peak = max(peak, heap())
		return len(b), nil
	}
	out := writerFunc(watch)
	in2 := readerAtFunc(func(b []byte, off int64) (int, error) { // most is read before the first byte is written
		if off%(1<<20) == 0 {
			watch(nil)
		}
		return in.ReadAt(b, off)
	})
	var idsig int64
	o := apksig.SignOptions{Signers: []apksig.Signer{fixedSigner(t)}, V1: true, V2: true, V3: true, Verity: true,
		IDSig: writerFunc(func(b []byte) (int, error) { idsig += int64(len(b)); return out(b) })}
	if err := apksig.Sign(t.Context(), in2, in.size, o, out); err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak) - int64(before); grown > most {
		t.Errorf("signing %d bytes took %d bytes of memory, want at most %d", in.size, grown, most)
	}
	if idsig < in.size/4096*32 {
		t.Errorf("v4 signature of %d bytes", idsig)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

type readerAtFunc func([]byte, int64) (int, error)

func (f readerAtFunc) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }

// TestSignFails: what reader, writer and context say is what Sign says.
func TestSignFails(t *testing.T) {
	in := zipped(t, 21)
	o := apksig.SignOptions{Signers: []apksig.Signer{fixedSigner(t)}, V1: true, V2: true, V3: true}
	broken := errors.New("broken")
	for at := range int64(len(in)) {
		if at%97 != 0 {
			continue
		}
		r := readerAtFunc(func(b []byte, off int64) (int, error) {
			if off <= at && at < off+int64(len(b)) {
				return 0, broken
			}
			return bytes.NewReader(in).ReadAt(b, off)
		})
		if err := apksig.Sign(t.Context(), r, int64(len(in)), o, io.Discard); !errors.Is(err, broken) {
			t.Errorf("Sign with a reader that breaks at %#x = %v", at, err)
		}
	}
	w := writerFunc(func([]byte) (int, error) { return 0, broken })
	if err := apksig.Sign(t.Context(), bytes.NewReader(in), int64(len(in)), o, w); !errors.Is(err, broken) {
		t.Errorf("Sign with a writer that breaks = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := apksig.Sign(ctx, bytes.NewReader(in), int64(len(in)), o, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign with an ended context = %v", err)
	}
}

// TestPins holds what is made of a package's list of what to keep in memory.
func TestPins(t *testing.T) {
	in := packed(t, "assets/com.android.hints.pins.txt", "lib/.*\nassets/b 1 3 # two bytes\n",
		"lib/a", "12345", "assets/b", "12345", "assets/c", "12345", "pinlist.meta", "old")
	out := sign(t, in, apksig.SignOptions{Signers: []apksig.Signer{fixedSigner(t)}, V1: true, V2: true, MinSDK: 21})
	f, err := apk.Open(bytes.NewReader(out), int64(len(out)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.ReadFile("pinlist.meta", 1000)
	if err != nil {
		t.Fatal(err)
	}
	be := func(n ...int64) (b []byte) {
		for _, n := range n {
			b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		}
		return b
	}
	a, bb, list := f.Entry("lib/a"), f.Entry("assets/b"), f.Entry("pinlist.meta")
	want := be(a.DataOff, 5, a.HeaderOff, a.DataOff-a.HeaderOff, bb.DataOff+1, 2, bb.HeaderOff, bb.DataOff-bb.HeaderOff, list.HeaderOff, 1<<31-1)
	if !bytes.Equal(got, want) {
		t.Errorf("pinlist.meta = %x, want %x", got, want)
	}
	if res, err := verify(t, out, apksig.Options{MinSDK: 21}); err != nil || !res.Verified() {
		t.Errorf("Verify = %+v, %v", res, err)
	}
}

// TestApksignerSigns compares with Debian's apksigner: its packages verify here
// and, where the algorithm gives the same signature each time, they are ours.
func TestApksignerSigns(t *testing.T) {
	needJava(t)
	dir := t.TempDir()
	rsa2, p256, dsa := rsaSigner(t, 2048), ecSigner(t, elliptic.P256()), testSigner(t, "dsa2048")
	text, err := os.ReadFile("testdata/dsa2048.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	files := map[string][]byte{"dsa.pk8": block.Bytes, "dsa.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: dsa.Certificate})}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keyFiles(t, dir, "rsa", rsa2)
	keyFiles(t, dir, "ec", p256)
	rsa2.Name, p256.Name, dsa.Name = "rsa", "ec", "dsa"
	signerOf := map[string]apksig.Signer{"rsa": rsa2, "ec": p256, "dsa": dsa}
	for _, tt := range []struct {
		keys    string
		schemes string
		minSDK  int
		verity  bool
		same    bool
	}{
		{"rsa", "123", 9, false, true},
		{"rsa", "12", 18, false, true},
		{"rsa", "23", 28, true, true},
		{"ec", "123", 18, false, false},
		{"dsa", "123", 21, false, false},
		{"rsa ec", "12", 18, false, false},
	} {
		t.Run(fmt.Sprintf("%s v%s", tt.keys, tt.schemes), func(t *testing.T) {
			t.Parallel()
			in := filepath.Join(t.TempDir(), "in.apk")
			data := zipped(t, tt.minSDK)
			if err := os.WriteFile(in, data, 0o600); err != nil {
				t.Fatal(err)
			}
			o := schemes(tt.schemes)
			o.KeepAlignment, o.PageAlign, o.Verity = true, 4096, tt.verity // as it did in 2021
			for k := range strings.FieldsSeq(tt.keys) {
				o.Signers = append(o.Signers, signerOf[k])
			}
			runTool(t, "apksigner", signArgs(dir, in, o)...)
			theirs, err := os.ReadFile(in + ".signed")
			if err != nil {
				t.Fatal(err)
			}
			c := signCase{o: o, least: tt.minSDK}
			c.verify(t, theirs, nil, o.Signers[0].Certificate)
			if ours := sign(t, data, o); tt.same && !bytes.Equal(ours, theirs) {
				t.Errorf("%d bytes, and apksigner gives others, %d", len(ours), len(theirs))
			}
		})
	}
}

// signArgs are apksigner's for these options, with the keys in a folder.
func signArgs(dir, in string, o apksig.SignOptions) []string {
	args := []string{"sign", "--v4-signing-enabled", "false", "--in", in, "--out", in + ".signed",
		"--v1-signing-enabled", fmt.Sprint(o.V1), "--v2-signing-enabled", fmt.Sprint(o.V2), "--v3-signing-enabled", fmt.Sprint(o.V3)}
	if o.Verity {
		args = append(args, "--verity-enabled")
	}
	for i, s := range o.Signers {
		if i > 0 {
			args = append(args, "--next-signer")
		}
		args = append(args, "--key", filepath.Join(dir, s.Name+".pk8"), "--cert", filepath.Join(dir, s.Name+".pem"))
	}
	return args
}

// FuzzSign signs what is made of a package: what can be signed verifies.
func FuzzSign(f *testing.F) {
	s := fixedSigner(f)
	for i, b := range [][]byte{zipped(f, 21), unsigned(f), sign(f, zipped(f, 21), apksig.SignOptions{Signers: []apksig.Signer{s}, V1: true, V2: true})} {
		f.Add(b, byte(i))
		f.Add(b, byte(0xff))
	}
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		o := apksig.SignOptions{Signers: []apksig.Signer{s}, V1: how&1 > 0, V2: how&2 > 0, V3: how&4 > 0,
			KeepAlignment: how&8 > 0, PadFile: how&16 > 0, Verity: how&32 > 0, MinSDK: 28}
		if o.V1 {
			o.MinSDK = 21
		}
		var out bytes.Buffer
		if err := apksig.Sign(t.Context(), bytes.NewReader(b), int64(len(b)), o, &out); err != nil {
			if out.Len() > 0 {
				t.Errorf("Sign = %v, after %d bytes", err, out.Len())
			}
			return
		}
		if res, err := verify(t, out.Bytes(), apksig.Options{MinSDK: o.MinSDK}); err != nil || !res.Verified() {
			t.Errorf("Verify = %+v, %v", res, err)
		}
	})
}
