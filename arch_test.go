package mios_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
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

// testsMay is what a stage's test files may import beyond it: the other side
// of what they test. An allowance that no test uses is an error.
var testsMay = map[string]string{
	"serve":  "device",              // a device's client against the real server
	"device": "build publish serve", // real releases from a real server
	"api":    "key publish",         // the verifying client against what is published
}

// codecs are the modules that format/ may import: codecs, a hash, and nothing
// else.
var codecs = []string{
	"github.com/dsnet/compress", "github.com/ulikunitz/xz", "github.com/therootcompany/xz",
	"github.com/andybalholm/brotli", "github.com/klauspost/compress",
	"github.com/pierrec/lz4", "golang.org/x/crypto/blake2b",
}

// TestLayers reads the imports of every Go file, test files included. It reads
// them itself, so that the test cache sees which files it depends on.
func TestLayers(t *testing.T) {
	files, used := 0, map[string]bool{}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || name == "out" || d.Name() == "testdata") {
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
			from, test := stage(path.Dir(name)), strings.HasSuffix(name, "_test.go")
			if msg := forbidden(from, imp, test); msg != "" {
				t.Errorf("%s imports %s: %s", name, imp, msg)
			}
			if test {
				used[from+" "+stage(strings.TrimPrefix(imp, "mios/"))] = true
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
	for from, list := range testsMay {
		for to := range strings.FieldsSeq(list) {
			if !used[from+" "+to] {
				t.Errorf("testsMay lets the tests of %s import %s, and none does: take it out", from, to)
			}
		}
	}
}

// programs are what is linked for people and devices.
var programs = []string{"./cmd/mios", "./cmd/miosd"}

// slow are modules that no program may link, and why. Tests may: go-tuf is the
// judge of format/tuf.
var slow = []struct{ prefix, why string }{
	{"github.com/theupdateframework/go-tuf", "it brings sigstore and protobuf: take mios/format/tuf"},
	{"github.com/sigstore", "its protobuf types register in every process that starts, on devices too"},
	{"github.com/secure-systems-lab", "mios/format/tuf has canonical JSON"},
	{"github.com/opencontainers/go-digest", "its regular expressions are compiled in every process that starts"},
	{"github.com/google/go-containerregistry", "its regular expressions are compiled in every process that starts"},
	{"google.golang.org/genproto", "its types register in every process that starts"},
	{"google.golang.org/protobuf", "it reads the program's own file in every process that starts: take mios/internal/protowire"},
}

// TestPrograms keeps what starts slowly out of what is started often: a command
// of 4 ms, and each process of a device.
func TestPrograms(t *testing.T) {
	out, err := exec.Command("go", append([]string{"list", "-deps"}, programs...)...).Output()
	if err != nil {
		t.Fatalf("go list -deps: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 200 {
		t.Errorf("go list names %d packages: %v", len(deps), deps)
	}
	for _, dep := range deps {
		for _, s := range slow {
			if strings.HasPrefix(dep+"/", s.prefix+"/") {
				t.Errorf("a program links %s: %s", dep, s.why)
			}
		}
	}
}

// TestForbidden holds the rules against imports that they must refuse.
func TestForbidden(t *testing.T) {
	for _, tt := range []struct {
		from, imp string
		test, ok  bool
	}{
		{"format", "mios", false, true},
		{"format", "mios/internal/atomicfile", false, true},
		{"format", "mios/format/avb", false, true},
		{"format", "mios/key", false, false},
		{"format", "golang.org/x/sys/unix", false, false},
		{"format", "github.com/ulikunitz/xz", false, true},
		{"format", "github.com/ulikunitz/xzz", false, false},
		{"", "golang.org/x/sys/unix", false, false},
		{"", "mios/internal/tool", false, false},
		{"key", "mios/format/avb", false, false},
		{"device", "mios/serve/repo", false, false},
		{"device", "mios/serve/repo", true, true},
		{"serve", "mios/build/image", true, false},
		{"publish", "mios/build/image", false, true},
		{"build", "mios/publish/ota", false, false},
		{"desk", "mios/cmd/mios", false, false},
		{"nowhere", "fmt", false, false},
	} {
		if msg := forbidden(tt.from, tt.imp, tt.test); (msg == "") != tt.ok {
			t.Errorf("forbidden(%q, %q, %v) = %q, want allowed = %v", tt.from, tt.imp, tt.test, msg, tt.ok)
		}
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
		outside := !test && strings.Contains(strings.Split(imp, "/")[0], ".")
		switch {
		case outside && from == "":
			return "the root takes the standard library only"
		case outside && from == "format" && !isCodec(imp):
			return "format/ takes the standard library and codecs only"
		}
		return ""
	}
	to := stage(strings.TrimSuffix(rest, "/"))
	if from == "" && !test {
		return "the root imports nothing of this module"
	}
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
