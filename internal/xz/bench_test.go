package xz

import (
	"os"
	"testing"
)

// BenchmarkEncode compresses the test binary itself, which everyone has.
func BenchmarkEncode(b *testing.B) {
	name := os.Args[0]
	if f := os.Getenv("XZ_BENCH_FILE"); f != "" {
		name = f
	}
	in, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	const piece = 2 << 20
	var e Encoder
	var out []byte
	b.SetBytes(int64(len(in)))
	n := 0
	for b.Loop() {
		n = 0
		for at := 0; at < len(in); at += piece {
			out = e.Encode(out[:0], in[at:min(at+piece, len(in))])
			n += len(out)
		}
	}
	b.ReportMetric(float64(n)/float64(len(in)), "ratio")
}
