package dtbo_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios/format/dtbo"
	"mios/internal/conformance"
)

// samples are tables of every kind.
func samples(tb testing.TB) map[string]*dtbo.Table {
	packed := &dtbo.Table{Version: 1, PageSize: 4096, Entries: []dtbo.Entry{{ID: 1, Flags: 1, Custom: [4]uint32{1, 2, 3}}, {ID: 2, Flags: 2}, {ID: 3}}}
	for i := range packed.Entries {
		if err := packed.Entries[i].Pack(bytes.Repeat([]byte("device tree "), 100)); err != nil {
			tb.Fatal(err)
		}
	}
	one := []byte("a blob")
	return map[string]*dtbo.Table{
		"packed": packed,
		"empty":  {PageSize: 2048},
		"acpi":   {ACPI: true, PageSize: 2048, Entries: []dtbo.Entry{{ID: 7, Rev: 8, Custom: [4]uint32{9, 10, 11, 12}, Data: one}}},
		"shared": {PageSize: 2048, Entries: []dtbo.Entry{{Data: one}, {ID: 1, Data: []byte("other")}, {ID: 2, Data: one, Shared: 1}}},
	}
}

func encode(tb testing.TB, t *dtbo.Table) []byte {
	tb.Helper()
	var b bytes.Buffer
	if n, err := t.WriteTo(&b); err != nil || n != int64(b.Len()) {
		tb.Fatalf("WriteTo = %d, %v; %d bytes written", n, err, b.Len())
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for name, s := range samples(t) {
		b := encode(t, s)
		got, err := dtbo.Parse(append(bytes.Clone(b), "after"...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(encode(t, got), b) {
			t.Errorf("%s: other bytes when written again", name)
		}
		for i := range got.Entries {
			blob, err := got.Entries[i].Unpack()
			if want, wantErr := s.Entries[i].Unpack(); err != nil || wantErr != nil || !bytes.Equal(blob, want) {
				t.Errorf("%s: entry %d = %q, %v", name, i, blob, err)
			}
		}
	}
}

// TestRefused changes a table, and expects where it is found wrong.
func TestRefused(t *testing.T) {
	good := encode(t, samples(t)["shared"])
	for _, tt := range []struct {
		at   int
		to   byte
		off  int64
		want string
	}{
		{0, 0, 0, "magic"}, {7, 0xff, 4, "table of"}, {7, 33, 4, "with 3 entries"}, {11, 31, 8, "header of"}, {16, 1, 16, "entries, want"},
		{31, 2, 28, "version 2"}, {35, 255, 32, "pass the end"}, {39, 127, 36, "blob at"}, {35, 5, 68, "blob at"},
	} {
		b := bytes.Clone(good)
		b[tt.at] = tt.to
		_, err := dtbo.Parse(b)
		if e, ok := errors.AsType[*dtbo.FormatError](err); !ok || e.Off != tt.off || !strings.Contains(e.Msg, tt.want) {
			t.Errorf("byte %d = %d: %v, want %q at %#x", tt.at, tt.to, err, tt.want, tt.off)
		}
	}
	for n := range good {
		if _, err := dtbo.Parse(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(good))
		}
	}
	for _, bad := range []*dtbo.Table{{Version: 2}, {Entries: []dtbo.Entry{{Flags: 1}}}, {Version: 1, Entries: []dtbo.Entry{{Custom: [4]uint32{0, 0, 0, 1}}}},
		{Entries: []dtbo.Entry{{Shared: 1}}}, {Entries: []dtbo.Entry{{Data: []byte("a")}, {Data: []byte("b"), Shared: 1}}}} {
		if _, err := bad.WriteTo(new(bytes.Buffer)); err == nil {
			t.Errorf("%+v was written", bad)
		}
	}
	if _, err := (&dtbo.Entry{Flags: 3}).Unpack(); err == nil {
		t.Error("an unknown packing was unpacked")
	}
}

func TestText(t *testing.T) {
	got, err := samples(t)["acpi"].Text()
	want := "dt_table_header:\n               magic = 41435049\n          total_size = 70\n         header_size = 32\n" +
		"       dt_entry_size = 32\n      dt_entry_count = 1\n   dt_entries_offset = 32\n           page_size = 2048\n" +
		"             version = 0\ndt_table_entry[0]:\n             dt_size = 6\n           dt_offset = 64\n" +
		"                  id = 00000007\n                 rev = 00000008\n           custom[0] = 00000009\n" +
		"           custom[1] = 0000000a\n           custom[2] = 0000000b\n           custom[3] = 0000000c\n"
	if err != nil || got != want {
		t.Errorf("Text = %v\n%s\nwant\n%s", err, got, want)
	}
}

// TestConformance reads the tables of AOSP's bootloader library.
func TestConformance(t *testing.T) {
	dir := conformance.Dir(t, "bootloader")
	tally := conformance.New(t, "device tree tables")
	for name, blobs := range map[string]int{"libdttable/test/data/dttable.img": 2, "libdttable/test/data/corrupted_dttable.img": -1,
		"libgbl/testdata/android/dtbo_a.img": 1, "libgbl/testdata/android/dtb_a.img": 1, "libgbl/testdata/android/dtb.img": 1} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		table, err := dtbo.Parse(b)
		ok := err != nil && blobs < 0 || err == nil && len(table.Entries) == blobs && bytes.Equal(encode(t, table), b)
		if !ok {
			t.Errorf("%s: %v, %+v; want %d blobs", name, err, table, blobs)
		}
		tally.Case(ok)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(encode(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		table, err := dtbo.Parse(in)
		if err != nil {
			return
		}
		if out := encode(t, table); !bytes.HasPrefix(in, out) {
			t.Errorf("WriteTo wrote %x, Parse read %x", out, in)
		}
	})
}
