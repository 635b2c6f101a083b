package super_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"mios/format/super"
)

func readers(disks []disk) []io.ReaderAt {
	var list []io.ReaderAt
	for _, d := range disks {
		list = append(list, d)
	}
	return list
}

var errCut = errors.New("cut")

// cutDisk loses power in its n-th write, of which half arrives.
type cutDisk struct {
	disk
	left int
}

func (d *cutDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.left--; d.left == 0 {
		d.disk.WriteAt(p[:len(p)/2], off)
		return 0, errCut
	}
	if d.left < 0 {
		return 0, errCut
	}
	return d.disk.WriteAt(p, off)
}

// TestUpdate cuts the power in every write of an update, of a whole partition
// and of ones with broken copies: each slot must hold all of the old or all of
// the new.
func TestUpdate(t *testing.T) {
	img, good := build(t)
	now := img.Slots[0].Clone()
	if err := now.Resize("empty", 4096, img.Geometry); err != nil {
		t.Fatal(err)
	}
	for _, broken := range [][]int{nil, {4096 + 45}, {8192 + 8}, {12288 + 100}, {12288 + 4096 + 200}, {12288 + 2*4096 + 3, 4096 + 45}} {
		for cut := 1; ; cut++ {
			d := &cutDisk{disk(bytes.Clone(good)), cut}
			for _, off := range broken {
				d.disk[off] ^= 0x40
			}
			m, _, err := super.Read(d)
			if err != nil {
				t.Fatal(err)
			}
			err = m.Update(d, []int{0, 1}, now, func() error { return nil })
			got, damage, readErr := super.Read(d.disk)
			if readErr != nil {
				t.Fatalf("broken %v, cut %d: %v", broken, cut, readErr)
			}
			for i, s := range got.Slots {
				if !reflect.DeepEqual(s, now) && (err == nil || !reflect.DeepEqual(s, img.Slots[0])) {
					t.Errorf("broken %v, cut %d: slot %d = %+v", broken, cut, i, s)
				}
			}
			if err == nil {
				if damage != nil || cut < 5 {
					t.Errorf("broken %v: after %d writes damage %v", broken, cut-1, damage)
				}
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
		}
	}
	if err := img.Update(good, []int{2}, now, func() error { return nil }); err == nil {
		t.Error("slot 2 of 2 was updated")
	}
}

// TestSame tells slots that hold the same from those that do not.
func TestSame(t *testing.T) {
	img, _ := build(t)
	same, others, err := img.Same(0)
	if err != nil || !reflect.DeepEqual(same, []int{0, 1}) || others != nil {
		t.Errorf("Same(0) = %v, %v, %v", same, others, err)
	}
	img.Slots[1] = img.Slots[1].Clone()
	if err := img.Slots[1].Remove("system_a"); err != nil {
		t.Fatal(err)
	}
	same, others, err = img.Same(1)
	if err != nil || !reflect.DeepEqual(same, []int{1}) || len(others) != 2 {
		t.Errorf("Same(1) = %v, %v, %v", same, others, err)
	}
	if got := img.OthersThan(0); len(got) != 1 {
		t.Errorf("OthersThan(0) = %v", got)
	}
	if _, _, err := img.Same(7); err == nil {
		t.Error("slot 7 of 2 was found")
	}
}
