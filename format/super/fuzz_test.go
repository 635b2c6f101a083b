package super_test

import (
	"bytes"
	"testing"

	"mios/format/super"
)

// FuzzChange reads metadata from an image without data, tells of it and changes
// it: whatever is accepted must be fit for all that is done with it.
func FuzzChange(f *testing.F) {
	img, _ := build(f)
	var b bytes.Buffer
	if err := super.WriteEmpty(&b, img.Geometry, img.Slots[0]); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), int64(5<<20))
	f.Add(b.Bytes(), int64(0))
	f.Fuzz(func(t *testing.T, in []byte, size int64) {
		in = bytes.Clone(in)
		super.FixChecksums(in)
		g, m, err := super.ReadEmpty(in)
		if err != nil {
			return
		}
		if _, err := m.Text(g); err != nil {
			t.Fatal(err)
		}
		if _, err := m.JSON(g); err != nil {
			t.Fatal(err)
		}
		m.Free()
		for _, p := range m.Clone().Partitions {
			if err := m.Resize(p.Name, size, g); err == nil && m.Find(p.Name).Size() < size {
				t.Errorf("%s has %d bytes, want %d", p.Name, m.Find(p.Name).Size(), size)
			}
			if err := super.WriteEmpty(new(bytes.Buffer), g, m); err != nil {
				t.Fatalf("resized to %d: %v", size, err)
			}
		}
	})
}
