package payload

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mios"
	"mios/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func public(k *rsa.PrivateKey) []*rsa.PublicKey { return []*rsa.PublicKey{&k.PublicKey} }

// memory is a partition of a fixed size.
type memory struct {
	b      []byte
	writes atomic.Int32
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.writes.Add(1)
	if off+int64(len(p)) > int64(len(m.b)) {
		return 0, io.ErrShortWrite
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}

// newDisk returns partitions full of old bytes.
func newDisk(md *Metadata) map[string]*memory {
	disk := map[string]*memory{}
	for _, p := range md.Manifest.Partitions {
		if p.NewInfo != nil {
			disk[p.Name] = &memory{b: bytes.Repeat([]byte{0xa5}, int(p.NewInfo.Size))}
		}
	}
	return disk
}

func target(disk map[string]*memory) func(string) (io.WriterAt, error) {
	return func(name string) (io.WriterAt, error) { return disk[name], nil }
}

func applyAll(t *testing.T, b []byte, keys ...*rsa.PublicKey) (map[string]*memory, *Metadata, error) {
	t.Helper()
	r := bytes.NewReader(b)
	md, err := ReadMetadata(r)
	if err != nil {
		t.Fatal(err)
	}
	disk := newDisk(md)
	a := &Applier{Metadata: md, Keys: keys, Target: target(disk)}
	end, err := a.Apply(context.Background(), r, md.Start())
	if err == nil {
		if sum, err := end.Digest(); err != nil || sum != sha256.Sum256(b) || end.Offset != int64(len(b)) || md.PayloadSize() != int64(len(b)) {
			t.Errorf("Apply ends at %d with digest %x, %v; want %d, %x", end.Offset, sum, err, len(b), sha256.Sum256(b))
		}
	}
	return disk, md, err
}

// images are chunks of each kind: noise, zeros with text, and an end that is no
// multiple of a chunk.
func images() []Image {
	rng := mrand.New(mrand.NewPCG(1, 2))
	noise := make([]byte, ChunkSize)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	var text bytes.Buffer
	for i := 0; text.Len() < 9*DefaultBlockSize; i++ {
		fmt.Fprintf(&text, "%d: %x\n", i, rng.Uint32())
	}
	system := append(append(noise, make([]byte, 3*DefaultBlockSize)...), text.Bytes()[:9*DefaultBlockSize]...)
	boot := bytes.Repeat([]byte("kernel and ramdisk\n"), 4*DefaultBlockSize)[:3*DefaultBlockSize]
	return []Image{
		{Name: "boot", Content: bytes.NewReader(boot), Size: int64(len(boot))},
		{Name: "system", Content: bytes.NewReader(system), Size: int64(len(system)), Version: "2"},
	}
}

// memorySpool is a spool in memory.
type memorySpool struct {
	bytes.Buffer
	r *bytes.Reader
}

func (s *memorySpool) Read(p []byte) (int, error) {
	if s.r == nil {
		s.r = bytes.NewReader(s.Bytes())
	}
	return s.r.Read(p)
}

func (s *memorySpool) Seek(int64, int) (int64, error) { s.r = nil; return 0, nil }

func write(t testing.TB, f *Full) ([]byte, Properties) {
	t.Helper()
	var b bytes.Buffer
	p, err := f.Write(context.Background(), &b, new(memorySpool))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), p
}

// sample is a signed payload of images, made once.
var sample = sync.OnceValues(func() ([]byte, Properties) {
	var b bytes.Buffer
	f := &Full{Images: images(), MaxTimestamp: 1700000000, Signers: []crypto.Signer{testkit.RSA(0)}, Workers: 1,
		Groups: []Group{{Name: "mios", Size: 64 << 20, Partitions: []string{"system"}}}}
	p, err := f.Write(context.Background(), &b, new(memorySpool))
	if err != nil {
		panic(err)
	}
	return b.Bytes(), p
})

// TestChunk makes operations of other sizes.
func TestChunk(t *testing.T) {
	for _, chunk := range []int64{4 * DefaultBlockSize, 4 * ChunkSize} {
		b, _ := write(t, &Full{Images: images(), Chunk: chunk, Workers: 2})
		disk, md, err := applyAll(t, b)
		if err != nil {
			t.Fatal(err)
		}
		for i, img := range images() {
			ops := md.Manifest.Partitions[i].Operations
			if want := (img.Size + chunk - 1) / chunk; int64(len(ops)) != want {
				t.Errorf("%s has %d operations of %d bytes, want %d", img.Name, len(ops), chunk, want)
			}
			want, err := io.ReadAll(io.NewSectionReader(img.Content, 0, img.Size))
			if err != nil || !bytes.Equal(disk[img.Name].b, want) {
				t.Errorf("%s is another image: %v", img.Name, err)
			}
		}
	}
	for _, chunk := range []int64{-DefaultBlockSize, DefaultBlockSize + 1, MaxWindow + DefaultBlockSize} {
		if _, err := (&Full{Images: images(), Chunk: chunk}).Write(t.Context(), io.Discard, new(memorySpool)); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("operations of %d bytes: %v, want %v", chunk, err, mios.ErrInvalid)
		}
	}
}

func TestFullRoundTrip(t *testing.T) {
	b, p := sample()
	disk, md, err := applyAll(t, b, public(testkit.RSA(0))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images() {
		want := make([]byte, img.Size)
		img.Content.ReadAt(want, 0)
		if !bytes.Equal(disk[img.Name].b, want) {
			t.Errorf("partition %s differs from its image", img.Name)
		}
		if err := md.Manifest.VerifyPartition(context.Background(), img.Name, disk[img.Name]); err != nil {
			t.Error(err)
		}
		disk[img.Name].b[DefaultBlockSize] ^= 1
		if err := md.Manifest.VerifyPartition(context.Background(), img.Name, disk[img.Name]); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("VerifyPartition(%s) of a changed partition = %v, want ErrInvalid", img.Name, err)
		}
	}
	var types []OpType
	for _, p := range md.Manifest.Partitions {
		for _, op := range p.Operations {
			types = append(types, op.Type)
		}
	}
	if got := fmt.Sprint(types); !strings.HasPrefix(got, "[REPLACE_") || !strings.Contains(got, " REPLACE ") {
		t.Errorf("operations are %v, want compressed ones and a plain one", got)
	}
	want := Properties{sha256.Sum256(b), int64(len(b)), md.Hash(), md.SignedSize()}
	if p != want {
		t.Errorf("properties\n%vwant\n%v", p, want)
	}
}

func TestFullIsReproducible(t *testing.T) {
	b, _ := sample()
	f := &Full{Images: images(), MaxTimestamp: 1700000000, Signers: []crypto.Signer{testkit.RSA(0)}, Workers: 3,
		Groups: []Group{{Name: "mios", Size: 64 << 20, Partitions: []string{"system"}}}}
	var last int64
	f.Progress = func(done, total int64) {
		if done <= last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}
	if again, _ := write(t, f); !bytes.Equal(b, again) {
		t.Error("three workers write other bytes than one")
	}
	if last != f.Images[0].Size+f.Images[1].Size {
		t.Errorf("progress ends at %d", last)
	}
}
