package chunks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mios"
	"mios/format/avb"
)

// noise returns n bytes that are the same for the same seed; half of them
// compress well.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := 0; i < n; i += 512 {
		if r.IntN(2) == 0 {
			copy(b[i:], strings.Repeat(fmt.Sprintf("line %d of a file\n", r.IntN(1000)), 30))
			continue
		}
		for j := i; j < min(i+512, n); j++ {
			b[j] = byte(r.Uint32())
		}
	}
	return b
}

// A disk is memory as a Target.
type disk struct {
	b      []byte
	writes atomic.Int64 // bytes
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d.b).ReadAt(p, off) }

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(d.b)) {
		return 0, fmt.Errorf("write of %d bytes at %d of %d", len(p), off, len(d.b))
	}
	d.writes.Add(int64(len(p)))
	return copy(d.b[off:], p), nil
}

// A release is what a server has.
type release struct {
	index, pack []byte
	root        *Root
	rootSize    int64
}

func publish(t testing.TB, images ...Image) *release {
	t.Helper()
	var pack bytes.Buffer
	root, index, err := Writer{}.Write(t.Context(), &pack, images)
	if err != nil {
		t.Fatal(err)
	}
	b, err := root.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseRoot(index[:len(b)])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Bytes(); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("ParseRoot(Bytes()).Bytes() differs: %v", err)
	}
	return &release{index: index, pack: pack.Bytes(), root: again, rootSize: int64(len(b))}
}

func (r *release) open(b []byte) Opener {
	return func(_ context.Context, off, n int64) (io.ReadCloser, error) {
		if off < 0 || n <= 0 || off+n > int64(len(b)) {
			return nil, fmt.Errorf("range %d+%d of %d", off, n, len(b))
		}
		return io.NopCloser(bytes.NewReader(b[off : off+n])), nil
	}
}

func seed(name string, b []byte) Seed { return Seed{name, bytes.NewReader(b), int64(len(b))} }

