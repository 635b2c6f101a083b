package debian

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestDebianSources(t *testing.T) {
	etc := fstest.MapFS{
		"os-release": {Data: []byte("NAME=x\nVERSION_CODENAME=bookworm\n")},
		"apt/sources.list": {Data: []byte(`# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib # why
deb-src http://a.example/debian bookworm main
deb http://a.example/debian bookworm-backports main
deb http://other.example/apt cloud-sdk-bookworm main
`)},
		"apt/sources.list.d/debian.sources": {Data: []byte(`Types: deb deb-src
# a comment
URIs: http://b.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 key

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
`)},
		"apt/sources.list.d/node.sources.disabled": {Data: []byte("Types: deb\nURIs: http://no.example\nSuites: bookworm\nComponents: main\n")},
	}
	s, err := debianSources(etc)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(s.list), "deb [signed-by=/k.gpg] http://a.example/debian bookworm main\n"; got != want {
		t.Errorf("list = %q, want %q", got, want)
	}
	want := `Types: deb
URIs: http://b.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 key

`
	if got := string(s.deb822); got != want {
		t.Errorf("deb822 = %q, want %q", got, want)
	}
	delete(etc, "apt/sources.list")
	delete(etc, "apt/sources.list.d/debian.sources")
	if _, err := debianSources(etc); err == nil || !strings.Contains(err.Error(), "no source of Debian bookworm main") {
		t.Errorf("without sources: %v", err)
	}
	delete(etc, "os-release")
	if _, err := debianSources(etc); err == nil || !strings.Contains(err.Error(), "build on Debian 12") {
		t.Errorf("without os-release: %v", err)
	}
}
