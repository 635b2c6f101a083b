package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/conformance"
	"mios/internal/tool"
)

// A bootCall is a recorded call of one of mkbootimg's tools.
type bootCall struct {
	Tool   string
	Argv   []string
	RC     int
	Stdout string
	Before map[string]bootFile
	After  map[string]bootFile
	Outdir map[string]bootFile
}

type bootFile struct {
	SHA256 string
	Size   int64
}

// runMios runs a command in this process.
func runMios(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, args)
	return status, out.String(), errs.String()
}

// TestConformanceMkbootimg makes all recorded calls of mkbootimg,
// unpack_bootimg and certify_bootimg.
func TestConformanceMkbootimg(t *testing.T) {
	dir := conformance.Dir(t, "mkbootimg")
	tally := conformance.New(t, "mkbootimg calls")
	b, err := os.ReadFile(filepath.Join(dir, "calls.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	n := 0
	for ; sc.Scan(); n++ {
		var call bootCall
		if err := json.Unmarshal(sc.Bytes(), &call); err != nil {
			t.Fatal(err)
		}
		err := call.check(t, dir)
		if err != nil {
			t.Errorf("call %d: %s %q: %v", n, call.Tool, call.Argv, err)
		}
		tally.Case(err == nil)
	}
	if n != 28 {
		t.Errorf("%d calls, want 28", n)
	}
}

// check makes the call in a folder of its own and compares what it did.
func (c *bootCall) check(t *testing.T, dir string) error {
	at := t.TempDir()
	local := func(s string) string {
		s = strings.ReplaceAll(s, "$T", at)
		if strings.HasPrefix(s, "./") {
			s = filepath.Join(at, s)
		}
		return s
	}
	for name, f := range c.Before {
		b, err := os.ReadFile(filepath.Join(dir, "blobs", f.SHA256))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(local(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(local(name), b, 0o600); err != nil {
			return err
		}
	}
	args := []string{"boot", map[string]string{"mkbootimg": "make", "unpack_bootimg": "unpack", "certify_bootimg": "certify"}[c.Tool]}
	plain := c.Tool == "unpack_bootimg"
	for _, a := range c.Argv {
		plain = plain && !strings.HasPrefix(a, "--format")
		args = append(args, local(a))
	}
	if plain {
		args = append(args, "--format=info")
	}
	if c.Tool == "certify_bootimg" && !slices.Contains(c.Argv, "--extra_footer_args") { // the salt was a random one
		for name := range c.After {
			if name == c.Argv[slices.Index(c.Argv, "--output")+1] {
				args = append(args, "--extra_footer_args", "--salt "+saltOf(t, filepath.Join(dir, "blobs", c.After[name].SHA256)))
			}
		}
	}
	status, stdout, stderr := runMios(t, args...)
	if (status == 0) != (c.RC == 0) {
		return fmt.Errorf("status %d, want %d: %s", status, c.RC, stderr)
	}
	if want := strings.ReplaceAll(c.Stdout, "$T", at); stdout != want {
		return fmt.Errorf("printed\n%s\nwant\n%s", stdout, want)
	}
	for name, f := range c.After {
		if err := f.check(local(name)); err != nil {
			return err
		}
	}
	for name, f := range c.Outdir {
		if err := f.check(filepath.Join(at, "out", name)); err != nil {
			return err
		}
	}
	return nil
}

// saltOf returns the salt of the footer's digest of an image, in hexadecimal.
func saltOf(t *testing.T, image string) string {
	t.Helper()
	m, err := avbtool.Read(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Descriptors {
		if d, ok := d.(*avb.HashDescriptor); ok {
			return hex.EncodeToString(d.Salt)
		}
	}
	t.Fatalf("%s: no digest in its footer", image)
	return ""
}

func (f bootFile) check(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(b)) != f.Size {
		return fmt.Errorf("%s: %d bytes with the SHA-256 %x, want %d with %s", filepath.Base(name), len(b), sum, f.Size, f.SHA256)
	}
	return nil
}

// TestConformanceGKISignature makes the image with a signature that the
// recorded unpack_bootimg took apart, as AOSP's own test makes it.
func TestConformanceGKISignature(t *testing.T) {
	blobs := filepath.Join(conformance.Dir(t, "mkbootimg"), "blobs")
	tally := conformance.New(t, "mkbootimg signatures")
	dir := t.TempDir()
	for name, sum := range map[string]string{
		"kernel": "dd32eecbaf291030407eed8b6a21bf21d5cdd2353271cd10fbffaa65e28c5a20", "ramdisk": "c3169ca602b044d128c983d95d6e0c9bf68ada124e5961678e18466b462776f1",
		"key.pem": "f1d5765a2bdfb92fb08aee021107c7ac1a7a3f590dafd853771c85375ef0fbd7"} {
		b, err := os.ReadFile(filepath.Join(blobs, sum))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, _, stderr := runMios(t, "boot", "make", "--header_version", "4", "--kernel", filepath.Join(dir, "kernel"), "--ramdisk", filepath.Join(dir, "ramdisk"),
		"--cmdline", "printk.devkmsg=on firmware_class.path=/vendor/etc/ init=/init kfence.sample_interval=500 loop.max_part=7 bootconfig",
		"--os_version", "11.0.0", "--os_patch_level", "2021-01", "--gki_signing_algorithm", "SHA256_RSA2048", "--gki_signing_key", filepath.Join(dir, "key.pem"),
		"--gki_signing_signature_args", "--prop foo:bar --prop gki:nice", "--output", filepath.Join(dir, "boot.img"))
	err := bootFile{"bfce0c320badb65a139310e0f9c4513a8d9a4587f1e0f6192987ef5b5fa43c4c", 16384}.check(filepath.Join(dir, "boot.img"))
	if err != nil || status != 0 {
		t.Errorf("%v: %s", err, stderr)
	}
	tally.Case(err == nil)
}

// TestDebianBootImages makes images with Debian's mkbootimg and ours, which must
// be the same, and takes them apart with both.
func TestDebianBootImages(t *testing.T) {
	for _, name := range []string{"mkbootimg", "unpack_bootimg"} {
		if _, err := tool.Look(name); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for i, name := range []string{"kernel", "ramdisk", "second", "dtb"} {
		if err := os.WriteFile(in(name), bytes.Repeat([]byte(name), 700*i+300), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for version := range 4 {
		args := []string{"--header_version", strconv.Itoa(version), "--kernel", in("kernel"), "--ramdisk", in("ramdisk"), "--os_version", "12.1",
			"--os_patch_level", "2024-11", "--cmdline", strings.Repeat("long=command line ", 20)}
		if version < 3 { // Debian's fails with a --recovery_dtbo
			args = append(args, "--second", in("second"))
		}
		if version == 2 {
			args = append(args, "--dtb", in("dtb"))
		}
		if out, err := exec.Command("mkbootimg", append(args, "--output", in("theirs"))...).CombinedOutput(); err != nil {
			t.Fatalf("mkbootimg: %v: %s", err, out)
		}
		if status, _, stderr := runMios(t, append([]string{"boot", "make", "--plain_id", "--output", in("ours")}, args...)...); status != 0 {
			t.Fatal(stderr)
		}
		theirs, err := os.ReadFile(in("theirs"))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.ReadFile(in("ours"))
		if err != nil {
			t.Fatal(err)
		}
		if version == 3 { // Debian's is Android 11's, which had another size there
			binary.LittleEndian.PutUint32(theirs[20:], 1580)
		}
		if !bytes.Equal(ours, theirs) {
			t.Errorf("version %d: not what mkbootimg made", version)
		}
		if out, err := exec.Command("unpack_bootimg", "--boot_img", in("ours"), "--out", in("t")).CombinedOutput(); err != nil {
			t.Fatalf("unpack_bootimg: %v: %s", err, out)
		}
		if status, _, stderr := runMios(t, "boot", "unpack", "--out", in("o"), in("theirs")); status != 0 {
			t.Fatal(stderr)
		}
		for _, name := range []string{"kernel", "ramdisk", "second", "dtb"} {
			a, errA := os.ReadFile(filepath.Join(in("o"), name))
			b, errB := os.ReadFile(filepath.Join(in("t"), name))
			if !bytes.Equal(a, b) || (errA == nil) != (errB == nil) {
				t.Errorf("version %d: %s: %d and %d bytes, %v, %v", version, name, len(a), len(b), errA, errB)
			}
		}
	}
}

// TestWords holds the splitting of arguments against a shell's.
func TestWords(t *testing.T) {
	for s, want := range map[string][]string{
		``: nil, ` a  b `: {"a", "b"}, `'a b'c`: {"a bc"}, `""`: {""}, `--prop k:"a b"`: {"--prop", "k:a b"}, `a\ b`: {"a b"}, `"a\"\b\\"`: {`a"\b\`}, `'\'`: {`\`},
	} {
		got, err := splitWords(s)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("splitWords(%s) = %q, %v, want %q", s, got, err, want)
		}
		if back, err := splitWords(joinWords(want)); err != nil || !slices.Equal(back, want) {
			t.Errorf("joinWords(%q) = %s, which is %q, %v", want, joinWords(want), back, err)
		}
	}
	for _, s := range []string{`'a`, `"a`, `a\`} {
		if got, err := splitWords(s); err == nil {
			t.Errorf("splitWords(%s) = %q", s, got)
		}
	}
}
