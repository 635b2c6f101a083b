package desk_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mios/desk"
)

// TestApp publishes an app, the same one again, and changed ones, and counts how
// often it is built: once an architecture, twice if it has changed.
func TestApp(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	calls := filepath.Join(bin, "calls")
	script := fmt.Sprintf("#!/bin/sh\necho >> '%s'\nexec '%s' \"$@\"\n", calls, real)
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	program := filepath.Join(dir, "hello")
	d, err := desk.Open(filepath.Join(dir, "desk"), filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Repository(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		message     string
		version     int // in the manifest
		wantVersion int64
		wantReused  bool
		wantBuilds  int
	}{
		{"hello", 3, 3, false, 1},
		{"hello", 3, 3, true, 1},
		{"hello again", 3, 4, false, 2},
		{"hello again", 3, 4, true, 1},
		{"hello again", 9, 9, false, 1},
	} {
		if err := os.RemoveAll(calls); err != nil {
			t.Fatal(err)
		}
		writeApp(t, program, tt.message, tt.version)
		p, reused, err := d.App(t.Context(), r, program)
		if err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		builds := strings.Count(string(log), "\n") / 2 // two architectures
		if p.VersionCode != tt.wantVersion || reused != tt.wantReused || builds != tt.wantBuilds {
			t.Errorf("%q version %d: App = version %d, reused %v, %d builds; want %d, %v, %d",
				tt.message, tt.version, p.VersionCode, reused, builds, tt.wantVersion, tt.wantReused, tt.wantBuilds)
		}
	}
}

// writeApp writes a program that prints a message, and its manifest.
func writeApp(t *testing.T, dir, message string, version int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.mod":  "module example.com/hello\n\ngo 1.24\n",
		"main.go": fmt.Sprintf("package main\n\nfunc main() { println(%q) }\n", message),
		"AndroidManifest.xml": fmt.Sprintf(`<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.mios.hello" android:versionCode="%d">
<uses-sdk android:minSdkVersion="24"/><application><meta-data android:name="mios.executable" android:value="hello"/></application></manifest>`, version),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