// update brings disks to the release from what the seeds and disks have.
func (r *release) update(t testing.TB, disks map[string]*disk, seeds ...Seed) *Plan {
	t.Helper()
	plan, err := r.try(t, disks, seeds...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.root.Partitions {
		p := &r.root.Partitions[i]
		if got := mios.Sum(disks[p.Name].b); got != p.SHA256 {
			t.Fatalf("partition %s has SHA-256 %v, want %v", p.Name, got, p.SHA256)
		}
	}
	return plan
}

func (r *release) try(t testing.TB, disks map[string]*disk, seeds ...Seed) (*Plan, error) {
	t.Helper()
	have, err := r.root.Scan(t.Context(), seeds)
	if err != nil {
		t.Fatal(err)
	}
	var there []Seed
	for name, d := range disks {
		there = append(there, Seed{name, d, int64(len(d.b))})
	}
	here, err := r.root.Scan(t.Context(), there)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.root.Plan(t.Context(), have, here, r.open(r.index))
	if err != nil {
		return nil, err
	}
	a := &Assembler{Plan: plan, Pack: r.open(r.pack), Target: func(name string) (Target, error) { return disks[name], nil }}
	return plan, a.Run(t.Context())
}

// insert returns b with bytes put in at a place.
func insert(b []byte, at int, what []byte) []byte { return slices.Concat(b[:at], what, b[at:]) }

func TestUpdate(t *testing.T) {
	old := noise(1, 2<<20)
	edited := insert(old, 512<<10+17, []byte("some bytes that move all the rest"))
	copy(edited[1<<20:], noise(2, 100<<10))
	edited = append(edited, make([]byte, 1<<20)...)         // zeros
	edited = append(edited, edited[200<<10:500<<10]...)     // again
	edited = append(edited, noise(3, 300<<10)...)           // new
	edited = append(edited, noise(3, 300<<10)[:150<<10]...) // new, again
	r := publish(t, Image{Name: "system", Content: bytes.NewReader(edited), Size: int64(len(edited))},
		Image{Name: "boot", Content: bytes.NewReader(old[:1<<20]), Size: 1 << 20})

	fresh := func() map[string]*disk {
		return map[string]*disk{"system": {b: noise(9, len(edited))}, "boot": {b: make([]byte, 1<<20)}}
	}
	full := r.update(t, fresh())
	if full.Fetch < int64(len(r.pack))*95/100 || full.Index == 0 {
		t.Errorf("with nothing: fetches %d of a pack of %d", full.Fetch, len(r.pack))
	}
	delta := r.update(t, fresh(), seed("system", old))
	if limit := int64(512 << 10); delta.Fetch > limit {
		t.Errorf("with the old one: fetches %d bytes, want at most %d", delta.Fetch, limit)
	}
	if renamed := r.update(t, fresh(), seed("other", old)); renamed.Fetch > delta.Fetch*11/10 {
		t.Errorf("with the old one under another name: fetches %d bytes, want about %d", renamed.Fetch, delta.Fetch)
	}
	none := r.update(t, fresh(), seed("system", edited), seed("boot", old[:1<<20]))
	if none.Fetch != 0 || none.Index != 0 || none.Requests() != 0 {
		t.Errorf("with the release itself: fetches %d bytes and %d of the index, want none", none.Fetch, none.Index)
	}
}

// TestBroken updates a disk that a broken update left.
func TestBroken(t *testing.T) {
	b := noise(4, 3<<19)
	r := publish(t, Image{Name: "system", Content: bytes.NewReader(b), Size: int64(len(b))})
	d := &disk{b: make([]byte, len(b))}
	copy(d.b, b[:1<<20])
	plan := r.update(t, map[string]*disk{"system": d})
	if plan.Keep < 1<<20-128<<10 || d.writes.Load() > 512<<10+256<<10 {
		t.Errorf("two of three megabytes were there: keeps %d, writes %d", plan.Keep, d.writes.Load())
	}
}

func TestAreas(t *testing.T) {
	const data = 1 << 20
	size, err := avb.HashtreeSize(data, "sha256")
	if err != nil {
		t.Fatal(err)
	}
	d := &avb.HashtreeDescriptor{ImageSize: data, TreeOffset: data, TreeSize: uint64(size), HashAlgorithm: "sha256",
		Salt: []byte("salt"), FECRoots: 2, FECOffset: uint64(data + size), FECSize: uint64(avb.FECSize(data+size, 2))}
	whole := &disk{b: make([]byte, int64(d.FECOffset+d.FECSize)+4096)}
	copy(whole.b, noise(5, data))
	copy(whole.b[len(whole.b)-64:], "AVBf")
	areas := AreasOf(d)
	for i := range areas {
		if err := WriteArea(whole, &areas[i]); err != nil {
			t.Fatal(err)
		}
	}
	r := publish(t, Image{Name: "system", Content: whole, Size: int64(len(whole.b)), Areas: areas})
	old := slices.Clone(whole.b)
	for i := 0; i < data; i += 256 << 10 {
		copy(old[i:], "changed")
	}
	target := &disk{b: make([]byte, len(whole.b))}
	r.update(t, map[string]*disk{"system": target}, seed("system", old))
	if !bytes.Equal(target.b, whole.b) {
		t.Error("the partition differs")
	}
	for i := range r.root.Partitions[0].Areas {
		a := r.root.Partitions[0].Areas[i]
		if want := areas[i]; fmt.Sprint(a) != fmt.Sprint(want) {
			t.Errorf("area %d is %+v, want %+v", i, a, want)
		}
	}
}

// TestSame makes the same release with one core and with many.
func TestSame(t *testing.T) {
	b := noise(6, 1<<20)
	var packs, indexes [2]bytes.Buffer
	for i, workers := range []int{1, 7} {
		_, index, err := Writer{Workers: workers}.Write(t.Context(), &packs[i], []Image{{Name: "a", Content: bytes.NewReader(b), Size: int64(len(b))}})
		if err != nil {
			t.Fatal(err)
		}
		indexes[i].Write(index)
	}
	if !bytes.Equal(packs[0].Bytes(), packs[1].Bytes()) || !bytes.Equal(indexes[0].Bytes(), indexes[1].Bytes()) {
		t.Error("one worker and seven make different releases")
	}
}

// lost is a seed that differs from what was scanned.
type lost struct {
	*bytes.Reader
	gone *bool
}

func (l lost) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.Reader.ReadAt(p, off)
	if *l.gone {
		for i := range p[:n] {
			p[i] ^= 1
		}
	}
	return n, err
}

func TestChangedSeed(t *testing.T) {
	old := noise(7, 1<<20)
	b := insert(old, 5000, []byte("x"))
	r := publish(t, Image{Name: "system", Content: bytes.NewReader(b), Size: int64(len(b))})
	gone := false
	have, err := r.root.Scan(t.Context(), []Seed{{"system", lost{bytes.NewReader(old), &gone}, int64(len(old))}})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.root.Plan(t.Context(), have, nil, r.open(r.index))
	if err != nil {
		t.Fatal(err)
	}
	gone = true
	d := &disk{b: make([]byte, len(b))}
	a := &Assembler{Plan: plan, Pack: r.open(r.pack), Target: func(string) (Target, error) { return d, nil }}
	if err := a.Run(t.Context()); err != nil || !bytes.Equal(d.b, b) {
		t.Errorf("with a seed that changed: %v; want its chunks fetched", err)
	}
}

