package mios_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// layers lists what each stage may import of this module beside itself, the
// root and internal/, which everyone may. Data flows down the list:
// format -> build -> publish -> serve -> device.
var layers = map[string]string{
	"":         "",
	"format":   "",
	"key":      "",
	"storage":  "",
	"internal": "",
	"api":      "format",
	"build":    "format key api",
	"publish":  "format key api storage build",
	"serve":    "format publish api storage",
	"device":   "format api",
	"emulator": "format build",
	"desk":     "format key storage api build publish serve device emulator",
	"cmd":      "format key storage api build publish serve device emulator desk",
	"products": "",
	"examples": "",
	"test":     "format key storage api build publish serve device emulator desk cmd",
}

// testsMay is what a stage's test files may import beyond it.
var testsMay = map[string]string{
	"serve":  "key build device", // a device's client against the real server
	"device": "key build publish serve",
	"api":    "key publish storage",
	"cmd":    "test",
}

// codecs are the modules that format/ may import: codecs and nothing else.
var codecs = []string{
	"github.com/dsnet/compress", "github.com/ulikunitz/xz", "github.com/therootcompany/xz",
	"google.golang.org/protobuf", "github.com/andybalholm/brotli", "github.com/klauspost/compress",
	"github.com/pierrec/lz4",
}

// TestLayers reads the imports of every Go file, test files included. It reads
// them itself, so that the test cache sees which files it depends on.
func TestLayers(t *testing.T) {
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if msg := forbidden(stage(path.Dir(name)), imp, strings.HasSuffix(name, "_test.go")); msg != "" {
				t.Errorf("%s imports %s: %s", name, imp, msg)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("read %d files: the walk is broken", files)
	}
}

// forbidden says why a file of a stage may not import imp, or "".
func forbidden(from, imp string, test bool) string {
	allowed, known := layers[from]
	if !known {
		return "its folder is in no stage: put it in one, or add the stage to layers"
	}
	if test {
		allowed += " " + testsMay[from]
	}
	rest, ours := strings.CutPrefix(imp+"/", "mios/")
	if !ours {
		if from == "format" && !test && strings.Contains(strings.Split(imp, "/")[0], ".") && !isCodec(imp) {
			return "format/ takes the standard library and codecs only"
		}
		return ""
	}
	to := stage(strings.TrimSuffix(rest, "/"))
	if to != from && to != "" && to != "internal" && !strings.Contains(" "+allowed+" ", " "+to+" ") {
		return strconv.Quote(from) + " may not import " + strconv.Quote(to)
	}
	return ""
}

func isCodec(imp string) bool {
	for _, c := range codecs {
		if imp == c || strings.HasPrefix(imp, c+"/") {
			return true
		}
	}
	return false
}

// stage returns the first folder of a package's path below the root.
func stage(dir string) string {
	if dir == "." {
		return ""
	}
	s, _, _ := strings.Cut(dir, "/")
	return s
}
