package repo

import (
	"bytes"
	"encoding/json"
	"testing"

	"mios"
	"mios/api/repo"
)

// TestWordFile: a node's file is what encoding/json makes of a [repo.WordNode],
// also of what was read from it.
func TestWordFile(t *testing.T) {
	hits := []repo.Hit{
		{Key: repo.HitKey("b<&", &repo.Listing{Package: "org.b"}), Found: repo.Found{Package: "org.b", Name: `"B" <&>`, Names: map[string]string{"de": "Ü\n"}, Words: "b"}},
		{Key: `c"\` + "\u2028", Found: repo.Found{Package: "org.c"}},
		{Key: repo.HitKey("日本", &repo.Listing{Package: "org.d", Added: 7}), Found: repo.Found{Package: "org.d", Words: "日本 本"}},
	}
	child := repo.WordChild{Next: "ü", File: repo.Ref{SHA256: mios.Sum([]byte("x")), Length: 7}}
	for _, want := range []repo.WordNode{
		{}, {Hits: hits[:1]}, {Hits: hits}, {Children: []repo.WordChild{child}}, {Hits: hits, Children: []repo.WordChild{child, child}},
	} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		made := wordFile{Children: want.Children}
		for _, h := range want.Hits {
			hit, err := newHit(h)
			if err != nil {
				t.Fatal(err)
			}
			made.Hits = append(made.Hits, hit)
		}
		read := new(wordFile)
		if err := json.Unmarshal(b, read); err != nil {
			t.Fatal(err)
		}
		for i, h := range read.Hits {
			if h.key != hits[i].Key {
				t.Errorf("key %q, want %q", h.key, hits[i].Key)
			}
		}
		for kind, f := range map[string]*wordFile{"made": &made, "read": read} {
			if got, err := f.marshal(); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: %s, %v; want %s", kind, got, err, b)
			}
		}
	}
}

// TestMemory: what is used again stays, what is not goes.
func TestMemory(t *testing.T) {
	m := memory[int, int]{max: 100}
	m.put(0, 7, 10)
	for i := 1; i <= 100; i++ {
		m.put(i, -i, 10)
		if v, ok := m.get(0); !ok || v != 7 {
			t.Fatalf("after %d others: %v, %v", i, v, ok)
		}
	}
	if v, ok := m.get(100); !ok || v != -100 {
		t.Errorf("the last is %v, %v", v, ok)
	}
	if _, ok := m.get(1); ok || len(m.now)+len(m.old) > 22 {
		t.Errorf("%d and %d are held", len(m.now), len(m.old))
	}
	for range 100 {
		m.put(5, 5, 10)
	}
	if m.size > 100 || len(m.now) > 10 {
		t.Errorf("one that is put again and again takes %d bytes, %d are held", m.size, len(m.now))
	}
}
