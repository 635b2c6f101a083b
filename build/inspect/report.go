package inspect

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// A Report is what one file, a part of one, or a folder is.
type Report struct {
	Name       string      `json:"name"` // as it was called, or within what it is part of
	Kind       string      `json:"kind"` // of Kinds, or "unknown"
	Title      string      `json:"title"`
	Version    string      `json:"version,omitempty"` // of the format
	Size       int64       `json:"size"`              // bytes; of a folder, of all files
	Summary    string      `json:"summary,omitempty"` // what a line has room for
	Facts      []Fact      `json:"facts,omitempty"`
	Signatures []Signature `json:"signatures,omitempty"`
	Checks     []Check     `json:"checks,omitempty"`
	Contents   []*Report   `json:"contents,omitempty"` // parts, in the file's order
	More       int         `json:"more,omitempty"`     // parts that are not listed
	Problems   []Problem   `json:"problems,omitempty"`
}

// A Fact is something that a file says.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Signature says who signed.
type Signature struct {
	Scheme    string `json:"scheme"`              // "APK v3", "AVB", "OTA package" ...
	Algorithm string `json:"algorithm,omitempty"` // "SHA256_RSA4096"
	Signer    string `json:"signer,omitempty"`    // the certificate's subject; a key has none
	SHA256    string `json:"sha256,omitempty"`    // of the certificate's DER, or of the key in its format's encoding
	TestKey   string `json:"test_key,omitempty"`  // of AOSP, by its path there: nobody must ship it
	State     string `json:"state"`               // "verified", "not verified" or "wrong"
}

// States of a Signature.
const (
	verified    = "verified"
	notVerified = "not verified"
	wrong       = "wrong"
)

// A Check is something that was verified, or was not.
type Check struct {
	What string `json:"what"` // "hash tree over 1.2 GiB"
	Done bool   `json:"done"` // it holds; if it does not, a problem says so
	Why  string `json:"why,omitempty"`
}

// A Severity says how bad a problem is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the file is not what it should be
	Warning Severity = "warning" // it is, and should not be used so
	Note    Severity = "note"    // good to know
)

// A Problem is what is wrong with a file.
type Problem struct {
	Severity Severity `json:"severity"`
	Offset   *int64   `json:"offset,omitempty"` // bytes from the start of the file or part
	Message  string   `json:"message"`
	Advice   string   `json:"advice,omitempty"` // what to do
}

// OK says whether nothing is wrong with the file and all its parts: there are
// no problems of severity Error.
func (r *Report) OK() bool {
	for _, p := range r.Problems {
		if p.Severity == Error {
			return false
		}
	}
	for _, c := range r.Contents {
		if !c.OK() {
			return false
		}
	}
	return true
}

// Count returns how many problems of a severity there are, parts included.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, p := range r.Problems {
		if p.Severity == s {
			n++
		}
	}
	for _, c := range r.Contents {
		n += c.Count(s)
	}
	return n
}

func (r *Report) fact(name, format string, args ...any) {
	if v := fmt.Sprintf(format, args...); v != "" {
		r.Facts = append(r.Facts, Fact{name, v})
	}
}

func (r *Report) say(s Severity, advice, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Severity: s, Message: fmt.Sprintf(format, args...), Advice: advice})
}

// fail adds an error of a parser, with its offset.
func (r *Report) fail(err error, advice string) {
	p := Problem{Severity: Error, Message: err.Error(), Advice: advice}
	if off, ok := offsetOf(err); ok {
		p.Offset = &off
	}
	r.Problems = append(r.Problems, p)
}

func (r *Report) done(format string, args ...any) {
	r.Checks = append(r.Checks, Check{What: fmt.Sprintf(format, args...), Done: true})
}

func (r *Report) skipped(what, why string) {
	r.Checks = append(r.Checks, Check{What: what, Why: why})
}

// certificate adds a signature by its certificate, DER.
func (r *Report) certificate(scheme, algorithm string, der []byte, state string) {
	s := Signature{Scheme: scheme, Algorithm: algorithm, SHA256: sha256Hex(der), State: state}
	if c, err := x509.ParseCertificate(der); err == nil {
		s.Signer = nameOf(c)
		if k, ok := testCertificate(c); ok {
			s.TestKey = k
		}
		if s.Algorithm == "" {
			s.Algorithm = keyKind(c.PublicKey)
		}
	}
	r.addSignature(s)
}

// avbKey adds a signature by a key in AVB's encoding.
func (r *Report) avbKey(scheme, algorithm string, blob []byte, state string) {
	s := Signature{Scheme: scheme, Algorithm: algorithm, SHA256: sha256Hex(blob), State: state}
	if k, ok := testAVBKey(blob); ok {
		s.TestKey = k
	}
	r.addSignature(s)
}

func (r *Report) addSignature(s Signature) {
	r.Signatures = append(r.Signatures, s)
	if s.TestKey == "" {
		return
	}
	for _, p := range r.Problems {
		if p.Severity == Warning && strings.Contains(p.Message, s.TestKey) {
			return
		}
	}
	r.testKey("signed with", s.TestKey)
}

// testKey warns of a test key.
func (r *Report) testKey(how, path string) {
	r.say(Warning, "everybody can sign with it, so nobody must ship this: sign it with a key of your own (mios sign target-files, mios app sign, mios avb)",
		"%s AOSP's public test key %s", how, path)
}

// part adds a part.
func (r *Report) part(c *Report) { r.Contents = append(r.Contents, c) }

// limitParts keeps the first n parts.
func (r *Report) limitParts(n int) {
	if len(r.Contents) > n {
		r.More += len(r.Contents) - n
		r.Contents = r.Contents[:n]
	}
}

// errUnknown is the error of a file that no format takes.
var errUnknown = errors.New("not of a format that miOS knows")
