package targetfiles

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A MacSigner is a <signer> of a mac_permissions.xml: apps signed with its
// certificates get the SELinux seinfo.
type MacSigner struct {
	Certificates [][]byte    // DER
	SEInfo       string      // of all such apps; "" if only Packages says
	Packages     [][2]string // package name and its seinfo
	off          int64
}

// MacPermissions is a plat_mac_permissions.xml or one of another partition
// (frameworks/base, SELinuxMMAC.java).
type MacPermissions struct {
	Signers []MacSigner
	text    []byte
}

// ParseMacPermissions reads a mac_permissions.xml.
func ParseMacPermissions(b []byte) (*MacPermissions, error) {
	if len(b) > maxText {
		return nil, &FormatError{File: "mac_permissions.xml", Msg: fmt.Sprintf("%d bytes; at most %d are read", len(b), maxText)}
	}
	p := &macParser{dec: xml.NewDecoder(bytes.NewReader(b)), out: &MacPermissions{text: b}}
	p.dec.CharsetReader = latin1
	for {
		tok, err := p.dec.Token()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = p.token(tok)
		}
		if err != nil {
			return nil, &FormatError{File: "mac_permissions.xml", Off: p.dec.InputOffset(), Msg: err.Error()}
		}
	}
	if !p.policy {
		return nil, &FormatError{File: "mac_permissions.xml", Msg: "no <policy>"}
	}
	return p.out, p.out.checkTwice()
}

// latin1 reads what insertkeys.py writes, which says that it is ISO-8859-1.
func latin1(name string, r io.Reader) (io.Reader, error) {
	if !strings.EqualFold(name, "iso-8859-1") && !strings.EqualFold(name, "us-ascii") {
		return nil, fmt.Errorf("encoding %q: want UTF-8 or ISO-8859-1", name)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	text := make([]rune, len(b))
	for i, c := range b {
		text[i] = rune(c)
	}
	return strings.NewReader(string(text)), nil
}

type macParser struct {
	dec    *xml.Decoder
	out    *MacPermissions
	path   []string // elements that are open
	policy bool
}

func (p *macParser) token(tok xml.Token) error {
	switch t := tok.(type) {
	case xml.EndElement:
		p.path = p.path[:len(p.path)-1]
	case xml.StartElement:
		p.path = append(p.path, t.Name.Local)
		switch strings.Join(p.path, "/") {
		case "policy":
			p.policy = true
		case "policy/signer":
			p.out.Signers = append(p.out.Signers, MacSigner{off: p.dec.InputOffset()})
			if a, ok := attr(t, "signature"); ok {
				return p.cert(a)
			}
		case "policy/signer/cert":
			a, _ := attr(t, "signature")
			return p.cert(a)
		case "policy/signer/seinfo":
			p.signer().SEInfo, _ = attr(t, "value")
		case "policy/signer/package":
			name, _ := attr(t, "name")
			p.signer().Packages = append(p.signer().Packages, [2]string{name, ""})
		case "policy/signer/package/seinfo":
			list := p.signer().Packages
			list[len(list)-1][1], _ = attr(t, "value")
		}
	}
	return nil
}

func (p *macParser) signer() *MacSigner { return &p.out.Signers[len(p.out.Signers)-1] }

func (p *macParser) cert(text string) error {
	if strings.HasPrefix(text, "@") {
		return fmt.Errorf("signature %q stands for a key: the build puts the certificate there (insertkeys.py)", text)
	}
	der, err := hex.DecodeString(text)
	if err != nil || len(der) == 0 {
		return fmt.Errorf("signature of %d characters is not a certificate in hexadecimal", len(text))
	}
	s := p.signer()
	s.Certificates = append(s.Certificates, der)
	return nil
}

func attr(t xml.StartElement, name string) (string, bool) {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// checkTwice refuses two signers of one certificate: the device would refuse
// the file.
func (m *MacPermissions) checkTwice() error {
	seen := make(map[string]bool)
	for _, s := range m.Signers {
		var key strings.Builder
		for _, c := range s.Certificates {
			key.Write(c)
		}
		if s.SEInfo != "" && seen[key.String()] {
			return &FormatError{File: "mac_permissions.xml", Off: s.off, Msg: "a second signer with the same certificate: a device refuses the file"}
		}
		seen[key.String()] = seen[key.String()] || s.SEInfo != ""
	}
	return nil
}

// Replace puts the certificate with, DER, in the place of old wherever it
// stands whole, and returns how often.
func (m *MacPermissions) Replace(old, with []byte) int {
	n := 0
	for i := range m.Signers {
		for j, c := range m.Signers[i].Certificates {
			if bytes.Equal(c, old) {
				m.Signers[i].Certificates[j] = slices.Clone(with)
				n++
			}
		}
	}
	if n > 0 {
		m.text = replaceHex(m.text, hex.EncodeToString(old), hex.EncodeToString(with))
	}
	return n
}

// replaceHex replaces a run of hexadecimal digits, of either case, where it is
// all of an attribute's value.
func replaceHex(text []byte, old, with string) []byte {
	lower := slices.Clone(text)
	for i, c := range lower {
		if 'A' <= c && c <= 'F' {
			lower[i] = c + 'a' - 'A'
		}
	}
	var out []byte
	from := 0
	for {
		i := bytes.Index(lower[from:], []byte(old))
		if i < 0 {
			return append(out, text[from:]...)
		}
		at, end := from+i, from+i+len(old)
		whole := at > 0 && end < len(text) && (text[at-1] == '"' || text[at-1] == '\'') && text[end] == text[at-1]
		out = append(out, text[from:at]...)
		if whole {
			out = append(out, with...)
		} else {
			out = append(out, text[at:end]...)
		}
		from = end
	}
}

// Bytes returns the file, with what Replace changed. The error is that of two
// signers which now have one certificate.
func (m *MacPermissions) Bytes() ([]byte, error) { return m.text, m.checkTwice() }
