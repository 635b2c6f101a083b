package debian

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"mios/internal/lazyregexp"
)

// Line is the family of Debian kernels that base core boots: the package's name
// without ABI number and architecture.
const Line = "linux-image-6.1-cloud"

// Architectures are the ones that a line is pinned for.
var Architectures = []string{"amd64", "arm64"}

// A Pin names one package file by what it holds.
type Pin struct {
	Line    string `json:"line"`    // linux-image-6.1-cloud
	Arch    string `json:"arch"`    // Debian's name: amd64, arm64
	Package string `json:"package"` // linux-image-6.1.0-56-cloud-amd64
	Version string `json:"version"` // 6.1.192-2
	Size    int64  `json:"size"`    // bytes of the .deb
	SHA256  string `json:"sha256"`  // of the .deb, lower-case hex
}

//go:embed kernel.lock.json
var defaultLock []byte

// DefaultPins returns the pins that this build was made with.
func DefaultPins() []Pin {
	pins, err := ParsePins(defaultLock)
	if err != nil {
		panic("kernel.lock.json: " + err.Error()) // it is part of the program
	}
	return pins
}

// ParsePins reads a lock file: a JSON list of pins.
func ParsePins(b []byte) ([]Pin, error) {
	var pins []Pin
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&pins); err != nil {
		return nil, err
	}
	for i, p := range pins {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("pin %d: %w", i, err)
		}
	}
	return pins, nil
}

// FormatPins returns the lock file that ParsePins reads.
func FormatPins(pins []Pin) ([]byte, error) {
	b, err := json.MarshalIndent(pins, "", "  ")
	return append(b, '\n'), err
}

// word is what Debian policy lets a package's name and version consist of.
var word = lazyregexp.New(`^[a-zA-Z0-9][a-zA-Z0-9.+~:-]*$`)

func (p Pin) check() error {
	if sum, err := hex.DecodeString(p.SHA256); err != nil || len(sum) != 32 || p.SHA256 != strings.ToLower(p.SHA256) {
		return fmt.Errorf("sha256 %q is not 64 lower-case hex digits", p.SHA256)
	}
	l, err := parseLine(p.Line)
	if err != nil {
		return err
	}
	for _, s := range []string{p.Arch, p.Package, p.Version} {
		if !word.MatchString(s) {
			return fmt.Errorf("%q is not a name or version of Debian's", s)
		}
	}
	if !l.has(p.Package, p.Arch) {
		return fmt.Errorf("package %s is not of the line %s for %s", p.Package, p.Line, p.Arch)
	}
	if p.Size <= 0 || p.Size > maxDeb {
		return fmt.Errorf("size %d is not between 1 and %d", p.Size, maxDeb)
	}
	return nil
}

// line is a parsed line: linux-image-VERSION[-FLAVOUR].
type line struct{ version, flavour string }

func parseLine(s string) (line, error) {
	rest, ok := strings.CutPrefix(s, "linux-image-")
	version, flavour, _ := strings.Cut(rest, "-")
	if !ok || version == "" || !word.MatchString(s) {
		return line{}, fmt.Errorf("kernel line %q: want linux-image-VERSION[-FLAVOUR], such as %s", s, Line)
	}
	return line{version, flavour}, nil
}

// meta returns the package that depends on the newest kernel of the flavour.
func (l line) meta(arch string) string {
	if l.flavour == "" {
		return "linux-image-" + arch
	}
	return "linux-image-" + l.flavour + "-" + arch
}

// has says whether a package is a kernel of the line: an ABI number stands
// between version and flavour, linux-image-6.1.0-56-cloud-amd64.
func (l line) has(pkg, arch string) bool {
	rest, ok := strings.CutPrefix(pkg, "linux-image-"+l.version+".")
	if !ok {
		return false
	}
	end := "-" + arch
	if l.flavour != "" {
		end = "-" + l.flavour + end
	}
	abi, ok := strings.CutSuffix(rest, end)
	return ok && strings.Trim(abi, "0123456789-+.debu") == ""
}
