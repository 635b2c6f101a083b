package delta

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/fsimage/imagetest"
	"mios/format/payload"
)

// A folder is files by path.
type folder map[string][]byte

// grow makes files of each kind that a delta treats in its own way.
func grow(r *rand.Rand) folder {
	f := folder{}
	for i := range 6 {
		f[fmt.Sprintf("etc/conf%d.txt", i)] = text(r, 200+r.IntN(9000))
		f[fmt.Sprintf("lib/libpart%d-1.%d.so", i, i)] = program(r, 2000+r.IntN(60000))
		f[fmt.Sprintf("media/sound%d.ogg", i)] = noise(r, 100+r.IntN(20000))
	}
	f["empty"] = nil
	f["app/one/one.apk"] = archive(r, nil)
	f["app/two/two.jar"] = archive(r, nil)
	f["doc/changes.gz"] = packed(text(r, 30000))
	f["lib/zeros"] = append(make([]byte, 5*block), text(r, 5000)...)
	return f
}

// program looks like machine code: it packs a little, and has addresses that
// all change when something is put in.
func program(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		if r.IntN(3) == 0 {
			b = append(b, 0xe8, byte(len(b)), byte(len(b)>>8), byte(len(b)>>16), 0)
		}
		b = append(b, byte(r.IntN(20)), byte(r.IntN(100)))
	}
	return b[:n]
}

func packed(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// archive makes a ZIP archive, like an earlier one if there is one.
func archive(r *rand.Rand, earlier []byte) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, 9) })
	add := func(name string, method uint16, b []byte) {
		e, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = e.Write(b)
		}
		if err != nil {
			panic(err)
		}
	}
	if earlier == nil {
		for i := range 8 {
			add(fmt.Sprintf("res/%d.xml", i), zip.Deflate, text(r, 500+r.IntN(20000)))
		}
		add("resources.arsc", zip.Store, text(r, 9000))
		add("classes.dex", zip.Deflate, program(r, 60000))
	} else {
		old, err := zip.NewReader(bytes.NewReader(earlier), int64(len(earlier)))
		if err != nil {
			panic(err)
		}
		for _, e := range old.File {
			in, err := e.Open()
			if err != nil {
				panic(err)
			}
			b, err := io.ReadAll(in)
			if err != nil {
				panic(err)
			}
			if r.IntN(3) == 0 {
				b = edit(r, b)
			}
			add(e.Name, e.Method, b)
		}
	}
	w.Close()
	return out.Bytes()
}

// edit changes some bytes, puts some in, and takes some out.
func edit(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			return text(r, 100)
		}
		at := r.IntN(len(b))
		switch r.IntN(3) {
		case 0:
			b[at] ^= byte(1 + r.IntN(255))
		case 1:
			b = slices.Insert(b, at, text(r, 1+r.IntN(300))...)
		case 2:
			b = slices.Delete(b, at, min(len(b), at+1+r.IntN(300)))
		}
	}
	return b
}

// change makes the next release of a folder.
func (f folder) change(r *rand.Rand) folder {
	out := folder{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		b := f[name]
		switch n := r.IntN(10); {
		case strings.HasSuffix(name, "apk") || strings.HasSuffix(name, "jar"):
			b = archive(r, b)
		case strings.HasSuffix(name, "gz"):
			b = packed(text(r, 30000))
		case n == 0:
			continue
		case n == 1:
			name = "moved/" + filepath.Base(name)
		case n == 2:
			name, b = strings.Replace(name, "-1.", "-2.", 1), edit(r, b)
		case n < 6:
			b = edit(r, b)
		}
		out[name] = b
	}
	out["new/text"] = text(r, 20000)
	return out
}

