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

// sections returns an image's parts under the names that unpack_bootimg gives
// their files. Like that tool, it has kernel, ramdisk and bootconfig even if
// they are empty.
func sections(s fmt.Stringer) map[string][]byte {
	m := map[string][]byte{}
	add := func(name string, b []byte) {
		if len(b) > 0 {
			m[name] = b
		}
	}
	switch s := s.(type) {
	case boot:
		m["kernel"], m["ramdisk"] = s.Kernel, s.Ramdisk
		add("second", s.Second)
		add("recovery_dtbo", s.RecoveryDTBO)
		add("dtb", s.DTB)
		add("boot_signature", s.Signature)
	case vendor:
		add("dtb", s.DTB)
		if s.Version == 3 {
			add("vendor_ramdisk", s.Ramdisk)
		} else {
			m["bootconfig"] = s.Bootconfig
		}
		for i, f := range s.Fragments {
			m[fmt.Sprintf("vendor_ramdisk%02d", i)] = s.Ramdisk[f.Offset:][:f.Size]
		}
	}
	return m
}

// facts returns what the lines of unpack_bootimg's report must say of an image.
func facts(s fmt.Stringer) []string {
	version := func(o bootimg.OSVersion) (lines []string) {
		lines = []string{"os version: None", "os patch level: None"}
		if o.Major|o.Minor|o.Patch != 0 {
			lines[0] = fmt.Sprintf("os version: %d.%d.%d", o.Major, o.Minor, o.Patch)
		}
		if o.Year != 0 {
			lines[1] = fmt.Sprintf("os patch level: %d-%02d", o.Year, o.Month)
		}
		return lines
	}
	switch s := s.(type) {
	case boot:
		lines := append(version(s.OS), fmt.Sprintf("boot image header version: %d", s.Version), fmt.Sprintf("kernel_size: %d", len(s.Kernel)),
			fmt.Sprintf("ramdisk size: %d", len(s.Ramdisk)), "command line args: "+s.Cmdline)
		if s.Version < 3 {
			lines = append(lines, "product name: "+s.Name, "additional command line args: "+s.ExtraCmdline,
				fmt.Sprintf("kernel load address: 0x%08x", s.KernelAddr), fmt.Sprintf("page size: %d", s.PageSize))
		}
		return lines
	case vendor:
		lines := []string{fmt.Sprintf("vendor boot image header version: %d", s.Version), "vendor command line args: " + s.Cmdline,
			fmt.Sprintf("page size: 0x%08x", s.PageSize), fmt.Sprintf("dtb size: %d", len(s.DTB)), fmt.Sprintf("dtb address: 0x%016x", s.DTBAddr)}
		for _, f := range s.Fragments {
			lines = append(lines, fmt.Sprintf("        type: %#x", f.Type), "        name: "+f.Name, fmt.Sprintf("        offset: %d", f.Offset))
		}
		return lines
	}
	return nil
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
	lines := strings.Split(info, "\n")
	for _, want := range facts(m) {
		if !slices.Contains(lines, want) {
			return fmt.Errorf("unpack_bootimg did not print %q, but\n%s", want, info)
		}
	}
	got := map[string]string{}
	for name, s := range sections(m) {
		sum := sha256.Sum256(s)
		got[name] = hex.EncodeToString(sum[:])
	}
	if sums != nil && !maps.Equal(got, sums) {
		return fmt.Errorf("sections %v, want %v", got, sums)
	}
	return nil
}

// TestConformanceBootloader reads the images of AOSP's bootloader library.
func TestConformanceBootloader(t *testing.T) {
	dir := filepath.Join(conformance.Dir(t, "bootloader"), "libgbl", "testdata")
	tally := conformance.New(t, "bootloader images")
	infos, _ := filepath.Glob(filepath.Join(dir, "_ref", "*.img.info.txt"))
	for _, file := range infos {
		name := strings.TrimSuffix(filepath.Base(file), ".info.txt")
		sums := map[string]string{}
		for line := range strings.Lines(read(t, strings.TrimSuffix(file, "info.txt")+"parts.sha256")) {
			f := strings.Fields(line)
			sums[f[1]] = f[0]
		}
		err := check([]byte(read(t, filepath.Join(dir, "android", name))), read(t, file), sums)
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
