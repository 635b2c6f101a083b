package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/conformance"
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
