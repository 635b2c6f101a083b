package fdt_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mios/format/fdt"
	"mios/internal/conformance"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func sample(tb testing.TB) []byte {
	tb.Helper()
	t := &fdt.Tree{Root: &fdt.Node{}, Reserved: []fdt.Reservation{{Address: 1 << 20, Size: 4096}}}
	t.Root.SetString("compatible", "linux,dummy-virt")
	t.Node("/cpus/cpu@0").Set("reg", []byte{0, 0, 0, 0})
	t.Node("/chosen").SetString("bootargs", "quiet")
	b, err := t.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// dump prints a tree as the golden file has it.
func dump(b *strings.Builder, n *fdt.Node, indent string) {
	fmt.Fprintf(b, "%s%s {\n", indent, n.Name)
	for _, p := range n.Props {
		fmt.Fprintf(b, "%s\t%s = %x\n", indent, p.Name, p.Value)
	}
	for _, c := range n.Children {
		dump(b, c, indent+"\t")
	}
	fmt.Fprintf(b, "%s}\n", indent)
}

// TestGolden compares the bytes of a tree with testdata, and what Parse reads in
// them with a dump.
func TestGolden(t *testing.T) {
	b := sample(t)
	tree, err := fdt.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "reserved %+v\n", tree.Reserved)
	dump(&text, tree.Root, "")
	for name, got := range map[string][]byte{"sample.dtb": b, "sample.golden": []byte(text.String())} {
		golden := filepath.Join("testdata", name)
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, got, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is\n%q\nwant\n%q", golden, got, want)
		}
	}
}

func TestChosen(t *testing.T) {
	tree, err := fdt.Parse(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	tree.Node("/chosen").SetString("bootargs", "console=ttyAMA0")
	tree.Node("chosen").SetUint64("linux,initrd-start", 0x48000000)
	b, err := tree.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := fdt.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := again.Node("/chosen").Prop("bootargs"); string(got) != "console=ttyAMA0\x00" {
		t.Errorf("bootargs = %q", got)
	}
	if got, _ := again.Node("/chosen").Prop("linux,initrd-start"); !bytes.Equal(got, []byte{0, 0, 0, 0, 0x48, 0, 0, 0}) {
		t.Errorf("initrd-start = %x", got)
	}
	if len(again.Root.Children) != 2 || len(again.Reserved) != 1 {
		t.Errorf("tree = %d nodes, %d reservations; want 2 and 1", len(again.Root.Children), len(again.Reserved))
	}
}

func TestParseErrors(t *testing.T) {
	good := sample(t)
	for name, b := range map[string][]byte{
		"empty":     nil,
		"magic":     append([]byte{1}, good[1:]...),
		"truncated": good[:len(good)-1],
		"struct":    patch(good, 36, 0xff),
		"strings":   patch(good, 32, 0xff),
		"version":   patch(good, 23, 3),
		"token":     patch(good, 75, 0x77),
	} {
		_, err := fdt.Parse(b)
		if _, ok := errors.AsType[*fdt.FormatError](err); !ok {
			t.Errorf("%s: Parse = %v, want a FormatError", name, err)
		}
	}
}

func patch(b []byte, off int, v byte) []byte {
	b = bytes.Clone(b)
	b[off] = v
	return b
}

// TestConformance reads AOSP's trees, and reads them back after writing.
func TestConformance(t *testing.T) {
	dir := conformance.Dir(t, "bootloader")
	var files []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if ext := filepath.Ext(p); ext == ".dtb" || ext == ".dtbo" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tally := conformance.New(t, "device trees")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		ok := roundTrip(b) == nil
		tally.Case(ok)
		if !ok {
			t.Errorf("%s: %v", f, roundTrip(b))
		}
	}
}

func roundTrip(b []byte) error {
	tree, err := fdt.Parse(b)
	if err != nil {
		return err
	}
	out, err := tree.Bytes()
	if err != nil {
		return err
	}
	again, err := fdt.Parse(out)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(tree, again) {
		return errors.New("another tree after writing")
	}
	return nil
}

// FuzzParse checks that nothing makes Parse panic, and that what it accepts
// survives being written.
func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := fdt.Parse(b)
		if err != nil {
			return
		}
		if err := roundTrip(b); err != nil {
			t.Errorf("%v: %+v", err, tree)
		}
	})
}
