package super_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mios/format/super"
	"mios/internal/conformance"
)

// TestConformance makes AOSP's images as lpmake did, byte for byte, and tells of
// them as lpdump did.
func TestConformance(t *testing.T) {
	dir := conformance.Dir(t, "liblp")
	tally := conformance.New(t, "liblp")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	same := func(what string, got []byte, err error, name string) {
		want := read(name)
		ok := err == nil && bytes.Equal(got, want)
		if !ok {
			t.Errorf("%s: %v\n%.2000q\nwant\n%.2000q", what, err, got, want)
		}
		tally.Case(ok)
	}
	system := read("system.img")
	spec := super.Spec{Size: 64 << 10, MetadataMaxSize: 4096, Slots: 3, Alignment: 16 << 10,
		Partitions: []super.PartitionSpec{{Name: "system_a", Attributes: super.AttrReadonly}}}

	made, err := super.Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	var empty bytes.Buffer
	err = super.WriteEmpty(&empty, made.Geometry, made.Slots[0])
	same("empty image", empty.Bytes(), err, "super_empty.img")
	g, m, err := super.ReadEmpty(read("super_empty.img"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Text(g)
	same("text of the empty image", []byte(text), err, "super_empty.img.lpdump.txt")

	spec.Partitions[0].Size = int64(len(system))
	if made, err = super.Build(spec); err != nil {
		t.Fatal(err)
	}
	disks, err := made.Disks(map[string]super.Content{"system_a": {R: bytes.NewReader(system), Size: int64(len(system))}})
	if err != nil {
		t.Fatal(err)
	}
	raw := make(disk, spec.Size)
	err = disks[0].WriteRaw(t.Context(), raw, nil)
	same("image", raw, err, "super.img")
	img, damage, err := super.Read(disk(read("super.img")))
	if err != nil || damage != nil {
		t.Fatalf("super.img: %v, %v", damage, err)
	}
	text, err = img.Slots[0].Text(img.Geometry)
	same("text", []byte("Slot 0:\n"+text), err, "super.img.lpdump.txt")
	b, err := img.Slots[0].JSON(img.Geometry)
	same("JSON", b, err, "super.img.lpdump.json")
}
