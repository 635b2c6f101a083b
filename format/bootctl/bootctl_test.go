package bootctl_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mios/format/bootctl"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A block worked out by hand from boot_control_definition.h: suffix "_b",
// 2 slots, 5 recovery tries, merge state 4 (which straddles a byte); slot 0
// has priority 14, is successful and has 1 try; slot 1 has priority 15, 6
// tries and a corrupted verity.
const golden = "5f620000" + "42434142" + "01" + "2a01" + "00" + "9e00" + "6f01" + "00000000" + "0000000000000000" + "9f0b0c31"

func goldenControl() *bootctl.Control {
	return &bootctl.Control{Suffix: "_b", RecoveryTries: 5, Merge: bootctl.MergeCancelled, Slots: []bootctl.Slot{
		{Priority: 14, Tries: 1, Successful: true}, {Priority: 15, Tries: 6, VerityCorrupted: true}}}
}

func TestControlGolden(t *testing.T) {
	b, err := goldenControl().Bytes()
	if err != nil || hex.EncodeToString(b) != golden {
		t.Errorf("Bytes = %x, %v, want %s", b, err, golden)
	}
	c, err := bootctl.ParseControl(b)
	if err != nil || !reflect.DeepEqual(c, goldenControl()) {
		t.Errorf("ParseControl = %+v, %v", c, err)
	}
}

// TestGolden compares what misc holds on an update's way with testdata: each
// block's bytes, and what they are read as.
func TestGolden(t *testing.T) {
	c := bootctl.New(2, 3)
	var b strings.Builder
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"new", func() {}},
		{"taken", func() { c.Take(0) }},
		{"successful", func() { c.MarkSuccessful(0) }},
		{"being updated", func() { c.MarkUnbootable(1) }},
		{"active", func() { c.SetActive(1, 4) }},
		{"tried", func() { c.Take(1) }},
		{"proved", func() { c.MarkSuccessful(1) }},
		{"by hand", func() { c = goldenControl() }},
	} {
		step.do()
		bytes, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		read, err := bootctl.ParseControl(bytes)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n\t%x\n\t%+v\n", step.name, bytes, *read)
	}
	for _, m := range []bootctl.Message{{}, {Command: "boot-recovery", Status: "okay", Recovery: "recovery\n--wipe_data\n", Stage: "1/3"}} {
		bytes, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		read, err := bootctl.ParseMessage(bytes)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "message of %d bytes, CRC-32 %08x\n\t%+v\n", len(bytes), crc32.ChecksumIEEE(bytes), *read)
	}
	golden := filepath.Join("testdata", "misc.golden")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(b.String()), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("misc on an update's way is\n%s\nwant\n%s", &b, want)
	}
}

func TestParseControlErrors(t *testing.T) {
	if _, err := bootctl.ParseControl(make([]byte, 32)); !errors.Is(err, bootctl.ErrNoControl) {
		t.Errorf("zeros: %v, want ErrNoControl", err)
	}
	for _, tt := range []struct {
		off  int
		b    byte
		want string
	}{
		{4, 0, "offset 0x4: magic"}, {8, 2, "offset 0x8: version 2"}, {9, 0x28, "offset 0x9: 0 slots"}, {9, 0x2f, "offset 0x9: 7 slots"},
		{10, 3, "reserved bits"}, {11, 1, "reserved bits"}, {13, 2, "slot 0: reserved"}, {16, 1, "slot 2 of 2 is not zero"}, {27, 1, "reserved bits"},
		{3, 'x', "slot suffix"},
	} {
		b, _ := hex.DecodeString(golden)
		b[tt.off] = tt.b
		if _, err := bootctl.ParseControl(b); tt.off > 4 && (err == nil || !strings.Contains(err.Error(), "checksum")) {
			t.Errorf("byte %d changed: %v, want a wrong checksum", tt.off, err)
		}
		sum(b)
		_, err := bootctl.ParseControl(b)
		if _, ok := errors.AsType[*bootctl.FormatError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("byte %d = %d: %v, want %q", tt.off, tt.b, err, tt.want)
		}
	}
}

