package puffin

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/internal/conformance"
)

// TestConformance compares with the vectors of AOSP's own tests.
func TestConformance(t *testing.T) {
	dir := conformance.Dir(t, "update_engine")
	tally := conformance.New(t, "puffin")
	var vectors struct {
		Buffers map[string]string      `json:"buffers_hex"`
		Extents map[string][][2]uint64 `json:"extents"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "puffin_vectors.json"))
	if err == nil {
		err = json.Unmarshal(b, &vectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	buffer := func(name string) []byte {
		b, err := hex.DecodeString(vectors.Buffers[name])
		if _, ok := vectors.Buffers[name]; !ok || err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return b
	}
	// scale is 8 if the vectors' unit is bytes.
	extents := func(name string, scale uint64) (out []BitExtent) {
		for _, x := range vectors.Extents[name] {
			out = append(out, BitExtent{scale * x[0], scale * x[1]})
		}
		return out
	}
	check := func(name string, ok bool) {
		if tally.Case(ok); !ok {
			t.Errorf("%s is not as it should be", name)
		}
	}
	for name := range vectors.Buffers {
		id, ok := strings.CutPrefix(name, "kDeflate")
		if !ok || strings.HasPrefix(id, "s") || id == "11" {
			continue
		}
		in := buffer(name)
		puffed, err := Puff(nil, in)
		if _, ok := vectors.Buffers["kPuff"+id]; !ok { // the vectors without one are bad
			check(name, err != nil)
			continue
		}
		back, err2 := Huff(nil, puffed)
		check(name, err == nil && err2 == nil && bytes.Equal(puffed, buffer("kPuff"+id)) && bytes.Equal(back, in))
		if _, ok := vectors.Buffers["kRaw"+id]; ok {
			raw, _ := io.ReadAll(flate.NewReader(bytes.NewReader(in))) // up to the first last block
			check("kRaw"+id, bytes.HasPrefix(buffer("kRaw"+id), raw))
		}
	}
	for _, id := range []string{"8", "9", "11"} {
		file, want := "kDeflates"+id, "kPuffs"+id
		if id == "11" {
			file, want = "kDeflate11", "kPuff11"
		}
		puffed, s, err := puffFile(context.Background(), buffer(file), extents("kSubblockDeflateExtents"+id, 1))
		if id == "11" { // it has an empty extent, which is not worth a puff
			continue
		}
		check(file, err == nil && bytes.Equal(puffed, buffer(want)) && slices.Equal(s.Puffs, extents("kPuffExtents"+id, 8)))
	}
	gaps := Stream{extents("kSubblockDeflateExtents11", 1), extents("kPuffExtents11", 8), uint64(len(buffer("kPuff11")))}
	got := make([]byte, gaps.Size)
	_, err = newReader(bytes.NewReader(buffer("kDeflate11")), &gaps).ReadAt(got, 0)
	check("kPuff11", err == nil && gaps.check("") == nil && bytes.Equal(got, buffer("kPuff11")))
	var out bytes.Buffer
	w := newWriter(&out, &gaps)
	for _, c := range got {
		if _, err := w.Write([]byte{c}); err != nil {
			t.Error(err)
		}
	}
	check("kDeflate11", w.close() == nil && bytes.Equal(out.Bytes(), buffer("kDeflate11")))

	for _, tt := range []struct {
		patch, old string
		new        []byte
	}{
		{"kPatch8To9", "8", buffer("kDeflates9")}, {"kPatch9To8", "9", buffer("kDeflates8")},
		{"kPatch8ToEmpty", "8", nil}, {"kPatch8ToNoDeflate", "8", []byte{11, 22, 33, 44}},
	} {
		old, patch := buffer("kDeflates"+tt.old), buffer(tt.patch)
		got, err := apply(old, patch)
		check(tt.patch, err == nil && bytes.Equal(got, tt.new))
		p, err := Parse(bytes.NewReader(patch), int64(len(patch)))
		if err != nil {
			t.Error(err)
			continue
		}
		check(tt.patch+"'s header", bytes.HasPrefix(patch, appendHeader(nil, &p.Old, &p.New)))
	}
}