// unreadable is a seed on a part of the disk that has failed.
type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }

// TestUnreadable leaves out what cannot be read, and says so of all of it.
func TestUnreadable(t *testing.T) {
	b := noise(12, 256<<10)
	r := publish(t, Image{Name: "system", Content: bytes.NewReader(b), Size: int64(len(b))})
	have, err := r.root.Scan(t.Context(), []Seed{{"vendor", unreadable{io.ErrNoProgress}, 1 << 20}, seed("system", b), {"boot", unreadable{io.ErrClosedPipe}, 1 << 20}})
	if !errors.Is(err, io.ErrNoProgress) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Scan of two that cannot be read = %v, want both errors", err)
	}
	plan, err := r.root.Plan(t.Context(), have, nil, r.open(r.index))
	if err != nil || plan.Fetch != 0 {
		t.Errorf("Plan = %+v, %v; want nothing fetched, as one seed has it all", plan, err)
	}
}

// TestEnds has nothing go on behind a Run that has failed.
func TestEnds(t *testing.T) {
	b := noise(9, 8<<20)
	r := publish(t, Image{Name: "system", Content: bytes.NewReader(b), Size: int64(len(b))})
	synctest.Test(t, func(t *testing.T) {
		plan, err := r.root.Plan(t.Context(), nil, nil, r.open(r.index))
		if err != nil {
			t.Fatal(err)
		}
		var open atomic.Int32
		a := &Assembler{Plan: plan, Target: func(string) (Target, error) { return &disk{b: make([]byte, len(b))}, nil },
			Pack: func(ctx context.Context, off, _ int64) (io.ReadCloser, error) {
				if off == 0 {
					synctest.Wait() // for the others to be under way
					return nil, io.ErrClosedPipe
				}
				open.Add(1)
				<-ctx.Done()
				time.Sleep(time.Second)
				open.Add(-1)
				return nil, ctx.Err()
			}}
		err = a.Run(t.Context())
		if n := open.Load(); !errors.Is(err, io.ErrClosedPipe) || n > 0 || plan.Requests() < 4 {
			t.Errorf("Run = %v with %d of %d requests still under way", err, n, plan.Requests())
		}
	})
}

