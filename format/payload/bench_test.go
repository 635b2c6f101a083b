package payload

import (
	"bytes"
	"context"
	"testing"

	"mios/internal/testkit"
)

func BenchmarkEncode(b *testing.B) {
	chunk := make([]byte, ChunkSize)
	for name, fill := range map[string]func(i int) byte{
		"zeros": func(int) byte { return 0 },
		"noise": func(i int) byte { return byte(uint64(i+1) * 0x9e3779b97f4a7c15 >> 56) },
		"text":  func(i int) byte { return "abcdefgh"[uint64(i/3+1)*0x9e3779b97f4a7c15>>61] },
	} {
		for i := range chunk {
			chunk[i] = fill(i)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(ChunkSize)
			var e Encoder
			for b.Loop() {
				if _, _, err := e.Encode(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	in, _ := sample()
	for b.Loop() {
		r := bytes.NewReader(in)
		md, err := ReadMetadata(r)
		if err != nil {
			b.Fatal(err)
		}
		a := &Applier{Metadata: md, Keys: public(testkit.RSA(0)), Target: target(newDisk(md))}
		if _, err := a.Apply(context.Background(), r, md.Start()); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(images()[1].Size)
	}
}
