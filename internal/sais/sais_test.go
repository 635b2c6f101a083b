package sais

import (
	"bytes"
	"fmt"
	"index/suffixarray"
	"math/rand/v2"
	"reflect"
	"testing"
)

// check compares neighbours, and that every suffix is there once.
func check(t *testing.T, text []byte, sa []int32) {
	t.Helper()
	seen := make([]bool, len(text))
	for i, v := range sa {
		if v < 0 || int(v) >= len(text) || seen[v] {
			t.Fatalf("%.40q: sa[%d] = %d", text, i, v)
		}
		seen[v] = true
		if i > 0 && bytes.Compare(text[sa[i-1]:], text[v:]) >= 0 {
			t.Fatalf("%.40q: suffix %d before %d", text, sa[i-1], v)
		}
	}
}

func TestSort(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	texts := [][]byte{{}, {0}, []byte("aa"), []byte("ab"), []byte("ba"), []byte("banana"), []byte("mississippi"),
		bytes.Repeat([]byte{0}, 3000), bytes.Repeat([]byte("ab"), 999), bytes.Repeat([]byte("abaab"), 500)}
	for n := range 400 {
		text := make([]byte, rnd.IntN(4*n+1))
		for i := range text {
			text[i] = byte(rnd.IntN(1 + n%7))
		}
		texts = append(texts, text)
	}
	fib, last := []byte("a"), []byte("b")
	for len(fib) < 5000 {
		fib, last = append(bytes.Clone(fib), last...), fib
	}
	for _, text := range append(texts, fib) {
		sa := make([]int32, len(text))
		Sort(text, sa)
		check(t, text, sa)
	}
}

// TestAgainstStandard compares a text with Go's own sorting.
func TestAgainstStandard(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	text := make([]byte, 0, 1<<20)
	for len(text) < 1<<20 {
		if from := len(text) - 1 - rnd.IntN(1<<16); from > 0 && rnd.IntN(3) > 0 {
			text = append(text, text[from:min(from+rnd.IntN(300), len(text))]...)
		}
		text = fmt.Append(text, rnd.Int())
	}
	sa := make([]int32, len(text))
	Sort(text, sa)
	std := reflect.ValueOf(suffixarray.New(text)).Elem().FieldByName("sa").FieldByName("int32")
	for i, v := range sa {
		if w := int32(std.Index(i).Int()); v != w {
			t.Fatalf("sa[%d] = %d, want %d", i, v, w)
		}
	}
}

func FuzzSort(f *testing.F) {
	f.Add([]byte("banana"))
	f.Add(bytes.Repeat([]byte{1, 0}, 50))
	f.Fuzz(func(t *testing.T, text []byte) {
		sa := make([]int32, len(text))
		Sort(text, sa)
		check(t, text, sa)
	})
}

func BenchmarkSort(b *testing.B) {
	rnd := rand.New(rand.NewPCG(5, 6))
	text := make([]byte, 0, 8<<20)
	for len(text) < cap(text)-400 {
		if from := len(text) - 1 - rnd.IntN(1<<20); from > 0 {
			text = append(text, text[from:min(from+rnd.IntN(30), len(text))]...)
		}
		text = append(text, byte(rnd.IntN(256)))
	}
	sa := make([]int32, len(text))
	for _, s := range []struct {
		name string
		sort func()
	}{{"ours", func() { Sort(text, sa) }}, {"standard", func() { suffixarray.New(text) }}} {
		b.Run(s.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				s.sort()
			}
		})
	}
}
