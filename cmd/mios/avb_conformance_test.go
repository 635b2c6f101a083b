package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mios/internal/conformance"
)

// avbtoolCalls is how many calls of each sub-command of avbtool are recorded, at
// least.
var avbtoolCalls = map[string]int{
	"add_hash_footer": 61, "add_hashtree_footer": 65, "append_vbmeta_image": 1, "calculate_kernel_cmdline": 1,
	"calculate_vbmeta_digest": 2, "erase_footer": 7, "extract_public_key": 114, "extract_vbmeta_image": 8,
	"generate_test_image": 136, "info_image": 79, "make_vbmeta_image": 125, "resize_image": 4,
	"set_ab_metadata": 2, "verify_image": 8,
}

// ourNames are our commands for avbtool's.
var ourNames = map[string]string{
	"add_hash_footer": "add-hash", "add_hashtree_footer": "add-hashtree", "append_vbmeta_image": "append",
	"calculate_kernel_cmdline": "cmdline", "calculate_vbmeta_digest": "digest", "erase_footer": "erase",
	"extract_public_key": "public-key", "extract_vbmeta_image": "extract", "generate_test_image": "test-image",
	"info_image": "info", "make_vbmeta_image": "make", "resize_image": "resize", "set_ab_metadata": "set-ab", "verify_image": "verify",
}

// A recordedCall is a call of avbtool in AOSP's tests. Files are by name, with
// SHA-256 and size; $T is the test's folder.
type recordedCall struct {
	Argv          []string          `json:"argv"`
	Status        int               `json:"rc"`
	Stdout        string            `json:"stdout"`
	Before, After map[string][2]any // of After those that it made or changed
}

// TestAVBToolCalls makes each recorded call of avbtool with mios avb: the files
// must be the same, and where avbtool failed nothing may be changed.
func TestAVBToolCalls(t *testing.T) {
	dir := conformance.Dir(t, "avb")
	calls := readCalls(t, filepath.Join(dir, "avbtool_calls.jsonl"))
	blobs := &blobCache{dir: filepath.Join(dir, "blobs")}
	// Calls that are alike are made once, and counted each.
	var alike []string
	rows := map[string][]recordedCall{}
	for _, c := range calls {
		key, _ := json.Marshal(c)
		if rows[string(key)] == nil {
			alike = append(alike, string(key))
		}
		rows[string(key)] = append(rows[string(key)], c)
	}
	differ := make([][]string, len(alike))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 {
		wg.Go(func() {
			for i := range next {
				differ[i] = rows[alike[i]][0].replay(t, blobs)
			}
		})
	}
	for i := range alike {
		next <- i
	}
	close(next)
	wg.Wait()

	tallies, counts := map[string]*conformance.Tally{}, map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(avbtoolCalls)) {
		tallies[name] = conformance.New(t, "avbtool "+name)
	}
	for i, key := range alike {
		for _, c := range rows[key] {
			counts[c.Argv[0]]++
			if tally := tallies[c.Argv[0]]; tally != nil {
				tally.Case(len(differ[i]) == 0)
			}
		}
		if len(differ[i]) > 0 {
			t.Errorf("%q:\n\t%s", rows[key][0].Argv, strings.Join(differ[i], "\n\t"))
		}
	}
	for name, n := range counts {
		if avbtoolCalls[name] == 0 {
			t.Errorf("%d calls of %s, which is not known here", n, name)
		}
	}
	for name, n := range avbtoolCalls {
		if counts[name] < n {
			t.Errorf("%d calls of %s, want %d", counts[name], name, n)
		}
	}
}

func readCalls(t *testing.T, name string) (calls []recordedCall) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c recordedCall
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

