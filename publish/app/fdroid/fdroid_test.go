package fdroid_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"mios"
	"mios/internal/testkit"
	"mios/publish/app/fdroid"
	"mios/storage/tree"
	"mios/storage/tree/dir"
)

func testKey() crypto.Signer { return testkit.RSA(0) }

func config(tb testing.TB, t tree.Tree) fdroid.Config {
	tb.Helper()
	return fdroid.Config{
		Tree: t, Key: testKey(), Name: fdroid.Text{"en-US": "Test", "de": "Probe"}, Description: fdroid.Text{"en-US": "Apps"},
		Address: "https://example.org/apps", Mirrors: []string{"https://example.net/apps", "https://example.com/x/apps"},
		Icon: []byte("\x89PNG"), Time: time.UnixMilli(1_700_000_000_123),
	}
}

// made returns app number i, with so many versions.
func made(i, versions int) *fdroid.App {
	pkg := fmt.Sprintf("org.example.app%05d", i)
	a := &fdroid.App{
		Package: pkg, Added: 1_600_000_000, Updated: 1_600_000_000 + int64(i),
		Name:        fdroid.Text{"en-US": fmt.Sprintf("App %d", i), "de": fmt.Sprintf("Anwendung %d", i)},
		Summary:     fdroid.Text{"en-US": "Does \"things\"\\"},
		Description: fdroid.Text{"en-US": "One line.\nAnother one.\n", "de": "Eine Zeile."},
		Categories:  []string{"Internet", "System"}, License: "Apache-2.0", SourceCode: "https://example.org/" + pkg,
		Icon: fdroid.Images{"en-US": {Name: "icons/" + pkg + ".png", Digest: mios.Sum([]byte(pkg + "icon")), Size: 99}},
	}
	for code := int64(versions); code > 0; code-- {
		sum := mios.Sum(fmt.Appendf(nil, "%s %d", pkg, code))
		a.Versions = append(a.Versions, fdroid.Version{
			File:  fdroid.File{Name: fmt.Sprintf("%s.%s_%d.apk", sum, pkg, code), Digest: sum, Size: 1000 + code},
			Added: 1_600_000_000, Code: code, Name: fmt.Sprint("1.", code), MinSDK: 24, TargetSDK: 34,
			Signers: []mios.Digest{mios.Sum([]byte("signer"))}, ABIs: []string{"arm64-v8a", "x86_64"},
			Permissions: []fdroid.Permission{{Name: "android.permission.INTERNET"}, {Name: "android.permission.BLUETOOTH", MaxSDK: 30}},
			WhatsNew:    fdroid.Text{"en-US": fmt.Sprint("Version ", code)},
		})
	}
	return a
}

func all(apps ...*fdroid.App) iter.Seq2[*fdroid.App, error] {
	return func(yield func(*fdroid.App, error) bool) {
		for _, a := range apps {
			if !yield(a, nil) {
				return
			}
		}
	}
}

func some(n, versions int) []*fdroid.App {
	var list []*fdroid.App
	for i := range n {
		list = append(list, made(i, versions))
	}
	return list
}

