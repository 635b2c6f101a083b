package image

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A goPackage is the part of go list's answer that this test reads.
type goPackage struct {
	ImportPath string
	Module     *struct {
		Path, Dir string
		Main      bool
	}
}

// linked returns the modules that one variant of miosd is linked from, with the
// folder of each.
func linked(t *testing.T, arch, tags string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Module", "-tags", tags, "mios/cmd/miosd")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	mods := make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return mods
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Module.Main {
			mods[p.Module.Path] = p.Module.Dir
		}
	}
}

// marks are words of licences that tell them apart, in the order in which they
// are looked for.
var marks = []struct{ spdx, words string }{
	{"CC0-1.0", "CC0 1.0 Universal"},
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"BSD-3-Clause", "to endorse or promote products"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms"},
}

// licenseIn reads which licence the file in a module's folder is.
func licenseIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "[lL][iI][cC][eE][nN]*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no LICENSE (%v)", dir, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(b)), " ")
	for _, m := range marks {
		if strings.Contains(text, m.words) {
			return m.spdx
		}
	}
	return "unknown"
}

// TestLicenses holds the table against what the variants of miosd link, and
// against the licences that the modules bring.
func TestLicenses(t *testing.T) {
	t.Parallel()
	mods := make(map[string]string)
	for _, arch := range []string{"amd64", "arm64"} {
		for _, tags := range []string{"", "ramdisk"} {
			maps.Copy(mods, linked(t, arch, tags))
		}
	}
	if len(mods) < 10 {
		t.Fatalf("miosd links %d modules only: %v", len(mods), mods)
	}
	for _, m := range slices.Sorted(maps.Keys(mods)) {
		if got, want := License(m), licenseIn(t, mods[m]); got != want {
			t.Errorf("License(%q) = %s, want %s, which its LICENSE file is: correct the table", m, got, want)
		}
	}
	for m := range licenses {
		if _, ok := mods[m]; !ok {
			t.Errorf("licenses has %q, which miosd does not link: take it out", m)
		}
	}
	if got := License("example.org/unknown"); got != "NOASSERTION" {
		t.Errorf("License of an unknown module = %q, want NOASSERTION", got)
	}
}
