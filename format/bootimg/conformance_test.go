package bootimg_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/format/bootimg"
	"mios/internal/conformance"
)

// parts returns an image's parts by name.
func parts(s fmt.Stringer) map[string][]byte {
	m := map[string][]byte{}
	for _, p := range s.(interface{ Parts() []bootimg.Part }).Parts() {
		m[p.Name] = p.Data
	}
	return m
}

// check compares an image with what AOSP's tools said of it, and says what
// differs.
func check(b []byte, info string, sums map[string]string) error {
	m, err := decode(b)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	switch m := m.(type) {
	case boot:
		_, err = m.WriteTo(&out)
	case vendor:
		_, err = m.WriteTo(&out)
	}
	if err != nil || !bytes.HasPrefix(b, out.Bytes()) {
		return fmt.Errorf("written again, the bytes differ: %v", err)
	}
	if len(bytes.Trim(b[out.Len():], "\x00")) > 0 && !bytes.Contains(b[out.Len():], []byte("AVB")) {
		return fmt.Errorf("%d bytes follow the image that are no AVB data", len(b)-out.Len())
	}
	if text := m.(interface{ Text() string }).Text(); text != info {
		return fmt.Errorf("unpack_bootimg printed\n%s\nwe\n%s", info, text)
	}
	got := map[string]string{}
	for name, s := range parts(m) {
		sum := sha256.Sum256(s)
		got[name] = hex.EncodeToString(sum[:])
	}
	if sums != nil && !maps.Equal(got, sums) {
		return fmt.Errorf("sections %v, want %v", got, sums)
	}
	return nil
}

// checkArgs compares the arguments that make an image again with AOSP's, where
// each file is OUT.
func checkArgs(b []byte, want string) error {
	m, err := decode(b)
	if err != nil {
		return err
	}
	args := m.(interface{ Args(dir string) []string }).Args("OUT")
	for i, a := range args {
		if args[i] = a; strings.HasPrefix(a, "OUT/") {
			args[i] = "OUT"
		}
		if a == "" {
			args[i] = "''"
		}
	}
	if got := strings.Join(args, " "); got != strings.TrimSuffix(want, "\n") {
		return fmt.Errorf("unpack_bootimg printed the arguments\n%s\nwe\n%s", want, got)
	}
	return nil
}

// TestConformanceBootloader reads the images of AOSP's bootloader library.
func TestConformanceBootloader(t *testing.T) {
	dir := filepath.Join(conformance.Dir(t, "bootloader"), "libgbl", "testdata")
	tally := conformance.New(t, "bootloader images")
	infos, _ := filepath.Glob(filepath.Join(dir, "_ref", "*.img.info.txt"))
	if len(infos) != 11 {
		t.Errorf("%d images, want 11", len(infos))
	}
	for _, file := range infos {
		name := strings.TrimSuffix(filepath.Base(file), ".info.txt")
		sums := map[string]string{}
		for line := range strings.Lines(read(t, strings.TrimSuffix(file, "info.txt")+"parts.sha256")) {
			f := strings.Fields(line)
			sums[f[1]] = f[0]
		}
		b := []byte(read(t, filepath.Join(dir, "android", name)))
		err := check(b, read(t, file), sums)
		if err == nil {
			err = checkArgs(b, read(t, strings.TrimSuffix(file, "info.txt")+"mkbootimg_args.txt"))
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		tally.Case(err == nil)
	}
}

// TestConformanceMkbootimg reads each image that AOSP's unpack_bootimg took
// apart, and compares with what it found.
func TestConformanceMkbootimg(t *testing.T) {
	dir := conformance.Dir(t, "mkbootimg")
	tally := conformance.New(t, "mkbootimg images")
	type file struct {
		SHA256 string
		Size   int64
	}
	sc := bufio.NewScanner(strings.NewReader(read(t, filepath.Join(dir, "calls.jsonl"))))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var call struct {
			Tool   string
			Argv   []string
			RC     int
			Stdout string
			Before map[string]file
			Outdir map[string]file
		}
		if err := json.Unmarshal(sc.Bytes(), &call); err != nil {
			t.Fatal(err)
		}
		if call.Tool != "unpack_bootimg" || call.RC != 0 || slices.ContainsFunc(call.Argv, func(a string) bool { return strings.HasPrefix(a, "--format") }) {
			continue
		}
		name := call.Argv[slices.Index(call.Argv, "--boot_img")+1]
		sums := map[string]string{}
		for n, f := range call.Outdir {
			sums[n] = f.SHA256
		}
		err := check([]byte(read(t, filepath.Join(dir, "blobs", call.Before[name].SHA256))), call.Stdout, sums)
		if err != nil {
			t.Errorf("%v: %v", call.Argv, err)
		}
		tally.Case(err == nil)
	}
}

// TestConformanceMkbootimgOutputs writes every image that mkbootimg made byte
// for byte.
func TestConformanceMkbootimgOutputs(t *testing.T) {
	blobs, _ := filepath.Glob(filepath.Join(conformance.Dir(t, "mkbootimg"), "blobs", "*"))
	tally := conformance.New(t, "images among mkbootimg's files")
	n := 0
	for _, name := range blobs {
		b := []byte(read(t, name))
		if !bytes.HasPrefix(b, []byte("ANDROID!")) && !bytes.HasPrefix(b, []byte("VNDRBOOT")) {
			continue
		}
		m, err := decode(b)
		ok := err == nil && bytes.HasPrefix(b, encode(t, m))
		if !ok {
			t.Errorf("%s: %v, or not the same bytes again", filepath.Base(name), err)
		}
		tally.Case(ok)
		n++
	}
	if n != 19 {
		t.Errorf("%d images, want 19", n)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
