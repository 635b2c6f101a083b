package apksig

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
)

// A jarManifest is a package's META-INF/MANIFEST.MF, which is read anew each time
// that something of it is wanted: with 65535 entries it is larger than all that is
// kept of them.
type jarManifest struct {
	x    *extractor
	e    *jarEntry
	sums map[crypto.Hash][]byte // SHA-256 from the first time on, which it must have each time
}

// each calls f with the sections and their numbers, the main one first, until it
// fails.
func (m *jarManifest) each(f func(n int, s section) error) error {
	if err := m.x.check(m.e, maxManifestFile); err != nil {
		return err
	}
	data, err := m.x.open(m.e)
	if err != nil {
		return err
	}
	h := sha256.New()
	r := &sectionStream{r: bufio.NewReader(io.TeeReader(data, h))}
	for n := 0; ; n++ {
		s, ok := r.next()
		if !ok {
			break
		}
		if err := f(n, s); err != nil {
			return err
		}
	}
	if r.err != io.EOF {
		return r.err
	}
	return m.same(h.Sum(nil))
}

// same fails if the manifest is not the one that was read first.
func (m *jarManifest) same(sum []byte) error {
	if m.sums == nil {
		m.sums = map[crypto.Hash][]byte{crypto.SHA256: sum}
	}
	if !bytes.Equal(m.sums[crypto.SHA256], sum) {
		return fmt.Errorf("%s: it changes while it is read", m.e.name)
	}
	return nil
}

// sum returns the manifest's digest.
func (m *jarManifest) sum(hash crypto.Hash) ([]byte, error) {
	if sum := m.sums[hash]; sum != nil {
		return sum, nil
	}
	h, again := hash.New(), sha256.New()
	if err := m.x.copy(io.MultiWriter(h, again), m.e); err != nil {
		return nil, err
	}
	if err := m.same(again.Sum(nil)); err != nil {
		return nil, err
	}
	m.sums[hash] = h.Sum(nil)
	return m.sums[hash], nil
}

// A span is where the section of an entry lies in the manifest; the zero one is
// none.
type span struct{ off, n uint32 }

// sectionText returns the manifest's section of the entry with that number. The
// first time it reads all of them, which only packages need whose signature files
// do not have the digest of the whole manifest.
func (c *jarCheck) sectionText(i int32) (string, error) {
	if c.spans == nil {
		var err error
		if c.text, err = c.manifest.x.read(c.manifest.e, maxManifestFile); err != nil {
			return "", err
		}
		sum := sumString(sha256.New(), c.text)
		if err := c.manifest.same(sum); err != nil {
			return "", err
		}
		c.spans = make([]span, len(c.listed))
		r := sectionReader{text: c.text}
		r.next() // the main one
		for s, ok := r.next(); ok; s, ok = r.next() {
			if name, ok := entryName(s.attributes(nil)); ok {
				if i, ok := c.index(name); ok {
					c.spans[i] = span{uint32(s.off), uint32(len(s.text))}
				}
			}
		}
	}
	at := c.spans[i]
	return c.text[at.off:][:at.n], nil
}
