package protowire_test

import (
	"bytes"
	"testing"

	judge "google.golang.org/protobuf/encoding/protowire"

	"mios/internal/protowire"
)

// FuzzNext: what is read is what Google's package reads.
func FuzzNext(f *testing.F) {
	for _, in := range []string{
		"\x08\x96\x01", "\x12\x02hi", "\x0d\x01\x02\x03\x04", "\x09\x01\x02\x03\x04\x05\x06\x07\x08", "\x0b\x08\x01\x0c", "\x0b\x0b\x0c\x0c", "\x0b\x08\x01\x14",
		"", "\x00", "\x08", "\x0c", "\x0e", "\x0f", "\x12\x05hi", "\x0d\x01", "\x09\x01", "\x0b\x08", "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\xf8\xff\xff\xff\x0f\x00", "\xf8\xff\xff\xff\x3f\x00", "\xf8\xff\xff\xff\x7f\x00", "\x80\x80\x80\x80\x80\x01\x00", "\x88\x80\x00\x01",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Count(in, []byte{0x0b}) > 50 {
			return // deep groups, which are limited here
		}
		got, err := protowire.Next(in)
		num, typ, n := judge.ConsumeTag(in)
		k := 0
		if n >= 0 {
			k = judge.ConsumeFieldValue(num, typ, in[n:])
		}
		if (err == nil) != (n >= 0 && k >= 0) {
			t.Fatalf("Next(%x) = %+v, %v; want tag %d, value %d", in, got, err, n, k)
		}
		if err != nil {
			if (got.Num == 0) != (n < 0) {
				t.Errorf("Next(%x) = number %d, %v; want tag %d", in, got.Num, err, n)
			}
			return
		}
		if int32(got.Num) != int32(num) || int8(got.Type) != int8(typ) || len(got.Raw) != n+k {
			t.Fatalf("Next(%x) = %+v; want %d, %d, %d bytes", in, got, num, typ, n+k)
		}
		var u uint64
		var b []byte
		switch typ {
		case judge.VarintType:
			u, _ = judge.ConsumeVarint(in[n:])
		case judge.Fixed32Type:
			v, _ := judge.ConsumeFixed32(in[n:])
			u = uint64(v)
		case judge.Fixed64Type:
			u, _ = judge.ConsumeFixed64(in[n:])
		case judge.BytesType:
			b, _ = judge.ConsumeBytes(in[n:])
			n += k - len(b)
		}
		if got.U != u || !bytes.Equal(got.B, b) || got.Value != n {
			t.Errorf("Next(%x) = %+v; want %d, %x from %d on", in, got, u, b, n)
		}
	})
}

func TestDepth(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x0b}, 99), bytes.Repeat([]byte{0x0c}, 99)...)
	if f, err := protowire.Next(deep); err != nil || len(f.Raw) != len(deep) {
		t.Errorf("99 groups within each other: %d bytes, %v", len(f.Raw), err)
	}
	if _, err := protowire.Next(bytes.Repeat([]byte{0x0b}, 1<<20)); err == nil {
		t.Error("a million groups within each other are read")
	}
}

func TestAppend(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 1<<32 - 1, 1<<64 - 1} {
		got := protowire.AppendUint(nil, 1<<29-1, v)
		if want := judge.AppendVarint(judge.AppendTag(nil, 1<<29-1, judge.VarintType), v); !bytes.Equal(got, want) {
			t.Errorf("AppendUint(%d) = %x, want %x", v, got, want)
		}
	}
	if got, want := protowire.AppendFixed32(nil, 2, 0x01020304), judge.AppendFixed32(judge.AppendTag(nil, 2, judge.Fixed32Type), 0x01020304); !bytes.Equal(got, want) {
		t.Errorf("AppendFixed32 = %x, want %x", got, want)
	}
	long := bytes.Repeat([]byte("x"), 300)
	if got, want := protowire.AppendBytes(nil, 3, long), judge.AppendBytes(judge.AppendTag(nil, 3, judge.BytesType), long); !bytes.Equal(got, want) {
		t.Errorf("AppendBytes = %x, want %x", got, want)
	}
}

func TestAppendUints(t *testing.T) {
	if got, want := protowire.AppendUints([]byte("x"), 0, 300, 0, 1), []byte("x\x10\xac\x02\x20\x01"); !bytes.Equal(got, want) {
		t.Errorf("AppendUints = %x, want %x", got, want)
	}
}
