package payload

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mios"
	"mios/internal/conformance"
)

// TestConformance reads what AOSP's delta_generator wrote, and compares it with
// what AOSP's schema says of it.
func TestConformance(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	tally := conformance.New(t, "update_engine manifests")
	for _, name := range []string{"full_payload", "delta_payload"} {
		b := read(t, filepath.Join(dir, name+".bin"))
		md, err := ReadMetadata(bytes.NewReader(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			tally.Case(false)
			continue
		}
		var got, want any
		unmarshal(t, marshal(t, manifestJSON(md.Manifest)), &got)
		unmarshal(t, read(t, filepath.Join(dir, name+".manifest.json")), &want)
		g, w := marshal(t, got), marshal(t, want)
		ok := bytes.Equal(g, w)
		if tally.Case(ok); !ok {
			t.Errorf("%s: manifest\n%s\nwant\n%s", name, g, w)
		}
		var out bytes.Buffer
		if _, err := md.WriteTo(&out); err != nil || !bytes.HasPrefix(b, out.Bytes()) || int64(out.Len()) != md.Size() {
			t.Errorf("%s: WriteTo does not give what ReadMetadata read (%v)", name, err)
		}
	}
}

func TestConformanceApply(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	tally := conformance.New(t, "update_engine full payload")
	images := sampleImages(t, filepath.Join(dir, "sample_images.tar.bz2"))
	disk, md, err := applyAll(t, read(t, filepath.Join(dir, "full_payload.bin")))
	if err != nil {
		t.Fatal(err)
	}
	for part, image := range map[string]string{"kernel": "disk_ext2_4k.img", "root": "disk_sqfs_default.img"} {
		err := md.Manifest.VerifyPartition(context.Background(), part, disk[part])
		ok := err == nil && bytes.Equal(disk[part].b, images[image])
		if tally.Case(ok); !ok {
			t.Errorf("partition %s is not %s: %v", part, image, err)
		}
	}
}

// TestConformanceDelta applies AOSP's delta to the old images: in one go, side
// by side, and in as many runs as there are operations.
func TestConformanceDelta(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	tally := conformance.New(t, "update_engine delta payload")
	images := sampleImages(t, filepath.Join(dir, "sample_images.tar.bz2"))
	b := read(t, filepath.Join(dir, "delta_payload.bin"))
	md, err := ReadMetadata(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]string{"kernel": "disk_ext2_4k_empty.img", "root": "disk_sqfs_empty.img"}
	source := func(name string) (io.ReaderAt, error) { return bytes.NewReader(images[old[name]]), nil }
	for name, run := range map[string]func(map[string]*memory) error{
		"streamed": func(disk map[string]*memory) error {
			a := &Applier{Metadata: md, Source: source, Target: target(disk)}
			_, err := a.Apply(t.Context(), bytes.NewReader(b[md.Size():]), md.Start())
			return err
		},
		"side by side": func(disk map[string]*memory) error {
			x := &Extraction{Metadata: md, Source: source, Target: target(disk), Workers: 2}
			return x.Run(t.Context(), bytes.NewReader(b))
		},
		"in pieces": func(disk map[string]*memory) error {
			crash := errors.New("crash")
			for at := md.Start(); !at.Finished; {
				a := &Applier{Metadata: md, Source: source, Target: target(disk), Done: func(c Checkpoint) error { at = c; return crash }}
				if _, err := a.Apply(t.Context(), bytes.NewReader(b[at.Offset:]), at); !errors.Is(err, crash) {
					return err
				}
			}
			return nil
		},
	} {
		disk := newDisk(md)
		err := run(disk)
		for part, image := range map[string]string{"kernel": "disk_ext2_4k.img", "root": "disk_sqfs_default.img"} {
			ok := err == nil && bytes.Equal(disk[part].b, images[image])
			if tally.Case(ok); !ok {
				t.Errorf("%s: partition %s is not %s: %v", name, part, image, err)
			}
		}
	}
	if _, err := md.ReadFile(t.Context(), bytes.NewReader(b), nil); err != nil {
		t.Errorf("ReadFile: %v", err)
	}
}

// TestConformanceDeltaNeedsSource wants a device without the old images to
// refuse a delta by the name of what it cannot do.
func TestConformanceDeltaNeedsSource(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	_, _, err := applyAll(t, read(t, filepath.Join(dir, "delta_payload.bin")))
	if !errors.Is(err, mios.ErrInvalid) || !strings.Contains(err.Error(), "operation 0 (BROTLI_BSDIFF)") {
		t.Errorf("applying a delta: %v, want a refusal that names BROTLI_BSDIFF", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unmarshal(t *testing.T, b []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleImages(t *testing.T, path string) map[string][]byte {
	t.Helper()
	images := map[string][]byte{}
	r := tar.NewReader(bzip2.NewReader(bytes.NewReader(read(t, path))))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return images
		}
		if err != nil {
			t.Fatal(err)
		}
		if images[filepath.Base(h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

type object map[string]any

// u64 is protobuf's JSON form of a 64-bit number.
func u64(v uint64) string { return strconv.FormatUint(v, 10) }

func (o object) put(name string, num int, r *rest, zero bool, v any) {
	if !zero || r.explicit&(1<<num) != 0 {
		o[name] = v
	}
}

func manifestJSON(m *Manifest) object {
	o := object{}
	o.put("block_size", 3, &m.rest, m.BlockSize == 0, m.BlockSize)
	o.put("signatures_offset", 4, &m.rest, m.SignaturesOffset == 0, u64(m.SignaturesOffset))
	o.put("signatures_size", 5, &m.rest, m.SignaturesSize == 0, u64(m.SignaturesSize))
	o.put("minor_version", 12, &m.rest, m.MinorVersion == 0, m.MinorVersion)
	o.put("max_timestamp", 14, &m.rest, m.MaxTimestamp == 0, u64(uint64(m.MaxTimestamp)))
	var parts []object
	for i := range m.Partitions {
		p := &m.Partitions[i]
		q := object{"partition_name": p.Name}
		for name, info := range map[string]*PartitionInfo{"old_partition_info": p.OldInfo, "new_partition_info": p.NewInfo} {
			if info != nil {
				q[name] = object{"size": u64(info.Size), "hash": base64.StdEncoding.EncodeToString(info.Hash)}
			}
		}
		var ops []object
		for j := range p.Operations {
			ops = append(ops, operationJSON(&p.Operations[j]))
		}
		q["operations"] = ops
		parts = append(parts, q)
	}
	o["partitions"] = parts
	return o
}

func operationJSON(op *Operation) object {
	o := object{"type": op.Type.String()}
	o.put("data_offset", 2, &op.rest, op.DataOffset == 0, u64(op.DataOffset))
	o.put("data_length", 3, &op.rest, op.DataLength == 0, u64(op.DataLength))
	o.put("data_sha256_hash", 8, &op.rest, len(op.DataHash) == 0, base64.StdEncoding.EncodeToString(op.DataHash))
	o.put("src_sha256_hash", 9, &op.rest, len(op.SrcHash) == 0, base64.StdEncoding.EncodeToString(op.SrcHash))
	for name, list := range map[string][]Extent{"src_extents": op.SrcExtents, "dst_extents": op.DstExtents} {
		var xs []object
		for _, x := range list {
			xs = append(xs, object{"start_block": u64(x.StartBlock), "num_blocks": u64(x.NumBlocks)})
		}
		if xs != nil {
			o[name] = xs
		}
	}
	return o
}
