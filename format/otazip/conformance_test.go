package otazip

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"mios/format/payload"
	"mios/internal/conformance"
)

// TestConformanceSignatures holds the verifier against the cases of AOSP's
// recovery.
func TestConformanceSignatures(t *testing.T) {
	dir := conformance.Dir(t, "ota_zip")
	tally := conformance.New(t, "ota_zip whole-file signatures")
	list, err := os.ReadFile(filepath.Join(dir, "ota_whole_file_sig.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(f) < 4 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f[0]))
		if err != nil {
			t.Fatal(err)
		}
		var certs []*x509.Certificate
		for k := range strings.SplitSeq(f[1], ",") {
			p, err := os.ReadFile(filepath.Join(dir, "testkey_"+k+".x509.pem"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := ParseCertificates(p)
			if err != nil {
				t.Fatal(err)
			}
			certs = append(certs, c...)
		}
		_, err = VerifyFile(t.Context(), bytes.NewReader(b), int64(len(b)), certs)
		ok := (err == nil) == (f[2] == "verified")
		if tally.Case(ok); !ok {
			t.Errorf("%s with %s (%s) = %v, want %s", f[0], f[1], f[3], err, f[2])
		}
	}
}

// TestConformanceIncremental reads the package of a real incremental update.
func TestConformanceIncremental(t *testing.T) {
	dir := conformance.Dir(t, "ota_zip")
	tally := conformance.New(t, "ota_zip incremental")
	b, err := os.ReadFile(filepath.Join(dir, "tuna_vbmeta.zip"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	same := func(what, file string, got any) {
		want, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		var g, w any
		out, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(out, &g) != nil || json.Unmarshal(want, &w) != nil {
			t.Fatal("no JSON")
		}
		ok := reflect.DeepEqual(g, w)
		if tally.Case(ok); !ok {
			t.Errorf("%s is\n%s\nwant\n%s", what, out, want)
		}
	}
	same("metadata.pb", "tuna_vbmeta.metadata_pb.json", metadataJSON(p.Metadata))
	md, err := payload.ReadMetadata(p.Payload())
	if err != nil {
		t.Fatal(err)
	}
	same("the payload's manifest", "tuna_vbmeta.payload.manifest.json", manifestJSON(md.Manifest))
	check := func(what string, err error) {
		if tally.Case(err == nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("property files", p.CheckPropertyFiles())
	if p.Text != p.Metadata.Text() {
		check("metadata as text", fmt.Errorf("%q, want %q", p.Metadata.Text(), p.Text))
	}
	certs, err := ParseCertificates(p.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Verify(t.Context(), certs)
	check("signature by its own certificate", err)
}

func metadataJSON(m *Metadata) map[string]any {
	files := map[string]string{}
	for _, f := range m.PropertyFiles {
		files[f.Name] = f.Value
	}
	pre, post := m.Precondition, m.Postcondition
	return map[string]any{
		"type": m.Type.String(), "property_files": files,
		"precondition": map[string]any{"device": pre.Device, "build": pre.Build, "build_incremental": pre.Incremental},
		"postcondition": map[string]any{"device": post.Device, "build": post.Build, "build_incremental": post.Incremental,
			"timestamp": strconv.FormatInt(post.Timestamp, 10), "sdk_level": post.SDKLevel, "security_patch_level": post.SecurityPatch},
	}
}

func manifestJSON(m *payload.Manifest) map[string]any {
	u := func(v uint64) string { return strconv.FormatUint(v, 10) }
	info := func(i *payload.PartitionInfo) map[string]any {
		return map[string]any{"size": u(i.Size), "hash": i.Hash}
	}
	extents := func(xs []payload.Extent) (out []any) {
		for _, x := range xs {
			out = append(out, map[string]any{"start_block": u(x.StartBlock), "num_blocks": u(x.NumBlocks)})
		}
		return out
	}
	var parts []any
	for _, p := range m.Partitions {
		var ops []any
		for _, o := range p.Operations {
			ops = append(ops, map[string]any{"type": o.Type.String(), "data_offset": u(o.DataOffset), "data_length": u(o.DataLength),
				"src_extents": extents(o.SrcExtents), "dst_extents": extents(o.DstExtents), "data_sha256_hash": o.DataHash, "src_sha256_hash": o.SrcHash})
		}
		parts = append(parts, map[string]any{"partition_name": p.Name, "old_partition_info": info(p.OldInfo), "new_partition_info": info(p.NewInfo), "operations": ops})
	}
	d := m.Dynamic
	var groups []any
	for _, g := range d.Groups {
		groups = append(groups, map[string]any{"name": g.Name, "size": u(g.Size)})
	}
	return map[string]any{
		"block_size": m.BlockSize, "signatures_offset": u(m.SignaturesOffset), "signatures_size": u(m.SignaturesSize), "minor_version": m.MinorVersion,
		"partitions": parts, "max_timestamp": u(uint64(m.MaxTimestamp)), "partial_update": m.PartialUpdate,
		"dynamic_partition_metadata": map[string]any{"groups": groups, "snapshot_enabled": d.SnapshotEnabled, "vabc_enabled": d.VABCEnabled,
			"vabc_compression_param": d.VABCCompressionParam, "cow_version": d.CowVersion},
	}
}