func publish(tb testing.TB, c fdroid.Config, apps ...*fdroid.App) *fdroid.Result {
	tb.Helper()
	r, err := fdroid.Publish(context.Background(), c, all(apps...))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// read returns a file of the repository.
func read(tb testing.TB, t tree.Tree, name string) []byte {
	tb.Helper()
	b, err := tree.ReadAll(context.Background(), t, fdroid.Folder+"/"+name, 1<<30)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// object reads JSON without losing digits.
func object(tb testing.TB, b []byte) map[string]any {
	tb.Helper()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		tb.Fatalf("%v in %.300s", err, b)
	}
	return out
}

// An entryFile is what entry.json says.
type entryFile struct {
	Timestamp int64
	Version   int
	Index     named
	Diffs     map[string]named
}

type named struct {
	Name, SHA256 string
	Size         int64
	NumPackages  int
}

func readEntry(tb testing.TB, t tree.Tree) (e entryFile) {
	tb.Helper()
	if err := json.Unmarshal(read(tb, t, "entry.json"), &e); err != nil {
		tb.Fatal(err)
	}
	return e
}

// get returns a file that an entry names, and holds it against what that says.
func (n named) get(tb testing.TB, t tree.Tree) []byte {
	tb.Helper()
	b := read(tb, t, n.Name[1:])
	if mios.Sum(b).String() != n.SHA256 || int64(len(b)) != n.Size {
		tb.Errorf("%s: %d bytes, %s; entry.json says %d, %s", n.Name, len(b), mios.Sum(b), n.Size, n.SHA256)
	}
	return b
}

func TestPublish(t *testing.T) {
	tr := dir.New(t.TempDir())
	c := config(t, tr)
	r := publish(t, c, some(150, 2)...)
	if !r.Changed || r.Packages != 150 || r.Diffs != 0 || !r.Time.Equal(c.Time) {
		t.Errorf("first: %+v", r)
	}
	e := readEntry(t, tr)
	if e.Timestamp != c.Time.UnixMilli() || e.Index.NumPackages != 150 || len(e.Diffs) != 0 {
		t.Errorf("entry: %+v", e)
	}
	index := object(t, e.Index.get(t, tr))
	if n := len(index["packages"].(map[string]any)); n != 150 {
		t.Errorf("index-v2 has %d packages, want 150", n)
	}
	if again := publish(t, c, some(150, 2)...); again.Changed || !again.Time.Equal(r.Time) || again.Index != r.Index {
		t.Errorf("the same again: %+v, want unchanged", again)
	}
}

// TestSame publishes into two trees: the bytes are the same.
func TestSame(t *testing.T) {
	t.Parallel()
	a, b := dir.New(t.TempDir()), dir.New(t.TempDir())
	for _, tr := range []tree.Tree{a, b} {
		c := config(t, tr)
		publish(t, c, some(200, 1)...)
		c.Time = c.Time.Add(time.Minute)
		publish(t, c, some(201, 1)...)
	}
	names, err := a.List(context.Background(), fdroid.Folder)
	if err != nil {
		t.Fatal(err)
	}
	if others, _ := b.List(context.Background(), fdroid.Folder); !slices.Equal(names, others) || len(names) < 8 {
		t.Fatalf("%q and %q", names, others)
	}
	for _, name := range names {
		x, err := tree.ReadAll(context.Background(), a, name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		y, err := tree.ReadAll(context.Background(), b, name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if string(x) != string(y) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestLazy: apps that are kept as JSON give the same bytes.
func TestLazy(t *testing.T) {
	var index [2]fdroid.File
	for i := range index {
		apps := some(70, 2)
		if i == 1 {
			for j, a := range apps {
				b, err := json.Marshal(a)
				if err != nil {
					t.Fatal(err)
				}
				apps[j] = fdroid.Lazy(a.Package, b)
			}
		}
		index[i] = publish(t, config(t, dir.New(t.TempDir())), apps...).Index
	}
	if index[0] != index[1] {
		t.Errorf("%v and %v", index[0], index[1])
	}
	for want, json := range map[string]string{
		"app org.example.app: invalid: ":         `{`,
		`its JSON is of "org.example.other"`:     `{"Package":"org.example.other"}`,
		"app org.example.app: it has no version": `{"Package":"org.example.app"}`,
	} {
		_, err := fdroid.Publish(context.Background(), config(t, dir.New(t.TempDir())), all(fdroid.Lazy("org.example.app", []byte(json))))
		checkError(t, err, mios.ErrInvalid, want)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	double := made(1, 2)
	double.Versions[1].File.Digest = double.Versions[0].File.Digest
	outside := made(1, 1)
	outside.Versions[0].File.Name = "../x.apk"
	quote := made(1, 1)
	quote.Package = `a"b`
	for _, tt := range []struct {
		want string
		list []*fdroid.App
	}{
		{"app org.example.app00001: it comes behind org.example.app00002", []*fdroid.App{made(2, 1), made(1, 1)}},
		{"comes behind", []*fdroid.App{made(1, 1), made(1, 1)}},
		{"it has no version", []*fdroid.App{made(1, 0)}},
		{"versions 2 and 1 are one APK", []*fdroid.App{double}},
		{`name "../x.apk"`, []*fdroid.App{outside}},
		{"that is no package's name", []*fdroid.App{quote}},
		{"1 to 255 bytes", []*fdroid.App{{}}},
	} {
		tr := dir.New(t.TempDir())
		_, err := fdroid.Publish(context.Background(), config(t, tr), all(tt.list...))
		checkError(t, err, mios.ErrInvalid, tt.want)
		if names, _ := tr.List(context.Background(), fdroid.Folder); len(names) != 1 { // the repository's icon
			t.Errorf("%s: left behind: %q", tt.want, names)
		}
	}
}

// checkError wants an error of a kind, that says something.
func checkError(t *testing.T, err, kind error, want string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %v: %s", err, kind, want)
	}
}

func ecKey(t *testing.T) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestConfigRefused(t *testing.T) {
	other, err := fdroid.Certificate(testkit.RSA(1))
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *fdroid.Config){
		"take the key of role fdroid":           func(c *fdroid.Config) { c.Key = ecKey(t) },
		"give the one that belongs to it":       func(c *fdroid.Config) { c.Certificate = other },
		`address "apps": `:                      func(c *fdroid.Config) { c.Address = "apps" },
		`mirror "ftp://example.org/apps"`:       func(c *fdroid.Config) { c.Mirrors = []string{"ftp://example.org/apps"} },
		"the repository has no name":            func(c *fdroid.Config) { c.Name = nil },
		"certificate: invalid: x509: malformed": func(c *fdroid.Config) { c.Certificate = []byte("x") },
	} {
		c := config(t, dir.New(t.TempDir()))
		change(&c)
		_, err := fdroid.Publish(context.Background(), c, all(made(1, 1)))
		checkError(t, err, mios.ErrInvalid, want)
	}
}
