package endpoint

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"mios/build/sign/signtest"
)

// names are the hosts that a scan of a text finds.
func names(t *testing.T, text []byte) []string {
	t.Helper()
	s := &scanner{ctx: context.Background(), o: &Options{Harmless: true}, m: newMatcher(), found: map[string]map[string]int{}}
	if err := s.text(bytes.NewReader(text), "x"); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range s.report().Findings {
		out = append(out, f.Host)
	}
	return out
}

func wide(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"https://time.android.com/", []string{"time.android.com"}},
		{"\x00time.android.com\x00", []string{"time.android.com"}},
		{"NTP=Time.Android.com", nil}, // the end of a name is lower-case in all that was seen
		{"NTP=TIME.android.com", []string{"time.android.com"}},
		{wide("http://connectivitycheck.gstatic.com/generate_204"), []string{"connectivitycheck.gstatic.com"}},
		{"x" + wide("supl.google.com:7275"), []string{"supl.google.com"}},
		{"google.com.example.org", nil},
		{"notgoogle.com", nil},
		{"not-google.com", nil},
		{"google.company", nil},
		{"time.android.comhttps://dns.google/", []string{"dns.google", "time.android.com"}},
		{"time.android.comPK", []string{"time.android.com"}},
		{"com.google.android.gms", nil},
		{"see google.com.", []string{"google.com"}},
		{"-dnsotls-ds.metric.gstatic.com", []string{"dnsotls-ds.metric.gstatic.com"}},
		{"8.8.8.8", []string{"8.8.8.8"}},
		{"8.8.8.8:53 8.8.4.4", []string{"8.8.4.4", "8.8.8.8"}},
		{"1.8.8.8.8 8.8.8.80 8.8.8.8.1 x8.8.8.8", nil},
		{"2001:4860:4860::8888", []string{"2001:4860:4860::8888"}},
		{"2001:4860:4860::8888:1", nil},
		{"path1.xtracloud.net path2.xtracloud.net", []string{"path1.xtracloud.net", "path2.xtracloud.net"}},
		{"google.com", []string{"google.com"}},
		{"", nil},
	} {
		if got := names(t, []byte(tt.text)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: found %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestBorders puts a name everywhere around the border between two pieces that
// are read, and reads in pieces of one byte.
// TestUnknown says of one file in no known format that it was not opened.
func TestUnknown(t *testing.T) {
	dir := t.TempDir()
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	if w, err := z.Create("hosts.txt"); err != nil {
		t.Fatal(err)
	} else if _, err := w.Write([]byte("time.android.com")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"garbage": bytes.Repeat([]byte("\x00garbage"), 3000), "short": []byte("garbage"), "known.zip": archive.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := Scan(t.Context(), filepath.Join(dir, name), Options{}); err != nil || r.Unknown != (name != "known.zip") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if r, err := Scan(t.Context(), dir, Options{}); err != nil || r.Unknown {
		t.Errorf("the folder: %+v, %v", r, err)
	}
}

func TestBorders(t *testing.T) {
	for _, name := range []string{"a.b.time.android.com", wide("a.b.time.android.com")} {
		for off := -len(name) - 6; off < 6; off++ {
			text := bytes.Repeat([]byte{' '}, piece+reach+ahead+off)
			text = append(append(text, name...), ' ', ' ', 0, 0, 'x')
			if got := names(t, text); !slices.Equal(got, []string{"a.b.time.android.com"}) {
				t.Errorf("name at %d: found %q", off, got)
			}
		}
	}
	s := &scanner{ctx: context.Background(), o: &Options{}, m: newMatcher(), found: map[string]map[string]int{}}
	if err := s.text(iotest.OneByteReader(strings.NewReader("x time.android.com y")), "x"); err != nil || s.found["time.android.com"]["x"] != 1 {
		t.Errorf("text = %v, found %v", err, s.found)
	}
	if err := s.text(iotest.ErrReader(errors.New("broken")), "x"); err == nil || err.Error() != "broken" {
		t.Errorf("text of a broken reader = %v", err)
	}
}

// TestScan finds what signtest's build of AOSP names, in a folder of images and
// in the zip of target-files.
func TestScan(t *testing.T) {
	x := signtest.New(t, signtest.Options{})
	names := []string{filepath.Join(x.Dir, "IMAGES")}
	if !testing.Short() {
		names = append(names, x.Zip(t)) // the same, and packages again
	}
	for _, name := range names {
		r, err := Scan(t.Context(), name, Options{Answered: []string{"endpoints.ntp"}})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]Finding{}
		for _, f := range r.Findings {
			found[f.Host] = f
		}
		for host, file := range map[string]string{
			"time.android.com":              "system.img!/system/framework/framework-res.apk!/resources.arsc",
			"connectivitycheck.gstatic.com": "system.img!/system/priv-app/NetworkStack/NetworkStack.apk!/resources.arsc",
			"supl.google.com":               "vendor.img!/etc/gps.conf",
			"agnss.goog":                    "vendor.img!/etc/gps.conf",
		} {
			f := found[host]
			if !slices.ContainsFunc(f.Files, func(s string) bool { return strings.HasSuffix(s, file) }) {
				t.Errorf("%s: %s is in %v, want %s", name, host, f.Files, file)
			}
			if f.Answered != (host == "time.android.com") {
				t.Errorf("%s: %s: answered is %v", name, host, f.Answered)
			}
		}
	}
}

// TestContainers puts a name into packages in one another.
func TestContainers(t *testing.T) {
	data := []byte("time.android.com")
	for range maxDepth + 3 {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.CreateHeader(&zip.FileHeader{Name: "inner", Method: zip.Store})
		if err == nil {
			_, err = f.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		data = b.Bytes()
		name := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Scan(t.Context(), name, Options{}); err != nil || len(r.Findings) != 1 {
			t.Errorf("%d bytes: %+v, %v", len(data), r, err)
		}
	}
}

// TestDocumented holds the table of the documentation to that of the program.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/aosp.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range Hosts {
		if !strings.Contains(string(b), "`"+h.Name+"`") {
			t.Errorf("docs/aosp.md does not name %s", h.Name)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("PK\x03\x04 time.android.com"))
	f.Add([]byte("ANDROID! supl.google.com"))
	f.Add([]byte("\x1f\x8b\x08 8.8.8.8"))
	f.Add([]byte(wide("a.google.com") + "x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &scanner{ctx: t.Context(), o: &Options{Harmless: true}, m: newMatcher(), tmp: t.TempDir(), found: map[string]map[string]int{}}
		if err := s.data(bytes.NewReader(b), int64(len(b)), "x", 0); err == nil && s.files == 0 {
			t.Error("nothing was read")
		}
	})
}
