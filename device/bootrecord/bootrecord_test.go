package bootrecord_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/device/bootrecord"
)

func misc(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "misc"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, f *os.File) []bootrecord.Refusal {
	t.Helper()
	r, err := bootrecord.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return r.Refusals
}

func TestAdd(t *testing.T) {
	f := misc(t)
	if got := read(t, f); len(got) != 0 {
		t.Errorf("an empty misc has %v", got)
	}
	when := time.Unix(1700000000, 0).UTC()
	for i := range 10 {
		err := bootrecord.Add(f, bootrecord.Refusal{Slot: "_b", Partition: "boot_b", Reason: fmt.Sprint("reason ", i), Time: when})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, f)
	if len(got) != 8 || got[7] != (bootrecord.Refusal{"_b", "boot_b", "reason 9", when}) || got[0].Reason != "reason 2" {
		t.Errorf("Read = %v, want the newest 8", got)
	}
	for range 9 { // what is too long is cut, what does not fit is dropped
		if err := bootrecord.Add(f, bootrecord.Refusal{Slot: "_a", Reason: strings.Repeat("\x01", 5000)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, f); len(got) != 1 || len(got[0].Reason) != 400 {
		t.Errorf("%d refusals, want the newest", len(got))
	}
}

func TestRepeated(t *testing.T) {
	at := time.Unix(1700000000, 0)
	crash := func(slot string, after time.Duration) bootrecord.Refusal {
		return bootrecord.Refusal{Slot: slot, Reason: "service x died", Time: at.Add(after)}
	}
	other := bootrecord.Refusal{Slot: "_b", Reason: "something else", Time: at}
	damage := bootrecord.Refusal{Slot: "_b", Partition: "system_b", Reason: "service x died", Time: at}
	for _, tt := range []struct {
		name string
		list []bootrecord.Refusal
		want bool
	}{
		{"none", nil, false},
		{"twice", []bootrecord.Refusal{crash("_b", 0), crash("_b", 1)}, false},
		{"three times", []bootrecord.Refusal{other, crash("_b", 0), crash("_a", 0), crash("_b", 1), crash("_b", time.Minute)}, true},
		{"over two hours", []bootrecord.Refusal{crash("_b", 0), crash("_b", time.Hour), crash("_b", 2*time.Hour)}, false},
		{"something else between", []bootrecord.Refusal{crash("_b", 0), crash("_b", 1), other, crash("_b", 2)}, false},
		{"something else last", []bootrecord.Refusal{crash("_b", 0), crash("_b", 1), crash("_b", 2), other}, false},
		{"damage", []bootrecord.Refusal{damage, damage, damage}, false},
	} {
		if f, got := (bootrecord.Record{Refusals: tt.list}).Repeated("_b"); got != tt.want || got && f.Reason != "service x died" {
			t.Errorf("%s: Repeated = %v, %v, want %v", tt.name, f, got, tt.want)
		}
	}
}

func TestAttempts(t *testing.T) {
	f := misc(t)
	check := func(when string, want map[string]int) {
		t.Helper()
		r, err := bootrecord.Read(f)
		if err != nil || !maps.Equal(r.Attempts, want) || len(r.Refusals) != 1 {
			t.Errorf("%s: Read = %+v, %v, want attempts %v and one refusal", when, r, err, want)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(bootrecord.Healthy(f, "_a"))
	do(bootrecord.SetAttempts(f, "_a", 1))
	do(bootrecord.SetAttempts(f, "_b", 3))
	do(bootrecord.Add(f, bootrecord.Refusal{Slot: "_b", Reason: "x"}))
	check("two slots", map[string]int{"_a": 1, "_b": 3})
	do(bootrecord.Healthy(f, "_a"))
	check("slot a is healthy", map[string]int{"_b": 3})
	do(bootrecord.Healthy(f, "_b"))
	do(bootrecord.Healthy(f, "_b"))
	check("both are healthy", nil)
	for i := range 4 {
		do(bootrecord.SetAttempts(f, string(rune('a'+i)), 1))
	}
	if err := bootrecord.SetAttempts(f, "e", 1); err == nil {
		t.Error("attempts of five slots were recorded")
	}
}

// TestBroken flips each byte of a record: it may be lost, but never fails.
func TestBroken(t *testing.T) {
	f := misc(t)
	if err := bootrecord.Add(f, bootrecord.Refusal{Slot: "_b", Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := bootrecord.SetAttempts(f, "_a", 2); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 130)
	if _, err := f.ReadAt(b, bootrecord.Offset); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 0xff
		if _, err := f.WriteAt(b, bootrecord.Offset); err != nil {
			t.Fatal(err)
		}
		b[i] ^= 0xff
		read(t, f)
	}
	if err := f.Truncate(100); err != nil {
		t.Fatal(err)
	}
	if got := read(t, f); len(got) != 0 {
		t.Errorf("a short misc has %v", got)
	}
}
