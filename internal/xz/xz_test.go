package xz

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	dec "github.com/therootcompany/xz"

	"mios/internal/tool"
)

// inputs are of each kind: nothing, little, runs, text, noise, noise and text in
// turns, and what is repeated from far away.
func inputs() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	var text []byte
	words := []string{"the ", "quick ", "brown ", "fox ", "jumps\n", "over ", "a ", "lazy ", "dog. "}
	for len(text) < 400_000 {
		text = append(text, words[rng.IntN(len(words))]...)
	}
	mixed := []byte{}
	for i := range 20 {
		mixed = append(mixed, noise[i*9000:(i+1)*9000]...)
		mixed = append(mixed, text[i*9000:(i+1)*9000]...)
	}
	records := make([]byte, 200_000)
	for i := range records {
		records[i] = byte(i >> 5 * (i & 31) >> 3)
		if i%97 == 0 {
			records[i] = byte(rng.Uint32())
		}
	}
	return map[string][]byte{
		"empty": {}, "one": {7}, "three": {1, 2, 3}, "zeros": make([]byte, 5<<20), "text": text, "noise": noise, "mixed": mixed,
		"records": records, "far": bytes.Repeat(noise[:100_000], 3), "low bits": func() []byte {
			b := make([]byte, 100_000)
			for i := range b {
				b[i] = byte(rng.Uint32() & 3)
			}
			return b
		}(),
	}
}

func TestRoundTrip(t *testing.T) {
	var e Encoder
	for name, in := range inputs() {
		out := e.Encode([]byte("before"), in)
		if !bytes.HasPrefix(out, []byte("before")) {
			t.Errorf("%s: what stood before is gone", name)
		}
		out = out[6:]
		r, err := dec.NewReader(bytes.NewReader(out), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, in) {
			t.Errorf("%s: %d bytes become %d and these %d, %v", name, len(in), len(out), len(got), err)
		}
		if most := len(in) + len(in)/10000 + 80; len(out) > most {
			t.Errorf("%s: %d bytes become %d, want at most %d", name, len(in), len(out), most)
		}
		if again := new(Encoder).Encode(nil, in); !bytes.Equal(again, out) {
			t.Errorf("%s: a new encoder writes other bytes", name)
		}
	}
}

// TestXZ has xz judge the streams, and compares their sizes with its own.
func TestXZ(t *testing.T) {
	xz, err := tool.Look("xz")
	if err != nil {
		t.Fatal(err)
	}
	var e Encoder
	for name, in := range inputs() {
		out := e.Encode(nil, in)
		cmd := exec.Command(xz, "-dc")
		cmd.Stdin = bytes.NewReader(out)
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%s: xz -dc: %v, %d bytes, want %d", name, err, len(got), len(in))
		}
		cmd = exec.Command(xz, "-6", "-c", "--check=none")
		cmd.Stdin = bytes.NewReader(in)
		theirs, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if most := len(theirs) + len(theirs)/50 + 16; len(out) > most {
			t.Errorf("%s: %d bytes become %d, and with xz -6 %d", name, len(in), len(out), len(theirs))
		}
	}
}

func FuzzEncode(f *testing.F) {
	for _, in := range inputs() {
		f.Add(in[:min(len(in), 5000)])
	}
	var e Encoder
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := dec.NewReader(bytes.NewReader(e.Encode(nil, in)), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%x becomes %x, %v", in, got, err)
		}
	})
}
