package apksig

import (
	"bufio"
	"crypto"
	"encoding/base64"
	"hash"
	"strings"
)

// A section is one of the sections of a JAR manifest or signature file: its
// text, with the empty line that ends it.
type section struct {
	off  int
	text string
}

// An attribute of a section, name and value.
type jarAttribute struct{ name, value string }

// A sectionReader reads a JAR manifest or signature file section by section,
// the main section first, as AOSP does (tools/apksig, ManifestParser): lines
// end in CR, LF or both, a line that begins with a space continues the one
// before, and an empty line ends the section.
type sectionReader struct {
	text string
	off  int
}

// line returns the next line without its end, and where the one after begins.
func (r *sectionReader) line(off int) (string, int) {
	i := strings.IndexAny(r.text[off:], "\r\n")
	if i < 0 {
		return r.text[off:], len(r.text)
	}
	end := off + i
	next := end + 1
	if r.text[end] == '\r' && next < len(r.text) && r.text[next] == '\n' {
		next++
	}
	return r.text[off:end], next
}

// next returns the next section, and false if there is none left.
func (r *sectionReader) next() (section, bool) {
	for r.off < len(r.text) { // empty lines before it
		line, next := r.line(r.off)
		if line != "" {
			break
		}
		r.off = next
	}
	start := r.off
	for r.off < len(r.text) {
		var line string
		if line, r.off = r.line(r.off); line == "" {
			break
		}
	}
	return section{start, r.text[start:r.off]}, r.off > start
}

// A sectionStream reads sections as a [sectionReader] does, of a file of which
// only one is kept in memory at a time.
type sectionStream struct {
	r   *bufio.Reader
	buf []byte
	err error // io.EOF at the end
}

// next returns the next section, and false if there is none left.
func (r *sectionStream) next() (section, bool) {
	r.buf = r.buf[:0]
	for r.err == nil {
		start := len(r.buf)
		if r.line(); r.err != nil {
			break
		}
		empty := r.buf[start] == '\r' || r.buf[start] == '\n'
		if empty && start > 0 {
			break
		}
		if empty { // before the section
			r.buf = r.buf[:0]
		}
	}
	return section{text: string(r.buf)}, len(r.buf) > 0
}

// line appends the next line, with its end.
func (r *sectionStream) line() {
	for {
		b, err := r.r.ReadByte()
		if err != nil {
			r.err = err
			return
		}
		r.buf = append(r.buf, b)
		if b == '\n' {
			return
		}
		if b == '\r' {
			if next, err := r.r.Peek(1); err == nil && next[0] == '\n' {
				r.r.Discard(1)
				r.buf = append(r.buf, '\n')
			}
			return
		}
	}
}

// maxAttributes is how many attributes of a section, and names of algorithms in
// one, are looked at: the time that takes grows with their product.
const maxAttributes = 256

// attributes appends the attributes of s, the first of them if there are many.
func (s section) attributes(out []jarAttribute) []jarAttribute {
	r := sectionReader{text: s.text}
	var line string
	for n := 0; n < maxAttributes && r.off < len(s.text); n++ {
		if line, r.off = r.line(r.off); line == "" {
			break
		}
		if r.off < len(s.text) && s.text[r.off] == ' ' {
			var b strings.Builder
			b.WriteString(line)
			for r.off < len(s.text) && s.text[r.off] == ' ' {
				line, r.off = r.line(r.off)
				b.WriteString(line[1:])
			}
			line = b.String()
		}
		name, value, _ := strings.Cut(line, ": ")
		out = append(out, jarAttribute{name, value})
	}
	return out
}

// find returns the value of the first attribute of that name.
func find(attrs []jarAttribute, name string) (string, bool) {
	for _, a := range attrs {
		if strings.EqualFold(a.name, name) {
			return a.value, true
		}
	}
	return "", false
}

// entryName returns the name of the entry that a section is about, which must
// be its first attribute.
func entryName(attrs []jarAttribute) (string, bool) {
	if len(attrs) == 0 || !strings.EqualFold(attrs[0].name, "Name") {
		return "", false
	}
	return attrs[0].value, true
}

// A namedDigest is a digest that a section states.
type namedDigest struct {
	hash crypto.Hash
	text string // base64, as it stands there
}

// is reports whether the digest is sum.
func (d namedDigest) is(sum []byte) bool {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(d.text, "="))
	return err == nil && len(b) > 0 && string(b) == string(sum)
}

// manifestDigests are the digest algorithms of manifests and signature files
// that platforms from 18 on look for, the strongest first.
var manifestDigests = []struct {
	name string
	hash crypto.Hash
}{
	{"SHA-512", crypto.SHA512},
	{"SHA-384", crypto.SHA384},
	{"SHA-256", crypto.SHA256},
	{"SHA1", crypto.SHA1},
}

// oldDigest returns the algorithm of that name for platforms before 18, 0 if
// that of SDK version sdk does not know it.
func oldDigest(name string, sdk int) crypto.Hash {
	switch strings.ToUpper(name) {
	case "MD5":
		return crypto.MD5
	case "SHA", "SHA1", "SHA-1":
		return crypto.SHA1
	case "SHA-256":
		return crypto.SHA256
	case "SHA-384":
		if sdk >= sdkGingerbread {
			return crypto.SHA384
		}
	case "SHA-512":
		if sdk >= sdkGingerbread {
			return crypto.SHA512
		}
	}
	return 0
}

// statedDigests returns the digests in attrs, of names that end in suffix, that
// platforms from least to most would verify: at most one for those before 18
// and one for the others. None means that some platform finds none (AOSP
// tools/apksig, V1SchemeVerifier.getDigestsToVerify).
func statedDigests(attrs []jarAttribute, suffix string, least, most int) []namedDigest {
	var out []namedDigest
	if least < sdkJellyBeanMR2 {
		names, ok := find(attrs, "Digest-Algorithms")
		if !ok {
			names = "SHA SHA1"
		}
		n := 0
		for name := range strings.FieldsFuncSeq(names, func(c rune) bool { return strings.ContainsRune(" \t\n\r\f", c) }) {
			if n++; n > maxAttributes {
				break
			}
			text, ok := find(attrs, name+suffix)
			if h := oldDigest(name, least); ok && h != 0 {
				out = append(out, namedDigest{h, text})
				break
			}
		}
		if len(out) == 0 {
			return nil
		}
	}
	if most < sdkJellyBeanMR2 {
		return out
	}
	for _, d := range manifestDigests {
		if text, ok := find(attrs, d.name+suffix); ok {
			if n := (namedDigest{d.hash, text}); len(out) == 0 || out[0] != n {
				out = append(out, n)
			}
			break
		}
	}
	return out
}

// sumString returns the digest of text, which it does not copy as a whole.
func sumString(h hash.Hash, text string) []byte {
	var buf [8 << 10]byte
	for len(text) > 0 {
		n := copy(buf[:], text)
		h.Write(buf[:n])
		text = text[n:]
	}
	return h.Sum(nil)
}
