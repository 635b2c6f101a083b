package repo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"mios"
	"mios/api/repo"
)

// TestWordFile: a node's file is what encoding/json makes of a [repo.WordNode],
// also of what was read from it.
func TestWordFile(t *testing.T) {
	hits := []repo.Hit{
		{Key: repo.HitKey("b<&", "org.b"), Package: "org.b", Name: `"B" <&>`, Names: map[string]string{"de": "Ü\n"}, Words: "b"},
		{Key: `c"\` + "\u2028", Package: "org.c"},
		{Key: repo.HitKey("日本", "org.d"), Package: "org.d", Words: "日本 本"},
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
		var read wordFile
		if err := json.Unmarshal(b, &read); err != nil {
			t.Fatal(err)
		}
		for i, h := range read.Hits {
			if h.key != hits[i].Key {
				t.Errorf("key %q, want %q", h.key, hits[i].Key)
			}
		}
		for kind, f := range map[string]*wordFile{"made": &made, "read": &read} {
			if got, err := f.marshal(); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: %s, %v; want %s", kind, got, err, b)
			}
		}
	}
	var bad wordFile
	for _, s := range []string{`{"hits":[{"key":7}]}`, `{"hits":[7]}`} {
		if err := json.Unmarshal([]byte(s), &bad); err == nil {
			t.Errorf("%s was read", s)
		}
	}
}

// TestWordFilesAreBounded: what is used again stays, what is not goes.
func TestWordFilesAreBounded(t *testing.T) {
	var w wordFiles
	sum := func(i int) mios.Digest { return mios.Sum(fmt.Append(nil, i)) }
	used := &wordFile{}
	const n, size = 100, maxWordFiles / 10
	w.keep(sum(0), size, used)
	for i := 1; i <= n; i++ {
		w.keep(sum(i), size, &wordFile{})
		if f, err := w.open(nil, repo.Ref{SHA256: sum(0), Length: size}); err != nil || f != used {
			t.Fatalf("after %d others: %v, %v", i, f, err)
		}
	}
	if w.now[sum(n)] == nil || w.now[sum(1)] != nil || w.old[sum(1)] != nil || len(w.now)+len(w.old) > 20 {
		t.Errorf("%d and %d files are held", len(w.now), len(w.old))
	}
}