// write puts the files into a folder of the disk, and that into an image.
func (f folder) write(t testing.TB, kind string, seconds int) Image {
	dir := t.TempDir()
	tree, img := filepath.Join(dir, "tree"), filepath.Join(dir, "img")
	for name, b := range f {
		name = filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const uuid = "12345678-1234-1234-1234-123456789abc"
	at := fmt.Sprint(seconds)
	switch kind {
	case "ext4":
		c := imagetest.Command(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-U", uuid, "-E", "hash_seed="+uuid, "-d", tree, img, "4M")
		c.Env = append(os.Environ(), "E2FSPROGS_FAKE_TIME="+at)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("mke2fs: %v\n%s", err, out)
		}
	case "erofs":
		imagetest.Run(t, "mkfs.erofs", "-T"+at, "-U"+uuid, "--quiet", img, tree)
	default:
		imagetest.Run(t, "mkfs.erofs", "-T"+at, "-U"+uuid, "-z"+kind, "-C16384", "--quiet", img, tree)
	}
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return image(b)
}

// TestTrees makes deltas between trees that changed at random, in each file
// system, and wants them smaller than what changed, by the operations that
// that file system is for.
func TestTrees(t *testing.T) {
	seeds, kinds := 3, []string{"ext4", "erofs", "lz4", "lz4hc,9"}
	if testing.Short() {
		seeds, kinds = 1, kinds[2:3]
	}
	used := map[string]map[payload.OpType]int{}
	for seed := range seeds {
		for _, kind := range kinds {
			r := rand.New(rand.NewPCG(uint64(seed), 99))
			old := grow(r)
			new := old.change(r)
			minor := uint32(MaxMinor)
			if seed > 0 {
				minor = MinorBrotli + uint32(r.IntN(MaxMinor-MinorBrotli))
			}
			d := &Delta{Partitions: []Partition{partition(old.write(t, kind, 1700000000), new.write(t, kind, 1700009999))}, Header: header(minor)}
			got := generate(t, d)
			limit := d.Partitions[0].New.Size * 2 / 5
			if strings.HasPrefix(kind, "lz4") && minor < MinorLZ4Diff {
				limit = d.Partitions[0].New.Size / 2 // what changed in a file changes all of its compressed blocks
			}
			if n := int64(len(got.payload)); n > limit {
				t.Errorf("%s, seed %d, minor version %d: payload of %d bytes, for an image of %d", kind, seed, minor, n, d.Partitions[0].New.Size)
			}
			if seed == 0 {
				used[kind] = map[payload.OpType]int{}
				for typ, share := range got.stats.Operations {
					used[kind][typ] += share.Count
				}
			}
		}
	}
	for kind, want := range map[string][]payload.OpType{
		"ext4": {payload.SourceCopy, payload.Zero, payload.Puffdiff, payload.BrotliBSDiff}, "erofs": {payload.SourceCopy, payload.Puffdiff, payload.BrotliBSDiff},
		"lz4": {payload.LZ4DiffBSDiff}, "lz4hc,9": {payload.LZ4DiffBSDiff},
	} {
		for _, typ := range want {
			if used[kind] != nil && used[kind][typ] == 0 {
				t.Errorf("%s: no operation %v: %v", kind, typ, used[kind])
			}
		}
	}
}

// TestPackedBounds has files of little more than zeros, of which a cluster of LZ4
// expands to 255 times its size: no unit expands to more than there is memory for.
func TestPackedBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("makes images of 36 MiB")
	}
	if testing.Short() {
		t.Skip("trees of 36 MiB")
	}
	r := rand.New(rand.NewPCG(5, 6))
	old := folder{}
	for i := range 3 {
		b := make([]byte, 12<<20)
		for at := 0; at < len(b); at += 3 << 20 {
			copy(b[at:], text(r, 5000))
		}
		old[fmt.Sprint("sparse", i)] = b
	}
	new := folder{}
	for name, b := range old {
		b = bytes.Clone(b)
		for at := 100; at < len(b); at += 1 << 20 {
			b[at]++
		}
		new[name] = b
	}
	d := &Delta{Partitions: []Partition{partition(old.write(t, "lz4hc,9", 1), new.write(t, "lz4hc,9", 2))}, Header: header(MaxMinor)}
	p := &d.Partitions[0]
	a, b, err := scanBoth(t.Context(), p.Old, p.New)
	if err != nil {
		t.Fatal(err)
	}
	e := &encoder{run: &run{Delta: d, out: &spooler{}, stats: &Stats{}}, old: p.Old, new: p.New, prints: a.prints, streams: newStreams()}
	plan, err := e.plan(t.Context(), a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	most, packed := uint64(0), 0
	for _, u := range plan.units {
		if u.packed {
			packed++
		}
		most = max(most, u.src.expanded, u.dst.expanded)
	}
	if packed == 0 || most > maxExpanded+2*maxCluster {
		t.Errorf("%d units are compared expanded, the largest of %d bytes", packed, most)
	}
}
