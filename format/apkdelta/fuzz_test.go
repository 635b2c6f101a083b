package apkdelta

import (
	"bytes"
	"encoding/binary"
	"testing"

	"mios"
)

// FuzzApply changes a delta's plan and steps before they are packed, and what
// is around them.
func FuzzApply(f *testing.F) {
	old, new, delta := pair(f)
	u := &unpacker{r: bytes.NewReader(delta[headerSize:])}
	var plans, control, add, insert []byte
	if err := u.parts("plan", &plans); err != nil {
		f.Fatal(err)
	}
	if err := u.parts("steps", &control, &add, &insert); err != nil {
		f.Fatal(err)
	}
	f.Add(plans, control, add, insert, []byte{}, int64(len(new)))
	f.Add(plans, control[:len(control)-1], add, insert, []byte{0}, int64(len(new)))
	f.Add([]byte{1, 0, 4, 9, 1, 0}, []byte{0, 4, 0}, []byte{1, 2, 3, 4}, []byte{}, []byte{}, int64(4))
	f.Add([]byte{0, 1, 2, 3, 9, 10}, []byte{0, 0, 11}, []byte{}, []byte("hello world"), []byte{}, int64(5))
	f.Fuzz(func(t *testing.T, plans, control, add, insert, behind []byte, size int64) {
		h := Header{Old: mios.Sum(old), New: mios.Sum(new), OldSize: int64(len(old)), NewSize: size}
		if size < 0 || size > 1<<20 || len(plans) > 1<<16 {
			return
		}
		h.Scratch = scratchOf(plans, h)
		var d bytes.Buffer
		d.Write(h.appendTo(nil))
		p := &packer{w: &d}
		if p.write(plans) != nil || p.write(control, add, insert) != nil {
			t.Fatal("a buffer refuses to be written")
		}
		d.Write(behind)
		if got, err := apply(t, old, d.Bytes(), Limits{NewSize: 1 << 20}); err == nil && !bytes.Equal(got, new) {
			t.Errorf("made %d bytes that are not the new file, and no error", len(got))
		}
	})
}

// scratchOf returns what a header is to say for a plan to be read.
func scratchOf(plans []byte, h Header) int64 {
	p, err := parsePlan(&numbers{b: plans}, h.OldSize, puffed)
	if err != nil {
		return 0
	}
	return min(p.scratch(), MaxSize)
}

// FuzzHeader reads what comes first: what is accepted is written back.
func FuzzHeader(f *testing.F) {
	_, _, delta := pair(f)
	f.Add(delta)
	f.Add(delta[:headerSize-1])
	f.Add(binary.LittleEndian.AppendUint32([]byte(magic), version+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ReadHeader(bytes.NewReader(in))
		if err != nil {
			return
		}
		if got := h.appendTo(nil); !bytes.Equal(got, in[:headerSize]) {
			t.Errorf("%x is written back as %x", in[:headerSize], got)
		}
	})
}

// FuzzPlan reads plans.
func FuzzPlan(f *testing.F) {
	f.Add([]byte{0}, int64(0))
	f.Add([]byte{2, 5, 10, 100, 1, 0, 3, 4, 0}, int64(100))
	f.Add(bytes.Repeat([]byte{0xff}, 12), int64(1<<30))
	f.Fuzz(func(t *testing.T, in []byte, size int64) {
		if size < 0 || size > MaxSize {
			return
		}
		n := &numbers{b: in}
		p, err := parsePlan(n, size, puffed)
		if err != nil {
			return
		}
		if e := p.expanded(size); e < 0 || e > MaxSize {
			t.Errorf("a plan expands %d bytes to %d", size, e)
		}
		back, err := parsePlan(&numbers{b: p.appendTo(nil)}, size, puffed)
		if err != nil || len(back) != len(p) {
			t.Fatalf("%v is read back as %v, %v", p, back, err)
		}
		for i := range p {
			if back[i] != p[i] {
				t.Errorf("entry %d: %v is read back as %v", i, p[i], back[i])
			}
		}
	})
}