// replay makes the call in a folder of its own, and returns what differs.
func (c recordedCall) replay(t *testing.T, blobs *blobCache) (differ []string) {
	dir := t.TempDir()
	defer os.RemoveAll(dir)
	place := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "$T"); ok {
			return filepath.Join(dir, "T", rest)
		}
		return filepath.Join(dir, name)
	}
	fail := func(format string, args ...any) { differ = append(differ, fmt.Sprintf(format, args...)) }
	if err := os.Mkdir(filepath.Join(dir, "T"), 0o755); err != nil {
		return []string{err.Error()}
	}
	want := map[string]string{} // SHA-256 of each file afterwards
	for name, v := range c.Before {
		want[place(name)] = v[0].(string)
		if err := blobs.write(place(name), v[0].(string)); err != nil {
			return []string{err.Error()}
		}
	}
	if c.Status == 0 {
		for name, v := range c.After {
			want[place(name)] = v[0].(string)
		}
	}
	var out, errs bytes.Buffer
	args := c.ours(place)
	status := run(context.Background(), env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, args)
	switch {
	case (status == 0) != (c.Status == 0):
		fail("status %d, want %d: %s", status, c.Status, errs.String())
	case status != 0 && errs.Len() == 0:
		fail("it failed without a word")
	}
	if got := strings.ReplaceAll(out.String(), filepath.Join(dir, "T")+"/", "$T/"); c.Stdout != "" && strings.TrimSuffix(strings.ReplaceAll(got, dir+"/", ""), "\n") != strings.TrimSuffix(c.Stdout, "\n") {
		fail("it printed %q, want %q", got, c.Stdout)
	}
	return append(differ, otherFiles(dir, want)...)
}

// otherFiles tells what the files in a folder have that is not wanted.
func otherFiles(dir string, want map[string]string) (differ []string) {
	fail := func(format string, args ...any) { differ = append(differ, fmt.Sprintf(format, args...)) }
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, err := fileSum(name)
		if err != nil {
			return err
		}
		switch w, ok := want[name]; {
		case !ok:
			fail("it made %s", name)
		case sum != w:
			fail("%s has SHA-256 %s, want %s", name, sum, w)
		}
		delete(want, name)
		return nil
	})
	if err != nil {
		fail("%v", err)
	}
	for name := range want {
		fail("it did not make %s", name)
	}
	return differ
}

// ours returns the call's arguments as mios takes them: the image is a word,
// output in avbtool's form is asked for, and the hash algorithm that avbtool
// takes for hash trees when told none is named, and so is the FEC that it makes of
// sparse images. A signing helper of AOSP's tests is called as it is: a Python
// program that fails in the one call that names it.
func (c recordedCall) ours(place func(string) string) []string {
	sub := c.Argv[0]
	args := []string{"avb", ourNames[sub]}
	if sub == "info_image" || sub == "verify_image" {
		args = append(args, "--avbtool")
	}
	if sub == "add_hashtree_footer" {
		args = append(args, "--fec_of_sparse_file")
	}
	if sub == "add_hashtree_footer" && !slices.Contains(c.Argv, "--hash_algorithm") {
		args = append(args, "--hash_algorithm", "sha1")
	}
	for i := 1; i < len(c.Argv); i++ {
		a := c.Argv[i]
		before, rest, inside := strings.Cut(a, "$T/")
		switch {
		case a == "--image" || a == "--misc_image":
			i++
			args = append(args, place(c.Argv[i]))
		case inside:
			args = append(args, before+place("$T/"+rest))
		case strings.HasPrefix(a, "test/"):
			args = append(args, place(a))
		case strings.HasPrefix(a, "--public_key_metadata=test/"):
			name, file, _ := strings.Cut(a, "=")
			args = append(args, name+"="+place(file))
		case a == "--output_vbmeta":
			args = append(args, "--output_vbmeta_image") // which avbtool lets one shorten
		default:
			args = append(args, a)
		}
	}
	return args
}

func fileSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// blobCache keeps files of the set, by SHA-256.
type blobCache struct {
	dir string
	mu  sync.Mutex
	b   map[string][]byte
}

// write writes a file of the set to name.
func (c *blobCache) write(name, sum string) error {
	b, err := c.get(sum)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o700)
}

func (c *blobCache) get(sum string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b, ok := c.b[sum]; ok {
		return b, nil
	}
	f, err := os.Open(filepath.Join(c.dir, sum+".gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
		return nil, errors.New("blob " + sum + " is damaged")
	}
	if c.b == nil {
		c.b = map[string][]byte{}
	}
	c.b[sum] = b
	return b, nil
}
