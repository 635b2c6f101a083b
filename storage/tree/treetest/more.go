package treetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mios"
	"mios/storage/tree"
)

// strange keeps names that URLs and lists have to encode.
func strange(t *testing.T, tr tree.Tree) {
	list := []string{"a b+c.json", "ä/ü%20.json", "x=1&y=2?#.json", "日本/!'()*~@,;:$.bin"}
	slices.Sort(list)
	for _, name := range list {
		if err := tr.Create(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range list {
		if got := read(t, tr, name); got != name {
			t.Errorf("%s holds %q", name, got)
		}
	}
	if got, err := tr.List(t.Context(), "."); err != nil || !slices.Equal(got, list) {
		t.Errorf("List = %q, %v; want %q", got, err, list)
	}
}

// plain hides all methods of a tree but those of the interface.
type plain struct{ tree.Tree }

func createAll(t *testing.T, tr tree.Tree) {
	for folder, tr := range map[string]tree.Tree{"own": tr, "any": plain{tr}} {
		files := map[string][]byte{}
		for i := range 30 {
			files[fmt.Sprintf("%s/%d/%d", folder, i%3, i)] = fmt.Appendf(nil, "content %d", i)
		}
		if err := tr.Create(t.Context(), folder+"/0/0", strings.NewReader("content 0")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := tree.CreateAll(t.Context(), tr, files); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range files {
			if got := read(t, tr, name); got != string(want) {
				t.Errorf("%s holds %q", name, got)
			}
		}
		if list, err := tr.List(t.Context(), folder); err != nil || len(list) != len(files) {
			t.Errorf("List = %q, %v", list, err)
		}
		files[folder+"/0/0"] = []byte("another")
		if err := tree.CreateAll(t.Context(), tr, files); !errors.Is(err, mios.ErrConflict) {
			t.Errorf("other bytes for a name: %v", err)
		}
		if got := read(t, tr, folder+"/0/0"); got != "content 0" {
			t.Errorf("a conflict left %q", got)
		}
		if err := tree.CreateAll(t.Context(), tr, map[string][]byte{folder + "/../x": nil}); !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("a bad name: %v", err)
		}
	}
}

func infos(t *testing.T, tr tree.Tree) {
	for _, name := range []string{"a/1", "a/2", "b"} {
		if err := tr.Create(t.Context(), name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Point(t.Context(), "a/p", nil, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	for kind, tr := range map[string]tree.Tree{"its own": tr, "any": plain{tr}} {
		list, err := tree.Infos(t.Context(), tr, "a")
		if err != nil || len(list) != 3 || list[0].Name != "a/1" || list[1].Name != "a/2" || list[2].Name != "a/p" || list[2].Size != 5 {
			t.Errorf("%s: Infos = %v, %v", kind, list, err)
		}
	}
	before, err := tree.Infos(t.Context(), tr, ".")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Point(t.Context(), "a/p", []byte("12345"), []byte("54321")); err != nil {
		t.Fatal(err)
	}
	after, err := tree.Infos(t.Context(), tr, ".")
	if err != nil || len(before) != 4 || len(after) != 4 {
		t.Fatalf("Infos = %v, %v", after, err)
	}
	for i := range after {
		if moved := after[i].Name == "a/p"; (after[i].Tag != before[i].Tag) != moved || after[i].Tag == "" {
			t.Errorf("%s: tag %q, then %q", after[i].Name, before[i].Tag, after[i].Tag)
		}
	}
}

// large stores a file that is not kept in memory, and reads parts of it.
func large(t *testing.T, tr tree.Tree) {
	b := bytes.Repeat([]byte("0123456789abcde\n"), 200_000)
	for range 2 {
		if err := tr.Create(t.Context(), "large", io.MultiReader(bytes.NewReader(b[:7]), bytes.NewReader(b[7:]))); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Create(t.Context(), "large", bytes.NewReader(append(slices.Clone(b[1:]), 'x'))); !errors.Is(err, mios.ErrConflict) {
		t.Errorf("Create of as many other bytes = %v, want conflict", err)
	}
	f, err := tr.Open(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if at, err := f.Seek(-16, io.SeekEnd); err != nil || at != int64(len(b)-16) {
		t.Errorf("Seek = %d, %v", at, err)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != "0123456789abcde\n" {
		t.Errorf("the end is %q, %v", got, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d bytes, %v, want the same %d", len(got), err, len(b))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.List(ctx, "."); !errors.Is(err, context.Canceled) {
		t.Errorf("List when cancelled = %v", err)
	}
}

// createAtOnce gives one name to several: one gets it, and those with the same
// bytes do not mind.
func createAtOnce(t *testing.T, tr tree.Tree) {
	var wg sync.WaitGroup
	var stored [2]atomic.Int32
	for i := range 12 {
		wg.Go(func() {
			switch err := tr.Create(t.Context(), "one", strings.NewReader([]string{"even", "odd"}[i%2])); {
			case err == nil:
				stored[i%2].Add(1)
			case !errors.Is(err, mios.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	even, odd := stored[0].Load(), stored[1].Load()
	if got := read(t, tr, "one"); !(got == "even" && even == 6 && odd == 0 || got == "odd" && odd == 6 && even == 0) {
		t.Errorf("%d have stored even, %d odd, and it holds %q", even, odd, got)
	}
}
