package dex

import (
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/internal/conformance"
	"mios/internal/tool"
)

// TestDexdump compares what the tests write with what Debian's dexdump reads.
func TestDexdump(t *testing.T) {
	for _, v := range []int{35, 37, 38, 39} { // it knows no newer ones
		b := writeDEX(v, sample())
		if n, msg := compareDexdump(t, b); msg != "" || n < 20 {
			t.Errorf("version %d: after %d lines: %s", v, n, msg)
		}
	}
	for _, v := range []int{38, 39} { // from when on code refers to method handles
		c := dynamic()
		c[0].sites[0] = c[0].sites[0][:3] // it stops at arguments of rare types
		if n, msg := compareDexdump(t, writeDEX(v, c)); msg != "" || n < 9 {
			t.Errorf("version %d, method handles: after %d lines: %s", v, n, msg)
		}
	}
}

// TestConformanceDexdump compares each class, member and reference of the DEX
// files of real apps with Debian's dexdump.
func TestConformanceDexdump(t *testing.T) {
	var apks []string
	for _, glob := range []string{filepath.Join(conformance.Dir(t, "apps"), "*.apk"), filepath.Join(conformance.Dir(t, "fdroid"), "repo", "*.apk")} {
		list, err := filepath.Glob(glob)
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %d files, %v", glob, len(list), err)
		}
		apks = append(apks, list...)
	}
	tally := conformance.New(t, "dex, by dexdump")
	for _, apk := range apks {
		z, err := zip.OpenReader(apk)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range z.File {
			if ok, _ := filepath.Match("classes*.dex", e.Name); !ok {
				continue
			}
			r, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			n, msg := compareDexdump(t, b)
			tally.Case(msg == "" && n > 0)
			if msg != "" {
				t.Errorf("%s %s: after %d lines: %s", filepath.Base(apk), e.Name, n, msg)
			}
		}
		z.Close()
	}
}

// compareDexdump returns how many lines are alike, and the first that is not.
func compareDexdump(t *testing.T, b []byte) (int, string) {
	t.Helper()
	dexdump, err := tool.Look("dexdump")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "classes.dex")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := exec.Command(dexdump, "-d", path)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dexdump: %v: %s", err, errs.String())
	}
	files, err := Parse(b)
	if err != nil {
		return 0, err.Error()
	}
	want := bufio.NewScanner(strings.NewReader(readDexdump(out)))
	got := bufio.NewScanner(strings.NewReader(asDexdump(files[0])))
	for n := 0; ; n++ {
		more, also := want.Scan(), got.Scan()
		if !more && !also {
			return n, ""
		}
		if want.Text() != got.Text() {
			return n, fmt.Sprintf("%q, dexdump says %q", got.Text(), want.Text())
		}
	}
}

// readDexdump takes from dexdump's output what asDexdump writes.
func readDexdump(out []byte) string {
	var b strings.Builder
	for len(out) > 0 {
		line, rest, _ := bytes.Cut(out, []byte("\n"))
		if i := bytes.IndexByte(line, '|'); i >= 0 && i < 60 && bytes.Contains(line, []byte(": const-string")) {
			end := bytes.Index(out[i:], []byte("\" // string@")) + i // a string may have lines
			end += bytes.IndexByte(out[end:], '\n')
			line, rest = out[:end], out[end+1:]
		}
		out = rest
		if bytes.HasPrefix(line, []byte("Method handle #")) || bytes.HasPrefix(line, []byte("Call site #")) {
			break // what instructions name by number
		}
		readDexdumpLine(&b, line)
	}
	return b.String()
}

func readDexdumpLine(b *strings.Builder, line []byte) {
	if i := bytes.IndexByte(line, '|'); i >= 0 && i < 60 {
		at, op, ok := strings.Cut(string(line[i+1:]), ": ")
		if !ok {
			return
		}
		words := strings.Fields(op)
		if strings.HasPrefix(op, "const-string") {
			words = []string{words[0], words[len(words)-1]}
		}
		var refs []string
		for _, w := range words {
			pool, index, ok := strings.Cut(w, "@")
			if ok && slices.Contains([]string{"string", "type", "field", "method", "call_site", "method_handle", "proto"}, pool) {
				refs = append(refs, pool, index)
			}
		}
		if len(refs) == 2 {
			fmt.Fprintln(b, []string{at, words[0], refs[0], refs[1], ""})
		} else if len(refs) == 4 { // a method, and a proto
			fmt.Fprintln(b, []string{at, words[0], refs[0], refs[1], refs[3]})
		}
		return
	}
	key, value, ok := strings.Cut(string(line), " : ")
	switch key = strings.TrimSpace(key); {
	case !ok:
	case key == "Class descriptor", key == "Superclass", key == "name", key == "type", key[0] == '#' && value[0] == '\'':
		fmt.Fprintln(b, decodeMUTF8([]byte(value[1:len(value)-1])))
	case key == "Access flags", key == "access", key == "insns size":
		value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
		fmt.Fprintln(b, value)
	}
}

// asDexdump writes the file as readDexdump has it: a value a line, and then the
// instructions that refer to something.
func asDexdump(f *File) string {
	var b strings.Builder
	pools := map[byte]string{refString: "string", refType: "type", refField: "field", refMethod: "method", refPoly: "method",
		refCallSite: "call_site", refHandle: "method_handle", refProto: "proto"}
	for i := range f.Classes {
		c, err := f.Class(i)
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		fmt.Fprintf(&b, "%s\n0x%04x\n", c.Name, uint32(c.Access))
		if c.Super != "" {
			fmt.Fprintln(&b, c.Super)
		}
		for _, t := range c.Interfaces {
			fmt.Fprintln(&b, t)
		}
		for _, m := range c.Fields {
			fmt.Fprintf(&b, "%s\n%s\n0x%04x\n", m.Name, m.Type, uint32(m.Access))
		}
		data, err := f.classData(f.classDef(i))
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		for j, m := range c.Methods {
			fmt.Fprintf(&b, "%s\n%s\n0x%04x\n", m.Name, m.Type, uint32(m.Access))
			item, err := f.code(data.methods[j].code)
			if err == nil && data.methods[j].code != 0 {
				fmt.Fprintln(&b, m.CodeUnits)
				err = f.instructions(item, func(in instruction) error {
					proto := ""
					if in.kind == refPoly {
						proto = fmt.Sprintf("%04x", in.proto)
					}
					width := 4
					if in.op == 0x1b {
						width = 8
					}
					fmt.Fprintln(&b, []string{fmt.Sprintf("%04x", in.at), opNames[in.op], pools[in.kind], fmt.Sprintf("%0*x", width, in.index), proto})
					return nil
				})
			}
			if err != nil {
				fmt.Fprintln(&b, err)
			}
		}
	}
	return b.String()
}