// TestRefuses changes one thing of a release at a time.
func TestRefuses(t *testing.T) {
	b := noise(8, 256<<10)
	good := publish(t, Image{Name: "system", Content: bytes.NewReader(b), Size: int64(len(b))})
	disks := func() map[string]*disk { return map[string]*disk{"system": {b: make([]byte, len(b))}} }
	for _, tt := range []struct {
		name string
		bad  func(r *release)
		want string
	}{
		{"a bit of the pack", func(r *release) { r.pack[len(r.pack)/2] ^= 1 }, "pack: offset"},
		{"a bit of a part", func(r *release) { r.index[len(r.index)-1] ^= 1 }, "is not the one that the root names"},
		{"a short index", func(r *release) { r.index = r.index[:len(r.index)-1] }, "index:"},
		{"a short pack", func(r *release) { r.pack = r.pack[:len(r.pack)-1] }, "range"},
	} {
		r := *good
		r.pack, r.index = slices.Clone(r.pack), slices.Clone(r.index)
		tt.bad(&r)
		if _, err := r.try(t, disks()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	root := good.index[:good.rootSize]
	for i := range root {
		if _, err := ParseRoot(root[:i]); !errors.Is(err, mios.ErrInvalid) {
			t.Fatalf("root of %d of %d bytes: %v, want invalid", i, len(root), err)
		}
	}
	if _, err := ParseRoot(append(slices.Clone(root), 0)); !errors.Is(err, mios.ErrInvalid) {
		t.Errorf("root with a byte more: %v, want invalid", err)
	}
}

func FuzzParseRoot(f *testing.F) {
	b := noise(8, 256<<10)
	r := publish(f, Image{Name: "system", Content: bytes.NewReader(b), Size: int64(len(b))})
	f.Add(r.index[:r.rootSize])
	f.Fuzz(func(t *testing.T, in []byte) {
		root, err := ParseRoot(in)
		if err != nil {
			return
		}
		if out, err := root.Bytes(); err != nil || !bytes.Equal(out, in) {
			t.Errorf("Bytes() = %x, %v; want %x", out, err, in)
		}
	})
}

func FuzzParsePart(f *testing.F) {
	b := append(noise(8, 256<<10), noise(8, 128<<10)...)
	r := publish(f, Image{Name: "system", Content: bytes.NewReader(append(b, make([]byte, 128<<10)...)), Size: int64(len(b)) + 128<<10})
	g := r.root.Partitions[0].Regions[0]
	f.Add(r.index[r.rootSize:], g.Chunks)
	f.Fuzz(func(t *testing.T, in []byte, chunks int) {
		if chunks <= 0 || chunks > regionChunks {
			return
		}
		// The hashes are made to fit, so that what they protect is reached.
		g := Region{Size: 1 << 30, Chunks: chunks, PartSize: int64(len(in)), Part: mios.Sum(in)}
		d := &decoder{what: "part", b: in}
		next := d.num(r.root.PackSize)
		from := next
		var list []Chunk
		for range chunks {
			c := d.chunk(r.root, &next)
			if d.err != nil {
				_, err := r.root.ParsePart(&g, in)
				if err == nil {
					t.Errorf("a part that is bad by %v is accepted", d.err)
				}
				return
			}
			list = append(list, c)
		}
		if out, _ := appendPart(nil, list, from); d.at == len(in) && !bytes.Equal(out, in) {
			t.Errorf("appendPart = %x, want %x", out, in)
		}
	})
}

// TestCut holds what the format is about: that an insertion changes few cuts,
// and that sizes are as asked.
func TestCut(t *testing.T) {
	old := noise(10, 4<<20)
	cut := func(b []byte) map[ID]int {
		m := map[ID]int{}
		err := Default.Cut(pieces(b), func(c []byte) error {
			m[Sum(c)] = len(c)
			if len(c) > Default.Max {
				t.Errorf("a chunk of %d bytes", len(c))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b := cut(old), cut(insert(old, 2<<20, []byte("x")))
	fresh := 0
	for id := range b {
		if a[id] == 0 {
			fresh++
		}
	}
	if fresh > 3 {
		t.Errorf("a byte put in changes %d of %d chunks", fresh, len(b))
	}
	if avg := len(old) / len(a); avg < Default.Avg/2 || avg > Default.Avg*2 {
		t.Errorf("%d chunks of %d bytes on average, want about %d", len(a), avg, Default.Avg)
	}
}

// pieces returns b in reads of odd sizes.
func pieces(b []byte) io.Reader {
	var list []io.Reader
	for n := 1; len(b) > 0; n = n*3 + 7 {
		n = min(n, len(b), 1<<20)
		list = append(list, bytes.NewReader(b[:n]))
		b = b[n:]
	}
	return io.MultiReader(list...)
}

func BenchmarkCut(b *testing.B) {
	data := noise(11, 16<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := Default.Cut(bytes.NewReader(data), func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// TestVerify holds an index and a pack against the root, as they are and with
// each part, and bytes of the pack, changed.
func TestVerify(t *testing.T) {
	a := noise(1, 300_000)
	r := publish(t, Image{Name: "system", Content: bytes.NewReader(a), Size: int64(len(a))},
		Image{Name: "vendor", Content: bytes.NewReader(append(make([]byte, 100_000), a[:200_000]...)), Size: 300_000})
	root, n, err := ReadRoot(r.index)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(index, pack []byte) error {
		return root.Verify(t.Context(), bytes.NewReader(index), bytes.NewReader(pack), nil)
	}
	if err := verify(r.index, r.pack); err != nil {
		t.Errorf("Verify = %v", err)
	}
	if err := root.Verify(t.Context(), bytes.NewReader(r.index), nil, nil); err != nil {
		t.Errorf("Verify of the index = %v", err)
	}
	changed := func(b []byte, at int) []byte { // more than what follows a chunk's data in its xz stream, which nobody reads
		b = bytes.Clone(b)
		for i := range min(100, len(b)-at) {
			b[at+i] ^= 1
		}
		return b
	}
	if err := verify(changed(r.index, n+5), r.pack); !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "part 0 of partition system") {
		t.Errorf("Verify with a changed part = %v", err)
	}
	for at := 0; at+100 < len(r.pack); at += len(r.pack) / 50 {
		if err := verify(r.index, changed(r.pack, at)); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("Verify with the pack changed at %d = %v", at, err)
		}
	}
	if err := verify(r.index, r.pack[:len(r.pack)-1]); err == nil {
		t.Error("a pack that is cut off is taken")
	}
}
