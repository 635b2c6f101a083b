package migrate_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"mios"
	"mios/publish/app/fdroid"
	"mios/storage/tree"
)

// A jsonFile is what index-v2 says of a file.
type jsonFile struct {
	Name, SHA256 string
	Size         int64
}

func (f jsonFile) file(t *testing.T) fdroid.File {
	t.Helper()
	d, err := mios.ParseDigest(f.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return fdroid.File{Name: strings.TrimPrefix(f.Name, "/"), Digest: d, Size: f.Size}
}

func read(t *testing.T, tr tree.Tree, name string) []byte {
	t.Helper()
	b, err := tree.ReadAll(t.Context(), tr, fdroid.Folder+"/"+name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func object(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// inJAR returns index-v1.json.
func inJAR(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open("index-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
