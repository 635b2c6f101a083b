package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"mios/publish/app/report"
)

// fromJSON reads what package report's tests hold its JSON against.
func fromJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../publish/app/report/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// TestPages holds the pages of an app and of a diff, narrow and wide.
func TestPages(t *testing.T) {
	var a report.App
	fromJSON(t, "app.golden", &a)
	a.Permissions = append(a.Permissions, report.Permission{Name: "evil\x1b[2J\u202e.permission", Group: report.GroupOther})
	a.Signature.Errors = []report.Issue{{Name: "V2_SIG_DID_NOT_VERIFY", Signer: "signer 1", Detail: strings.Repeat("as it is told ", 8)}}
	for _, name := range strings.Fields("a.version b.version: c.version d.version e.version") {
		a.Signature.Warnings = append(a.Signature.Warnings,
			report.Issue{Name: "JAR_SIG_UNPROTECTED_ZIP_ENTRY", Detail: "META-INF/" + name + ": no JAR signature covers what is in META-INF"})
	}
	for range 2 {
		a.Signature.Warnings = append(a.Signature.Warnings,
			report.Issue{Name: "V3_MIN_SDK_VERSION", Signer: "signer 1"}, report.Issue{Name: "JAR_SIG_MISSING_FILE", Detail: "CERT.RSA has no CERT.SF"})
	}
	a.Signature.Signers[0].Files = []string{"META-INF/CERT.RSA"}
	fromJSON(t, "splits.golden", &a.Splits)
	var d report.Diff
	fromJSON(t, "diff.golden", &d)
	for name, print := range map[string]func(*page){
		"inspect80":  func(p *page) { printApp(p, &a, false) },
		"inspect120": func(p *page) { printApp(p, &a, false) },
		"verify80":   func(p *page) { printSignature(p, "app.apk", a.Signature, false) },
		"verify120":  func(p *page) { printSignature(p, "app.apk", a.Signature, true) },
		"diff80":     func(p *page) { printDiff(p, &d, false) },
		"diff120":    func(p *page) { printDiff(p, &d, true) },
	} {
		width := 80
		if strings.HasSuffix(name, "120") {
			width = 120
		}
		var b bytes.Buffer
		print(&page{w: &b, width: width})
		for line := range strings.Lines(b.String()) {
			if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 2 || strings.ContainsAny(line, "\x1b\u202e\t") || strings.TrimRight(line, " ") != line {
				t.Errorf("%s: line %q", name, line)
			}
		}
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s differs from:\n%s", name, b.String())
		}
	}
}

func TestBar(t *testing.T) {
	for share, want := range map[float64]string{0: "", 0.0001: "▏", 0.5: "████", 0.55: "████▍", 1: "████████"} {
		if got := bar(share, 8); got != want {
			t.Errorf("bar(%v) = %q, want %q", share, got, want)
		}
	}
}
