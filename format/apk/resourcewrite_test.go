package apk_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mios"
	"mios/format/apk"
)

// newResources are of all kinds that are written.
var newResources = []apk.NewResource{
	{Type: "string", Name: "server", Value: apk.StringValue("https://time.example.com/")},
	{Type: "string", Name: "empty", Value: apk.StringValue("")},
	{Type: "array", Name: "servers", Items: []apk.Value{apk.StringValue("ntp://a.example.com"), apk.StringValue("ntp://b.example.com")}},
	{Type: "integer", Name: "interval", Value: apk.Value{Type: apk.TypeIntDec, Data: 64800000}},
	{Type: "bool", Name: "on", Value: apk.Value{Type: apk.TypeBoolean, Data: 0xffffffff}},
	{Type: "string", Name: "smile", Value: apk.StringValue("😀 ünï")},
}

// TestAppendResources has aapt and aapt2 read a table of ours, and compares what
// aapt2 says of it with what it says of its own of the same resources.
func TestAppendResources(t *testing.T) {
	table, err := apk.AppendResources(nil, "org.example.overlay", newResources)
	if err != nil {
		t.Fatal(err)
	}
	r, err := apk.ParseResources(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range newResources {
		id, err := r.Find("org.example.overlay:" + n.Type + "/" + n.Name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Get(id, &apk.Config{})
		if err != nil || got.Value != n.Value || got.Bag != (n.Items != nil) || len(got.Items) != len(n.Items) {
			t.Errorf("Get(%s) = %+v, %v", n.Name, got, err)
		}
		for i, item := range got.Items {
			if item.Value != n.Items[i] {
				t.Errorf("%s: item %d is %v", n.Name, i, item)
			}
		}
	}
	compareAapt(t, table)
}

// compareAapt has aapt2 make the same, and compares.
func compareAapt(t *testing.T, table []byte) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("res/values/all.xml", `<resources><string name="server">https://time.example.com/</string><string name="empty"></string>
<string-array name="servers"><item>ntp://a.example.com</item><item>ntp://b.example.com</item></string-array>
<integer name="interval">64800000</integer><bool name="on">true</bool><string name="smile">😀 ünï</string></resources>`)
	manifest := `<manifest package="org.example.overlay"/>`
	write("AndroidManifest.xml", manifest)
	run(t, "aapt2", "compile", "-o", filepath.Join(dir, "c.zip"), "--dir", filepath.Join(dir, "res"))
	run(t, "aapt2", "link", "-o", filepath.Join(dir, "theirs.apk"), "--manifest", filepath.Join(dir, "AndroidManifest.xml"), filepath.Join(dir, "c.zip"))
	root, err := apk.ParseText([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	var ours bytes.Buffer
	z := zip.NewWriter(&ours)
	for name, data := range map[string][]byte{apk.ManifestName: apk.AppendXML(nil, root), apk.ResourcesName: table} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write("ours.apk", ours.String())
	got, want := dump(t, filepath.Join(dir, "ours.apk")), dump(t, filepath.Join(dir, "theirs.apk"))
	if got != want || !strings.Contains(got, "ntp://b.example.com") {
		t.Errorf("aapt2 dump of ours:\n%s\nof theirs:\n%s", got, want)
	}
	if got := run(t, "aapt", "dump", "--values", "resources", filepath.Join(dir, "ours.apk")); !strings.Contains(got, `"ntp://b.example.com"`) {
		t.Errorf("aapt dump:\n%s", got)
	}
}

// dump returns the lines of "aapt2 dump resources" sorted by nothing but
// resource: numbers are left out, for aapt2 numbers by name.
func dump(t *testing.T, name string) string {
	t.Helper()
	blocks, block := map[string]string{}, ""
	for line := range strings.Lines(run(t, "aapt2", "dump", "resources", name)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "resource" {
			block = f[2]
			continue
		}
		if block != "" && !strings.HasPrefix(strings.TrimSpace(line), "type ") {
			blocks[block] += line
		}
	}
	return fmt.Sprint(blocks)
}

func TestAppendResourcesErrors(t *testing.T) {
	str := apk.StringValue("x")
	for _, tt := range []struct {
		pkg  string
		list []apk.NewResource
		want error
	}{
		{"", nil, mios.ErrInvalid},
		{strings.Repeat("x", 128), nil, mios.ErrInvalid},
		{"p", []apk.NewResource{{Name: "a", Value: str}}, mios.ErrInvalid},
		{"p", []apk.NewResource{{Type: "string", Value: str}}, mios.ErrInvalid},
		{"p", []apk.NewResource{{Type: "array", Name: "a", Value: str}}, mios.ErrInvalid},
		{"p", []apk.NewResource{{Type: "string", Name: "a", Items: []apk.Value{str}}}, mios.ErrInvalid},
		{"p", []apk.NewResource{{Type: "string", Name: "a", Value: str}, {Type: "string", Name: "a", Value: str}}, mios.ErrConflict},
	} {
		if _, err := apk.AppendResources(nil, tt.pkg, tt.list); !errors.Is(err, tt.want) {
			t.Errorf("AppendResources(%q, %v) = %v, want %v", tt.pkg, tt.list, err, tt.want)
		}
	}
}