// sum puts the checksum of a block right.
func sum(b []byte) {
	s := crc32.ChecksumIEEE(b[:28])
	b[28], b[29], b[30], b[31] = byte(s), byte(s>>8), byte(s>>16), byte(s>>24)
}

// TestUpdate walks the states of an update: written, tried, given up or
// successful.
func TestUpdate(t *testing.T) {
	c := bootctl.New(2, 3)
	choose := func(want int) {
		t.Helper()
		if i, ok := c.Choose(); i != want || ok != (want >= 0) {
			t.Fatalf("Choose = %d, %v, want %d: %+v", i, ok, want, c)
		}
	}
	choose(0)
	c.Take(0)
	c.MarkSuccessful(0)
	c.Take(0) // a successful slot keeps its tries
	if s := c.Slots[0]; s.Tries != 1 || !s.Successful || c.Suffix != "_a" {
		t.Errorf("slot 0 = %+v", s)
	}

	c.MarkUnbootable(1)
	choose(0)
	c.SetActive(1, 3)
	for range 3 {
		choose(1)
		c.Take(1)
	}
	choose(0) // its tries are used up
	if c.Suffix != "_b" || c.Slots[0].Priority != 14 {
		t.Errorf("control = %+v", c)
	}
	c.SetActive(1, 99)
	if c.Slots[1].Tries != bootctl.MaxTries {
		t.Errorf("tries = %d", c.Slots[1].Tries)
	}
	c.MarkSuccessful(1)
	choose(1)
	c.MarkUnbootable(1)
	choose(0)
	c.MarkUnbootable(0)
	choose(-1)
	if i, err := c.Index("_b"); i != 1 || err != nil {
		t.Errorf("Index = %d, %v", i, err)
	}
	if _, err := c.Index("_c"); err == nil {
		t.Error("slot _c of two was found")
	}
}

func TestMessage(t *testing.T) {
	m := &bootctl.Message{Command: "boot-recovery", Status: "okay", Recovery: "recovery\n--wipe_data\n", Stage: "1/3"}
	b, err := m.Bytes()
	if err != nil || len(b) != bootctl.MessageSize || string(b[64:73]) != "recovery\n" || string(b[832:835]) != "1/3" {
		t.Fatalf("Bytes = %q, %v", b, err)
	}
	if got, err := bootctl.ParseMessage(b); err != nil || *got != *m {
		t.Errorf("ParseMessage = %+v, %v", got, err)
	}
	for _, off := range []int{31, 2047} {
		c := bytes.Clone(b)
		c[off] = 'x'
		if _, err := bootctl.ParseMessage(c); err == nil {
			t.Errorf("a stray byte at %d was accepted", off)
		}
	}
	m.Stage = strings.Repeat("x", 33)
	if _, err := m.Bytes(); err == nil {
		t.Error("a stage of 33 bytes was written")
	}
}

// FuzzParse checks that nothing makes the parsers panic, and that what they
// accept has one encoding. The control block's checksum is put right first.
func FuzzParse(f *testing.F) {
	b, _ := hex.DecodeString(golden)
	f.Add(b)
	m, _ := (&bootctl.Message{Command: "boot-recovery", Recovery: "recovery\n"}).Bytes()
	f.Add(m)
	f.Fuzz(func(t *testing.T, in []byte) {
		if m, err := bootctl.ParseMessage(in); err == nil {
			if out, err := m.Bytes(); err != nil || !bytes.Equal(out, in[:len(out)]) {
				t.Errorf("message %q became %q, %v", in, out, err)
			}
		}
		in = bytes.Clone(in)
		if len(in) >= 32 {
			sum(in)
		}
		if c, err := bootctl.ParseControl(in); err == nil {
			if out, err := c.Bytes(); err != nil || !bytes.Equal(out, in[:32]) {
				t.Errorf("control %x became %x, %v", in, out, err)
			}
		}
	})
}
